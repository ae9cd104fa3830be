"""ONNX models go as they are, once they are shown to load and to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from modelrocket import runtime
from modelrocket.convert import convert
from modelrocket.errors import ConversionError


def model(shape: list[Any], *, target: list[int] | None = None) -> ModelProto:
    weight = numpy_helper.from_array(np.full((2, 3), 0.5, dtype=np.float32), "weight")
    nodes = [helper.make_node("MatMul", ["pixels", "weight"], ["scores"])]
    constants = [weight]
    if target is not None:
        nodes.append(helper.make_node("Reshape", ["scores", "target"], ["reshaped"]))
        constants.append(numpy_helper.from_array(np.array(target), "target"))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_a_file_bytes_and_a_proto_give_the_same_bytes_under_their_own_names(tmp_path: Path) -> None:
    proto = model([None, 2])
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    forms: list[object] = [path, str(path), proto.SerializeToString(), proto]
    for form in forms:
        converted = convert(form)
        assert converted.model == proto.SerializeToString()
        assert [spec.name for spec in (*converted.inputs, *converted.outputs)] == ["pixels", "scores"]
        assert (converted.framework, converted.agreement) == ("ONNX", None)


def test_weights_beside_the_file_are_taken_in(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(model([None, 2]), path, save_as_external_data=True, location="weights", size_threshold=0)
    assert (tmp_path / "weights").exists()
    converted = convert(path)
    rows = np.ones((2, 2), dtype=np.float32)
    np.testing.assert_array_equal(
        runtime.load(converted.model).run({"pixels": rows})["scores"], np.ones((2, 3))
    )
    with pytest.raises(ConversionError, match="other files"):
        convert(path.read_bytes())
    (tmp_path / "weights").unlink()
    with pytest.raises(ConversionError, match="other files"):
        convert(path)


def test_a_fixed_batch_is_the_owners_choice() -> None:
    assert convert(model([4, 2])).inputs[0].shape == (4, 2)


def test_a_batch_dimension_that_is_free_in_name_only_is_refused() -> None:
    with pytest.raises(ConversionError, match=r"does not run on generated inputs pixels \[2, 2\]"):
        convert(model([None, 2], target=[1, 3]))


def test_what_is_declared_must_be_what_the_model_says() -> None:
    convert(model([None, 2]), np.float32, (None, 2))
    with pytest.raises(
        ConversionError, match=r"input_shape=\(None, 3\) contradicts .* pixels: float32 \[\*, 2\]"
    ):
        convert(model([None, 2]), np.float32, (None, 3))
    with pytest.raises(ConversionError, match="input_type=int64 contradicts"):
        convert(model([None, 2]), np.int64)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an ONNX model"),
        (b"PK\x03\x04 a zip", "not an ONNX model"),
        (b"\x80\x04\x95 a pickle", "not an ONNX model"),
    ],
)
def test_a_file_that_is_not_onnx_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "thing.onnx"
    path.write_bytes(content)
    with pytest.raises(ConversionError, match=f"thing.onnx.*{message}"):
        convert(path)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConversionError, match=r"Cannot read nowhere\.onnx"):
        convert("nowhere.onnx")


def test_a_model_beyond_onnxruntime_is_refused_with_its_reason() -> None:
    proto = model([None, 2])
    proto.graph.node[0].op_type = "Unheard"
    with pytest.raises(ConversionError, match=r"onnxruntime does not load the model.*Unheard"):
        convert(proto)
