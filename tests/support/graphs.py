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
