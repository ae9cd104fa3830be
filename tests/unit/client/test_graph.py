"""Renaming what a graph takes and gives changes names only, never answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, checker, helper

from modelrocket import runtime
from modelrocket.convert.graph import flattened_output, tensors, tidied, with_names

ROWS = np.array([[1.0], [-2.0]], dtype=np.float32)


def value(name: str, shape: list[int | None] | None = None) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape or [None, 1])


def model(nodes: list[NodeProto], *, inputs: list[str], outputs: list[str]) -> ModelProto:
    graph = helper.make_graph(nodes, "g", [value(n) for n in inputs], [value(n) for n in outputs])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def branch(name: str, node: NodeProto) -> GraphProto:
    return helper.make_graph([node], name, [], [value(node.output[0])])


def answers(proto: ModelProto) -> list[Any]:
    checker.check_model(proto)
    session = runtime.load(proto.SerializeToString())
    return [array.tolist() for array in session.run({session.inputs[0].name: ROWS}).values()]


node = helper.make_node
condition = node("ReduceMax", ["x"], ["top"], keepdims=0)
positive = node("Greater", ["top", "zero"], ["is_positive"])
zero = node("Constant", [], ["zero"], value_float=0.0)
graphs = {
    "a chain whose output is used inside": model(
        [node("Relu", ["x"], ["label"]), node("Neg", ["label"], ["score"])],
        inputs=["x"],
        outputs=["label", "score"],
    ),
    "an inner value that already has the wanted name": model(
        [
            node("Neg", ["x"], ["modelOutput"]),
            node("Abs", ["modelOutput"], ["modelInput"]),
            node("Exp", ["modelInput"], ["y"]),
        ],
        inputs=["x"],
        outputs=["y"],
    ),
    "outputs that swap their names": model(
        [node("Neg", ["x"], ["probabilities"]), node("Abs", ["x"], ["modelOutput"])],
        inputs=["x"],
        outputs=["probabilities", "modelOutput"],
    ),
    "an output that is the input": model([node("Neg", ["x"], ["y"])], inputs=["x"], outputs=["x", "y"]),
    "an outer value used inside a branch": model(
        [
            node("Neg", ["x"], ["label"]),
            zero,
            condition,
            positive,
            node(
                "If",
                ["is_positive"],
                ["y"],
                then_branch=branch("then", node("Exp", ["label"], ["modelInput"])),
                else_branch=branch("else", node("Abs", ["x"], ["inner"])),
            ),
        ],
        inputs=["x"],
        outputs=["label", "y"],
    ),
}


@pytest.mark.parametrize("name", graphs)
def test_a_renamed_graph_answers_the_same_under_new_names(name: str) -> None:
    before = graphs[name]
    names = ["modelOutput", "probabilities"][: len(before.graph.output)]
    after = with_names(before, inputs=["modelInput"], outputs=names)
    assert [v.name for v in after.graph.input] == ["modelInput"]
    assert [v.name for v in after.graph.output] == names
    assert answers(after) == answers(before)


def test_further_outputs_are_dropped() -> None:
    after = with_names(
        graphs["outputs that swap their names"], inputs=["modelInput"], outputs=["modelOutput"]
    )
    assert answers(after) == [(-ROWS).tolist()]


def test_a_column_becomes_a_vector() -> None:
    after = flattened_output(graphs["a chain whose output is used inside"], "label")
    assert answers(after)[0] == [1.0, 0.0]


def test_tidying_merges_imports_and_drops_notes_everywhere() -> None:
    before = graphs["an outer value used inside a branch"]
    noted = ModelProto()
    noted.CopyFrom(before)
    noted.opset_import.extend([helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)])
    noted.doc_string = "in /home/me"
    noted.graph.node[-1].doc_string = "in /home/me"
    inner = noted.graph.node[-1].attribute[0].g.node[0].metadata_props.add()
    inner.key, inner.value = "stack_trace", "in /home/me"
    tidy = tidied(noted)
    assert [(o.domain, o.version) for o in tidy.opset_import] == [("", 20), ("ai.onnx.ml", 3)]
    assert b"/home/me" not in tidy.SerializeToString()
    assert answers(tidy) == answers(before)


def test_nested_tensors_are_found() -> None:
    hidden = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [1.0])
    constant = branch("then", node("Constant", [], ["c"], value=hidden))
    proto = model(
        [node("If", ["x"], ["y"], then_branch=constant, else_branch=constant)], inputs=["x"], outputs=["y"]
    )
    assert "hidden" in {tensor.name for tensor in tensors(proto)}
