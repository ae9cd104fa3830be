"""Looks at one model file that nobody has looked at before, in a process that may be killed.

Run as `python -m host_container.examine` with one JSON line (`Order`) on standard
input; answers with JSON lines (`Report`): one per stage, then the signature and
what was measured, or a reason why the file cannot be served. It limits its own
CPU time and memory before it reads the file; whoever started it watches the clock.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import msgspec
import numpy as np

from chalicelib.contract import limits
from chalicelib.contract.errors import InferenceFailed, InvalidModel
from chalicelib.contract.messages import Passport, PrepareStage, Signature, TensorSignature, encode
from host_container.orders import Order, Report, out_of_memory
from host_container.session import Dimension, Session, load, load_bytes, return_freed_memory
from modelrocket.tensors import Array, numpy_dtype

_PR_SET_PDEATHSIG: Final = 1
_CPU_GRACE_SECONDS: Final = 5
_FREE_SIZES: Final = (1, 8, 32, 224)
"""Tried in turn for dimensions of any size (but the first): a convolution may refuse a 1 x 1 image."""
_TIMED_RUNS: Final = 3
_OUT_OF_MEMORY: Final = ("bad_alloc", "Failed to allocate memory", "std::length_error", "out of memory")


@dataclass(frozen=True, slots=True)
class Trial:
    """A generated input that the model ran on, and what came out."""

    inputs: dict[str, Array]
    outputs: dict[str, Array]
    free: int


def examine(path: Path, *, entered: Callable[[PrepareStage], None]) -> tuple[Signature, Passport]:
    """Signature and measurements of a servable file. Raises InvalidModel with a reason."""
    from host_container import onnxfile  # not above: the host itself, which reads our Reports, needs no onnx

    entered(PrepareStage.VALIDATING)
    onnxfile.check(path)
    load_bytes(onnxfile.identity()).run({"x": np.zeros(1, np.float32)})  # its own memory is not the model's
    return_freed_memory()
    entered(PrepareStage.LOADING)
    resident = _resident_bytes()
    session, load_seconds = _load(path)
    entered(PrepareStage.MEASURING)
    trial = first_run(session)
    run_seconds = min(timed(session, trial.inputs) for _ in range(_TIMED_RUNS))
    _run_two_rows(session, trial)
    return_freed_memory()
    memory = max(path.stat().st_size, _resident_bytes() - resident)
    outputs = tuple(_with_rank(output, trial.outputs[output.name]) for output in session.signature.outputs)
    signature = Signature(inputs=session.signature.inputs, outputs=outputs)
    return signature, Passport(round(load_seconds * 1000, 3), round(run_seconds * 1000, 4), memory)


def _load(path: Path) -> tuple[Session, float]:
    started = time.perf_counter()
    session = load(path)
    seconds = time.perf_counter() - started
    if seconds > limits.LOAD_SECONDS_MAX:
        raise InvalidModel(
            f"It takes {seconds:.0f} s to load; {limits.LOAD_SECONDS_MAX:.0f} s are allowed. "
            "Simplify the model before uploading it (constant folding, for example)."
        )
    return session, seconds


def first_run(session: Session) -> Trial:
    """One row, with the first size of the free dimensions that works."""
    dimensions = session.dimensions()
    failures: list[InferenceFailed] = []
    for free in _FREE_SIZES:
        inputs = _generated(session.signature, sizes(dimensions, rows=1, free=free))
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


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()
    except OSError:  # not Linux: the peak is the nearest there is, in bytes on macOS
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# The process around it.


@dataclass(frozen=True, slots=True)
class Lines:
    """Messages to whoever started us."""

    stream: IO[bytes]

    def send(self, report: msgspec.Struct) -> None:
        self.stream.write(encode(report) + b"\n")
        self.stream.flush()


def limit_process(order: Order) -> None:
    """From here on the kernel ends us when we use too much, or when our parent is gone."""
    cpu = order.cpu_seconds_max
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + _CPU_GRACE_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (order.file_bytes_max, order.file_bytes_max))
    if sys.platform == "linux":  # macOS does not keep RLIMIT_AS
        resource.setrlimit(resource.RLIMIT_AS, (order.memory_bytes_max, order.memory_bytes_max))
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != order.parent_pid:
        os._exit(1)


def main() -> None:
    lines = Lines(private_output())
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    limit_process(order)
    lines.send(_report(order, lines))
    os._exit(0)  # nothing of the model's gets to run at exit


def _report(order: Order, lines: Lines) -> Report:
    try:
        signature, passport = examine(Path(order.path), entered=lambda stage: lines.send(Report(stage=stage)))
    except MemoryError:
        return Report(reason=out_of_memory(order.memory_bytes_max))
    except InvalidModel as error:
        if any(mark in error.message for mark in _OUT_OF_MEMORY):
            return Report(reason=out_of_memory(order.memory_bytes_max))
        return Report(reason=error.message)
    return Report(signature=signature, passport=passport)


def private_output() -> IO[bytes]:
    """Our lines go to standard output, whatever else any library prints to nowhere."""
    stream = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return stream


if __name__ == "__main__":
    main()
