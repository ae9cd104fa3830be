"""Trees as ONNX: a TreeEnsembleRegressor that sums their leaves, and the columns that they split on.

A row goes left at `x < threshold`, or at `x <= threshold` in an inclusive forest. What no comparison of one
column says (membership of a set of categories, zero that stands for a missing value) is said by a further
column, made of the input before the trees see it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modelrocket.tensors import Array

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

BETWEEN = 0.5
_ONE_BY_ONE_MAX = 256
_ML_DOMAIN = "ai.onnx.ml"
ZERO_WITHIN = float(np.float32(1e-35))
"""What LightGBM takes for zero."""


class Nodes:
    """Nodes of a graph in the making, each with one output; their names are unique in here."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """The name of its output."""
        from onnx import helper

        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def constant(self, value: Array) -> str:
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def cast(self, value: str, dtype: str) -> str:
        from onnx import helper

        return self.add("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reshape(self, value: str, *shape: int) -> str:
        return self.add("Reshape", value, self.constant(np.array(shape, np.int64)))

    def columns(self, value: str, *numbers: int) -> str:
        return self.add("Gather", value, self.constant(np.array(numbers, np.int64)), axis=1)


@dataclass(frozen=True)
class Membership:
    """A split by category: the chosen ones go one way, any other value of the column the other way.

    truncates: categories are values without their fraction, so that -0.5 is 0; else it is no category.
    """

    feature: int
    chosen: frozenset[int]
    chosen_left: bool
    missing_left: bool
    truncates: bool


class Columns:
    """What trees split on: the input's columns, and those made of them, numbered as they are asked for."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._zeros: dict[int, int] = {}
        self._memberships: dict[Membership, int] = {}

    def __len__(self) -> int:
        return self.count + len(self._zeros) + len(self._memberships)

    def zero_as_missing(self, feature: int) -> int:
        return self._zeros.setdefault(feature, len(self))

    def membership(self, split: Membership) -> int:
        """0 where a row goes left, 1 where it goes right: split it at `BETWEEN`."""
        return self._memberships.setdefault(split, len(self))

    def compared(self) -> dict[int, int]:
        """The columns that are compared with thresholds, and the input's that each is made of."""
        own = {number: number for number in range(self.count)}
        return own | {number: feature for feature, number in self._zeros.items()}

    def categories(self) -> Iterator[tuple[int, Array]]:
        """By the input's column."""
        for split in self._memberships:
            yield split.feature, np.array(sorted(split.chosen), np.float64)

    def add_to(self, nodes: Nodes, rows: str, dtype: str) -> str:
        """The rows with all columns; NaN is what is missing."""
        if len(self) == self.count:
            return rows
        numbers, parts = list(range(self.count)), [rows]
        if self._zeros:
            numbers += self._zeros.values()
            parts.append(_zeros_missing(nodes, nodes.columns(rows, *self._zeros), dtype))
        for feature in dict.fromkeys(split.feature for split in self._memberships):
            splits = [split for split in self._memberships if split.feature == feature]
            numbers += (self._memberships[split] for split in splits)
            parts.append(_memberships(nodes, nodes.columns(rows, feature), splits, dtype))
        together = nodes.add("Concat", *parts, axis=1)
        return nodes.columns(together, *np.argsort(numbers)) if numbers != sorted(numbers) else together


def _zeros_missing(nodes: Nodes, columns: str, dtype: str) -> str:
    within = nodes.constant(np.array(ZERO_WITHIN, dtype))
    zero = nodes.add("LessOrEqual", nodes.add("Abs", columns), within)
    return nodes.add("Where", zero, nodes.constant(np.array(np.nan, dtype)), columns)


def _memberships(nodes: Nodes, column: str, splits: Sequence[Membership], dtype: str) -> str:
    """One table for the column: a row for each category, one for any other value, one for a missing one."""
    categories = max(max(split.chosen, default=-1) for split in splits) + 1
    others, missing = categories, categories + 1
    table = np.empty((categories + 2, len(splits)), dtype)
    for number, split in enumerate(splits):
        table[:, number] = split.chosen_left
        table[sorted(split.chosen), number] = not split.chosen_left
        table[missing, number] = not split.missing_left
    value = column if splits[0].truncates else nodes.add("Floor", column)
    known = nodes.add(
        "And",
        nodes.add("Greater", value, nodes.constant(np.array(-1, dtype))),
        nodes.add("Less", value, nodes.constant(np.array(categories, dtype))),
    )
    row = nodes.add("Where", known, value, nodes.constant(np.array(others, dtype)))
    row = nodes.add("Where", nodes.add("IsNaN", column), nodes.constant(np.array(missing, dtype)), row)
    return nodes.add("Gather", nodes.constant(table), nodes.reshape(nodes.cast(row, "int64"), -1), axis=0)


@dataclass(frozen=True)
class Tree:
    """One tree by its nodes, of which the first is the root; `left` is -1 at leaves.

    column, threshold, left, right, missing_left: of each node.
    leaves: what a leaf adds to the targets that begin with `target`, nodes x values.
    """

    column: Array
    threshold: Array
    left: Array
    right: Array
    missing_left: Array
    leaves: Array
    target: int = 0


@dataclass(frozen=True)
class Forest:
    """What the trees say of a row: for each target the sum of their leaves, and `base`.

    inclusive: a row goes left at the threshold itself.
    """

    columns: Columns
    trees: Sequence[Tree]
    base: Array
    inclusive: bool

    def thresholds(self) -> dict[int, Array]:
        """Where the splits of each input column lie; of a column of categories, those that splits name."""
        inner = [tree.left >= 0 for tree in self.trees]
        column = np.concatenate([tree.column[at] for tree, at in zip(self.trees, inner, strict=True)])
        threshold = np.concatenate([tree.threshold[at] for tree, at in zip(self.trees, inner, strict=True)])
        found: dict[int, list[Array]] = {}
        for number, feature in self.columns.compared().items():
            found.setdefault(feature, []).append(threshold[column == number])
        for feature, categories in self.columns.categories():
            found.setdefault(feature, []).append(categories)
        united = {feature: np.unique(np.concatenate(parts)) for feature, parts in sorted(found.items())}
        return {feature: values for feature, values in united.items() if len(values)}

    def add_to(self, nodes: Nodes, rows: str, dtype: str) -> str:
        """Scores of the rows, which are of this dtype: float32, rows x targets."""
        columns = self.columns.add_to(nodes, rows, dtype)
        return nodes.add(
            "TreeEnsembleRegressor",
            columns,
            domain=_ML_DOMAIN,
            aggregate_function="SUM",
            n_targets=len(self.base),
            **self._structure(),
            **self._numbers(dtype),
        )

    def _structure(self) -> dict[str, Any]:
        trees = self.trees
        sizes = [len(tree.left) for tree in trees]
        inner = np.concatenate([tree.left for tree in trees]) >= 0
        split = b"BRANCH_LEQ" if self.inclusive else b"BRANCH_LT"
        found = {
            "nodes_treeids": np.repeat(np.arange(len(trees)), sizes),
            "nodes_nodeids": np.concatenate([np.arange(size) for size in sizes]),
            "nodes_featureids": np.where(inner, np.concatenate([tree.column for tree in trees]), 0),
            "nodes_truenodeids": np.where(inner, np.concatenate([tree.left for tree in trees]), 0),
            "nodes_falsenodeids": np.where(inner, np.concatenate([tree.right for tree in trees]), 0),
            "nodes_missing_value_tracks_true": inner & np.concatenate([tree.missing_left for tree in trees]),
        }
        leaves = [np.flatnonzero(tree.left < 0) for tree in trees]
        values = [tree.leaves.shape[1] for tree in trees]
        found |= {
            "target_treeids": np.repeat(
                np.arange(len(trees)), [len(at) * width for at, width in zip(leaves, values, strict=True)]
            ),
            "target_nodeids": np.concatenate(
                [np.repeat(at, width) for at, width in zip(leaves, values, strict=True)]
            ),
            "target_ids": np.concatenate(
                [
                    np.tile(np.arange(tree.target, tree.target + width), len(at))
                    for tree, at, width in zip(trees, leaves, values, strict=True)
                ]
            ),
        }
        modes = [split if one else b"LEAF" for one in inner.tolist()]
        return {"nodes_modes": modes, **{name: value.astype(int).tolist() for name, value in found.items()}}

    def _numbers(self, dtype: str) -> dict[str, Any]:
        from onnx import numpy_helper

        inner = np.concatenate([tree.left for tree in self.trees]) >= 0
        threshold = np.where(inner, np.concatenate([tree.threshold for tree in self.trees]), 0.0)
        found = {
            "nodes_values": threshold if dtype == "float64" else self._rounded(threshold),
            "target_weights": np.concatenate([tree.leaves[tree.left < 0].ravel() for tree in self.trees]),
            "base_values": self.base,
        }
        if dtype == "float64":
            return {f"{name}_as_tensor": numpy_helper.from_array(v, name) for name, v in found.items()}
        return {name: value.astype(np.float32).tolist() for name, value in found.items()}

    def _rounded(self, threshold: Array) -> Array:
        """To float32, so that every float32 falls on the same side as before."""
        with np.errstate(over="ignore"):
            nearest = threshold.astype(np.float32)
            if self.inclusive:
                return np.where(nearest > threshold, np.nextafter(nearest, np.float32(-np.inf)), nearest)
            return np.where(nearest < threshold, np.nextafter(nearest, np.float32(np.inf)), nearest)


@dataclass(frozen=True)
class Linear:
    """Scores that are weighted sums of the columns, features x targets; a missing value adds nothing.

    They are summed in float32 and in the columns' order, as XGBoost does, as long as there are not too many.
    """

    weights: Array
    base: Array

    def thresholds(self) -> dict[int, Array]:
        return {}

    def add_to(self, nodes: Nodes, rows: str, dtype: str) -> str:
        rows = rows if dtype == "float32" else nodes.cast(rows, "float32")
        present = nodes.add("Where", nodes.add("IsNaN", rows), nodes.constant(np.zeros((), np.float32)), rows)
        weights = self.weights.astype(np.float32)
        scores = nodes.constant(self.base.astype(np.float32).reshape(1, -1))
        if len(weights) > _ONE_BY_ONE_MAX:
            return nodes.add("Add", scores, nodes.add("MatMul", present, nodes.constant(weights)))
        for number, weight in enumerate(weights):
            product = nodes.add("Mul", nodes.columns(present, number), nodes.constant(weight.reshape(1, -1)))
            scores = nodes.add("Add", scores, product)
        return scores
