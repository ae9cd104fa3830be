"""A model that is ONNX already: a path, bytes or a ModelProto, taken under its own names."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import ModelProto

from modelrocket.convert import two_files
from modelrocket.convert.graph import opsets, tensors
from modelrocket.convert.interface import Declared, dtype_name
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.payload import Payload
from modelrocket.tensors import TensorSpec


@dataclass(frozen=True)
class Content:
    """One file or two, who made them, and the operator sets they import."""

    payload: Payload
    producer: dict[str, str]
    opsets: dict[str, int]


def read(model: object) -> Content:
    """Bytes as they are; weights that lie beside a file are taken in, unless that is too much for one file.

    Raises `ConversionError`.
    """
    if isinstance(model, (str, os.PathLike)):
        return _read_file(Path(model))
    if isinstance(model, bytes):
        parsed = _parsed(model, "The bytes given")
        _refuse_external(parsed)
        return _content(parsed, Payload(model))
    if isinstance(model, ModelProto):
        _refuse_external(model)
        return _content(model, _payload(model, None))
    raise UnsupportedModel(
        f"{type(model).__module__}.{type(model).__qualname__} is part of a model, not a model.",
        hint="Give an onnx.ModelProto, its bytes, or the path of an .onnx file.",
    )


def check_declared(inputs: Sequence[TensorSpec], declared: Declared) -> None:
    """A declared type or shape must be what the model says of itself. Raises `ConversionError`."""
    wrong = []
    if declared.input_type is not None and dtype_name(declared.input_type) not in {i.dtype for i in inputs}:
        wrong.append(f"input_type={dtype_name(declared.input_type)}")
    if declared.input_shape is not None and tuple(declared.input_shape) not in {i.shape for i in inputs}:
        wrong.append(f"input_shape={declared.input_shape}")
    if wrong:
        told = "; ".join(f"{spec.name}: {spec}" for spec in inputs)
        raise ConversionError(
            f"{' and '.join(wrong)} contradicts the ONNX model, whose inputs are {told}.",
            hint="An ONNX model knows its inputs: leave input_type and input_shape out.",
        )


def _read_file(path: Path) -> Content:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConversionError(f"Cannot read {path}: {error.strerror}.") from error
    model = _parsed(content, str(path))
    if not _external(model):
        return _content(model, Payload(content))
    return _content(model, _payload(model, path.parent))


def _payload(model: ModelProto, beside: Path | None) -> Payload:
    if not two_files.fits_one_file(model, beside=beside):
        return two_files.two_files(model, beside=beside)
    if beside is not None:
        try:
            onnx.load_external_data_for_model(model, str(beside))
        except Exception as error:  # onnx raises several unrelated types for a missing or damaged file
            raise ConversionError(
                f"The weights that the model keeps in other files cannot be read: {error}"
            ) from error
    return Payload(_serialised(model))


def _parsed(content: bytes, what: str) -> ModelProto:
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except Exception:  # protobuf's own error type differs between its implementations
        model.Clear()
    if not model.graph.node and not model.graph.output:
        raise ConversionError(
            f"{what} is not an ONNX model.",
            hint="Give a trained model, or the path of a file that was exported to ONNX.",
        )
    return model


def _content(model: ModelProto, payload: Payload) -> Content:
    producer = {"exporter": f"{model.producer_name} {model.producer_version}".strip()}
    return Content(payload, producer if producer["exporter"] else {}, opsets(model))


def _refuse_external(model: ModelProto) -> None:
    if _external(model):
        raise ConversionError(
            "The model keeps weights in other files, which cannot be found from here.",
            hint="Give the path of the .onnx file; its weights are then taken from beside it.",
        )


def _external(model: ModelProto) -> bool:
    return any(map(two_files.external, tensors(model)))


def _serialised(model: ModelProto) -> bytes:
    try:
        return bytes(model.SerializeToString())
    except Exception as error:  # protobuf's own error type differs between its implementations
        raise ConversionError(f"The model cannot be written as one file (2 GiB at most): {error}") from error
