"""The only place that runs onnxruntime: load a model and run it on numpy arrays."""

import ctypes
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modelrocket.errors import ConversionError
from modelrocket.tensors import ONNXRUNTIME_DTYPES, Array, TensorSpec, numpy_dtype

_BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16


class Session:
    """A loaded model with its signature."""

    def __init__(self, inference_session: Any) -> None:
        self._session = inference_session
        self.inputs = tuple(_spec(node, "input") for node in inference_session.get_inputs())
        self.outputs = tuple(_spec(node, "output") for node in inference_session.get_outputs())

    def bound(self, feeds: Mapping[str, Array]) -> Callable[[], object]:
        """A run of these feeds, without taking them in and giving the answers out: what is timed.

        Strings are always taken in: onnxruntime holds none of Python's.
        """
        if any(array.dtype == object for array in feeds.values()):
            return lambda: self._session.run(None, feeds)
        values = {name: _to_value(array) for name, array in feeds.items()}
        return lambda: self._session.run_with_ort_values(None, values)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Every output by name. Raises onnxruntime's own errors."""
        if any(spec.dtype == "bfloat16" for spec in self.outputs):
            values = self._session.run_with_ort_values(None, {k: _to_value(v) for k, v in feeds.items()})
            arrays = map(_to_array, values)
        else:
            given = {k: _to_value(v) if v.dtype.name == "bfloat16" else v for k, v in feeds.items()}
            arrays = map(np.asarray, self._session.run(None, given))
        return {spec.name: array for spec, array in zip(self.outputs, arrays, strict=True)}


def load(model: bytes, *, threads: int = 0) -> Session:
    """0 threads: as many as cores. Raises `ConversionError` where onnxruntime is missing or refuses it."""
    options = _options()
    options.intra_op_num_threads = threads
    return _open(model, options)


def load_mapped(graph: Path) -> Session:
    """A graph whose weights lie beside it: mapped and never rearranged, so they take no memory of ours."""
    options = _options()
    options.add_session_config_entry("session.disable_prepacking", "1")
    return _open(str(graph), options)


def _options() -> Any:
    options = _onnxruntime().SessionOptions()
    options.log_severity_level = 3
    return options


def _open(model: bytes | str, options: Any) -> Session:
    try:
        session = _onnxruntime().InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen unrelated types, none of them documented
        raise ConversionError(f"onnxruntime does not load the model: {error}") from error
    return Session(session)


def versions() -> dict[str, str]:
    """What ran the check, for the record."""
    return {"onnxruntime": str(_onnxruntime().__version__)}


def _onnxruntime() -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # noqa: TID251 - must be set before the import
    try:
        import onnxruntime
    except ImportError as error:
        hint = 'Install it: pip install "modelrocket[onnx]"'
        raise ConversionError("Checking a model needs onnxruntime.", hint=hint) from error
    onnxruntime.disable_telemetry_events()  # where the caller had imported it before us
    return onnxruntime


def _spec(node: Any, kind: str) -> TensorSpec:
    if node.type not in ONNXRUNTIME_DTYPES:
        raise ConversionError(
            f'The {kind} "{node.name}" is a {node.type}; a deployed model takes and gives tensors of '
            f"{', '.join(sorted(ONNXRUNTIME_DTYPES.values()))}."
        )
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(node.name, ONNXRUNTIME_DTYPES[node.type], shape)


def _to_value(array: Array) -> Any:
    ort_value = _onnxruntime().OrtValue
    if array.dtype.name == "bfloat16":
        return ort_value.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), _BFLOAT16)
    return ort_value.ortvalue_from_numpy(np.ascontiguousarray(array) if array.ndim else array)


def _to_array(value: Any) -> Array:
    if value.data_type() != "tensor(bfloat16)":
        return np.asarray(value.numpy())
    bits = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.frombuffer(bits, numpy_dtype("bfloat16")).reshape(value.shape())
