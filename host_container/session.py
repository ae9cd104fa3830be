"""One model file in onnxruntime: load it, read its signature, run it.

Nothing here resists a hostile model: a load or a run takes as long as the model
likes. `examine` looks at every file in a process that can be killed first.

One thread per session and none of its own, so thousands of sessions cost no
threads and requests are the unit of parallelism. (The global pool would spin
between runs, four times the CPU at light load, and Python cannot tell it not to.)
Constant folding stays on: what folds for ever does so in `examine` and is refused.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from chalicelib.contract.errors import DependencyFailed, InferenceFailed, InvalidModel, ModelRocketError
from chalicelib.contract.messages import WEIGHTS_LOCATION, Signature, TensorSignature
from host_container.providers import (
    FIRST_DEVICE,
    ON_CPU,
    Execution,
    Provider,
    arena_options,
    session_providers,
)
from modelrocket.tensors import ONNXRUNTIME_DTYPES, Array, numpy_dtype

BFLOAT16: Final = "bfloat16"
_BFLOAT16_ONNX: Final = 16
_FATAL: Final = 4
_TINY_BYTES: Final = 65_536
"""Of such models a host holds thousands: an arena for each is 29 % more memory, and makes no run faster."""
_EXTERNAL_BYTES_MIN: Final = 65_536
"""Each tensor in the file of weights is a mapping of its own, of which a process may have 65,530."""
_MESSAGE_LENGTH_MAX: Final = 300
_PREFIX: Final = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
_SOURCE: Final = re.compile(r"/\S+\.(?:h|hpp|cc|cpp|cu|cuh):\d+ (?:[^()]*\([^()]*\)(?: const)? )?")
_SHORT_SOURCE: Final = re.compile(r"\b\w+\.(?:h|hpp|cc|cpp|cu|cuh):\d+ (?:\w+ )?")
_GPU_FAULT: Final = re.compile(
    r"CUDA (?:failure|error)|(?:CUDNN|CUBLAS|CUFFT) failure|BFCArena::AllocateRawInternal"
)
"""What onnxruntime says when a device or its memory fails. (cuda_call.cc, bfc_arena.cc)"""
_GPU_LOST: Final = re.compile(r"CUDA failure (?!2:)\d+")
"""Any error of the CUDA runtime at a run, but lack of memory (2), which passes."""
EX_GPU_LOST: Final = 70
_ON_CPU: Final = Provider.CPU.name_in_onnxruntime
_STANDARD_ERROR: Final = 2
_WHERE_ON_GPU: Final = re.compile(r" ; GPU=-?\d+ ; hostname=.*")
_IDENTITY: Final = (
    b'\x08\x08:>\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x08identityZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
"""An ONNX file: `x: float32[1] → y`, one Identity."""
_PATH_OR_ADDRESS: Final = re.compile(r"(?:/[\w.\-]+){2,}|0x[0-9a-fA-F]+")


@dataclass(frozen=True, slots=True)
class Dimension:
    """Of an input: a fixed size, or any (None), the same for all dimensions of one symbol."""

    size: int | None
    symbol: str | None = None


class Session:
    """A loaded model. `run` may be called from several threads at once.

    `providers` are the execution providers that onnxruntime really uses, the preferred one first.
    """

    def __init__(self, native: onnxruntime.InferenceSession) -> None:
        self._native = native
        self.providers = tuple(native.get_providers())
        self.signature = Signature(
            inputs=tuple(_tensor(node, "input") for node in native.get_inputs()),
            outputs=tuple(_tensor(node, "output") for node in native.get_outputs()),
        )
        self._names = [output.name for output in self.signature.outputs]
        self._native_values = any(output.dtype == BFLOAT16 for output in self.signature.outputs)
        if self._native_values and any(given.dtype == "string" for given in self.signature.inputs):
            raise InvalidModel(
                "The model takes strings and gives bfloat16; onnxruntime cannot hand both to Python. "
                "Cast the outputs to float32."
            )

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says of itself."""
        found: Mapping[str, str] = self._native.get_modelmeta().custom_metadata_map
        return found

    def dimensions(self) -> dict[str, tuple[Dimension, ...]]:
        """Of every input, by its name."""
        return {node.name: tuple(map(_dimension, node.shape)) for node in self._native.get_inputs()}

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays of the signature's dtypes in, arrays by output name out.

        Raises InferenceFailed with a message that is safe to show. Ends the process where CUDA has failed
        for good: every later call would fail too, and who started it starts another.
        """
        try:
            if self._native_values:
                outputs = [_to_array(value) for value in self._run_native(inputs)]
            else:
                feeds = {name: _feed(array) for name, array in inputs.items()}
                outputs = self._native.run(self._names, feeds)
        except Exception as error:  # onnxruntime's errors share no class but Exception
            if self.providers[0] != _ON_CPU and _GPU_LOST.search(str(error)):
                os.write(_STANDARD_ERROR, f"{plain_message(error)}\n".encode())
                os._exit(EX_GPU_LOST)
            raise InferenceFailed(f"The model failed on this input: {plain_message(error)}") from error
        return dict(zip(self._names, outputs, strict=True))

    def _run_native(self, inputs: Mapping[str, Array]) -> Sequence[onnxruntime.OrtValue]:
        feeds = {name: _to_value(array) for name, array in inputs.items()}
        values: Sequence[onnxruntime.OrtValue] = self._native.run_with_ort_values(self._names, feeds)
        return values


def load(path: Path, execution: Execution = ON_CPU) -> Session:
    """As it was uploaded.

    Raises InvalidModel with a reason that the model's owner can act on, and DependencyFailed when this
    host's GPU does not do what it is there for: nothing is served from the CPU in its place.
    """
    options = _options()
    options.enable_cpu_mem_arena = _bytes_at(path) > _TINY_BYTES
    return _open(str(path), options, execution)


def _bytes_at(graph: Path) -> int:
    """With the weights beside it."""
    weights = graph.with_name(WEIGHTS_LOCATION)
    return graph.stat().st_size + (weights.stat().st_size if weights.exists() else 0)


def load_bytes(content: bytes) -> Session:
    """For models of our own making: external data would be looked for in the working directory."""
    return _open(content, _options())


def warm_up() -> None:
    """What onnxruntime takes for itself, with its first session and run, is no model's time or memory."""
    load_bytes(_IDENTITY).run({"x": np.zeros(1, np.float32)})
    return_freed_memory()


def load_mapped(path: Path) -> Session:
    """A prepared graph, its weights mapped from the file beside it: nothing is copied or rearranged."""
    options = _options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")
    return _open(str(path), options)


def load_prepacked(path: Path) -> Session:
    """A prepared graph with weights rearranged for this CPU, in memory of this process alone."""
    options = _options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return _open(str(path), options)


def optimise(path: Path, *, graph: Path, weights: str) -> None:
    """Write what onnxruntime makes of it for this CPU: the graph, and beside it the larger weights.

    onnxruntime starts every tensor at a page of the file, so that it can map it.
    """
    options = _options()
    options.optimized_model_filepath = str(graph)
    for name, value in (("file_name", weights), ("min_size_in_bytes", str(_EXTERNAL_BYTES_MIN))):
        options.add_session_config_entry(f"session.optimized_model_external_initializers_{name}", value)
    options.add_session_config_entry("session.disable_prepacking", "1")
    _open(str(path), options)


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL  # its warnings quote the model; errors come as exceptions
    return options


def _open(source: str | bytes, options: onnxruntime.SessionOptions, execution: Execution = ON_CPU) -> Session:
    if execution.provider is not Provider.CPU:
        _share_arena(execution)
        options.add_session_config_entry("session.use_env_allocators", "1")
    try:
        native = onnxruntime.InferenceSession(
            source, options, providers=session_providers(execution), enable_fallback=0
        )
    except Exception as error:  # onnxruntime's errors share no class but Exception
        raise _refusal(error, execution) from error
    session = Session(native)
    _check_provider(session, execution)
    return session


@functools.cache
def _share_arena(execution: Execution) -> None:
    """One arena on the GPU for all sessions of this process, made with the first one.

    Else each session had one of its own, with a limit of its own. It holds weights and what runs compute
    with; not CUDA's context, cuDNN's and cuBLAS's handles, or TensorRT's engines.
    """
    memory = onnxruntime.OrtMemoryInfo(
        "Cuda", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    arena = onnxruntime.OrtArenaCfg(arena_options(execution))
    cuda = Provider.CUDA.name_in_onnxruntime
    try:
        onnxruntime.create_and_register_allocator_v2(cuda, memory, {"device_id": FIRST_DEVICE}, arena)
    except RuntimeError as error:
        raise DependencyFailed(f"The GPU of this host cannot be used: {plain_message(error)}") from error


def _refusal(error: Exception, execution: Execution) -> ModelRocketError:
    """The model's fault, unless it is the GPU's."""
    if execution.provider is not Provider.CPU and _GPU_FAULT.search(str(error)):
        return DependencyFailed(f"The GPU of this host cannot load it now: {plain_message(error)}")
    return InvalidModel(f"onnxruntime cannot load it: {plain_message(error)}")


def _check_provider(session: Session, execution: Execution) -> None:
    """Where a provider cannot be had, onnxruntime goes on without it and says nothing."""
    wanted = execution.provider.name_in_onnxruntime
    if session.providers[0] != wanted:
        raise DependencyFailed(
            f"This host is to run models with {wanted}, but onnxruntime would use "
            f"{', '.join(session.providers)}. Its operator must look after it."
        )


def return_freed_memory() -> None:
    """Give what was freed back to the system; glibc keeps it otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def plain_message(error: BaseException) -> str:
    """The first line of what onnxruntime says, without source files, paths, addresses and host names."""
    text = str(error).strip().partition("\n")[0]
    text = _WHERE_ON_GPU.sub("", _PREFIX.sub("", text))
    text = _SHORT_SOURCE.sub("", _SOURCE.sub("", text))
    text = _PATH_OR_ADDRESS.sub("…", text).strip()
    return (text or type(error).__name__)[:_MESSAGE_LENGTH_MAX]


def _tensor(node: onnxruntime.NodeArg, role: str) -> TensorSignature:
    dtype = ONNXRUNTIME_DTYPES.get(node.type)
    if dtype is None:
        raise InvalidModel(f'The {role} "{node.name}" is {_unsupported(node.type)}')
    return TensorSignature(node.name, dtype, tuple(_dimension(size).size for size in node.shape))


def _unsupported(kind: str) -> str:
    if kind.startswith("seq(map("):
        return "a list of dictionaries (ZipMap), not a tensor: convert with options={'zipmap': False}."
    if not kind.startswith("tensor("):
        return f"{kind}, not a tensor: give each value an input or output of its own."
    return f"of the type {kind}, which JSON and numpy cannot carry: cast it to float32 or int32 in the model."


def _dimension(size: int | str | None) -> Dimension:
    if isinstance(size, str):
        return Dimension(None, size)
    return Dimension(size if size is not None and size >= 0 else None)


# bfloat16 is no type of numpy's own. onnxruntime takes and gives it as OrtValue only.


def _feed(array: Array) -> Any:
    return _to_value(array) if array.dtype.name == BFLOAT16 else array


def _to_value(array: Array) -> onnxruntime.OrtValue:
    if array.dtype.name != BFLOAT16:
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)
    bits = np.ascontiguousarray(array).view(np.uint16)
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, _BFLOAT16_ONNX)


def _to_array(value: onnxruntime.OrtValue) -> Array:
    if value.data_type() != "tensor(bfloat16)":
        array: Array = value.numpy()
        return array
    size = value.tensor_size_in_bytes()
    bits = ctypes.string_at(value.data_ptr(), size)  # copied: the value owns its memory
    return np.frombuffer(bits, dtype=numpy_dtype(BFLOAT16)).reshape(value.shape())
