"""A model that knows few words or numbers is tried with those of its example."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from chalicelib.contract.errors import InvalidModel
from host_container.certificate import certify
from host_container.examine import examine
from host_container.generated import EXAMPLE_KEY, SEED, example, first_run, random_inputs, zeros
from host_container.session import Session, load

WORDS: Final = ["small", "large"]
GOOD: Final[dict[str, Any]] = {
    "size": [["small"], ["large"]],
    "count": [[3], [2]],
    "x": [[0.5, None], [1, 2]],
}


def choosy(told: Any = None) -> ModelProto:
    """`size: string [n, 1]` of two words, `count: int64 [n, 1]` from 2 to 3, `x: float32 [n, 2]`."""
    encoder: Any = {"zeros": 0, "domain": "ai.onnx.ml"}
    nodes = [
        helper.make_node("OneHotEncoder", ["size"], ["words"], cats_strings=WORDS, **encoder),
        helper.make_node("OneHotEncoder", ["count"], ["numbers"], cats_int64s=[2, 3], **encoder),
        helper.make_node("Identity", ["x"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info("size", TensorProto.STRING, ["n", 1]),
        helper.make_tensor_value_info("count", TensorProto.INT64, ["n", 1]),
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2]),
    ]
    outputs = [
        helper.make_tensor_value_info("words", TensorProto.FLOAT, ["n", 1, 2]),
        helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["n", 1, 2]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2]),
    ]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs), opset_imports=opsets, ir_version=9
    )
    if told is not None:
        helper.set_model_props(made, {EXAMPLE_KEY: told})
    return made


def session_of(folder: Path, made: ModelProto) -> Session:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return load(path)


def test_without_one_it_does_not_run_and_says_what_would_help(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"does not run on zeros.*Unknown Category.*modelrocket\.example"):
        first_run(session_of(tmp_path, choosy()))


def test_words_and_whole_numbers_are_drawn_from_it(tmp_path: Path) -> None:
    session = session_of(tmp_path, choosy(json.dumps({"inputs": GOOD})))
    first = zeros(session, rows=2, free=1)
    assert {name: rows.tolist() for name, rows in first.items()} == {
        "size": [["small"], ["small"]],
        "count": [[3], [3]],
        "x": [[0, 0], [0, 0]],
    }
    rows = random_inputs(session, np.random.default_rng(SEED), rows=64, free=1)
    assert set(rows["size"].ravel()) == set(WORDS)
    assert set(rows["count"].ravel()) == {2, 3}
    assert len(np.unique(rows["x"])) == 128


def test_it_is_examined_and_certified_with_it(tmp_path: Path) -> None:
    session = session_of(tmp_path, choosy(json.dumps({"inputs": GOOD})))
    report = examine(tmp_path / "model.onnx", load_seconds_max=60, begins=lambda doing: None)
    assert report.signature == session.signature
    certificate = certify(session, free=first_run(session).free, rows_max=8)
    assert certificate.batchable


def beside_the_mean(told: Any) -> ModelProto:
    """`x: int64 [n, 2]` less the mean of all rows that share the run."""
    nodes = [
        helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["floats", "mean"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.INT64, ["n", 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    opsets = [helper.make_opsetid("", 17)]
    made = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=opsets, ir_version=8)
    helper.set_model_props(made, {EXAMPLE_KEY: json.dumps({"inputs": {"x": told}})})
    return made


@pytest.mark.parametrize("told", [[[3, 4]], [[3, 4], [3, 4]], [[3, 4], [3, 5]]])
def test_rows_of_one_example_that_are_alike_prove_nothing(told: Any, tmp_path: Path) -> None:
    session = session_of(tmp_path, beside_the_mean(told))
    certificate = certify(session, free=first_run(session).free, rows_max=8)
    assert not certificate.batchable and certificate.counterexample


def test_an_example_of_one_row_is_no_proof_where_nothing_else_is_taken(tmp_path: Path) -> None:
    one_row = {name: rows[:1] for name, rows in GOOD.items()}
    session = session_of(tmp_path, choosy(json.dumps({"inputs": one_row})))
    assert not certify(session, free=first_run(session).free, rows_max=8).batchable


def test_it_gives_free_dimensions_their_size(tmp_path: Path) -> None:
    words = helper.make_tensor_value_info("words", TensorProto.STRING, ["n", "words"])
    out = helper.make_tensor_value_info("out", TensorProto.STRING, ["n", "words"])
    graph = helper.make_graph([helper.make_node("Identity", ["words"], ["out"])], "g", [words], [out])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    helper.set_model_props(made, {EXAMPLE_KEY: json.dumps({"inputs": {"words": [["a", "b", "c"]]}})})
    assert zeros(session_of(tmp_path, made), rows=2, free=8)["words"].tolist() == [["a", "b", "c"]] * 2


@pytest.mark.parametrize(
    "told",
    [
        "",
        "{",
        "[]",
        '{"inputs": 3}',
        "[" * 50_000,
        json.dumps({"inputs": GOOD | {"count": [[3]]}}),
        json.dumps({"inputs": GOOD | {"count": [["3"], ["2"]]}}),
        json.dumps({"inputs": GOOD | {"x": [[1.0], [2.0]]}}),
        json.dumps({"inputs": {name: [] for name in GOOD}}),
        json.dumps({"inputs": GOOD | {"size": [[], []]}}),
        json.dumps({"inputs": {"size": GOOD["size"]}}),
    ],
)
def test_one_that_does_not_fit_counts_for_nothing(told: str, tmp_path: Path) -> None:
    assert example(session_of(tmp_path, choosy(told))) == {}
