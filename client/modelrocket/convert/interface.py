"""What a framework's converter gives: ways to export the model, and the original to compare with."""

from collections.abc import Callable
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from modelrocket.errors import ConversionError
from modelrocket.tensors import DTYPES, Shape, TensorSpec
from modelrocket.verify import Inputs, Original

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 20
"""The ONNX operator set that exporters aim at; onnxruntime has run it since 1.17."""

INPUT = "modelInput"
OUTPUT = "modelOutput"
PROBABILITIES = "probabilities"


@dataclass(frozen=True)
class Attempt:
    """One way to export the model; `export` may raise anything.

    `folder`: where the weights are then, for a model too large for one file; gone when nobody holds it.
    """

    exporter: str
    export: Callable[[], "ModelProto"]
    folder: TemporaryDirectory[str] | None = None


@dataclass(frozen=True)
class Source:
    """A model in memory; its attempts are tried in turn until one answers like the original."""

    framework: str
    attempts: tuple[Attempt, ...]
    inputs: Inputs
    original: Original
    hint: str


@dataclass(frozen=True)
class Declared:
    """What the caller said about the model's input, either part of which may be missing."""

    input_type: Any = None
    input_shape: tuple[int | None, ...] | None = None

    def spec(self, *, example: str, shape: Shape | None = None) -> TensorSpec:
        """The model's single input; `shape` is what the framework itself knows. Raises `ConversionError`."""
        declared_shape = self.input_shape if self.input_shape is not None else shape
        missing = [
            name
            for name, value in (("input_type", self.input_type), ("input_shape", declared_shape))
            if value is None
        ]
        if missing or declared_shape is None:
            raise ConversionError(
                f"Converting this model needs {' and '.join(missing)}: the model does not know it.",
                hint=f"For example: {example}",
            )
        return TensorSpec(INPUT, dtype_name(self.input_type), _batch_shape(declared_shape, example=example))


def dtype_name(input_type: object) -> str:
    """A numpy or torch dtype, a type or a name -> the dtype name of the wire. Raises `ConversionError`."""
    if input_type in (str, np.str_, object):
        return "string"
    name = str(input_type).removeprefix("torch.")
    if name not in DTYPES:
        try:
            name = np.dtype(input_type).name  # type: ignore[call-overload]
        except TypeError:
            name = ""
    if name not in DTYPES:
        raise ConversionError(
            f"input_type={input_type!r} is no tensor type.",
            hint=f"Give one of {', '.join(sorted(DTYPES))}, or the numpy type, e.g. np.float32.",
        )
    return name


def _batch_shape(shape: tuple[int | None, ...], *, example: str) -> Shape:
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    known = all(
        size is None or (isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size > 0)
        for size in sizes
    )
    if not sizes or not known or sizes[0] is not None:
        raise ConversionError(
            f"input_shape={shape!r} must be a tuple that starts with None, the number of rows in a batch, "
            "followed by the shape of one row (None where any size will do).",
            hint=f"For example: {example}",
        )
    return tuple(None if size is None else int(size) for size in sizes)
