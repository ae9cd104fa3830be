"""Measures one form of a model that was examined, in a process that may be killed, and certifies its rows.

Run as `python -m host_container.measure` with one JSON line (`MeasureOrder`) on standard
input; answers with JSON lines: what it begins (`Began`), at the end `Measured`. It can read the files of
that form and do nothing else. Whoever started it has dropped them from the page cache, so that its first
load is cold.
"""

from __future__ import annotations

import os
import sys
import traceback
from functools import partial
from pathlib import Path

import ml_dtypes  # noqa: F401 - what is needed must be there before the process is closed in
import msgspec

from chalicelib.contract.errors import ModelRocketError
from chalicelib.contract.findings import Refusal
from host_container.confined import Lines, Memory, close_in, private_output, says_out_of_memory
from host_container.orders import Began, Doing, Measured, MeasureOrder, out_of_memory
from host_container.passport import Subject, measure
from host_container.prepared import PREPACK_GAIN_MIN
from host_container.session import load, load_mapped, load_prepacked, warm_up


def main() -> None:
    lines = Lines(private_output())
    asked = msgspec.json.decode(sys.stdin.buffer.readline(), type=MeasureOrder)
    memory = Memory()
    close_in(asked.order, keep_open=memory.descriptors | {lines.stream.fileno(), 2})
    lines.send(Began(Doing.MEASURING))
    lines.send(_measured(asked, memory))
    os._exit(0)  # nothing of the model's gets to run at exit


def _measured(asked: MeasureOrder, memory: Memory) -> Measured:
    bytes_max = asked.order.memory_bytes_max
    try:
        warm_up()
        passport, certificate = measure(_subject(asked), memory, memory_bytes_max=bytes_max)
        return Measured(passport=passport, certificate=certificate)
    except MemoryError:
        return Measured(reason=out_of_memory(bytes_max), refusal=Refusal.MEMORY)
    except ModelRocketError as error:
        if says_out_of_memory(error.message):
            return Measured(reason=out_of_memory(bytes_max), refusal=Refusal.MEMORY)
        return Measured(reason=error.message, refusal=Refusal.DOES_NOT_RUN)
    except Exception:  # a mistake of ours that this file has found
        traceback.print_exc()
        return Measured(reason="It cannot be measured. Export it again.", refusal=Refusal.UNEXPLAINED)


def _subject(asked: MeasureOrder) -> Subject:
    path = Path(asked.order.path)
    if not asked.prepared:
        return Subject(partial(load, path), None, 0, prepack_gain=1.0, prepared=False)
    pays = asked.prepack_gain >= PREPACK_GAIN_MIN
    return Subject(
        load=partial(load_mapped, path),
        load_prepacked=partial(load_prepacked, path) if pays else None,
        bytes_mapped=sum(os.path.getsize(name) for name in asked.order.beside),
        prepack_gain=asked.prepack_gain,
        prepared=True,
    )


if __name__ == "__main__":
    main()
