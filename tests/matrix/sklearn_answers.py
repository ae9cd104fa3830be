"""What a fitted scikit-learn estimator says of rows, by its own public methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from modelrocket.tensors import Array
from tests.matrix.case import Trained
from tests.matrix.sklearn_data import Data


def trained(model: Any, suited: Data) -> Trained:
    rows = suited.rows
    feeds = {"modelInput": rows}
    return Trained(
        model, suited.input_type, suited.input_shape, suited.sample, feeds, lambda: answers(model, rows)
    )


def trained_on_table(model: Any, table: Any, rows: Any) -> Trained:
    """Each column is an input; numbers travel as float32."""
    numbers = {name: "float32" for name in rows if rows[name].dtype.kind in "iufb"}
    sent = rows.astype(numbers)
    feeds = {
        name: sent[name].to_numpy(dtype=numbers.get(name, object)).reshape(-1, 1) for name in sent.columns
    }
    return Trained(model, None, None, table.head(50), feeds, lambda: answers(model, sent))


def answers(model: Any, rows: Any) -> Mapping[str, Array]:
    try:
        return _answers(model, rows)
    except (TypeError, ValueError):  # fitted on float64, it takes nothing else
        return _answers(model, rows.astype(np.float64))


def _answers(model: Any, rows: Any) -> Mapping[str, Array]:
    if hasattr(model, "predict") and not hasattr(model, "get_support"):
        found = {"modelOutput": _dense(model.predict(rows))}
        if hasattr(model, "predict_proba"):
            found |= _numbered("probabilities", model.predict_proba(rows))
        if getattr(model, "_estimator_type", "") == "outlier_detector" or hasattr(model, "offset_"):
            found["scores"] = model.decision_function(rows)
        return found
    if hasattr(model, "transform"):
        return {"modelOutput": _dense(model.transform(rows))}
    return _numbered("modelOutput", list(model.kneighbors(rows)))


def _numbered(name: str, found: Any) -> dict[str, Array]:
    if not isinstance(found, list):
        return {name: found}
    return {f"{name}{number or ''}": one for number, one in enumerate(found)}


def _dense(found: Any) -> Array:
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found)
