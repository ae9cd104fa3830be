"""IsolationForest as one ensemble of trees.

For skl2onnx 1.20, whose graph has some forty nodes for every tree: exporting takes minutes, every call
milliseconds, and missing values go astray.
"""

from typing import Any

import numpy as np

from modelrocket.convert.boosters import Answer
from modelrocket.convert.forest import Columns, Forest, Nodes, Tree
from modelrocket.convert.sklearn_shims.nodes import replace_converter


def register() -> None:
    replace_converter("IsolationForest", _build, options={"score_samples": [True, False]})


def _build(model: Any, nodes: Nodes, rows: str, dtype: str) -> list[Answer]:
    """The label, and the decision function: how far below the usual the mean length of the paths is."""
    depths = nodes.cast(forest(model).add_to(nodes, nodes.cast(rows, "float32"), "float32"), "float64")
    usual = len(model.estimators_) * _mean_path_length(np.array([float(model._max_samples)]))[0]
    two = nodes.constant(np.array(2.0))
    scores = nodes.add("Pow", two, nodes.add("Mul", depths, nodes.constant(np.array(-1.0 / usual))))
    decision = nodes.add("Sub", nodes.add("Neg", scores), nodes.constant(np.array(float(model.offset_))))
    outside = nodes.add("Less", decision, nodes.constant(np.array(0.0)))
    label = nodes.add("Where", outside, nodes.constant(np.array(-1)), nodes.constant(np.array(1)))
    return [
        Answer(nodes.reshape(label, -1), "int64", (None,)),
        Answer(nodes.reshape(decision, -1), "float64", (None,)),
    ]


def forest(model: Any) -> Forest:
    """Its leaves add the lengths of the paths to them."""
    trees = [
        _tree(estimator.tree_, features)
        for estimator, features in zip(model.estimators_, model.estimators_features_, strict=True)
    ]
    return Forest(Columns(model.n_features_in_), trees, np.zeros(1), inclusive=True)


def _tree(tree: Any, features: Any) -> Tree:
    inner = tree.children_left >= 0
    lengths = _depths(tree) + _mean_path_length(tree.n_node_samples.astype(float))
    return Tree(
        column=np.where(inner, np.asarray(features)[np.where(inner, tree.feature, 0)], 0),
        threshold=tree.threshold,
        left=tree.children_left,
        right=tree.children_right,
        missing_left=tree.missing_go_to_left.astype(bool),
        leaves=lengths.reshape(-1, 1),
    )


def _depths(tree: Any) -> Any:
    """Of every node; a node's children come after it."""
    depths = np.zeros(tree.node_count)
    for node in np.flatnonzero(tree.children_left >= 0):
        depths[[tree.children_left[node], tree.children_right[node]]] = depths[node] + 1
    return depths


def _mean_path_length(samples: Any) -> Any:
    """Of an unsuccessful search in a binary search tree of so many (Liu, Ting and Zhou 2008, equation 1)."""
    many = np.maximum(samples, 3.0)
    length = 2.0 * (np.log(many - 1.0) + np.euler_gamma) - 2.0 * (many - 1.0) / many
    return np.where(samples > 2, length, np.where(samples == 2, 1.0, 0.0))  # noqa: PLR2004
