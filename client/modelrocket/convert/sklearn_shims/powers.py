"""PowerTransformer.

For skl2onnx 1.20, which makes a number of a missing value, and fails on an input of float64.
"""

from typing import Any

import numpy as np

from modelrocket.convert.boosters import Answer
from modelrocket.convert.forest import Nodes
from modelrocket.convert.sklearn_shims.nodes import replace_converter
from modelrocket.tensors import Array

_NO_POWER = float(np.spacing(1.0))
"""An exponent below this is none: the logarithm is meant."""


def register() -> None:
    replace_converter("PowerTransformer", _build)


def _build(model: Any, nodes: Nodes, rows: str, dtype: str) -> list[Answer]:
    value = nodes.cast(rows, "float64")
    powers = np.asarray(model.lambdas_, dtype=np.float64)
    found = _power(nodes, value, powers) if model.method == "box-cox" else _yeo_johnson(nodes, value, powers)
    if model.standardize:
        found = nodes.add("Sub", found, nodes.constant(np.asarray(model._scaler.mean_, dtype=np.float64)))
        found = nodes.add("Div", found, nodes.constant(np.asarray(model._scaler.scale_, dtype=np.float64)))
    answer = nodes.add("Where", nodes.add("IsNaN", value), value, found)
    return [Answer(answer, "float64", (None, len(powers)))]


def _yeo_johnson(nodes: Nodes, value: str, powers: Array) -> str:
    """The power of 1 + x where x is positive, and minus that of 1 - x to 2 - the exponent where it is not."""
    one, zero = nodes.constant(np.array(1.0)), nodes.constant(np.array(0.0))
    shifted = nodes.add("Add", nodes.add("Abs", value), one)
    above, below = _power(nodes, shifted, powers), _power(nodes, shifted, 2.0 - powers)
    negative = nodes.add("Less", value, zero)
    return nodes.add("Where", negative, nodes.add("Neg", below), above)


def _power(nodes: Nodes, value: str, powers: Array) -> str:
    """(x^p - 1) / p by column; log(x) where p is 0."""
    none = np.abs(powers) < _NO_POWER
    exponent = nodes.constant(np.where(none, 1.0, powers))
    raised = nodes.add("Sub", nodes.add("Pow", value, exponent), nodes.constant(np.array(1.0)))
    divided = nodes.add("Div", raised, exponent)
    return nodes.add("Where", nodes.constant(none), nodes.add("Log", value), divided)
