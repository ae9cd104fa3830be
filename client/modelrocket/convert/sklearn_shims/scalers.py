"""Scalers with scikit-learn's own arithmetic, rounding for rounding, as of scikit-learn 1.9.

XGBoost's thresholds are values of its training set. What a scaler makes of such a value must be the very same
number here, or the row falls on the other side of the split.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from modelrocket.convert.boosters import Answer
from modelrocket.convert.forest import Nodes
from modelrocket.convert.sklearn_shims.nodes import replace_converter


@dataclass(frozen=True)
class _Step:
    """An operator and the attribute that it takes; where `when` is named, only if that parameter is true."""

    operator: str
    attribute: str
    when: str = ""


@dataclass(frozen=True)
class _Scaler:
    """narrow: attributes are rounded to the rows' type; else each step is computed wide, and then rounded."""

    steps: tuple[_Step, ...]
    narrow: bool = False


_SCALERS = {
    "MaxAbsScaler": _Scaler((_Step("Div", "scale_"),)),
    "MinMaxScaler": _Scaler((_Step("Mul", "scale_"), _Step("Add", "min_"))),
    "RobustScaler": _Scaler(
        (_Step("Sub", "center_", when="with_centering"), _Step("Div", "scale_", when="with_scaling"))
    ),
    "Scaler": _Scaler(
        (_Step("Sub", "mean_", when="with_mean"), _Step("Div", "scale_", when="with_std")), narrow=True
    ),
}
"""By what skl2onnx calls them; `Scaler` is the StandardScaler."""


_EXACT_SINCE = (1, 9)


def is_exact(model: Any) -> bool:
    """A scaler that rounds here as it does in scikit-learn."""
    release = tuple(int(part) for part in version("scikit-learn").split(".")[:2])
    return release >= _EXACT_SINCE and type(model).__name__ in ("StandardScaler", *_SCALERS)


def register() -> None:
    """Tell skl2onnx."""
    for name, scaler in _SCALERS.items():
        replace_converter(name, partial(_scaled, scaler), options={"div": ["std", "div", "div_cast"]})


def _scaled(scaler: _Scaler, model: Any, nodes: Nodes, rows: str, dtype: str) -> Sequence[Answer]:
    wide = dtype if scaler.narrow else "float64"
    for step in scaler.steps:
        if step.when and not getattr(model, step.when):
            continue
        number = nodes.constant(np.asarray(getattr(model, step.attribute)).astype(wide))
        found = nodes.add(step.operator, rows if wide == dtype else nodes.cast(rows, wide), number)
        rows = found if wide == dtype else nodes.cast(found, dtype)
    if getattr(model, "clip", False):
        low, high = getattr(model, "feature_range", (-1.0, 1.0))
        rows = _replaced(nodes, _replaced(nodes, rows, "Less", low, dtype), "Greater", high, dtype)
    return [Answer(rows, dtype, (None, model.n_features_in_))]


def _replaced(nodes: Nodes, rows: str, compared: str, bound: float, dtype: str) -> str:
    """By the bound, where it is beyond it; NaN is not."""
    limit = nodes.constant(np.array(bound, dtype))
    return nodes.add("Where", nodes.add(compared, rows, limit), limit, rows)
