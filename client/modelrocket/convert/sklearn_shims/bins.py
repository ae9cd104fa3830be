"""KBinsDiscretizer, exact at the edges of its bins.

For skl2onnx 1.20, which rounds the edges to float32: where they are values of the training set, as quantiles
are, rows that have such a value fall into the next bin. It also has no sparse answers.
"""

from typing import Any

import numpy as np

from modelrocket.convert.boosters import Answer
from modelrocket.convert.forest import Nodes
from modelrocket.convert.sklearn_shims.nodes import replace_converter
from modelrocket.tensors import Array


def register() -> None:
    replace_converter("KBinsDiscretizer", _build)


def _build(model: Any, nodes: Nodes, rows: str, dtype: str) -> list[Answer]:
    apart = nodes.add("Unsqueeze", nodes.cast(rows, "float64"), nodes.constant(np.array([2])))
    passed = nodes.add("GreaterOrEqual", apart, nodes.constant(_inner_edges(model)))
    numbers = nodes.add("ReduceSum", nodes.cast(passed, "float32"), nodes.constant(np.array([2])), keepdims=0)
    if model.encode != "ordinal":
        numbers = nodes.add("Concat", *_one_hot(model, nodes, numbers), axis=1)
    return [Answer(numbers, "float32", (None, None))]


def _inner_edges(model: Any) -> Array:
    """Columns x the most edges that one has; NaN, which nothing passes, where a column has fewer."""
    edges = np.full((len(model.bin_edges_), max(model.n_bins_) - 1), np.nan)
    for column, own in enumerate(model.bin_edges_):
        edges[column, : len(own) - 2] = own[1:-1]
    return edges


def _one_hot(model: Any, nodes: Nodes, numbers: str) -> list[str]:
    return [
        nodes.cast(
            nodes.add(
                "Equal",
                nodes.columns(numbers, column),
                nodes.constant(np.arange(count, dtype=np.float32).reshape(1, -1)),
            ),
            "float32",
        )
        for column, count in enumerate(model.n_bins_)
    ]
