"""XGBoost, LightGBM and CatBoost convert to ONNX that answers the same, near thresholds too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import catboost
import lightgbm
import numpy as np
import onnx
import pandas as pd
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from modelrocket import runtime
from modelrocket.convert import Converted, Limits, convert
from modelrocket.errors import ConversionError
from modelrocket.inputs import Values
from modelrocket.tensors import Array

pytestmark = pytest.mark.filterwarnings("ignore")

XGB: dict[str, Any] = {"n_estimators": 10, "max_depth": 4, "n_jobs": 1}
LGBM: dict[str, Any] = {"n_estimators": 10, "num_leaves": 12, "n_jobs": 1, "verbose": -1}
CAT: dict[str, Any] = {
    "iterations": 10,
    "depth": 4,
    "thread_count": 1,
    "verbose": 0,
    "allow_writing_files": False,
}
HASTY = {"n_estimators": 200, "learning_rate": 0.4}

CELLS, MALIGNANT = load_breast_cancer(return_X_y=True)
IRISES, SPECIES = load_iris(return_X_y=True)
PATIENTS, PROGRESS = load_diabetes(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
GAPS = CELLS.copy()
GAPS[::3, ::4] = np.nan
ZEROS = np.where(np.median(CELLS, axis=0) > CELLS, 0, CELLS)
GROUPS = np.arange(len(PATIENTS)) // 17
CATEGORIES = np.c_[np.arange(569) % 40, CELLS[:, 0], np.arange(569) * 7 % 5]
PARITY = ((CATEGORIES[:, 0] % 3 == 1) ^ (CATEGORIES[:, 2] % 2 == 0) ^ (MALIGNANT > 0)).astype(int)
CATEGORIES[::13, 0] = np.nan
CODED = {"min_child_samples": 3, "min_data_per_group": 3, "cat_smooth": 0.1}


def _matrix(rows: Array, labels: Array, **more: Any) -> xgboost.DMatrix:
    return xgboost.DMatrix(rows, label=labels, **more)


def _own_objective(labels: Any, scores: Any) -> tuple[Any, Any]:
    return scores - labels, np.ones_like(scores)


Built = tuple[Any, Array]
xgb_models: dict[str, Callable[[], Built]] = {
    "two classes": lambda: (xgboost.XGBClassifier(**XGB).fit(GAPS, MALIGNANT), GAPS),
    "three classes": lambda: (xgboost.XGBClassifier(**XGB).fit(IRISES, SPECIES), IRISES),
    "softmax": lambda: (
        xgboost.XGBClassifier(objective="multi:softmax", **XGB).fit(IRISES, SPECIES),
        IRISES,
    ),
    "logits": lambda: (
        xgboost.XGBClassifier(objective="binary:logitraw", **XGB).fit(CELLS, MALIGNANT),
        CELLS,
    ),
    "several labels": lambda: (
        xgboost.XGBClassifier(**XGB).fit(IRISES, np.c_[SPECIES == 0, SPECIES > 0, SPECIES > 1].astype(int)),
        IRISES,
    ),
    "numbers": lambda: (xgboost.XGBRegressor(**XGB).fit(PATIENTS, PROGRESS), PATIENTS),
    "counts": lambda: (
        xgboost.XGBRegressor(objective="count:poisson", **XGB).fit(PATIENTS, PROGRESS),
        PATIENTS,
    ),
    "two targets in one tree": lambda: (
        xgboost.XGBRegressor(multi_strategy="multi_output_tree", **XGB).fit(
            PATIENTS, np.c_[PROGRESS, -PROGRESS]
        ),
        PATIENTS,
    ),
    "dart": lambda: (
        xgboost.XGBRegressor(booster="dart", rate_drop=0.5, **XGB).fit(PATIENTS, PROGRESS),
        PATIENTS,
    ),
    "linear": lambda: (
        xgboost.XGBClassifier(booster="gblinear", n_estimators=5).fit(IRISES[20:], SPECIES[20:]),
        IRISES,
    ),
    "forest": lambda: (xgboost.XGBRFClassifier(**XGB).fit(IRISES, SPECIES), IRISES),
    "ranking": lambda: (
        xgboost.XGBRanker(**XGB).fit(PATIENTS, PROGRESS // 80, qid=GROUPS),
        PATIENTS,
    ),
    "pruned": lambda: (
        xgboost.XGBRegressor(gamma=20_000, tree_method="exact", **XGB).fit(PATIENTS, PROGRESS),
        PATIENTS,
    ),
    "zero is missing": lambda: (xgboost.XGBClassifier(missing=0, **XGB).fit(ZEROS, MALIGNANT), ZEROS),
    "categories": lambda: (
        xgboost.XGBClassifier(
            enable_categorical=True, feature_types=["c", "q", "c"], max_cat_to_onehot=3, **XGB
        ).fit(CATEGORIES, PARITY),
        CATEGORIES,
    ),
    "stopped early": lambda: (
        xgboost.XGBClassifier(**XGB | HASTY, early_stopping_rounds=2).fit(
            CELLS[::2], MALIGNANT[::2], eval_set=[(CELLS[1::2], MALIGNANT[1::2])], verbose=False
        ),
        CELLS,
    ),
    "own objective": lambda: (
        xgboost.XGBRegressor(objective=_own_objective, **XGB).fit(PATIENTS, PROGRESS),
        PATIENTS,
    ),
    "native": lambda: (
        xgboost.train({"objective": "multi:softmax", "num_class": 3}, _matrix(IRISES, SPECIES), 8),
        IRISES,
    ),
}
lightgbm_models: dict[str, Callable[[], Built]] = {
    "two classes": lambda: (lightgbm.LGBMClassifier(**LGBM).fit(GAPS, MALIGNANT), GAPS),
    "words": lambda: (lightgbm.LGBMClassifier(**LGBM).fit(IRISES, NAMES), IRISES),
    "one versus all": lambda: (
        lightgbm.LGBMClassifier(objective="multiclassova", **LGBM).fit(IRISES, NAMES),
        IRISES,
    ),
    "numbers": lambda: (lightgbm.LGBMRegressor(**LGBM).fit(PATIENTS, PROGRESS), PATIENTS),
    "square roots": lambda: (
        lightgbm.LGBMRegressor(reg_sqrt=True, **LGBM).fit(PATIENTS, PROGRESS - 100),
        PATIENTS,
    ),
    "counts": lambda: (
        lightgbm.LGBMRegressor(objective="poisson", **LGBM).fit(PATIENTS, PROGRESS),
        PATIENTS,
    ),
    "dart": lambda: (
        lightgbm.LGBMRegressor(boosting_type="dart", **LGBM).fit(PATIENTS, PROGRESS),
        PATIENTS,
    ),
    "forest": lambda: (
        lightgbm.LGBMClassifier(boosting_type="rf", bagging_freq=1, bagging_fraction=0.6, **LGBM).fit(
            IRISES, SPECIES
        ),
        IRISES,
    ),
    "ranking": lambda: (
        lightgbm.LGBMRanker(**LGBM).fit(PATIENTS, (PROGRESS // 80).astype(int), group=np.bincount(GROUPS)),
        PATIENTS,
    ),
    "zero is missing": lambda: (
        lightgbm.LGBMClassifier(zero_as_missing=True, **LGBM).fit(ZEROS, MALIGNANT),
        ZEROS,
    ),
    "nothing is missing": lambda: (
        lightgbm.LGBMClassifier(use_missing=False, **LGBM).fit(CELLS, MALIGNANT),
        GAPS,
    ),
    "thresholds beside zero": lambda: (
        lightgbm.LGBMRegressor(objective="fair", **LGBM).fit(PATIENTS, PROGRESS),
        PATIENTS,
    ),
    "a single leaf": lambda: (
        lightgbm.LGBMRegressor(min_child_samples=1000, n_estimators=3, verbose=-1).fit(PATIENTS, PROGRESS),
        PATIENTS,
    ),
    "categories": lambda: (
        lightgbm.LGBMClassifier(**LGBM | CODED).fit(CATEGORIES, PARITY, categorical_feature=[0, 2]),
        CATEGORIES,
    ),
    "own objective": lambda: (
        lightgbm.LGBMClassifier(objective=_own_objective, **LGBM).fit(CELLS, MALIGNANT),
        CELLS,
    ),
    "stopped early": lambda: (
        lightgbm.LGBMClassifier(**LGBM | HASTY).fit(
            CELLS[::2],
            MALIGNANT[::2],
            eval_set=[(CELLS[1::2], MALIGNANT[1::2])],
            callbacks=[lightgbm.early_stopping(2, verbose=False)],
        ),
        CELLS,
    ),
    "native": lambda: (
        lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(GAPS, label=MALIGNANT), 8),
        GAPS,
    ),
}
catboost_models: dict[str, Callable[[], Built]] = {
    "two classes": lambda: (catboost.CatBoostClassifier(**CAT).fit(GAPS, MALIGNANT > 0), GAPS),
    "words": lambda: (catboost.CatBoostClassifier(**CAT).fit(IRISES, NAMES), IRISES),
    "one versus all": lambda: (
        catboost.CatBoostClassifier(loss_function="MultiClassOneVsAll", **CAT).fit(IRISES, SPECIES),
        IRISES,
    ),
    "several labels": lambda: (
        catboost.CatBoostClassifier(loss_function="MultiLogloss", **CAT).fit(
            IRISES, np.c_[SPECIES == 0, SPECIES > 1].astype(int)
        ),
        IRISES,
    ),
    "numbers": lambda: (catboost.CatBoostRegressor(**CAT).fit(PATIENTS, PROGRESS), PATIENTS),
    "counts": lambda: (
        catboost.CatBoostRegressor(loss_function="Poisson", **CAT).fit(PATIENTS, PROGRESS),
        PATIENTS,
    ),
    "with its uncertainty": lambda: (
        catboost.CatBoostRegressor(loss_function="RMSEWithUncertainty", **CAT).fit(PATIENTS, PROGRESS),
        PATIENTS,
    ),
    "ranking": lambda: (
        catboost.CatBoostRanker(**CAT).fit(PATIENTS, PROGRESS // 80, group_id=GROUPS),
        PATIENTS,
    ),
    "missing is most": lambda: (
        catboost.CatBoostClassifier(nan_mode="Max", **CAT).fit(GAPS, MALIGNANT),
        GAPS,
    ),
    "leaves of any depth": lambda: (
        catboost.CatBoostClassifier(grow_policy="Lossguide", **CAT).fit(IRISES, NAMES),
        IRISES,
    ),
    "native": lambda: (catboost.CatBoost({"loss_function": "MultiClass"} | CAT).fit(IRISES, SPECIES), IRISES),
}
models = {
    f"{library}: {name}": build
    for library, built in (
        ("xgboost", xgb_models),
        ("lightgbm", lightgbm_models),
        ("catboost", catboost_models),
    )
    for name, build in built.items()
}


def answered(model: Any, rows: Array) -> dict[str, Array]:
    """By the library's own public calls."""
    given: Any = rows
    if isinstance(model, xgboost.Booster):
        given = xgboost.DMatrix(rows, feature_types=model.feature_types, enable_categorical=True)
    found = {"modelOutput": np.asarray(model.predict(given))}
    if hasattr(model, "predict_proba") and not callable(getattr(model, "objective", None)):
        found["probabilities"] = np.asarray(model.predict_proba(given))
    return found


def hard(rows: Array, values: Values) -> Array:
    """At each threshold, next to it on either side, far away, and with some missing."""
    random = np.random.default_rng(seed=0)
    parts = [rows]
    for column, thresholds in values.thresholds.items():
        at = thresholds[:: max(1, len(thresholds) // 40)].astype(rows.dtype)
        for near in (at, np.nextafter(at, np.inf, dtype=at.dtype), np.nextafter(at, -np.inf, dtype=at.dtype)):
            made = rows[random.integers(0, len(rows), len(near))]
            made[:, column] = near
            parts.append(made)
    for value in (np.nan, np.inf, -np.inf, 0.0, 1e-35, -1e-35, 1e-36, -0.5, 0.5, 1e10, -1.0):
        made = rows[:60].copy()
        made[random.random(made.shape) < 0.3] = value
        parts.append(made)
    return np.concatenate(parts)


def run(converted: Converted, rows: Array) -> dict[str, Array]:
    return runtime.load(converted.model).run({"modelInput": rows})


def assert_same(got: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert got[name].shape == value.shape
        if value.dtype.kind == "f":
            np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-5 * np.abs(value).max())
        else:
            np.testing.assert_array_equal(got[name], value)


@pytest.mark.parametrize("name", models)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_answers_are_the_models_own_where_rounding_or_a_missing_value_would_show(
    name: str, dtype: type
) -> None:
    model, rows = models[name]()
    rows = rows.astype(dtype)
    converted = convert(model, dtype, (None, rows.shape[1]))
    assert converted.source is not None
    values = converted.source.inputs.values["modelInput"]
    assert values.missing
    assert values.thresholds or "linear" in name or "leaf" in name
    asked = hard(rows, values)
    if isinstance(model, xgboost.Booster) or "linear" in name:  # these refuse infinities
        asked = asked[~np.isinf(asked).any(axis=1)]
    assert_same(run(converted, asked), answered(model, asked))


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "catboost"])
def test_numbers_of_any_type_are_taken_as_the_library_takes_them(library: str, dtype: str) -> None:
    model, _ = models[f"{library}: two classes"]()
    rows = CELLS.astype(dtype)
    converted = convert(model, dtype)
    assert converted.inputs[0].dtype == dtype
    assert_same(run(converted, rows), answered(model, rows))


@pytest.mark.parametrize("name", ["xgboost: numbers", "catboost: numbers"])
def test_a_library_that_computes_in_float32_needs_no_declared_type(name: str) -> None:
    model, rows = models[name]()
    (spec,) = convert(model).inputs
    assert str(spec) == f"float32 [*, {rows.shape[1]}]"


def test_lightgbm_needs_the_type_because_it_compares_as_precisely_as_it_is_asked() -> None:
    model, _ = models["lightgbm: numbers"]()
    with pytest.raises(ConversionError, match="needs input_type"):
        convert(model)


@pytest.mark.parametrize(
    ("library", "fitted"),
    [
        (xgboost, lambda frame: xgboost.XGBClassifier(enable_categorical=True, **XGB).fit(frame, PARITY)),
        (lightgbm, lambda frame: lightgbm.LGBMClassifier(**LGBM | CODED).fit(frame, PARITY)),
    ],
    ids=["xgboost", "lightgbm"],
)
def test_categories_of_a_frame_are_taken_as_their_codes_and_its_owner_is_told(
    library: Any, fitted: Callable[[pd.DataFrame], Any]
) -> None:
    colours = pd.Categorical(
        np.array(["red", "green", "blue", "white", "black"])[CATEGORIES[:, 2].astype(int)]
    )
    frame = pd.DataFrame({"size": CELLS[:, 0].astype(np.float32), "colour": colours})
    model = fitted(frame)
    converted = convert(model, np.float32)
    codes = np.c_[frame["size"], colours.codes].astype(np.float32)
    got = run(converted, codes)
    np.testing.assert_array_equal(got["modelOutput"], model.predict(frame))
    np.testing.assert_allclose(got["probabilities"], model.predict_proba(frame), atol=1e-6)
    assert converted.source is not None
    assert "categories (1)" in converted.source.notes[0]


pipelines: dict[str, tuple[Callable[[], Any], Array, Array]] = {
    "xgboost": (lambda: make_pipeline(MaxAbsScaler(), xgboost.XGBClassifier(**XGB)), GAPS, MALIGNANT),
    "lightgbm": (lambda: make_pipeline(MaxAbsScaler(), lightgbm.LGBMClassifier(**LGBM)), IRISES, NAMES),
    "catboost": (lambda: make_pipeline(MaxAbsScaler(), catboost.CatBoostClassifier(**CAT)), IRISES, NAMES),
    "catboost regressor": (
        lambda: make_pipeline(MaxAbsScaler(), catboost.CatBoostRegressor(**CAT)),
        PATIENTS,
        PROGRESS,
    ),
    "scaled to thresholds": (
        lambda: make_pipeline(StandardScaler(), xgboost.XGBRegressor(**XGB)),
        PATIENTS.astype(np.float32),
        PROGRESS,
    ),
    "calibrated scores": (
        lambda: CalibratedClassifierCV(lightgbm.LGBMClassifier(**LGBM), cv=2),
        CELLS,
        MALIGNANT,
    ),
    "stack of all three": (
        lambda: StackingClassifier(
            [
                ("a", xgboost.XGBClassifier(**XGB)),
                ("b", lightgbm.LGBMClassifier(**LGBM)),
                ("c", catboost.CatBoostClassifier(**CAT)),
            ],
            LogisticRegression(),
            cv=2,
        ),
        IRISES,
        NAMES,
    ),
}


@pytest.mark.parametrize("name", pipelines)
def test_boosters_convert_as_steps_of_pipelines(name: str) -> None:
    build, rows, labels = pipelines[name]
    model = build().fit(rows, labels)
    assert_same(run(convert(model, rows.dtype), rows), answered(model, rows))


def test_nodes_that_were_pruned_from_a_tree_are_left_behind() -> None:
    model, _ = models["xgboost: pruned"]()
    (node,) = (
        node
        for node in onnx.load_from_string(convert(model).model).graph.node
        if node.op_type == "TreeEnsembleRegressor"
    )
    told = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    leaves = told["nodes_modes"].count(b"LEAF")
    assert len(told["nodes_modes"]) == 2 * leaves - len(set(told["nodes_treeids"]))


def test_a_model_that_was_stopped_early_is_exported_by_another_process_at_its_best_iteration() -> None:
    model, rows = models["lightgbm: stopped early"]()
    assert 0 < model.best_iteration_ < model.n_estimators
    got = run(convert(model, np.float64, limits=Limits()), rows)
    assert_same(got, answered(model, rows))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        pytest.param(
            lambda: lightgbm.LGBMRegressor(linear_tree=True, **LGBM).fit(PATIENTS, PROGRESS),
            r"linear_tree does not convert: its leaves are linear models.\n.*without linear_tree",
            id="linear leaves",
        ),
        pytest.param(xgboost.XGBClassifier, "XGBClassifier is not fitted yet", id="unfitted XGBoost"),
        pytest.param(lightgbm.LGBMRanker, "LGBMRanker is not fitted yet", id="unfitted LightGBM"),
        pytest.param(
            catboost.CatBoostRegressor, "CatBoostRegressor is not fitted yet", id="unfitted CatBoost"
        ),
        pytest.param(lambda: _matrix(IRISES, SPECIES), "DMatrix is not a model of XGBoost", id="no model"),
    ],
)
def test_what_does_not_convert_is_refused_with_the_reason(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(build(), np.float32)


@pytest.mark.parametrize(
    ("input_type", "input_shape", "message"),
    [
        (np.float32, (None, 3), r"\(None, 3\) does not fit: the model was fitted on 4 features"),
        (str, None, "The model takes numbers, and input_type is string"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(input_type: Any, input_shape: Any, message: str) -> None:
    model, _ = models["xgboost: three classes"]()
    with pytest.raises(ConversionError, match=message):
        convert(model, input_type, input_shape)
