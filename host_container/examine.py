"""Looks at one model file that nobody has looked at before, in a process that may be killed.

Run as `python -m host_container.examine` with one JSON line (`Order`) on standard
input; answers with JSON lines (`Report`): one per stage, then the signature, what
was found and what was measured, or a reason why the file cannot be served. Before
it reads the file it limits its own CPU time and memory and closes itself in, so that
it can read that file and do nothing else; whoever started it watches the clock.
"""

from __future__ import annotations

import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Final

import ml_dtypes  # noqa: F401 - what is needed must be there before the process is closed in
import msgspec
import numpy as np

from chalicelib.contract import limits
from chalicelib.contract.errors import InferenceFailed, InvalidModel
from chalicelib.contract.findings import Refusal
from chalicelib.contract.messages import Passport, PrepareStage, Signature, TensorSignature, encode
from host_container import onnxfile
from host_container.firewall import Refused
from host_container.orders import NOT_CLOSED_IN, Order, Report, out_of_memory
from host_container.sandbox import Enclosure, enclose
from host_container.session import Dimension, Session, load, load_bytes, return_freed_memory
from modelrocket.tensors import Array, numpy_dtype

_CPU_GRACE_SECONDS: Final = 5
_FREE_SIZES: Final = (1, 8, 32, 224)
"""Tried in turn for dimensions of any size (but the first): a convolution may refuse a 1 x 1 image."""
_TIMED_RUNS: Final = 3
_GENERATED_BYTES_MAX: Final = 256 * limits.MIB
_PAGE_BYTES: Final = resource.getpagesize()
_STATM_BYTES: Final = 128
_REFUSALS: Final = {
    PrepareStage.LOADING: Refusal.DOES_NOT_LOAD,
    PrepareStage.MEASURING: Refusal.DOES_NOT_RUN,
}
"""Of what onnxruntime says no to."""
_OUT_OF_MEMORY: Final = ("bad_alloc", "Failed to allocate memory", "std::length_error", "out of memory")


@dataclass(frozen=True, slots=True)
class Trial:
    """A generated input that the model ran on, and what came out."""

    inputs: dict[str, Array]
    outputs: dict[str, Array]
    free: int


def examine(
    path: Path, *, entered: Callable[[PrepareStage], None], resident_bytes: Callable[[], int]
) -> Report:
    """What a servable file is and takes. Raises InvalidModel with a reason."""
    entered(PrepareStage.VALIDATING)
    findings = onnxfile.check(path)
    load_bytes(onnxfile.identity()).run({"x": np.zeros(1, np.float32)})  # its own memory is not the model's
    return_freed_memory()
    entered(PrepareStage.LOADING)
    resident = resident_bytes()
    session, load_seconds = _load(path)
    entered(PrepareStage.MEASURING)
    trial = first_run(session)
    run_seconds = min(timed(session, trial.inputs) for _ in range(_TIMED_RUNS))
    _run_two_rows(session, trial)
    return_freed_memory()
    memory = max(findings.bytes, resident_bytes() - resident)
    outputs = tuple(_with_rank(output, trial.outputs[output.name]) for output in session.signature.outputs)
    signature = Signature(inputs=session.signature.inputs, outputs=outputs)
    passport = Passport(round(load_seconds * 1000, 3), round(run_seconds * 1000, 4), memory)
    return Report(signature=signature, passport=passport, findings=findings)


def _load(path: Path) -> tuple[Session, float]:
    started = time.perf_counter()
    session = load(path)
    seconds = time.perf_counter() - started
    if seconds > limits.LOAD_SECONDS_MAX:
        raise Refused(
            Refusal.SLOW_TO_LOAD,
            f"It takes {seconds:.0f} s to load; {limits.LOAD_SECONDS_MAX:.0f} s are allowed. "
            "Simplify the model before uploading it (constant folding, for example).",
        )
    return session, seconds


def first_run(session: Session) -> Trial:
    """One row, with the first size of the free dimensions that works."""
    dimensions = session.dimensions()
    failures: list[InferenceFailed] = []
    for free in _FREE_SIZES:
        chosen = sizes(dimensions, rows=1, free=free)
        if failures and _bytes(session.signature, chosen) > _GENERATED_BYTES_MAX:
            break
        inputs = _generated(session.signature, chosen)
        try:
            return Trial(inputs, session.run(inputs), free)
        except InferenceFailed as error:
            failures.append(error)
    shown = ", ".join(f"{given.name} {list(given.shape)}" for given in session.signature.inputs)
    raise InvalidModel(
        f"It loads but does not run on zeros of the shape it declares ({shown}). {failures[0]}. "
        "Declare the sizes that it needs."
    )


def _run_two_rows(session: Session, trial: Trial) -> None:
    """Where the first dimension takes any size, two rows must run as one does."""
    dimensions = session.dimensions()
    if not any(shape and shape[0].size is None for shape in dimensions.values()):
        return
    try:
        session.run(_generated(session.signature, sizes(dimensions, rows=2, free=trial.free)))
    except InferenceFailed as error:
        raise InvalidModel(
            f"It runs with 1 row but not with 2, although its first dimension takes any size. {error}. "
            "Export it with a dynamic batch dimension, or declare the size it needs."
        ) from error


def sizes(
    dimensions: Mapping[str, tuple[Dimension, ...]], *, rows: int, free: int
) -> dict[str, tuple[int, ...]]:
    """A size for every dimension: first ones of any size, and whatever shares their symbol, hold the rows."""
    symbols = {shape[0].symbol for shape in dimensions.values() if shape} - {None}

    def size(position: int, dimension: Dimension) -> int:
        if dimension.size is not None:
            return dimension.size
        return rows if position == 0 or dimension.symbol in symbols else free

    return {name: tuple(size(*place) for place in enumerate(shape)) for name, shape in dimensions.items()}


def _generated(signature: Signature, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Zeros (and empty strings): the input least likely to be out of some range."""
    return {given.name: _zeros(given.dtype, sizes[given.name]) for given in signature.inputs}


def _bytes(signature: Signature, sizes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(prod(sizes[given.name]) * numpy_dtype(given.dtype).itemsize for given in signature.inputs)


def _zeros(dtype: str, shape: tuple[int, ...]) -> Array:
    return np.full(shape, "", dtype=object) if dtype == "string" else np.zeros(shape, numpy_dtype(dtype))


def timed(session: Session, inputs: Mapping[str, Array]) -> float:
    started = time.perf_counter()
    session.run(inputs)
    return time.perf_counter() - started


def _with_rank(output: TensorSignature, array: Array) -> TensorSignature:
    """Where onnxruntime knows no shape it gives a scalar's: then any shape of the rank seen."""
    if output.shape or not array.ndim:
        return output
    return TensorSignature(output.name, output.dtype, (None,) * array.ndim)


# The process around it.


@dataclass(frozen=True, slots=True)
class Lines:
    """Messages to whoever started us."""

    stream: IO[bytes]

    def send(self, report: msgspec.Struct) -> None:
        self.stream.write(encode(report) + b"\n")
        self.stream.flush()


def close_in(order: Order, *, keep_open: frozenset[int], writable: Path | None = None) -> None:
    """From here on the kernel ends us when we use too much, and lets us read the model and no more.

    Where that cannot be had, nothing may be examined: the process ends at once, with `NOT_CLOSED_IN`.
    """
    cpu = order.cpu_seconds_max
    enclosure = Enclosure(
        readable=(),
        readable_files=(Path(order.path),),
        writable=writable,
        file_bytes_max=order.file_bytes_max,
        keep_open=keep_open,
        parent=order.parent_pid,
        required=order.sandbox_required,
    )
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + _CPU_GRACE_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (order.memory_bytes_max, order.memory_bytes_max))
        enclose(enclosure)
    except (OSError, RuntimeError, ValueError):
        traceback.print_exc()
        os._exit(NOT_CLOSED_IN)


def main() -> None:
    lines = Lines(private_output())
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    statm = os.open("/proc/self/statm", os.O_RDONLY)
    close_in(order, keep_open=frozenset({lines.stream.fileno(), statm, 2}))
    lines.send(_Examination(order, lines, statm).report())
    os._exit(0)  # nothing of the model's gets to run at exit


class _Examination:
    """From the order to the last report."""

    def __init__(self, order: Order, lines: Lines, statm: int) -> None:
        self._order = order
        self._lines = lines
        self._statm = statm
        self._stage = PrepareStage.VALIDATING

    def report(self) -> Report:
        try:
            return examine(Path(self._order.path), entered=self._entered, resident_bytes=self._resident_bytes)
        except MemoryError:
            return self._out_of_memory()
        except Refused as error:
            return Report(reason=error.message, refusal=error.refusal)
        except InvalidModel as error:
            if any(mark in error.message for mark in _OUT_OF_MEMORY):
                return self._out_of_memory()
            return Report(reason=error.message, refusal=_REFUSALS[self._stage])
        except Exception:  # a mistake of ours that this file has found: told from what the host does wrong
            traceback.print_exc()
            reason = (
                "It cannot be examined: this platform does not understand something in it. Export it again."
            )
            return Report(reason=reason, refusal=Refusal.UNEXPLAINED)

    def _entered(self, stage: PrepareStage) -> None:
        self._stage = stage
        self._lines.send(Report(stage=stage))

    def _resident_bytes(self) -> int:
        return int(os.pread(self._statm, _STATM_BYTES, 0).split()[1]) * _PAGE_BYTES

    def _out_of_memory(self) -> Report:
        return Report(reason=out_of_memory(self._order.memory_bytes_max), refusal=Refusal.MEMORY)


def private_output() -> IO[bytes]:
    """Our lines go to standard output, whatever else any library prints to nowhere."""
    stream = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return stream


if __name__ == "__main__":
    main()
