"""QuantileTransformer.

For skl2onnx 1.20, whose graph of it doubles with every step of a search among the quantiles, so that
exporting takes minutes or never ends, and which then answers wrongly between quantiles.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelrocket.convert.boosters import Answer
from modelrocket.convert.forest import Nodes
from modelrocket.convert.sklearn_shims.nodes import replace_converter
from modelrocket.tensors import Array

_BOUND = 1e-7
"""So near the ends of the distribution that they are meant; as scikit-learn has it."""
_CENTRE, _TAIL_START = 0.425, 1.6
_CENTRE_OVER = (
    3.3871328727963666080,
    1.3314166789178437745e2,
    1.9715909503065514427e3,
    1.3731693765509461125e4,
    4.5921953931549871457e4,
    6.7265770927008700853e4,
    3.3430575583588128105e4,
    2.5090809287301226727e3,
)
_CENTRE_UNDER = (
    1.0,
    4.2313330701600911252e1,
    6.8718700749205790830e2,
    5.3941960214247511077e3,
    2.1213794301586595867e4,
    3.9307895800092710610e4,
    2.8729085735721942674e4,
    5.2264952788528545610e3,
)
_TAIL_OVER = (
    1.42343711074968357734,
    4.63033784615654529590,
    5.76949722146069140550,
    3.64784832476320460504,
    1.27045825245236838258,
    2.41780725177450611770e-1,
    2.27238449892691845833e-2,
    7.74545014278341407640e-4,
)
_TAIL_UNDER = (
    1.0,
    2.05319162663775882187,
    1.67638483018380384940,
    6.89767334985100004550e-1,
    1.48103976427480074590e-1,
    1.51986665636164571966e-2,
    5.47593808499534494600e-4,
    1.05075007164441684324e-9,
)
"""Of polynomials, the constant first: Wichura, Algorithm AS 241, Applied Statistics 37 (1988), PPND16."""


def register() -> None:
    replace_converter("QuantileTransformer", _build)


def _build(model: Any, nodes: Nodes, rows: str, dtype: str) -> list[Answer]:
    """The mean of two interpolations, from below and from above, as scikit-learn has it."""
    quantiles, references = model.quantiles_.T, model.references_
    normal = model.output_distribution == "normal"
    value = nodes.cast(rows, "float64")
    below = _interpolated(nodes, value, quantiles, references)
    above = _interpolated(nodes, nodes.add("Neg", value), -quantiles[:, ::-1], -references[::-1])
    mean = nodes.add("Mul", nodes.add("Sub", below, above), nodes.constant(np.array(0.5)))
    if normal:  # of rows in float32 scikit-learn keeps so much of the mean
        mean = nodes.cast(nodes.cast(mean, dtype), "float64")
    ends = _near_ends if normal else _at_ends
    least, most = ends(nodes, rows, dtype, quantiles)
    mean = nodes.add("Where", most, nodes.constant(np.array(1.0)), mean)
    mean = nodes.add("Where", least, nodes.constant(np.array(0.0)), mean)
    found = _normal(nodes, mean) if normal else mean
    answer = nodes.add("Where", nodes.add("IsNaN", value), value, found)
    return [Answer(answer, "float64", (None, len(quantiles)))]


def _at_ends(nodes: Nodes, rows: str, dtype: str, quantiles: Array) -> tuple[str, str]:
    """Whether a value is the least, and whether it is the largest."""
    value = nodes.cast(rows, "float64")
    least, most = (nodes.constant(quantiles[:, end]) for end in (0, -1))
    return nodes.add("Equal", value, least), nodes.add("Equal", value, most)


def _near_ends(nodes: Nodes, rows: str, dtype: str, quantiles: Array) -> tuple[str, str]:
    """Likewise, or within the bound of it or beyond."""
    bound = nodes.constant(np.array(_BOUND, dtype))
    least, most = (nodes.constant(quantiles[:, end]) for end in (0, -1))
    lowered, raised = (nodes.cast(nodes.add(step, rows, bound), "float64") for step in ("Sub", "Add"))
    return nodes.add("Less", lowered, least), nodes.add("Greater", raised, most)


def _normal(nodes: Nodes, part: str) -> str:
    """Where so large a part of the normal distribution ends; clipped, as scikit-learn does, at 5.2."""
    least = _BOUND - float(np.spacing(1.0))
    part = nodes.add("Clip", part, nodes.constant(np.array(least)), nodes.constant(np.array(1.0 - least)))
    off = nodes.add("Sub", part, nodes.constant(np.array(0.5)))
    within = nodes.add("Sub", nodes.constant(np.array(_CENTRE**2)), nodes.add("Mul", off, off))
    centre = nodes.add("Mul", off, _ratio(nodes, within, _CENTRE_OVER, _CENTRE_UNDER))
    rest = nodes.add("Min", part, nodes.add("Sub", nodes.constant(np.array(1.0)), part))
    root = nodes.add("Sqrt", nodes.add("Neg", nodes.add("Log", rest)))
    beyond = nodes.add("Sub", root, nodes.constant(np.array(_TAIL_START)))
    tail = nodes.add("Mul", nodes.add("Sign", off), _ratio(nodes, beyond, _TAIL_OVER, _TAIL_UNDER))
    inside = nodes.add("LessOrEqual", nodes.add("Abs", off), nodes.constant(np.array(_CENTRE)))
    return nodes.add("Where", inside, centre, tail)


def _ratio(nodes: Nodes, value: str, over: Sequence[float], under: Sequence[float]) -> str:
    return nodes.add("Div", _polynomial(nodes, value, over), _polynomial(nodes, value, under))


def _polynomial(nodes: Nodes, value: str, factors: Sequence[float]) -> str:
    found = nodes.constant(np.array(factors[-1]))
    for factor in reversed(factors[:-1]):
        found = nodes.add("Add", nodes.add("Mul", found, value), nodes.constant(np.array(factor)))
    return found


def _interpolated(nodes: Nodes, value: str, quantiles: Array, references: Array) -> str:
    """As `numpy.interp` column by column; quantiles: columns x count, rising."""
    columns, count = quantiles.shape
    apart = nodes.add("Unsqueeze", value, nodes.constant(np.array([2])))
    passed = nodes.cast(nodes.add("GreaterOrEqual", apart, nodes.constant(quantiles)), "float64")
    number = nodes.add("ReduceSum", passed, nodes.constant(np.array([2])), keepdims=0)
    number = nodes.add("Sub", nodes.cast(number, "int64"), nodes.constant(np.array(1)))
    inside = nodes.add("Clip", number, nodes.constant(np.array(0)), nodes.constant(np.array(count - 2)))
    at = nodes.add("Add", inside, nodes.constant(np.arange(columns) * count))
    start = nodes.add("Gather", nodes.constant(quantiles.ravel()), at)
    slope = nodes.add("Gather", nodes.constant(_slopes(quantiles, references).ravel()), at)
    risen = nodes.add("Mul", slope, nodes.add("Sub", value, start))
    found = nodes.add("Add", risen, nodes.add("Gather", nodes.constant(references), inside))
    first, last = (nodes.constant(np.array(end)) for end in (references[0], references[-1]))
    found = nodes.add("Where", nodes.add("Less", number, nodes.constant(np.array(0))), first, found)
    beyond = nodes.add("Greater", number, nodes.constant(np.array(count - 2)))
    return nodes.add("Where", beyond, last, found)


def _slopes(quantiles: Array, references: Array) -> Array:
    """To the next quantile; of the last one, and where two are the same, none is ever used."""
    rise, run = np.diff(references), np.diff(quantiles, axis=1)
    slopes = np.divide(rise, run, out=np.zeros_like(run), where=run > 0)
    return np.pad(slopes, ((0, 0), (0, 1)))
