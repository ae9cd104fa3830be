"""HistGradientBoostingClassifier and HistGradientBoostingRegressor.

For skl2onnx 1.20, which fails on them with protobuf 6 and later (it writes booleans where ONNX has integers),
and takes columns of categories for numbers with every scikit-learn. Where categories are strings, columns
come as inputs of their own, and an operator of ours before the trees numbers the categories.
"""

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from modelrocket.convert import boosters
from modelrocket.convert.boosters import Answer
from modelrocket.convert.forest import BETWEEN, Columns, Forest, Membership, Nodes, Tree
from modelrocket.convert.sklearn_shims import parts
from modelrocket.convert.sklearn_shims.nodes import (
    CLASSIFIER_OPTIONS,
    Build,
    converter,
    dtype_of,
    replace_converter,
    table_converter,
)
from modelrocket.errors import ConversionError
from modelrocket.tensors import Array

_LOGARITHMIC = ("poisson", "gamma")
_TWO = 2
_ML_DOMAIN = "ai.onnx.ml"
_ENCODER = "ModelRocketNumberedCategories"
_ENCODED = "ModelRocketEncoded"

Column = tuple[str, str]
"""A value, rows x 1, and its dtype."""


def register() -> None:
    _register("HistGradientBoostingClassifier", _classifier)
    _register("HistGradientBoostingRegressor", _regressor)
    registration = import_module("skl2onnx.common._registration")
    registration.register_converter(_ENCODER, table_converter(_columns_encoded), overwrite=True)
    registration.register_shape_calculator(_ENCODER, _set_encoded_type, overwrite=True)


def _register(name: str, answer: Callable[[Any, Nodes, str], list[Answer]]) -> None:
    """Once as it is, and once as it stands behind our operator."""
    registration = import_module("skl2onnx.common._registration")
    options = CLASSIFIER_OPTIONS if "Classifier" in name else None

    def whole(model: Any, nodes: Nodes, rows: str, dtype: str) -> list[Answer]:
        return answer(model, nodes, _scores(model, nodes, _encoded(model, nodes, rows, dtype), dtype))

    def behind(model: Any, nodes: Nodes, rows: str, dtype: str) -> list[Answer]:
        return answer(model, nodes, _scores(model, nodes, rows, dtype))

    replace_converter(name, whole, options=options)
    inner: Build = behind
    registration.register_converter(f"{_ENCODED}{name}", converter(inner), overwrite=True, options=options)
    shapes = registration.get_shape_calculator(f"Sklearn{name}")
    registration.register_shape_calculator(f"{_ENCODED}{name}", shapes, overwrite=True)
    registration.register_shape_calculator(f"Sklearn{name}", partial(_set_types, shapes), overwrite=True)
    parsers = import_module("skl2onnx._parse").sklearn_parsers_map
    kind = getattr(import_module("sklearn.ensemble"), name)
    parsers[kind] = partial(_parse, parsers.get(kind), f"{_ENCODED}{name}")


def _parse(
    usual: Callable[..., Any] | None,
    alias: str,
    scope: Any,
    model: Any,
    inputs: Any,
    custom_parsers: Any = None,
) -> Any:
    simple = import_module("skl2onnx._parse")._parse_sklearn_simple_model
    if not parts.string_categories(model):
        return (usual or simple)(scope, model, inputs, custom_parsers)
    variables = import_module("skl2onnx.common.data_types")
    operator = scope.declare_local_operator(_ENCODER, model)
    operator.inputs = inputs
    wide = any(dtype_of(one) == "float64" for one in inputs)
    kind = variables.DoubleTensorType if wide else variables.FloatTensorType
    operator.outputs.append(scope.declare_local_variable("encoded", kind([None, model.n_features_in_])))
    return simple(scope, model, operator.outputs, custom_parsers, alias=alias)


def _set_types(usual: Callable[[Any], None], operator: Any) -> None:
    """Of one that no parser has seen: another model asks it, with a matrix."""
    model = operator.raw_operator
    if parts.string_categories(model):
        raise ConversionError(
            f"{type(model).__name__} was fitted on categories that are strings, and another model asks it.",
            hint="Encode them before both: a ColumnTransformer with an OrdinalEncoder, in a pipeline.",
        )
    usual(operator)


def _set_encoded_type(operator: Any) -> None:
    operator.outputs[0].type.shape = [None, operator.raw_operator.n_features_in_]


def _classifier(model: Any, nodes: Nodes, scores: str) -> list[Answer]:
    if len(model.classes_) == _TWO:
        answers = boosters.two_classes(
            nodes, scores, transform=boosters.both_sigmoids, classes=model.classes_
        )
    else:
        answers = boosters.many_classes(nodes, scores, transform=boosters.softmax, classes=model.classes_)
    return list(answers.values())


def _regressor(model: Any, nodes: Nodes, scores: str) -> list[Answer]:
    transform = boosters.exponent if model.loss in _LOGARITHMIC else boosters.identity
    return list(boosters.numbers(nodes, scores, transform=transform, targets=1).values())


def _scores(model: Any, nodes: Nodes, encoded: str, dtype: str) -> str:
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
        threshold[at] = BETWEEN
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
    """Of a matrix, as the trees see its columns: categories first, each by its number; unseen, missing."""
    if model._preprocessor is None:
        return rows
    known = parts.categories_by_column(model)
    encoded = [_by_number(nodes, (nodes.columns(rows, place), dtype), known[place], dtype) for place in known]
    others = [place for place in range(model.n_features_in_) if place not in known]
    return nodes.add("Concat", *encoded, *([nodes.columns(rows, *others)] if others else []), axis=1)


def _columns_encoded(model: Any, nodes: Nodes, columns: Sequence[Column]) -> list[Answer]:
    dtype = "float64" if any(kind == "float64" for _, kind in columns) else "float32"
    known = parts.categories_by_column(model)
    encoded = [_by_number(nodes, columns[place], categories, dtype) for place, categories in known.items()]
    others = [nodes.cast(value, dtype) for place, (value, _) in enumerate(columns) if place not in known]
    return [Answer(nodes.add("Concat", *encoded, *others, axis=1), dtype, (None, model.n_features_in_))]


def _by_number(nodes: Nodes, column: Column, known: Array, dtype: str) -> str:
    value, kind = column
    if kind == "string":
        texts = [one for one in known.tolist() if isinstance(one, str)]
        number = nodes.add(
            "LabelEncoder",
            value,
            domain=_ML_DOMAIN,
            keys_strings=texts,
            values_floats=[float(number) for number in range(len(texts))],
            default_float=float("nan"),
        )
        return number if dtype == "float32" else nodes.cast(number, dtype)
    known = known[~np.isnan(known)] if known.dtype.kind == "f" else known
    value = value if kind == dtype else nodes.cast(value, dtype)
    same = nodes.cast(nodes.add("Equal", value, nodes.constant(known.astype(dtype).reshape(1, -1))), dtype)
    number = nodes.cast(nodes.add("ArgMax", same, axis=1, keepdims=1), dtype)
    seen = nodes.add(
        "Greater",
        nodes.add("MatMul", same, nodes.constant(np.ones((len(known), 1), dtype))),
        nodes.constant(np.array(0, dtype)),
    )
    return nodes.add("Where", seen, number, nodes.constant(np.array(np.nan, dtype)))
