"""A small model as a graph and a file of weights, well made or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from chalicelib.contract.messages import WEIGHTS_LOCATION

SIZE: Final = 64
WEIGHT_BYTES: Final = 4 * SIZE * SIZE
FIRST: Final = np.eye(SIZE, dtype=np.float32) * 2
SECOND: Final = np.eye(SIZE, dtype=np.float32) * 3
WEIGHTS: Final = FIRST.tobytes() + SECOND.tobytes()

Change = Callable[[ModelProto], None]


def apart(name: str, **entries: Any) -> TensorProto:
    """An initializer of 64 x 64 floats in the file beside; entries replace those that say where."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[SIZE, SIZE])
    tensor.data_location = TensorProto.EXTERNAL
    told = {"location": WEIGHTS_LOCATION, "offset": 0, "length": WEIGHT_BYTES} | entries
    for key, given in told.items():
        if given is not None:
            tensor.external_data.add(key=key, value=str(given))
    return tensor


def graph(change: Change = lambda model: None) -> bytes:
    """`y = x · FIRST · SECOND`, so 6 x."""
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["h"]),
        helper.make_node("MatMul", ["h", "second"], ["y"]),
    ]
    shape = [None, SIZE]
    made = helper.make_graph(
        nodes,
        "two files",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [apart("first"), apart("second", offset=WEIGHT_BYTES)],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    change(model)
    return bytes(model.SerializeToString())


def lay_out(folder: Path, content: bytes, weights: bytes | None = WEIGHTS) -> Path:
    """The graph's path, its weights beside it."""
    path = folder / "model.onnx"
    path.write_bytes(content)
    if weights is not None:
        (folder / WEIGHTS_LOCATION).write_bytes(weights)
    return path


def second(**entries: Any) -> Change:
    """The second weight said to be elsewhere."""
    return lambda model: model.graph.initializer[1].CopyFrom(apart("second", **entries))


def saved_by_onnx(folder: Path, *, layers: int, size: int) -> Path:
    """A model as other tools leave it: a graph, and one file of `layers` weights of `size` x `size` floats.

    It answers with its input, multiplied by 2 in each layer.
    """
    weight = onnx.numpy_helper.from_array
    weights = [weight(np.eye(size, dtype=np.float32) * 2, f"w{index}") for index in range(layers)]
    nodes = [helper.make_node("MatMul", [f"h{i}", f"w{i}"], [f"h{i + 1}"]) for i in range(layers)]
    shape = [None, size]
    made = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("h0", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"h{layers}", TensorProto.FLOAT, shape)],
        weights,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path = folder / "exported.onnx"
    onnx.save(model, path, save_as_external_data=True, location="exported.onnx.data", size_threshold=0)
    return path
