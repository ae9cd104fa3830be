"""QuantileTransformer.

For skl2onnx 1.20, whose graph of it doubles with every step of a search among the quantiles, so that
exporting takes minutes or never ends, and which then answers wrongly between quantiles.
"""

from typing import Any

import numpy as np

from modelrocket.convert.boosters import Answer
from modelrocket.convert.forest import Nodes
from modelrocket.convert.sklearn_nodes import replace_converter
from modelrocket.errors import ConversionError
from modelrocket.tensors import Array


def register() -> None:
    replace_converter("QuantileTransformer", _build)


def _build(model: Any, nodes: Nodes, rows: str, dtype: str) -> list[Answer]:
    """The mean of two interpolations, from below and from above, as scikit-learn has it."""
    if model.output_distribution != "uniform":
        raise ConversionError(
            f"QuantileTransformer(output_distribution={model.output_distribution!r}) does not convert.",
            hint='Use output_distribution="uniform", or a PowerTransformer.',
        )
    quantiles, references = model.quantiles_.T, model.references_
    value = nodes.cast(rows, "float64")
    below = _interpolated(nodes, value, quantiles, references)
    above = _interpolated(nodes, nodes.add("Neg", value), -quantiles[:, ::-1], -references[::-1])
    mean = nodes.add("Mul", nodes.add("Sub", below, above), nodes.constant(np.array(0.5)))
    at_most = nodes.add("Equal", value, nodes.constant(quantiles[:, -1]))
    mean = nodes.add("Where", at_most, nodes.constant(np.array(1.0)), mean)
    at_least = nodes.add("Equal", value, nodes.constant(quantiles[:, 0]))
    mean = nodes.add("Where", at_least, nodes.constant(np.array(0.0)), mean)
    answer = nodes.add("Where", nodes.add("IsNaN", value), value, mean)
    return [Answer(answer, "float64", (None, len(quantiles)))]


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
