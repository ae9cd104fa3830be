"""HistGradientBoostingClassifier and HistGradientBoostingRegressor.

For skl2onnx 1.20, which fails on them with protobuf 6 and later (it writes booleans where ONNX has integers),
and takes columns of categories for numbers with every scikit-learn.
"""

from typing import Any

import numpy as np

from modelrocket.convert import boosters
from modelrocket.convert.boosters import Answer
from modelrocket.convert.forest import Columns, Forest, Membership, Nodes, Tree
from modelrocket.convert.sklearn_nodes import CLASSIFIER_OPTIONS, replace_converter
from modelrocket.errors import ConversionError
from modelrocket.tensors import Array

_LOGARITHMIC = ("poisson", "gamma")
_TWO = 2


def register() -> None:
    replace_converter("HistGradientBoostingClassifier", _classifier, options=CLASSIFIER_OPTIONS)
    replace_converter("HistGradientBoostingRegressor", _regressor)


def _classifier(model: Any, nodes: Nodes, rows: str, dtype: str) -> list[Answer]:
    scores = _scores(model, nodes, rows, dtype)
    if len(model.classes_) == _TWO:
        answers = boosters.two_classes(
            nodes, scores, transform=boosters.both_sigmoids, classes=model.classes_
        )
    else:
        answers = boosters.many_classes(nodes, scores, transform=boosters.softmax, classes=model.classes_)
    return list(answers.values())


def _regressor(model: Any, nodes: Nodes, rows: str, dtype: str) -> list[Answer]:
    transform = boosters.exponent if model.loss in _LOGARITHMIC else boosters.identity
    scores = _scores(model, nodes, rows, dtype)
    return list(boosters.numbers(nodes, scores, transform=transform, targets=1).values())


def _scores(model: Any, nodes: Nodes, rows: str, dtype: str) -> str:
    encoded = _encoded(model, nodes, rows, dtype)
    return _forest(model).add_to(nodes, encoded, dtype)


def _forest(model: Any) -> Forest:
    columns = Columns(model.n_features_in_)
    trees = [
        _tree(predictor.nodes, predictor.raw_left_cat_bitsets, columns, target)
        for several in model._predictors
        for target, predictor in enumerate(several)
    ]
    return Forest(columns, trees, np.ravel(model._baseline_prediction), inclusive=True)


def _tree(nodes: Array, bitsets: Array, columns: Columns, target: int) -> Tree:
    column, threshold = nodes["feature_idx"].astype(int), nodes["num_threshold"].astype(float)
    leaf = nodes["is_leaf"].astype(bool)
    for at in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf):
        column[at] = columns.membership(_membership(nodes[at], bitsets))
        threshold[at] = 0.5
    return Tree(
        column=column,
        threshold=threshold,
        left=np.where(leaf, -1, nodes["left"].astype(int)),
        right=nodes["right"].astype(int),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        leaves=nodes["value"].reshape(-1, 1),
        target=target,
    )


def _membership(node: Any, bitsets: Array) -> Membership:
    bits = np.unpackbits(np.ascontiguousarray(bitsets[node["bitset_idx"]]).view(np.uint8), bitorder="little")
    left = frozenset(int(number) for number in np.flatnonzero(bits))
    missing_left = bool(node["missing_go_to_left"])
    return Membership(
        feature=int(node["feature_idx"]),
        chosen=left,
        chosen_left=True,
        missing_left=missing_left,
        truncates=False,
    )


def _encoded(model: Any, nodes: Nodes, rows: str, dtype: str) -> str:
    """As the trees see the columns: categories first, each by its number; those never seen are missing."""
    if model._preprocessor is None:
        return rows
    categories = model._preprocessor.named_transformers_["encoder"].categories_
    if dtype == "string" or any(known.dtype.kind not in "iufb" for known in categories):
        raise ConversionError(
            f"{type(model).__name__} was fitted on categories that are strings.",
            hint="Encode them before it: a ColumnTransformer with an OrdinalEncoder, in a pipeline.",
        )
    places = [int(index) for index in model._preprocessor._transformer_to_input_indices["encoder"]]
    encoded = [
        _by_number(nodes, nodes.columns(rows, place), known, dtype)
        for place, known in zip(places, categories, strict=True)
    ]
    others = [place for place in range(model.n_features_in_) if place not in places]
    return nodes.add("Concat", *encoded, *([nodes.columns(rows, *others)] if others else []), axis=1)


def _by_number(nodes: Nodes, column: str, known: Array, dtype: str) -> str:
    known = known[~np.isnan(known)] if known.dtype.kind == "f" else known
    same = nodes.cast(nodes.add("Equal", column, nodes.constant(known.astype(dtype).reshape(1, -1))), dtype)
    number = nodes.cast(nodes.add("ArgMax", same, axis=1, keepdims=1), dtype)
    seen = nodes.add(
        "Greater",
        nodes.add("MatMul", same, nodes.constant(np.ones((len(known), 1), dtype))),
        nodes.constant(np.array(0, dtype)),
    )
    return nodes.add("Where", seen, number, nodes.constant(np.array(np.nan, dtype)))
