"""Which models may be batched: shown by running them, never by their shapes."""

from __future__ import annotations

import time
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

from host_container.certificate import Certificate, certify
from host_container.session import load_bytes


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
    session = load_bytes(content)
    return certify(session.signature, session.run, seed=1, clock=time.perf_counter)


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
    "how many rows there are": [
        node("Shape", "x", "s"),
        node("Cast", "s", "f", to=TensorProto.FLOAT),
        node("ReduceMax", "f", "m", keepdims=0),
        node("Mul", "x m", "y"),
    ],
}


@pytest.mark.parametrize("name", ROWS_DEPEND)
def test_a_model_whose_rows_depend_on_each_other_is_refused(name: str) -> None:
    certificate = certified(graph(ROWS_DEPEND[name]))
    assert not certificate.batchable
    assert "row" in certificate.evidence or "rows" in certificate.evidence


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
    assert certificate.gain > 1.2


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


def test_a_model_that_sharing_does_not_speed_up_is_left_alone() -> None:
    """A run that costs as much per row together as alone: the clock says so."""
    session = load_bytes(graph(ORDINARY["scaling"], w=[2.0]))
    spent = 0.0

    def run(feeds: Any) -> Any:
        nonlocal spent
        spent += 0.001 * len(feeds["x"])
        return session.run(feeds)

    certificate = certify(session.signature, run, seed=1, clock=lambda: spent)
    assert not certificate.batchable
    assert "would not pay" in certificate.evidence
