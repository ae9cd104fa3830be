"""KNNImputer.

For skl2onnx 1.20, whose graph of it calls functions from inside functions, which onnx 1.23 does not inline.
"""

from importlib import import_module
from typing import Any

import numpy as np

from modelrocket.convert.boosters import Answer
from modelrocket.convert.forest import Nodes
from modelrocket.convert.sklearn_shims.nodes import replace_converter
from modelrocket.errors import ConversionError
from modelrocket.tensors import Array


def register() -> None:
    replace_converter("KNNImputer", _build)
    registration = import_module("skl2onnx.common._registration")
    registration.register_shape_calculator("SklearnKNNImputer", _set_output_types, overwrite=True)


def _set_output_types(operator: Any) -> None:
    kind = type(operator.inputs[0].type)
    operator.outputs[0].type = kind([None, int(operator.raw_operator._valid_mask.sum())])


def _build(model: Any, nodes: Nodes, rows: str, dtype: str) -> list[Answer]:
    """Columns one by one: a gap is filled with the mean of that column in the nearest rows that have it."""
    _check(model)
    known = np.asarray(model._fit_X, dtype=np.float64)
    value = nodes.cast(rows, "float64")
    gap = nodes.add("IsNaN", value)
    distances = _distances(nodes, value, gap, known)
    columns = [
        _filled(nodes, model, column, (value, gap, distances))
        for column in np.flatnonzero(model._valid_mask).tolist()
    ]
    return [Answer(nodes.add("Concat", *columns, axis=1), "float64", (None, len(columns)))]


def _check(model: Any) -> None:
    if model.weights != "uniform" or model.metric != "nan_euclidean" or model.add_indicator:
        raise ConversionError(
            f"KNNImputer converts with weights='uniform', metric='nan_euclidean' and without an indicator; "
            f"this one has weights={model.weights!r}, metric={model.metric!r}, "
            f"add_indicator={model.add_indicator!r}.",
            hint="Fit it with these, or use a SimpleImputer.",
        )
    if not np.isnan(model.missing_values):
        raise ConversionError(
            f"KNNImputer(missing_values={model.missing_values!r}) does not convert: gaps must be NaN.",
            hint="Fit it on NaN.",
        )
    if not model._valid_mask.all() and model.keep_empty_features:
        raise ConversionError(
            "KNNImputer(keep_empty_features=True) does not convert with columns that hold nothing.",
            hint="Leave those columns out.",
        )


def _distances(nodes: Nodes, value: str, gap: str, known: Array) -> str:
    """To every row of the training set, over the columns that both have; infinite where there is none."""
    zero, one = nodes.constant(np.array(0.0)), nodes.constant(np.array(1.0))
    filled, here = nodes.add("Where", gap, zero, value), nodes.add("Where", gap, zero, one)
    there = (~np.isnan(known)).astype(np.float64)
    other = np.nan_to_num(known)
    squares = nodes.add("MatMul", nodes.add("Mul", filled, filled), nodes.constant(there.T))
    products = nodes.add("MatMul", filled, nodes.constant(-2.0 * other.T))
    others = nodes.add("MatMul", here, nodes.constant((other**2).T))
    common = nodes.add("MatMul", here, nodes.constant(there.T))
    sums = nodes.add("Max", nodes.add("Sum", squares, products, others), zero)
    scaled = nodes.add("Div", sums, nodes.add("Max", common, one))
    return nodes.add("Where", nodes.add("Greater", common, zero), scaled, nodes.constant(np.array(np.inf)))


def _filled(nodes: Nodes, model: Any, column: int, seen: tuple[str, str, str]) -> str:
    value, gap, distances = seen
    known = np.asarray(model._fit_X, dtype=np.float64)[:, column]
    donors = np.flatnonzero(~model._mask_fit_X[:, column])
    own, missing = nodes.columns(value, column), nodes.columns(gap, column)
    to_donors = nodes.columns(distances, *donors.tolist())
    near, which = _nearest(nodes, to_donors, min(model.n_neighbors, len(donors)))
    reached = nodes.cast(nodes.add("Not", nodes.add("IsInf", near)), "float64")
    values = nodes.add("Gather", nodes.constant(known[donors]), which)
    axis = nodes.constant(np.array([1]))
    total = nodes.add("ReduceSum", nodes.add("Mul", values, reached), axis, keepdims=1)
    count = nodes.add("ReduceSum", reached, axis, keepdims=1)
    mean = nodes.add("Div", total, count)
    none = nodes.add("Equal", count, nodes.constant(np.array(0.0)))
    mean = nodes.add("Where", none, nodes.constant(np.array(known[donors].mean())), mean)
    return nodes.add("Where", missing, mean, own)


def _nearest(nodes: Nodes, distances: str, count: int) -> tuple[str, str]:
    """The smallest of each row, and which they are."""
    from onnx import helper

    near = nodes.add("Identity", distances)
    which = f"{near}_which"
    node = nodes.nodes[-1]
    node.CopyFrom(
        helper.make_node(
            "TopK", [distances, nodes.constant(np.array([count]))], [near, which], axis=1, largest=0, sorted=1
        )
    )
    return near, which
