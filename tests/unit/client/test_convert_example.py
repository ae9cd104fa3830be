"""A few rows that a model takes go along in it, made of what it was trained on and never of one whole row."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from modelrocket.convert import Converted, convert
from modelrocket.convert.example import KEY
from modelrocket.convert.int8 import with_int8_weights
from modelrocket.errors import ConversionError
from modelrocket.runtime import load

TABLE = pd.DataFrame({"town": ["Rome", "Oslo"] * 20, "rooms": [float(n % 7) for n in range(40)]})


def told_of(model: bytes) -> Any:
    found = {entry.key: entry.value for entry in onnx.load_from_string(model).metadata_props}
    return json.loads(found.get(KEY, "{}"))


def example_of(model: bytes) -> Any:
    return told_of(model).get("inputs")


def of_words(**options: Any) -> Converted:
    columns = ColumnTransformer([("words", OneHotEncoder(), ["town"])], remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression()).fit(TABLE, TABLE["rooms"] > 3)
    return convert(model, sample=TABLE[:4], **options)


def test_the_words_are_those_it_knows() -> None:
    converted = of_words()
    example = example_of(converted.payload.model)
    assert {word for (word,) in example["town"]} == {"Rome", "Oslo"}
    assert len(example["town"]) == len(example["rooms"]) > 1
    feeds = {"town": np.array(example["town"], object), "rooms": np.array(example["rooms"], np.float32)}
    assert set(load(converted.payload.model).run(feeds)) == {"modelOutput", "probabilities"}


def test_as_many_rows_as_fit() -> None:
    counts = {}
    for width in (4, 300, 1_000, 5_000):
        rows = np.random.default_rng(0).standard_normal((20, width)).astype(np.float32)
        converted = convert(LogisticRegression(max_iter=1).fit(rows, rows[:, 0] > 0), np.float32)
        example = example_of(converted.model)
        counts[width] = 0 if example is None else len(example["modelInput"])
        assert len(json.dumps(example)) < 20_000
    assert counts == {4: 16, 300: 4, 1_000: 1, 5_000: 0}


def test_it_outlives_quantisation() -> None:
    rows = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 4], np.eye(4, dtype=np.float32).ravel())
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    assert example_of(convert(made).model) is None  # a file goes as it is
    converted = convert(made, sample=rows)
    assert len(example_of(converted.model)["x"]) == 16
    assert example_of(with_int8_weights(converted.model)[0]) == example_of(converted.model)


@pytest.mark.parametrize("unknown", ["error", "ignore"])
def test_none_of_its_words_and_whole_numbers_go_along_unwanted(unknown: str) -> None:
    columns = ColumnTransformer([("words", OneHotEncoder(handle_unknown=unknown), ["town"])])
    model = make_pipeline(columns, LogisticRegression()).fit(TABLE, TABLE["rooms"] > 3)
    converted = convert(model, sample=TABLE, example_values=False)
    example = example_of(converted.model)
    if unknown == "error":
        assert example is None  # it takes no other words
    else:
        assert not {"Rome", "Oslo"} & {word for (word,) in example["town"]}
    assert converted.agreement is not None
    assert converted.agreement.sample_rows == len(TABLE)


@pytest.mark.parametrize("own", [True, False])
def test_of_an_onnx_file_likewise(own: bool) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.INT64, ["n", 2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    sample = np.full((5, 2), 424242)
    told = told_of(convert(made, sample=sample, example_values=own).model)
    assert bool(np.any(np.array(told["inputs"]["x"]) == 424242)) is own
    assert ("made_up" in told) is not own


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ([[0.5, 1.0]], r"the number 0\.5 at \[0, 0\], not a whole number"),
        ([[1.0, np.nan]], r"the number nan at \[0, 1\], not a whole number"),
        ([[1, 300]], r"the number 300 at \[0, 1\], outside -128 to 127"),
        ([[1.0, 1e30]], "too large to be a whole number exactly"),
    ],
)
def test_a_sample_that_its_integers_cannot_hold_is_refused(sample: Any, message: str) -> None:
    rows = np.random.default_rng(0).standard_normal((20, 2)).astype(np.float32)
    model = LogisticRegression().fit(rows, rows[:, 0] > 0)
    with pytest.raises(ConversionError, match=message):
        convert(model, np.int8, sample=sample)
    assert convert(model, np.int8, sample=[[1.0, -2.0]]).inputs[0].dtype == "int8"
