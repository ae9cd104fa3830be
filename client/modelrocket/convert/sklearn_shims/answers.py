"""What a scikit-learn estimator says of rows, by output name.

predict           `modelOutput`; and of a classifier `probabilities` (`probabilities1`, … of further targets),
                  of an outlier detector `scores`, which are its decision function
transform         `modelOutput`, of what has no predict, and of selectors of features
kneighbors        `modelOutput`: the distances, and `modelOutput1`: which rows, of what has neither
"""

import warnings
from typing import Any

import numpy as np

from modelrocket.convert.interface import OUTPUT, PROBABILITIES
from modelrocket.errors import UnsupportedModel
from modelrocket.tensors import Array

SCORES = "scores"
NEIGHBOURS = f"{OUTPUT}1"
METHODS = ("predict", "transform", "kneighbors")


def check_answers(model: Any) -> None:
    """Raises `UnsupportedModel` for what says nothing of new rows."""
    if any(hasattr(model, method) for method in METHODS):
        return
    name = type(model).__name__
    if hasattr(model, "fit_predict") or hasattr(model, "fit_transform"):
        raise UnsupportedModel(
            f"{name} speaks only of the rows that it was fitted on: it has neither predict nor transform.",
            hint="Deploy a model trained on what it found, such as a KNeighborsClassifier on its labels.",
        )
    raise UnsupportedModel(
        f"{name} has neither predict nor transform.",
        hint="Give a fitted classifier, regressor or transformer.",
    )


def answers(model: Any, rows: Any) -> dict[str, Array]:
    """Whatever the estimator raises is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # feature names, which plain arrays do not have
        try:
            return _answered(model, rows)
        except (TypeError, ValueError):
            if getattr(rows, "dtype", None) != np.float32:
                raise
            return _answered(model, rows.astype(np.float64))  # some take what they were fitted on alone


def _answered(model: Any, rows: Any) -> dict[str, Array]:
    if hasattr(model, "predict") and not hasattr(model, "get_support"):
        found = {OUTPUT: _dense(model.predict(rows))}
        if hasattr(model, "predict_proba"):
            found |= _by_target(model.predict_proba(rows))
        elif is_outlier_detector(model):
            found[SCORES] = _dense(model.decision_function(rows))
        return found
    if hasattr(model, "transform"):
        return {OUTPUT: _dense(model.transform(rows))}
    distances, neighbours = model.kneighbors(rows)
    return {OUTPUT: distances, NEIGHBOURS: neighbours}


def is_outlier_detector(model: Any) -> bool:
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    return hasattr(last, "decision_function") and hasattr(last, "offset_")


def _by_target(probabilities: Any) -> dict[str, Array]:
    if isinstance(probabilities, list):
        return {f"{PROBABILITIES}{number or ''}": one for number, one in enumerate(probabilities)}
    return {PROBABILITIES: _dense(probabilities)}


def _dense(answer: Any) -> Array:
    return np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)
