"""The receipt says what was compared, with what, and what came of it; or that nothing was."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from onnx import TensorProto, helper
from sklearn.linear_model import LogisticRegression

from modelrocket import verify
from modelrocket.convert import Converted, convert
from modelrocket.errors import ConversionError
from modelrocket.inputs import Feeds, Inputs
from modelrocket.receipt import receipt
from modelrocket.runtime import load
from modelrocket.tensors import Array, TensorSpec
from modelrocket.verify import OutputAgreement

SHA256 = "ab" * 32


@pytest.fixture(scope="module")
def converted() -> Converted:
    random = np.random.default_rng(0)
    rows = random.standard_normal((100, 4)).astype(np.float32)
    return convert(LogisticRegression().fit(rows, rows[:, 0] > 0), np.float32, (None, 4))


def test_a_comparison_is_told_output_by_output(converted: Converted) -> None:
    told = receipt(converted, model_sha256=SHA256)
    assert (told["compared"], told["model_sha256"], told["seed"]) == (True, SHA256, 2)
    assert told["tolerance"] == {"relative": 1e-3, "absolute": 1e-5}
    labels, probabilities = told["outputs"]
    assert (labels["name"], labels["dtype"], labels["label_flips"]) == ("modelOutput", "int64", 0)
    assert labels["rows"] == probabilities["rows"] == told["rows"] > 512
    assert 0 < probabilities["abs_error_max"] < 1e-5
    assert set(told["versions"]) >= {"modelrocket", "python", "numpy", "onnx", "onnxruntime", "exporter"}
    assert told["versions"]["framework"].startswith("scikit-learn ")
    assert set(told["opsets"]) == {"ai.onnx", "ai.onnx.ml"}


def test_the_same_model_gives_the_same_receipt(converted: Converted) -> None:
    random = np.random.default_rng(0)
    rows = random.standard_normal((100, 4)).astype(np.float32)
    again = convert(LogisticRegression().fit(rows, rows[:, 0] > 0), np.float32, (None, 4))
    assert receipt(again, model_sha256=SHA256) == receipt(converted, model_sha256=SHA256)


def test_a_model_without_an_original_says_so() -> None:
    told = receipt(convert(doubling()), model_sha256=SHA256)
    assert (told["compared"], "no original" in told["reason"]) == (False, True)
    assert "outputs" not in told
    assert told["opsets"] == {"ai.onnx": 20}


def test_of_more_outputs_than_fit_the_worst_are_kept(converted: Converted) -> None:
    assert converted.agreement is not None
    many = tuple(
        OutputAgreement("n" * 500 + str(number), "float32", 7, rel_error_max=number * 1e-6)
        for number in range(1000)
    )
    wide = replace(converted, agreement=replace(converted.agreement, outputs=many))
    told = receipt(wide, model_sha256=SHA256)
    assert len(orjson.dumps(told)) <= 64 * 1024
    kept = told["outputs"]
    assert len(kept) + told["outputs_left_out"] == 1000
    assert [one["name"] for one in kept] == [one.name for one in many[-len(kept) :]]


INPUTS = Inputs((TensorSpec("x", "float32", (None, 2)),))


def test_a_flipped_label_is_counted_in_a_tie_and_refused_elsewhere() -> None:
    session = load(constant_label().SerializeToString())

    def undecided(feeds: Feeds) -> Feeds:
        rows = feeds["x"]
        return {"label": flipped_once(rows), "probabilities": np.full((len(rows), 2), 0.5, np.float32)}

    def decided(feeds: Feeds) -> Feeds:
        rows = feeds["x"]
        return {"label": flipped_once(rows), "probabilities": np.tile([[0.9, 0.1]], (len(rows), 1))}

    agreement = verify.compare(session, INPUTS, undecided)
    label, _ = agreement.outputs
    assert label.ties == label.rows == agreement.rows
    assert 0 < label.label_flips < label.rows
    with pytest.raises(ConversionError, match='"label": 1 of 1 rows differ'):
        verify.compare(session, INPUTS, decided)


def test_the_sample_is_hashed_by_its_values() -> None:
    session = load(doubling().SerializeToString())

    def original(feeds: Feeds) -> Feeds:
        return {"y": feeds["x"] * 2}

    found = verify.compare(session, INPUTS, original)
    digest = hashlib.sha256()
    for count in (1, 2, 3, 7, 512):
        rows = INPUTS.rows(count)["x"]
        digest.update(f"x float32 {rows.shape} ".encode() + rows.tobytes())
    assert found.sample_sha256 == digest.hexdigest()


def flipped_once(rows: Array) -> Array:
    labels = np.zeros(len(rows), np.int64)
    labels[0] = 1
    return labels


def doubling() -> Any:
    """`y = 2x`."""
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    return _model(nodes, [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])])


def constant_label() -> Any:
    """`label = 0` and undecided `probabilities`, whatever comes."""
    nodes = [
        helper.make_node("Sub", ["x", "x"], ["zeros"]),
        helper.make_node("Sigmoid", ["zeros"], ["probabilities"]),
        helper.make_node("ArgMax", ["zeros"], ["label"], axis=1, keepdims=0),
    ]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
    ]
    return _model(nodes, outputs)


def _model(nodes: list[Any], outputs: list[Any]) -> Any:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
