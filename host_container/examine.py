"""Looks at one model file that nobody has looked at before, in a process that may be killed.

Run as `python -m host_container.examine` with one JSON line (`Order`) on standard
input; answers with JSON lines: what it begins (`Began`), at the end a `Report`: the signature and
what was found, or a reason why the file cannot be served. It can read that file and do nothing else.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

import ml_dtypes  # noqa: F401 - what is needed must be there before the process is closed in
import msgspec

from chalicelib.contract.errors import InferenceFailed, InvalidModel
from chalicelib.contract.findings import Refusal
from chalicelib.contract.messages import Signature, TensorSignature
from host_container import onnxfile
from host_container.confined import Lines, close_in, private_output, says_out_of_memory
from host_container.examples import shown
from host_container.firewall import Refused
from host_container.generated import FirstRun, first_run, takes_rows, zeros
from host_container.orders import Began, Doing, Order, Report, out_of_memory
from host_container.session import Session, load, warm_up
from modelrocket.tensors import Array

_REFUSALS: Final = {Doing.LOADING: Refusal.DOES_NOT_LOAD, Doing.RUNNING: Refusal.DOES_NOT_RUN}
"""Of what onnxruntime says no to."""


def examine(path: Path, *, load_seconds_max: float, begins: Callable[[Doing], None]) -> Report:
    """What a servable file is made of, takes and gives. Raises InvalidModel with a reason."""
    begins(Doing.READING)
    findings = onnxfile.check(path)
    warm_up()
    begins(Doing.LOADING)
    session, load_seconds = _load(path, seconds_max=load_seconds_max)
    begins(Doing.RUNNING)
    first = first_run(session)
    _run_two_rows(session, first)
    outputs = tuple(_with_rank(output, first.outputs[output.name]) for output in session.signature.outputs)
    signature = Signature(inputs=session.signature.inputs, outputs=outputs)
    inputs = shown(session, free=first.free)
    return Report(
        signature=signature,
        findings=findings,
        load_seconds=load_seconds,
        example=inputs.example,
        sizes=inputs.sizes,
    )


def _load(path: Path, *, seconds_max: float) -> tuple[Session, float]:
    started = time.perf_counter()
    session = load(path)
    seconds = time.perf_counter() - started
    if seconds > seconds_max:
        raise Refused(
            Refusal.SLOW_TO_LOAD,
            f"It takes {seconds:.3g} s to load; {seconds_max:.3g} s are allowed. "
            "Simplify the model before uploading it (constant folding, for example).",
        )
    return session, seconds


def _run_two_rows(session: Session, first: FirstRun) -> None:
    """Where the first dimension takes any size, two rows must run as one does."""
    if not takes_rows(session):
        return
    try:
        session.run(zeros(session, rows=2, free=first.free))
    except InferenceFailed as error:
        raise InvalidModel(
            f"It runs with 1 row but not with 2, although its first dimension takes any size. {error}. "
            "Export it with a dynamic batch dimension, or declare the size it needs."
        ) from error


def _with_rank(output: TensorSignature, array: Array) -> TensorSignature:
    """Where onnxruntime knows no shape it gives a scalar's: then any shape of the rank seen."""
    if output.shape or not array.ndim:
        return output
    return TensorSignature(output.name, output.dtype, (None,) * array.ndim)


# The process around it.


def main() -> None:
    lines = Lines(private_output())
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    close_in(order, keep_open=frozenset({lines.stream.fileno(), 2}))
    lines.send(_Examination(order, lines).report())
    os._exit(0)  # nothing of the model's gets to run at exit


class _Examination:
    """From the order to the last report."""

    def __init__(self, order: Order, lines: Lines) -> None:
        self._order = order
        self._lines = lines
        self._doing = Doing.READING

    def report(self) -> Report:
        try:
            seconds_max = self._order.load_seconds_max
            return examine(Path(self._order.path), load_seconds_max=seconds_max, begins=self._begins)
        except MemoryError:
            return self._out_of_memory()
        except Refused as error:
            return Report(reason=error.message, refusal=error.refusal)
        except InvalidModel as error:
            if says_out_of_memory(error.message):
                return self._out_of_memory()
            return Report(reason=error.message, refusal=_REFUSALS[self._doing])
        except Exception:  # a mistake of ours that this file has found: told from what the host does wrong
            traceback.print_exc()
            reason = (
                "It cannot be examined: this platform does not understand something in it. Export it again."
            )
            return Report(reason=reason, refusal=Refusal.UNEXPLAINED)

    def _begins(self, doing: Doing) -> None:
        self._doing = doing
        self._lines.send(Began(doing))

    def _out_of_memory(self) -> Report:
        return Report(reason=out_of_memory(self._order.memory_bytes_max), refusal=Refusal.MEMORY)


if __name__ == "__main__":
    main()
