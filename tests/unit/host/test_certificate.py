"""Which models may be batched: shown by running them, never by their shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from chalicelib.contract.messages import Certificate
from host_container.certificate import certify
from host_container.session import load_bytes
from tests.support import onnx_models


def graph(nodes: Sequence[onnx.NodeProto], *, width: int = 3, **weights: list[float]) -> bytes:
    """`x: [n, width] → y: [n, …]`."""
    built = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", None])],
        [onnx.numpy_helper.from_array(np.array(value, np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def certified(content: bytes) -> Certificate:
    return certify(load_bytes(content), free=1, rows_max=16)


ROWS_DEPEND = {
    "mean over the rows": [node("ReduceMean", "x", "m", axes=[0]), node("Sub", "x m", "y")],
    "softmax over the rows": [node("Softmax", "x", "y", axis=0)],
    "sorted rows": [
        node("Shape", "x", "s"),
        node("Constant", "", "zero", value_ints=[0]),
        node("Gather", "s zero", "k"),
        node("TopK", "x k", "y i", axis=0),
    ],
    "a sum that runs over the rows": [
        node("Constant", "", "axis", value_int=0),
        node("CumSum", "x axis", "y"),
    ],
    "the largest row's share": [node("ReduceMax", "x", "m", axes=[0]), node("Div", "x m", "y")],
    "rows in reverse": [
        node("Constant", "", "from", value_ints=[-1]),
        node("Constant", "", "to", value_ints=[-1000]),
        node("Constant", "", "axes", value_ints=[0]),
        node("Constant", "", "steps", value_ints=[-1]),
        node("Slice", "x from to axes steps", "y"),
    ],
    "the variance over the rows, as in training": [
        node("ReduceMean", "x", "m", axes=[0]),
        node("Sub", "x m", "d"),
        node("Mul", "d d", "dd"),
        node("ReduceMean", "dd", "v", axes=[0]),
        node("Sqrt", "v", "s"),
        node("Add", "s w", "e"),
        node("Div", "d e", "y"),
    ],
    "the three best rows": [
        node("Constant", "", "three", value_ints=[3]),
        node("Constant", "", "rows", value_ints=[1]),
        node("Concat", "x x x", "xxx", axis=0),
        node("TopK", "xxx three", "best i", axis=0),
        node("ReduceSum", "best rows", "sum", keepdims=1),
        node("ReduceMax", "sum", "m", keepdims=0),
        node("Add", "x m", "y"),
    ],
    "the row before": [
        node("Constant", "", "pads", value_ints=[1, 0, -1, 0]),
        node("Pad", "x pads", "y"),
    ],
    "noise, that is a state which every run moves on": [
        node("RandomNormalLike", "x", "noise", seed=1.0),
        node("Add", "x noise", "y"),
    ],
    "how many rows there are": [
        node("Shape", "x", "s"),
        node("Cast", "s", "f", to=TensorProto.FLOAT),
        node("ReduceMax", "f", "m", keepdims=0),
        node("Mul", "x m", "y"),
    ],
}


@pytest.mark.parametrize("name", ROWS_DEPEND)
def test_a_model_whose_rows_depend_on_each_other_is_refused(name: str) -> None:
    certificate = certified(graph(ROWS_DEPEND[name], w=[0.001]))
    found = certificate.counterexample
    assert not certificate.batchable
    assert found is not None and found.output == "y" and found.position < found.rows
    assert found.expected != found.got
    assert found.trial in certificate.evidence


def test_a_counterexample_can_be_followed_by_hand() -> None:
    """Each row minus the largest: alone it is nothing."""
    nodes = [node("ReduceMax", "x", "m", axes=[0]), node("Sub", "x m", "y")]
    found = certified(graph(nodes, width=2)).counterexample
    assert found is not None
    assert (found.trial, found.rows, found.expected) == (
        "2 rows together",
        2,
        ("0", "0")[: len(found.expected)],
    )
    assert any(float(value) < 0 for value in found.got)


def test_a_model_that_answers_the_same_row_otherwise_the_second_time_is_refused() -> None:
    """A running counter cannot be built in ONNX: nothing outlives a run but the state of random numbers."""
    found = certified(graph(ROWS_DEPEND["noise, that is a state which every run moves on"])).counterexample
    assert found is not None
    assert (found.trial, found.rows) == ("the same row again", 1)


ORDINARY = {
    "scaling": [node("Mul", "x w", "y")],
    "softmax over the columns": [node("Softmax", "x", "y", axis=1)],
    "normalised by its own mean": [node("ReduceMean", "x", "m", axes=[1]), node("Sub", "x m", "y")],
}


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_model_passes(name: str) -> None:
    certificate = certified(graph(ORDINARY[name], w=[2.0]))
    assert certificate.batchable, certificate.evidence


@pytest.mark.parametrize(
    "estimator",
    [LogisticRegression(max_iter=200), RandomForestClassifier(5), MLPClassifier((32,), max_iter=20)],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_real_classifiers_pass(estimator: LogisticRegression) -> None:
    digits = load_digits()
    rows = digits.data.astype(np.float32)
    fitted = estimator.fit(rows, digits.target)
    model = to_onnx(fitted, rows[:1], options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3})
    certificate = certified(model.SerializeToString())
    assert certificate.batchable, certificate.evidence


def test_a_fixed_first_dimension_is_no_batch() -> None:
    built = helper.make_graph(
        [node("Neg", "x", "y")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
    )
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    certificate = certified(model.SerializeToString())
    assert (certificate.batchable, certificate.evidence) == (False, '"x" has no free first dimension')


def test_a_number_of_rows_in_two_places_is_no_batch() -> None:
    built = helper.make_graph(
        [node("MatMul", "x x", "y")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "n"])],
    )
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    certificate = certified(model.SerializeToString())
    assert not certificate.batchable
    assert "grows with the number of rows" in certificate.evidence


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
def test_other_floats_are_compared_as_finely_as_they_are_kept(dtype: int) -> None:
    for nodes, batchable in (([node("Neg", "x", "y")], True), ([node("Softmax", "x", "y", axis=0)], False)):
        cast = [
            node("Cast", "x", "c", to=TensorProto.FLOAT),
            *renamed(nodes),
            node("Cast", "d", "y", to=dtype),
        ]
        built = helper.make_graph(
            cast,
            "g",
            [helper.make_tensor_value_info("x", dtype, ["n", 3])],
            [helper.make_tensor_value_info("y", dtype, ["n", 3])],
        )
        model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        certificate = certified(model.SerializeToString())
        assert certificate.batchable is batchable, certificate.evidence


def renamed(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Between the casts."""
    [one] = nodes
    one.input[0], one.output[0] = "c", "d"
    return nodes


def test_texts_and_whole_numbers_are_rows_too() -> None:
    for kind in (TensorProto.STRING, TensorProto.INT64):
        built = helper.make_graph(
            [node("Identity", "x", "y")],
            "g",
            [helper.make_tensor_value_info("x", kind, ["n", 2])],
            [helper.make_tensor_value_info("y", kind, ["n", 2])],
        )
        model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        certificate = certified(model.SerializeToString())
        assert certificate.batchable, certificate.evidence


def test_a_table_that_knows_few_numbers_is_asked_for_those() -> None:
    built = helper.make_graph(
        [node("Gather", "table x", "y")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT64, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [onnx.numpy_helper.from_array(np.array([1, 2], np.float32), "table")],
    )
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    certificate = certified(model.SerializeToString())
    assert certificate.batchable, certificate.evidence


def test_rows_may_be_texts() -> None:
    assert certified(onnx_models.identity("string")).batchable
