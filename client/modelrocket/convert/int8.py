"""float32 weights as int8, by onnxruntime's dynamic quantisation; a model that has none is refused."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import onnx
from onnx import ModelProto, TensorProto

from modelrocket.convert.graph import opsets, tensors, tidied
from modelrocket.errors import ConversionError

METHOD: Final = "dynamic int8: weights per channel, 7 bits of 8 used; activations uint8, one scale per run"
_OPERATORS: Final = ("MatMul", "Gather")
"""Gemm becomes MatMul. A Conv would become a ConvInteger, which onnxruntime runs 7 to 14 times as slowly."""


def with_int8_weights(content: bytes) -> tuple[bytes, dict[str, int]]:
    """The model, and the operator sets it imports.

    Raises `ConversionError` where it would be the same model under another name.
    """

    before = onnx.load_from_string(content)
    try:
        with _quiet(), TemporaryDirectory(prefix="modelrocket-") as folder:
            after = tidied(_by_onnxruntime(before, Path(folder) / "int8.onnx"))
        after.metadata_props.extend(before.metadata_props)
        onnx.checker.check_model(after)
    except Exception as error:  # onnxruntime.quantization raises anything at all
        raise ConversionError(
            f"onnxruntime does not quantise this model: {error}",
            hint="It was not uploaded. Leave quantize out.",
        ) from error
    if _weights_of_8_bits(after) == _weights_of_8_bits(before):
        raise ConversionError(
            "Nothing in this model can be quantised. What can are float32 weights of matrix products "
            "(MatMul, Gemm) and embeddings (Gather); trees, linear models and convolutions have none.",
            hint="It was not uploaded. Leave quantize out; for a float64 model, try input_type=np.float32.",
        )
    return bytes(after.SerializeToString()), opsets(after)


def _by_onnxruntime(model: ModelProto, path: Path) -> ModelProto:
    """Seven bits: with eight, processors without VNNI saturate, and answer otherwise than this one did."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        model,
        path,
        op_types_to_quantize=list(_OPERATORS),
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
    )
    return onnx.load(path)


def _weights_of_8_bits(model: ModelProto) -> int:
    return sum(tensor.data_type in (TensorProto.INT8, TensorProto.UINT8) for tensor in tensors(model))


@contextmanager
def _quiet() -> Iterator[None]:
    """onnxruntime.quantization warns on the root logger, and sets logging up where nobody has."""
    root, nowhere = logging.getLogger(), logging.NullHandler()

    def nothing(_: logging.LogRecord) -> bool:
        return False

    root.addHandler(nowhere)
    root.addFilter(nothing)  # only of what is logged on the root logger itself
    try:
        yield
    finally:
        root.removeFilter(nothing)
        root.removeHandler(nowhere)
