"""A few rows that a model takes go along in it, made of what it was trained on and never of one whole row."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from modelrocket.convert import Converted, convert
from modelrocket.convert.example import KEY
from modelrocket.convert.int8 import with_int8_weights
from modelrocket.runtime import load

TABLE = pd.DataFrame({"town": ["Rome", "Oslo"] * 20, "rooms": [float(n % 7) for n in range(40)]})


def example_of(model: bytes) -> Any:
    found = {entry.key: entry.value for entry in onnx.load_from_string(model).metadata_props}
    return json.loads(found[KEY])["inputs"] if KEY in found else None


def of_words() -> Converted:
    columns = ColumnTransformer([("words", OneHotEncoder(), ["town"])], remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression()).fit(TABLE, TABLE["rooms"] > 3)
    return convert(model, sample=TABLE[:4])


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
