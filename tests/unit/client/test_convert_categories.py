"""Models that take categories as strings and whole numbers answer as they do, for unseen ones too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import catboost
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    VotingClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from modelrocket import runtime
from modelrocket.convert import Converted, Limits, convert
from modelrocket.errors import ConversionError
from modelrocket.tensors import Array

pytestmark = pytest.mark.filterwarnings("ignore")

CELLS, MALIGNANT = load_breast_cancer(return_X_y=True)
RANDOM = np.random.default_rng(0)
TOWNS = np.array(["Rome", "Oslo", "Łódź", "a town whose name is longer than any block of a hash", ""], object)
TABLE = pd.DataFrame(
    {
        "radius": np.where(RANDOM.random(569) < 0.1, np.nan, CELLS[:, 0]).astype(np.float32),
        "town": TOWNS[RANDOM.integers(0, 5, 569)],
        "grade": RANDOM.integers(-2, 6, 569),
        "side": np.array(["left", "right"], object)[RANDOM.integers(0, 2, 569)],
        "texture": CELLS[:, 1].astype(np.float32),
    }
)
WORDS = ["town", "grade", "side"]
PARITY = (MALIGNANT ^ TABLE["town"].isin(["Rome", ""]) ^ (TABLE["grade"] % 3 == 0)).astype(int).to_numpy()
LEVELS = np.array(["low", "middle", "high"], object)[PARITY + (TABLE["texture"] > 18)]
CAT: dict[str, Any] = {
    "iterations": 40,
    "depth": 5,
    "learning_rate": 0.3,
    "thread_count": 1,
    "verbose": 0,
    "allow_writing_files": False,
    "cat_features": WORDS,
}
COMBINING = {"model_size_reg": 0, "max_ctr_complexity": 4}


def hard(table: pd.DataFrame) -> pd.DataFrame:
    """With categories that nobody has seen, and numbers at the edges, in all combinations."""
    made = table.sample(2000, replace=True, random_state=0, ignore_index=True)
    strange: dict[str, list[Any]] = {
        "town": ["rome", "Rome ", "1", "🚀"],
        "grade": [-3, 99, 2**40],
        "side": ["", "up"],
    }
    for name, values in strange.items():
        for value in values:
            made.loc[RANDOM.random(2000) < 0.1, name] = value
    made.loc[RANDOM.random(2000) < 0.1, "radius"] = np.float32(np.nan)
    made.loc[RANDOM.random(2000) < 0.1, "texture"] = np.float32(-1e30)
    return made


def by_column(table: pd.DataFrame) -> dict[str, Array]:
    dtypes: dict[str, type] = {"radius": np.float32, "texture": np.float32, "grade": np.int64}
    return {str(name): table[[name]].to_numpy(dtype=dtypes.get(str(name), object)) for name in table}


def run(converted: Converted, table: pd.DataFrame) -> dict[str, Array]:
    return runtime.load(converted.model).run(by_column(table))


catboost_models: dict[str, Callable[[], Any]] = {
    "each category alone": lambda: catboost.CatBoostClassifier(one_hot_max_size=20, **CAT).fit(TABLE, PARITY),
    "counts of each": lambda: catboost.CatBoostClassifier(**CAT).fit(TABLE, PARITY),
    "combinations": lambda: catboost.CatBoostClassifier(**CAT | COMBINING).fit(TABLE, PARITY),
    "three classes": lambda: catboost.CatBoostClassifier(**CAT | COMBINING).fit(TABLE, LEVELS),
    "numbers": lambda: catboost.CatBoostRegressor(**CAT | COMBINING).fit(TABLE, PARITY + CELLS[:, 4]),
    "every kind of count": lambda: catboost.CatBoostRegressor(
        simple_ctr=["Buckets", "BinarizedTargetMeanValue"],
        combinations_ctr=["Buckets", "BinarizedTargetMeanValue", "Counter"],
        **CAT | COMBINING,
    ).fit(TABLE, PARITY),
    "missing is most": lambda: catboost.CatBoostClassifier(nan_mode="Max", **CAT | COMBINING).fit(
        TABLE, PARITY
    ),
    "leaf by leaf": lambda: catboost.CatBoostClassifier(grow_policy="Lossguide", **CAT).fit(TABLE, PARITY),
}


@pytest.mark.parametrize("name", catboost_models)
def test_catboost_answers_as_it_does_for_categories_seen_and_unseen(name: str) -> None:
    model = catboost_models[name]()
    converted = convert(model, sample=TABLE)
    assert {(spec.name, spec.dtype) for spec in converted.inputs} == {
        ("radius", "float32"),
        ("town", "string"),
        ("grade", "int64"),
        ("side", "string"),
        ("texture", "float32"),
    }
    asked = pd.concat([TABLE, hard(TABLE)], ignore_index=True)
    answers = run(converted, asked)
    expected = model.predict(asked)
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(answers["modelOutput"], expected, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(answers["modelOutput"], expected)
        np.testing.assert_allclose(answers["probabilities"], model.predict_proba(asked), atol=1e-6)


def test_catboosts_sample_need_hold_every_category_once_and_names_no_other() -> None:
    model = catboost.CatBoostClassifier(**CAT).fit(TABLE, PARITY)
    few = pd.concat([TABLE.drop_duplicates("town"), TABLE.drop_duplicates("grade"), TABLE[:9]])
    few = pd.concat([few, few[:1].assign(town="a secret", grade=77)])
    converted = convert(model, sample=few)
    np.testing.assert_array_equal(run(converted, TABLE)["modelOutput"], model.predict(TABLE))
    assert "Łódź".encode() in converted.model
    assert b"a secret" not in converted.model


def test_catboosts_columns_without_names_are_inputs_by_their_numbers() -> None:
    rows = TABLE[["town", "texture", "side"]].to_numpy(object)
    model = catboost.CatBoostClassifier(**CAT | {"cat_features": [0, 2]}).fit(rows, PARITY)
    converted = convert(model, sample=rows, limits=Limits())
    feeds = {
        str(number): rows[:, [number]].astype(dtype)
        for number, dtype in enumerate([object, "float32", object])
    }
    np.testing.assert_array_equal(
        runtime.load(converted.model).run(feeds)["modelOutput"], model.predict(rows)
    )


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (None, r"hashes alone: their names must come from a sample.\n.*sample=X_train"),
        (TABLE[TABLE["town"] != "Rome"], r'1 or more categories of "town" that the sample does not have'),
        (TABLE.drop(columns="side"), "sample has no column side; it has radius, town"),
        (TABLE.assign(grade=0.5), r'categories of "grade" are float64 in the sample'),
        (np.zeros((3, 2)), r"shape \[3, 2\], and the model was fitted on 5 features"),
    ],
    ids=["none", "a category is missing", "a column is missing", "fractions", "too narrow"],
)
def test_catboosts_categories_that_have_no_name_are_refused(sample: Any, message: str) -> None:
    model = catboost.CatBoostClassifier(**CAT).fit(TABLE, PARITY)
    with pytest.raises(ConversionError, match=message):
        convert(model, sample=sample)


def test_catboosts_combinations_that_the_sample_lacks_are_refused() -> None:
    model = catboost.CatBoostClassifier(**CAT | COMBINING).fit(TABLE, PARITY)
    few = pd.concat([TABLE.drop_duplicates("town"), TABLE.drop_duplicates("grade"), TABLE[:5]])
    with pytest.raises(ConversionError, match=r"combinations of categories of .*\n.*sample=X_train"):
        convert(model, sample=few)


def test_catboosts_categories_inside_a_pipeline_are_refused() -> None:
    words = TABLE.drop(columns="grade")
    booster = catboost.CatBoostClassifier(**CAT | {"cat_features": ["town", "side"]})
    model = make_pipeline(FunctionTransformer(), booster).fit(words, PARITY)
    with pytest.raises(ConversionError, match="categorical features do not convert inside another model"):
        convert(model, sample=words)


# Boosted histograms


FRAME = TABLE.astype({"town": "category", "side": "category", "grade": "float32"})
histograms: dict[str, Callable[[], tuple[Any, pd.DataFrame, Array]]] = {
    "by their dtype": lambda: (
        HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=20),
        FRAME,
        PARITY,
    ),
    "by their names": lambda: (
        HistGradientBoostingClassifier(categorical_features=WORDS, max_iter=20),
        TABLE,
        LEVELS,
    ),
    "strings alone": lambda: (
        HistGradientBoostingClassifier(categorical_features=["town", "side"], max_iter=20),
        TABLE.drop(columns=["radius", "grade", "texture"]),
        PARITY,
    ),
    "numbers": lambda: (
        HistGradientBoostingRegressor(categorical_features="from_dtype", max_iter=20, loss="poisson"),
        FRAME,
        PARITY + CELLS[:, 4],
    ),
    "a search": lambda: (
        GridSearchCV(HistGradientBoostingClassifier(max_iter=10), {"max_depth": [2, 4]}, cv=2),
        FRAME,
        PARITY,
    ),
    "a pipeline": lambda: (
        make_pipeline(HistGradientBoostingClassifier(categorical_features=[1, 2, 3], max_iter=20)),
        TABLE,
        PARITY,
    ),
}


@pytest.mark.parametrize("name", histograms)
def test_boosted_histograms_answer_as_they_do_for_categories_seen_and_unseen(name: str) -> None:
    model, table, labels = histograms[name]()
    model.fit(table, labels)
    converted = convert(model)
    texts = {spec.name for spec in converted.inputs if spec.dtype == "string"}
    assert texts == {"town", "side"}
    assert {spec.dtype for spec in converted.inputs} <= {"string", "float32"}
    asked = pd.concat([TABLE, hard(TABLE).astype({"grade": "float32"})], ignore_index=True)
    asked = asked[list(table.columns)].astype(dict.fromkeys({"grade"} & {*table.columns}, "float32"))
    feeds = {
        name: value.astype("float32") if name == "grade" else value
        for name, value in by_column(asked).items()
    }
    answers = runtime.load(converted.model).run(feeds)
    expected = model.predict(asked)
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(answers["modelOutput"], expected, rtol=1e-5)
    else:
        np.testing.assert_array_equal(answers["modelOutput"], expected)
        np.testing.assert_allclose(answers["probabilities"], model.predict_proba(asked), atol=1e-6)
    assert converted.agreement is not None
    judged = {one.kind for one in converted.agreement.kinds if one.judged}
    assert judged >= {"unseen category", "empty string"}


def test_boosted_histograms_of_an_array_of_strings_and_numbers_ask_for_a_table() -> None:
    rows = TABLE[["town", "texture"]].to_numpy(object)
    model = HistGradientBoostingClassifier(categorical_features=[0], max_iter=5).fit(rows, PARITY)
    with pytest.raises(ConversionError, match=r"array of strings and of numbers.\nFit it on a table"):
        convert(model)


def test_boosted_histograms_that_another_model_asks_with_strings_are_refused() -> None:
    model = VotingClassifier([("one", HistGradientBoostingClassifier(max_iter=5))]).fit(FRAME, PARITY)
    with pytest.raises(ConversionError, match="categories that are strings, and another model asks it"):
        convert(model, sample=TABLE)
