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

from modelrocket import display, verify
from modelrocket.agreement import Difference, KindAgreement, Outcome, OutputAgreement
from modelrocket.convert import Converted, convert
from modelrocket.errors import ConversionError
from modelrocket.inputs import Feeds, Inputs
from modelrocket.receipt import receipt
from modelrocket.runtime import load
from modelrocket.tensors import Array, TensorSpec

SHA256 = "ab" * 32


ROWS = np.random.default_rng(0).standard_normal((100, 4)).astype(np.float32)
FITTED = LogisticRegression().fit(ROWS, ROWS[:, 0] > 0)


@pytest.fixture(scope="module")
def converted() -> Converted:
    return convert(FITTED, np.float32, (None, 4))


def test_a_comparison_is_told_output_by_output(converted: Converted) -> None:
    told = receipt(converted, model_sha256=SHA256)
    assert (told["compared"], told["model_sha256"], told["seed"]) == (True, SHA256, 2)
    assert told["tolerance"] == {"relative": 1e-3, "absolute": 1e-5}
    labels, probabilities = told["outputs"]
    assert (labels["name"], labels["dtype"], labels["label_flips"]) == ("modelOutput", "bool", 0)
    judged = sum(kind["rows"] for kind in told["kinds"] if kind["judged"])
    assert told["rows"] > labels["rows"] == probabilities["rows"] == judged > 512
    assert 0 < probabilities["abs_error_max"] < 1e-5
    assert set(told["versions"]) >= {"modelrocket", "python", "numpy", "onnx", "onnxruntime", "exporter"}
    assert told["versions"]["framework"].startswith("scikit-learn ")
    assert set(told["opsets"]) == {"ai.onnx", "ai.onnx.ml"}


def test_every_kind_of_row_is_told_with_its_outcome(converted: Converted) -> None:
    kinds = {one["kind"]: one for one in receipt(converted, model_sha256=SHA256)["kinds"]}
    assert kinds["ordinary"] == {
        "kind": "ordinary",
        "judged": True,
        "rows": 1 + 2 + 3 + 7 + 512,
        "rows_refused": 0,
        "outcome": "agrees",
        "refusal": "",
        "evidence": "",
    }
    assert (kinds["zero"]["judged"], kinds["zero"]["outcome"]) == (True, "agrees")
    missing = kinds["NaN"]
    assert (missing["judged"], missing["rows"], missing["rows_refused"]) == (False, 0, 5)
    assert missing["refusal"].startswith("ValueError: Input X contains NaN.")


def test_the_sample_is_told_by_its_hash_alone() -> None:
    sample = ROWS[:10] * np.float32(1.2345)
    told = receipt(convert(FITTED, np.float32, sample=sample), model_sha256=SHA256)
    digest = hashlib.sha256(f"modelInput float32 {sample.shape} ".encode() + sample.tobytes())
    assert told["sample"] == {"rows": 10, "sha256": digest.hexdigest()}
    assert all(f"{value:.4g}" not in str(told) for value in sample.ravel())
    kinds = {one["kind"]: one for one in told["kinds"]}
    assert (kinds["sample"]["rows"], kinds["sample"]["outcome"]) == (1 + 2 + 3 + 7 + 10, "agrees")


def test_a_mismatch_that_was_allowed_is_told_for_ever() -> None:
    contrary = LogisticRegression().fit(ROWS, ROWS[:, 0] > 0)
    predict = contrary.predict
    contrary.predict = lambda rows: ~predict(rows)
    with pytest.raises(ConversionError, match="does not answer like the original") as refused:
        convert(contrary, np.float32)
    assert "allow_mismatch=True" in refused.value.hint
    converted = convert(contrary, np.float32, allow_mismatch=True)
    told = receipt(converted, model_sha256=SHA256)
    assert told["mismatch"]["accepted"] is True
    first = told["mismatch"]["differences"][0]
    assert (first["output"], first["kind"], first["rows_differing"], first["rows"]) == (
        "modelOutput",
        "ordinary",
        512,
        512,
    )
    assert "the original says" in first["what"]
    assert first["inputs"].startswith("modelInput = [")
    assert display.checked(converted).startswith("does NOT answer like the original, which was allowed")


def test_a_model_that_agrees_has_no_mismatch_in_its_receipt(converted: Converted) -> None:
    allowed = convert(FITTED, np.float32, allow_mismatch=True)
    assert receipt(allowed, model_sha256=SHA256) == receipt(converted, model_sha256=SHA256)
    assert "mismatch" not in receipt(allowed, model_sha256=SHA256)
    assert display.checked(allowed).startswith("answers like the original on ")


def test_what_cannot_be_compared_is_refused_also_where_a_mismatch_is_allowed() -> None:
    other = LogisticRegression().fit(ROWS, ROWS[:, 0] > 0)
    other.predict = lambda rows: np.zeros((len(rows), 3))
    with pytest.raises(ConversionError, match=r'Output "modelOutput": .* shape'):
        convert(other, np.float32, allow_mismatch=True)


def test_what_the_converter_notes_is_shown_and_kept(converted: Converted) -> None:
    assert converted.source is not None
    noted = replace(converted, source=replace(converted.source, notes=("The input is cast.",)))
    assert receipt(noted, model_sha256=SHA256)["notes"] == ["The input is cast."]
    shown = display.notes(noted)
    assert shown[0] == "The input is cast."
    assert shown[-1] == (
        "The original raises an error on NaN, infinite rows, where the uploaded model may answer."
    )


def test_the_largest_receipt_fits(converted: Converted) -> None:
    """Long names and messages, of letters that take three bytes each."""
    assert converted.agreement is not None
    assert converted.source is not None
    long = "漢" * 1000
    difference = Difference(long, long, 1, 2, long, long)
    kinds = [
        KindAgreement(kind, judged, 1, 1, Outcome.DIFFERS, refusal=long, differences=(difference,) * 50)
        for kind in (
            "threshold",
            "non-ASCII string",
            "boundary",
            "sample",
            "ordinary",
            "zero",
            "huge",
        )
        for judged in (True, False)
    ]
    outputs = tuple(OutputAgreement(long, "float32", 7, rel_error_max=number) for number in range(1000))
    agreement = replace(converted.agreement, kinds=tuple(kinds), outputs=outputs, accepted=True)
    source = replace(converted.source, notes=(long,) * 100)
    told = receipt(replace(converted, agreement=agreement, source=source), model_sha256=SHA256)
    assert len(orjson.dumps(told)) <= (64 - 16) * 1024  # the rest is quantisation's
    assert told["mismatch"]["differences_left_out"] > 0


def test_the_same_model_gives_the_same_receipt(converted: Converted) -> None:
    again = convert(LogisticRegression().fit(ROWS, ROWS[:, 0] > 0), np.float32, (None, 4))
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
    assert label.ties == label.rows
    assert 0 < label.label_flips < label.rows
    assert agreement.mismatch == ()
    assert {one.output for one in verify.compare(session, INPUTS, decided).mismatch} >= {"label"}


def test_the_rows_are_hashed_by_their_values() -> None:
    session = load(doubling().SerializeToString())

    def original(feeds: Feeds) -> Feeds:
        asked.append(feeds["x"])
        return {"y": feeds["x"] * 2}

    asked: list[Array] = []
    found = verify.compare(session, INPUTS, original)
    digest = hashlib.sha256()
    last = [number for number, rows in enumerate(asked) if len(rows) == 1][-1]
    compared = asked[last:]  # before: how many are affordable
    for rows in compared:
        digest.update(f"x float32 {rows.shape} ".encode() + rows.tobytes())
    assert found.rows_sha256 == digest.hexdigest()
    assert found.rows == sum(map(len, compared))


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
