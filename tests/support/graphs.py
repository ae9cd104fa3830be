"""Small real ONNX models whose answers say which model answered."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def marked(mark: float) -> onnx.ModelProto:
    """`[n, 1] → [n, 2]`: each row is the mark and the row's own value."""
    nodes = [
        helper.make_node("Mul", ["modelInput", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "mark"], ["marks"]),
        helper.make_node("Concat", ["marks", "modelInput"], ["modelOutput"], axis=1),
    ]
    constants = [
        numpy_helper.from_array(np.array([value], np.float32), name)
        for name, value in (("zero", 0.0), ("mark", mark))
    ]
    graph = helper.make_graph(
        nodes,
        "marked",
        [helper.make_tensor_value_info("modelInput", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("modelOutput", TensorProto.FLOAT, ["n", 2])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def busy(turns: int) -> onnx.ModelProto:
    """`[n, 1] → [n, 1]`, the same: after so many turns of a loop, about a millisecond per thousand."""

    def column(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1])

    def truth(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.BOOL, [])

    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["v"], ["w"])],
        "turn",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), truth("go"), column("v")],
        [truth("on"), column("w")],
    )
    loop = helper.make_node("Loop", ["turns", "always", "modelInput"], ["modelOutput"], body=body)
    constants = [
        numpy_helper.from_array(np.array(2 * (turns // 2)), "turns"),
        numpy_helper.from_array(np.array(True), "always"),
    ]
    graph = helper.make_graph([loop], "busy", [column("modelInput")], [column("modelOutput")], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
