"""XGBoost, LightGBM and CatBoost, by task, and as steps of scikit-learn's pipelines.

A third of each data set is held out. Half of those rows have missing values in them, wherever the model was
trained with some; every model is asked in float32, and the ones named so in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import xgboost
from sklearn import (
    calibration,
    compose,
    datasets,
    ensemble,
    linear_model,
    model_selection,
    multiclass,
    multioutput,
    pipeline,
    preprocessing,
)

from modelrocket.tensors import Array
from tests.matrix.case import Case, Trained
from tests.matrix.catboost_tables import table_cases

PACKAGES = ("xgboost-cpu", "lightgbm", "catboost", "scikit-learn", "skl2onnx")

HELD_OUT = 3
_QUERY = 17
_LINEAR_LEAVES = "a tree of ONNX has numbers for leaves"
_XGB: dict[str, Any] = {"n_estimators": 40, "max_depth": 5, "n_jobs": 1}
_LGBM: dict[str, Any] = {"n_estimators": 40, "n_jobs": 1, "verbose": -1}
_CAT: dict[str, Any] = {"iterations": 40, "thread_count": 1, "verbose": 0, "allow_writing_files": False}


@dataclass(frozen=True)
class Rows:
    """Some rows and what is to be said of them; `held` is asked only."""

    fit: Array
    labels: Array
    held: Array

    @property
    def half(self) -> tuple[Array, Array]:
        return self.fit[::2], self.labels[::2]

    @property
    def other_half(self) -> tuple[Array, Array]:
        return self.fit[1::2], self.labels[1::2]

    @property
    def query(self) -> Array:
        """A number for each few rows, which are ranked together."""
        return np.arange(len(self.fit)) // _QUERY


def _split(rows: Array, labels: Array) -> Rows:
    held = np.arange(len(rows)) % HELD_OUT == 0
    return Rows(rows[~held], labels[~held], rows[held])


@cache
def cells() -> Rows:
    return _split(*datasets.load_breast_cancer(return_X_y=True))


@cache
def irises() -> Rows:
    return _split(*datasets.load_iris(return_X_y=True))


@cache
def wines() -> Rows:
    rows, labels = datasets.load_wine(return_X_y=True)
    return _split(rows, np.array(["barolo", "grignolino", "barbera"])[labels])


@cache
def digits() -> Rows:
    return _split(*datasets.load_digits(return_X_y=True))


@cache
def patients() -> Rows:
    return _split(*datasets.load_diabetes(return_X_y=True))


@cache
def several() -> Rows:
    """Three numbers of each patient."""
    found = patients()
    return replace(found, labels=np.c_[found.labels, -found.labels, np.sqrt(found.labels)])


@cache
def grades() -> Rows:
    """How relevant a patient is to its query, 0 to 4."""
    found = patients()
    return replace(found, labels=(found.labels // 80).astype(int))


@cache
def tags() -> Rows:
    """Of each flower two answers, yes or no."""
    found = irises()
    return replace(found, labels=np.c_[found.labels == 0, found.labels > 1].astype(int))


@cache
def gaps() -> Rows:
    """Cells of which a fifth of the measurements is missing."""
    found = cells()
    return replace(found, fit=_with_gaps(found.fit), held=np.r_[found.held, _with_gaps(found.held)])


def _with_gaps(rows: Array) -> Array:
    missing = np.random.default_rng(seed=0).random(rows.shape) < 0.2
    return np.where(missing, np.nan, rows)


@cache
def zeros() -> Rows:
    """Digits are half zeros, which some models take for missing values."""
    found = digits()
    return replace(found, labels=(found.labels > 4).astype(int))


@cache
def coded() -> Rows:
    """Two columns of category numbers beside a measurement; held-out rows have numbers never seen."""
    found = cells()
    made = [
        np.c_[number % 23, rows[:, 0], number * 7 % 5] for rows, number in _numbered(found.fit, found.held)
    ]
    labels = (made[0][:, 0] % 3 == 1) ^ (made[0][:, 2] % 2 == 0) ^ (found.labels > 0)
    held = made[1].copy()
    held[::5, 0] = 40
    held[::7, 2] = np.nan
    return Rows(made[0], labels.astype(int), held)


def _numbered(*tables: Array) -> list[tuple[Array, Array]]:
    return [(rows, np.arange(len(rows))) for rows in tables]


def _frame(rows: Array) -> pd.DataFrame:
    colours = np.array(["red", "green", "blue", "white", "black"])[np.nan_to_num(rows[:, 2]).astype(int)]
    return pd.DataFrame({"size": rows[:, 1], "colour": pd.Categorical(colours)})


def _own_objective(labels: Any, scores: Any) -> tuple[Any, Any]:
    return scores - labels, np.ones_like(scores)


@dataclass(frozen=True)
class _Task:
    kind: str
    rows: Callable[[], Rows]
    fitted: Callable[[Rows], Any]
    dtype: str = "float32"
    expected: str = ""


def cases() -> list[Case]:
    families = {"XGBoost": _xgboost(), "LightGBM": _lightgbm(), "CatBoost": _catboost()}
    named = {f"{family}: {name}": task for family, tasks in families.items() for name, task in tasks.items()}
    named |= {
        f"{name} with {family}": task for family, maker in MAKERS.items() for name, task in _steps(*maker)
    }
    matrices = [Case(name, task.kind, partial(_trained, task), task.expected) for name, task in named.items()]
    return [*matrices, *table_cases()]


def _trained(task: _Task) -> Trained:
    rows = task.rows()
    model = task.fitted(rows)
    held = rows.held.astype(task.dtype)
    return Trained(
        model, np.dtype(task.dtype), None, None, {"modelInput": held}, lambda: _answers(model, held)
    )


def _answers(model: Any, rows: Array) -> Mapping[str, Array]:
    given: Any = rows
    if isinstance(model, xgboost.Booster):
        given = xgboost.DMatrix(rows, feature_types=model.feature_types, enable_categorical=True)
    answers = {"modelOutput": np.asarray(model.predict(given))}
    if hasattr(model, "predict_proba") and not callable(getattr(model, "objective", None)):
        probabilities = model.predict_proba(given)
        each = probabilities if isinstance(probabilities, list) else [probabilities]
        answers |= {f"probabilities{number or ''}": one for number, one in enumerate(each)}
    return answers


def _fit(kind: Any, **parameters: Any) -> Callable[[Rows], Any]:
    return lambda rows: kind(**parameters).fit(rows.fit, rows.labels)


def _xgboost() -> dict[str, _Task]:
    classifier, regressor = xgboost.XGBClassifier, xgboost.XGBRegressor

    def classifies(rows: Callable[[], Rows], **more: Any) -> _Task:
        return _Task("classifier", rows, _fit(classifier, **_XGB | more))

    def regresses(rows: Callable[[], Rows], **more: Any) -> _Task:
        return _Task("regressor", rows, _fit(regressor, **_XGB | more))

    def native(rows: Callable[[], Rows], kind: str, **more: Any) -> _Task:
        return _Task(kind, rows, lambda said: xgboost.train(more, xgboost.DMatrix(said.fit, said.labels), 20))

    early = {"n_estimators": 300, "learning_rate": 0.5, "early_stopping_rounds": 3}
    return {
        "two classes": classifies(cells),
        "two classes, float64": replace(classifies(cells), dtype="float64"),
        "two classes, int64": replace(classifies(zeros), dtype="int64"),
        "ten classes": classifies(digits),
        "softmax": classifies(irises, objective="multi:softmax"),
        "hinge": classifies(cells, objective="binary:hinge"),
        "logits": classifies(cells, objective="binary:logitraw"),
        "several labels": classifies(tags),
        "missing values": classifies(gaps),
        "zero stands for a missing value": classifies(zeros, missing=0),
        "stopped early": _Task(
            "classifier",
            digits,
            lambda rows: classifier(**_XGB | early).fit(
                *rows.half, eval_set=[rows.other_half], verbose=False
            ),
        ),
        "categories": classifies(coded, enable_categorical=True, feature_types=["c", "q", "c"]),
        "categories, each alone": classifies(
            coded, enable_categorical=True, feature_types=["c", "q", "c"], max_cat_to_onehot=100
        ),
        "categories of a frame": _Task(
            "classifier",
            in_codes,
            lambda rows: classifier(enable_categorical=True, **_XGB).fit(_frame(coded().fit), rows.labels),
        ),
        "dart": classifies(irises, booster="dart", rate_drop=0.3),
        "linear": _Task("classifier", irises, _fit(classifier, booster="gblinear", n_estimators=20)),
        "forest": _Task("classifier", wines_numbered, _fit(xgboost.XGBRFClassifier, **_XGB)),
        "numbers": regresses(patients),
        "numbers, float64": replace(regresses(patients), dtype="float64"),
        **{
            objective: regresses(patients, objective=objective)
            for objective in (
                "count:poisson",
                "reg:gamma",
                "reg:tweedie",
                "reg:absoluteerror",
                "survival:cox",
            )
        },
        "quantiles": regresses(patients, objective="reg:quantileerror", quantile_alpha=[0.1, 0.5, 0.9]),
        "several numbers": regresses(several),
        "several numbers, one tree": regresses(several, multi_strategy="multi_output_tree"),
        "numbers, dart": regresses(patients, booster="dart", rate_drop=0.3),
        "numbers, linear": _Task("regressor", patients, _fit(regressor, booster="gblinear", n_estimators=20)),
        "numbers, forest": _Task("regressor", patients, _fit(xgboost.XGBRFRegressor, **_XGB)),
        "numbers, pruned": regresses(patients, gamma=5000, tree_method="exact"),
        "own objective": regresses(patients, objective=_own_objective),
        "ranking": _Task(
            "ranker",
            grades,
            lambda rows: xgboost.XGBRanker(**_XGB).fit(rows.fit, rows.labels, qid=rows.query),
        ),
        "Booster of two classes": native(cells, "booster", objective="binary:logistic"),
        "Booster of ten classes": native(digits, "booster", objective="multi:softprob", num_class=10),
        "Booster of labels": native(digits, "booster", objective="multi:softmax", num_class=10),
        "Booster of numbers": native(patients, "booster"),
    }


@cache
def wines_numbered() -> Rows:
    found = wines()
    return replace(found, labels=np.unique(found.labels, return_inverse=True)[1])


@cache
def in_codes() -> Rows:
    """What a model that was fitted on a frame takes: a size, and the code of a colour."""
    found = coded()
    frame = _frame(found.held)
    return replace(found, held=np.c_[frame["size"], frame["colour"].cat.codes])


def _lightgbm() -> dict[str, _Task]:
    classifier, regressor = lightgbm.LGBMClassifier, lightgbm.LGBMRegressor
    few = {"min_child_samples": 3, "min_data_per_group": 3, "cat_smooth": 0.1}
    bagged = {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}

    def classifies(rows: Callable[[], Rows], **more: Any) -> _Task:
        return _Task("classifier", rows, _fit(classifier, **_LGBM | more))

    def regresses(rows: Callable[[], Rows], **more: Any) -> _Task:
        return _Task("regressor", rows, _fit(regressor, **_LGBM | more))

    def native(rows: Callable[[], Rows], **more: Any) -> _Task:
        parameters = {"verbose": -1} | more
        return _Task(
            "booster",
            rows,
            lambda said: lightgbm.train(parameters, lightgbm.Dataset(said.fit, said.labels), 20),
        )

    return {
        "two classes": classifies(cells),
        "two classes, float64": replace(classifies(cells), dtype="float64"),
        "two classes, int64": replace(classifies(zeros), dtype="int64"),
        "three classes of words": classifies(wines),
        "ten classes": classifies(digits),
        "one versus all": classifies(wines, objective="multiclassova"),
        "missing values": classifies(gaps),
        "zero stands for a missing value": classifies(zeros, zero_as_missing=True),
        "nothing is missing": classifies(gaps, use_missing=False),
        "stopped early": _Task(
            "classifier",
            digits,
            lambda rows: classifier(**_LGBM | {"n_estimators": 300, "learning_rate": 0.3}).fit(
                *rows.half,
                eval_set=[rows.other_half],
                callbacks=[lightgbm.early_stopping(3, verbose=False)],
            ),
        ),
        "categories": _Task(
            "classifier",
            coded,
            lambda rows: classifier(**_LGBM | few).fit(rows.fit, rows.labels, categorical_feature=[0, 2]),
        ),
        "categories of a frame": _Task(
            "classifier",
            in_codes,
            lambda rows: classifier(**_LGBM | few).fit(_frame(coded().fit), rows.labels),
        ),
        "dart": classifies(wines, boosting_type="dart"),
        "goss": classifies(cells, data_sample_strategy="goss"),
        "forest": classifies(wines, **bagged),
        "own objective": classifies(cells, objective=_own_objective),
        "numbers": regresses(patients),
        "numbers, float64": replace(regresses(patients), dtype="float64"),
        **{
            objective: regresses(patients, objective=objective)
            for objective in (
                "poisson",
                "gamma",
                "tweedie",
                "quantile",
                "huber",
                "fair",
                "mape",
                "regression_l1",
            )
        },
        "square roots": regresses(patients, reg_sqrt=True),
        "numbers, dart": regresses(patients, boosting_type="dart"),
        "numbers, forest": regresses(patients, **bagged),
        "linear trees": replace(regresses(patients, linear_tree=True), expected=_LINEAR_LEAVES),
        "ranking": _Task(
            "ranker",
            grades,
            lambda rows: lightgbm.LGBMRanker(**_LGBM).fit(
                rows.fit, rows.labels, group=np.bincount(rows.query)
            ),
        ),
        "Booster of two classes": native(cells, objective="binary"),
        "Booster of ten classes": native(digits, objective="multiclass", num_class=10),
        "Booster of numbers": native(patients, objective="regression"),
    }


def _catboost() -> dict[str, _Task]:
    classifier, regressor = catboost.CatBoostClassifier, catboost.CatBoostRegressor

    def classifies(rows: Callable[[], Rows], **more: Any) -> _Task:
        return _Task("classifier", rows, _fit(classifier, **_CAT | more))

    def regresses(rows: Callable[[], Rows], **more: Any) -> _Task:
        return _Task("regressor", rows, _fit(regressor, **_CAT | more))

    def native(rows: Callable[[], Rows], loss: str) -> _Task:
        parameters = {"loss_function": loss} | _CAT
        return _Task("booster", rows, lambda said: catboost.CatBoost(parameters).fit(said.fit, said.labels))

    return {
        "two classes": classifies(cells),
        "two classes, float64": replace(classifies(cells), dtype="float64"),
        "two classes, int64": replace(classifies(zeros), dtype="int64"),
        "three classes of words": classifies(wines),
        "ten classes": classifies(digits, iterations=20),
        "one versus all": classifies(wines, loss_function="MultiClassOneVsAll"),
        "several labels": classifies(tags, loss_function="MultiLogloss"),
        "missing values": classifies(gaps),
        "missing values are most": classifies(gaps, nan_mode="Max"),
        "stopped early": _Task(
            "classifier",
            wines,
            lambda rows: classifier(
                **_CAT | {"iterations": 300, "learning_rate": 0.5, "early_stopping_rounds": 3}
            ).fit(*rows.half, eval_set=rows.other_half),
        ),
        "depth by depth": classifies(wines, grow_policy="Depthwise"),
        "leaf by leaf": classifies(cells, grow_policy="Lossguide"),
        "numbers": regresses(patients),
        "numbers, float64": replace(regresses(patients), dtype="float64"),
        **{
            loss: regresses(patients, loss_function=loss)
            for loss in (
                "Poisson",
                "Tweedie:variance_power=1.5",
                "MAE",
                "Quantile:alpha=0.9",
                "Expectile:alpha=0.3",
            )
        },
        "with its uncertainty": regresses(patients, loss_function="RMSEWithUncertainty"),
        "quantiles": regresses(patients, loss_function="MultiQuantile:alpha=0.1,0.5,0.9"),
        "several numbers": regresses(several, loss_function="MultiRMSE"),
        "ranking": _Task(
            "ranker",
            grades,
            lambda rows: catboost.CatBoostRanker(**_CAT).fit(rows.fit, rows.labels, group_id=rows.query),
        ),
        "CatBoost of two classes": native(cells, "Logloss"),
        "CatBoost of three classes": native(wines, "MultiClass"),
        "CatBoost of numbers": native(patients, "RMSE"),
    }


Maker = Callable[[], Any]
MAKERS: Mapping[str, tuple[Maker, Maker, Callable[[], Rows]]] = {
    "XGBoost": (
        lambda: xgboost.XGBClassifier(**_XGB),
        lambda: xgboost.XGBRegressor(**_XGB),
        wines_numbered,
    ),
    "LightGBM": (lambda: lightgbm.LGBMClassifier(**_LGBM), lambda: lightgbm.LGBMRegressor(**_LGBM), wines),
    "CatBoost": (
        lambda: catboost.CatBoostClassifier(**_CAT | {"iterations": 20}),
        lambda: catboost.CatBoostRegressor(**_CAT),
        wines,
    ),
}
"""A classifier, a regressor, and rows whose labels the classifier takes."""


def _steps(classifier: Maker, regressor: Maker, labelled: Callable[[], Rows]) -> list[tuple[str, _Task]]:
    """What scikit-learn makes of a booster."""
    logistic = linear_model.LogisticRegression

    def of(kind: str, rows: Callable[[], Rows], made: Callable[[], Any]) -> _Task:
        return _Task(kind, rows, lambda said: made().fit(said.fit, said.labels))

    def pair() -> list[tuple[str, Any]]:
        return [("booster", classifier()), ("logistic", pipeline.make_pipeline(_scaler(), logistic()))]

    classify, regress = partial(of, "classifier", labelled), partial(of, "regressor", patients)
    return [
        (
            "Pipeline: scaler",
            of("pipeline", labelled, lambda: pipeline.make_pipeline(_scaler(), classifier())),
        ),
        (
            "Pipeline: scaler, numbers",
            of("pipeline", patients, lambda: pipeline.make_pipeline(_scaler(), regressor())),
        ),
        (
            "Pipeline: MinMaxScaler, missing values",
            of("pipeline", gaps, lambda: pipeline.make_pipeline(preprocessing.MinMaxScaler(), classifier())),
        ),
        (
            "Pipeline: ColumnTransformer",
            of("pipeline", labelled, lambda: pipeline.make_pipeline(_columns(), classifier())),
        ),
        ("GridSearchCV", classify(lambda: model_selection.GridSearchCV(classifier(), {}, cv=2))),
        ("VotingClassifier, soft", classify(lambda: ensemble.VotingClassifier(pair(), voting="soft"))),
        ("VotingClassifier, hard", of("classifier", cells, lambda: ensemble.VotingClassifier(pair()))),
        (
            "VotingRegressor",
            regress(lambda: ensemble.VotingRegressor([("a", regressor()), ("b", regressor())])),
        ),
        ("StackingClassifier", classify(lambda: ensemble.StackingClassifier(pair(), cv=2))),
        ("StackingRegressor", regress(lambda: ensemble.StackingRegressor([("a", regressor())], cv=2))),
        (
            "CalibratedClassifierCV",
            classify(lambda: calibration.CalibratedClassifierCV(classifier(), cv=2)),
        ),
        ("BaggingClassifier", classify(lambda: ensemble.BaggingClassifier(classifier(), 2, random_state=0))),
        ("OneVsRestClassifier", classify(lambda: multiclass.OneVsRestClassifier(classifier()))),
        ("OneVsOneClassifier", of("classifier", irises, lambda: multiclass.OneVsOneClassifier(classifier()))),
        (
            "MultiOutputClassifier",
            of("classifier", tags, lambda: multioutput.MultiOutputClassifier(classifier())),
        ),
        (
            "MultiOutputRegressor",
            of("regressor", several, lambda: multioutput.MultiOutputRegressor(regressor())),
        ),
    ]


def _scaler() -> Any:
    return preprocessing.StandardScaler()


def _columns() -> Any:
    scaled, clipped = [0, 1, 2, 3, 4], [5, 6]
    return compose.ColumnTransformer(
        [("scaled", _scaler(), scaled), ("clipped", preprocessing.MaxAbsScaler(), clipped)],
        remainder="passthrough",
    )
