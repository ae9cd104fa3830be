"""RadiusNeighborsClassifier and RadiusNeighborsRegressor.

For skl2onnx 1.20, whose graph of them fails where a row has no neighbour. Distances are summed column by
column in double precision, so that equal rows are at no distance at all, as weights by distance need it.
"""

from math import inf, isinf
from typing import Any

import numpy as np

from modelrocket.convert.boosters import Answer, labels
from modelrocket.convert.forest import Nodes
from modelrocket.convert.sklearn_shims.nodes import CLASSIFIER_OPTIONS, replace_converter
from modelrocket.errors import ConversionError
from modelrocket.tensors import Array

_METRICS = ("euclidean", "manhattan", "chebyshev", "minkowski")
_WEIGHTS = ("uniform", "distance")
_SQUARES = 2.0


def register() -> None:
    replace_converter("RadiusNeighborsClassifier", _classifier, options=CLASSIFIER_OPTIONS)
    replace_converter("RadiusNeighborsRegressor", _regressor)


def _classifier(model: Any, nodes: Nodes, rows: str, dtype: str) -> list[Answer]:
    """Votes over their sum; a row without neighbours has the outlier label, which need be no class."""
    _check(model)
    _check_labels(model)
    count = len(model.classes_)
    weights = _weights(model, nodes, rows)
    votes = nodes.add("MatMul", weights, nodes.constant(np.eye(count)[np.asarray(model._y).ravel()]))
    (outlier,) = model.outlier_label_
    total = _total(nodes, votes)
    alone = nodes.add("Equal", total, nodes.constant(np.array(0.0)))
    all_for_outlier = nodes.constant((model.classes_ == outlier).astype(np.float64).reshape(1, -1))
    parts = nodes.add("Div", votes, nodes.add("Where", alone, nodes.constant(np.array(1.0)), total))
    probabilities = nodes.add("Where", alone, all_for_outlier, parts)
    likeliest = nodes.add("ArgMax", votes, axis=1, keepdims=1)
    index = nodes.add("Where", alone, nodes.constant(np.array(count)), likeliest)
    known = np.append(model.classes_, np.array([outlier]).astype(model.classes_.dtype))
    return [
        labels(nodes, nodes.reshape(index, -1), known),
        Answer(probabilities, "float64", (None, count)),
    ]


def _regressor(model: Any, nodes: Nodes, rows: str, dtype: str) -> list[Answer]:
    """The weighted mean of the neighbours' targets."""
    _check(model)
    targets = np.asarray(model._y).reshape(len(model._y), -1)
    weights = _weights(model, nodes, rows)
    sums = nodes.add("MatMul", weights, nodes.constant(targets.astype(np.float64)))
    total = _total(nodes, weights)
    alone = nodes.add("Equal", total, nodes.constant(np.array(0.0)))
    with np.errstate(invalid="ignore"):  # of whole numbers it is some number, as scikit-learn has it
        nothing = np.full_like(targets[:1], np.nan).astype(np.float64)
    mean = nodes.add("Div", sums, nodes.add("Where", alone, nodes.constant(np.array(1.0)), total))
    answer = nodes.add("Where", alone, nodes.constant(nothing), mean)
    return [Answer(answer, "float64", (None, targets.shape[1]))]


def _check(model: Any) -> None:
    name = type(model).__name__
    further = {name for name, value in model.effective_metric_params_.items() if value is not None} - {"p"}
    if model.effective_metric_ not in _METRICS or further:
        raise ConversionError(
            f"{name}(metric={model.metric!r}) does not convert.",
            hint=f"Fit it with one of these metrics, without weights of its own: {', '.join(_METRICS)}.",
        )
    if model.weights is not None and model.weights not in _WEIGHTS:
        raise ConversionError(
            f"{name} calls a function of its own for weights, of which only Python knows what it computes.",
            hint='Fit it with weights="uniform" or weights="distance".',
        )


def _check_labels(model: Any) -> None:
    if model.outputs_2d_:
        raise ConversionError(
            "RadiusNeighborsClassifier with several targets does not convert.",
            hint="Fit one for each target, in a MultiOutputClassifier for example.",
        )
    if model.outlier_label_ is None:
        raise ConversionError(
            "RadiusNeighborsClassifier without an outlier label refuses rows that have no neighbour, which a "
            "deployed model cannot.",
            hint='Fit it with outlier_label="most_frequent", or a label of your own.',
        )


def _weights(model: Any, nodes: Nodes, rows: str) -> str:
    """Rows x those known; 0 of what is no neighbour."""
    power = _power(model)
    summed = _summed_differences(nodes, nodes.cast(rows, "float64"), _known(model), power)
    limit = model.radius if isinf(power) else model.radius**power
    near = nodes.add("LessOrEqual", summed, nodes.constant(np.array(float(limit))))
    if model.weights != "distance":
        return nodes.cast(near, "float64")
    one, none = nodes.constant(np.array(1.0)), nodes.constant(np.array(0.0))
    same = nodes.cast(nodes.add("Equal", summed, none), "float64")
    some_same = nodes.add("ReduceMax", same, nodes.constant(np.array([1])), keepdims=1)
    inverse = nodes.add("Div", one, _root(nodes, summed, power))
    inverse = nodes.add("Where", near, inverse, none)
    return nodes.add("Where", nodes.add("Greater", some_same, none), same, inverse)


def _power(model: Any) -> float:
    """Of the differences that are summed; infinite where the largest counts alone."""
    known = {"manhattan": 1.0, "euclidean": 2.0, "chebyshev": inf}
    return known.get(model.effective_metric_) or float(model.effective_metric_params_["p"])


def _known(model: Any) -> Array:
    known = model._fit_X
    return np.asarray(known.toarray() if hasattr(known, "toarray") else known, dtype=np.float64)


def _summed_differences(nodes: Nodes, rows: str, known: Array, power: float) -> str:
    """Rows x those known: distances, before the root is taken."""
    total = ""
    for column in range(known.shape[1]):
        theirs = nodes.constant(known[:, column].reshape(1, -1))
        size = nodes.add("Abs", nodes.add("Sub", nodes.columns(rows, column), theirs))
        if power == _SQUARES:
            size = nodes.add("Mul", size, size)
        elif power > 1 and not isinf(power):
            size = nodes.add("Pow", size, nodes.constant(np.array(power)))
        total = nodes.add("Max" if isinf(power) else "Add", total, size) if total else size
    return total


def _root(nodes: Nodes, summed: str, power: float) -> str:
    if power == 1 or isinf(power):
        return summed
    if power == _SQUARES:
        return nodes.add("Sqrt", summed)
    return nodes.add("Pow", summed, nodes.constant(np.array(1.0 / power)))


def _total(nodes: Nodes, values: str) -> str:
    return nodes.add("ReduceSum", values, nodes.constant(np.array([1])), keepdims=1)
