"""CatBoost on tables of numbers, words and whole numbers that are categories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import catboost
import numpy as np

from tests.matrix.case import Case, Trained
from tests.matrix.sklearn_data import passengers

_CATEGORIES = ["siblings", "sex", "port"]
_CAT: dict[str, Any] = {"iterations": 40, "thread_count": 1, "verbose": 0, "allow_writing_files": False}
_COMBINING = {"model_size_reg": 0, "max_ctr_complexity": 3}
_MODELS: Mapping[str, tuple[str, Callable[..., Any], dict[str, Any]]] = {
    "categories of words": ("classifier", catboost.CatBoostClassifier, {}),
    "categories, each alone": ("classifier", catboost.CatBoostClassifier, {"one_hot_max_size": 10}),
    "categories in combinations": ("classifier", catboost.CatBoostClassifier, _COMBINING),
    "categories, leaf by leaf": ("classifier", catboost.CatBoostClassifier, {"grow_policy": "Lossguide"}),
    "categories, numbers": ("regressor", catboost.CatBoostRegressor, _COMBINING),
}


def table_cases() -> list[Case]:
    return [
        Case(f"CatBoost: {name}", kind, partial(_trained, maker, more))
        for name, (kind, maker, more) in _MODELS.items()
    ]


def _trained(maker: Callable[..., Any], more: dict[str, Any]) -> Trained:
    """Of the held-out rows some have a port and a number of siblings that nobody had."""
    table, survived = passengers()
    model = maker(cat_features=_CATEGORIES, **_CAT, **more).fit(table[:300], survived[:300])
    held = table[300:].reset_index(drop=True).astype({"fare": "float32", "age": "float32"})
    held.loc[::9, "port"] = "X"
    held.loc[::7, "siblings"] = 12
    dtypes = {"fare": "float32", "age": "float32", "siblings": "int64"}
    feeds = {name: held[name].to_numpy(dtype=dtypes.get(name, object)).reshape(-1, 1) for name in held}
    return Trained(model, None, None, table[:300], feeds, partial(_answers, model, held))


def _answers(model: Any, rows: Any) -> Mapping[str, Any]:
    answers = {"modelOutput": np.asarray(model.predict(rows))}
    if hasattr(model, "predict_proba"):
        answers["probabilities"] = model.predict_proba(rows)
    return answers
