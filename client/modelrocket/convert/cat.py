"""CatBoost: its estimators and native models of numeric and categorical features, read from its own JSON.

Of numeric features alone, the rows are one matrix; else each feature is an input of its own.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np

from modelrocket.convert import boosters
from modelrocket.convert.boosters import (
    Answer,
    Booster,
    Transform,
    both_sigmoids,
    exponent,
    identity,
    sigmoid,
    softmax,
)
from modelrocket.convert.cat_categories import Seen
from modelrocket.convert.cat_tables import Table
from modelrocket.convert.forest import Columns, Forest, Nodes, Tree
from modelrocket.convert.interface import INPUT, OUTPUT, PROBABILITIES, Declared, Source
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.tensors import Array

_HINT = "Give the model that fit returned; or export it to ONNX yourself and give the file."
_ENCODE = (
    "Encode them before training, in a scikit-learn pipeline: make_pipeline(ColumnTransformer([('', "
    "OneHotEncoder(), columns)], remainder='passthrough'), CatBoostClassifier())"
)
_REFUSED: Mapping[str, str] = {
    "categorical": "inside another model: their names come from a sample of the model's own table",
    "text": "to ONNX",
    "embedding": "to ONNX",
}
"""By the kind of features, where they do not convert."""
_GOES_RIGHT = "AsTrue"
_SEVERAL_LABELS = frozenset({"MultiLogloss", "MultiCrossEntropy"})
_ONE_VERSUS_ALL = "MultiClassOneVsAll"
_LOGARITHMS = ("Poisson", "Tweedie")
_UNCERTAINTY = "RMSEWithUncertainty"

_Split: TypeAlias = Callable[[Mapping[str, Any]], tuple[int, float, bool]]
"""A split as JSON has it -> the column, the border, at which a row goes left, and whether NaN does."""


def source(model: Any, declared: Declared) -> Source:
    """Raises `ConversionError` where the model is not trained or has something that has no ONNX form."""
    told = _told(model)
    categorical = told["features_info"].get("categorical_features")
    framework = f"CatBoost {import_module('catboost').__version__}"
    if categorical:
        return _of_table(model, declared, framework)
    return boosters.source(
        _of_numbers(model, told),
        declared,
        framework=framework,
        original=lambda feeds: _answers(model, feeds[INPUT]),
        hint=_HINT,
    )


def estimators() -> tuple[type, ...]:
    """The scikit-learn classes."""
    catboost = import_module("catboost")
    return (catboost.CatBoostClassifier, catboost.CatBoostRegressor, catboost.CatBoostRanker)


def read(model: Any) -> Booster:
    """Of numeric features alone. Raises `ConversionError`."""
    return _of_numbers(model, _told(model))


def _of_numbers(model: Any, told: Mapping[str, Any]) -> Booster:
    features = told["features_info"]
    _refuse_features(features, tuple(_REFUSED))
    floats = {one["feature_index"]: one for one in features["float_features"]}
    columns = Columns(1 + max(one["flat_feature_index"] for one in floats.values()))
    trees = _trees(told, partial(_split, floats))
    return _booster(model, told, trees, columns)


def _booster(model: Any, told: Mapping[str, Any], trees: list[Tree], columns: Columns) -> Booster:
    bias = told["scale_and_bias"][1]
    return Booster(
        features=columns.count,
        scores=Forest(columns, trees, np.asarray(bias, np.float64), inclusive=True),
        answers=_answering(model, told["model_info"], len(bias)),
        rounds=True,
    )


def _trees(told: Mapping[str, Any], split_of: _Split) -> list[Tree]:
    scale, bias = told["scale_and_bias"]
    trees = [
        *(_oblivious(tree, split_of, len(bias)) for tree in told.get("oblivious_trees", ())),
        *(_nested(tree, split_of) for tree in told.get("trees", ())),
    ]
    return [_scaled(tree, scale) for tree in trees]


def _of_table(model: Any, declared: Declared, framework: str) -> Source:
    table = Table.of(model, declared)
    told = _told(model, pool=table.pool)
    _refuse_features(told["features_info"], ("text", "embedding"))
    features = table.features(told)
    seen = Seen(told, features)
    trees = _trees(told, seen.split)
    booster = _booster(model, told, trees, Columns(len(seen)))

    def outputs(nodes: Nodes) -> Mapping[str, Answer]:
        rows = seen.add_to(nodes, {spec.name: spec.name for spec in table.specs})
        return booster.add_to(nodes, rows, "float32")

    return Source(
        framework=framework,
        attempts=(boosters.attempt(outputs, table.specs, declared.target),),
        inputs=table.inputs(features, seen, booster.scores.thresholds()),
        original=lambda feeds: _answers(model, table.frame(feeds)),
        hint=_HINT,
    )


def _told(model: Any, pool: Any = None) -> Mapping[str, Any]:
    """The model as JSON; with a `pool`, the hashes of its categories too."""
    catboost = import_module("catboost")
    if not isinstance(model, catboost.CatBoost):
        raise UnsupportedModel(f"{type(model).__name__} is not a model of CatBoost.", hint=_HINT)
    if not model.is_fitted():
        raise ConversionError(
            f"{type(model).__name__} is not fitted yet.", hint="Call fit on it before uploading."
        )
    with TemporaryDirectory(prefix="modelrocket-") as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json", pool=pool)
        told: Mapping[str, Any] = json.loads(path.read_bytes())
    return told


def _refuse_features(features: Mapping[str, Any], kinds: Sequence[str]) -> None:
    for kind in kinds:
        if found := features.get(f"{kind}_features"):
            columns = ", ".join(str(one["flat_feature_index"]) for one in found)
            raise ConversionError(
                f"CatBoost's {kind} features do not convert {_REFUSED[kind]} (columns {columns}).",
                hint=_ENCODE,
            )


def _oblivious(tree: Mapping[str, Any], split_of: _Split, targets: int) -> Tree:
    """All nodes of a level have the same split; a leaf's number has a bit for each, the first the lowest."""
    splits = (tree["splits"] or [])[::-1]
    inner = 2 ** len(splits) - 1
    widths = 2 ** np.arange(len(splits))
    leaves = np.asarray(tree["leaf_values"], np.float64).reshape(-1, targets)
    parts = [split_of(split) for split in splits]
    column, border, missing_left = (
        np.append(np.repeat(np.asarray(part), widths), np.zeros(inner + 1))
        for part in (zip(*parts, strict=True) if parts else ((), (), ()))
    )
    node = np.arange(inner)
    none = np.full(inner + 1, -1)
    return Tree(
        column.astype(np.int64),
        border,
        np.append(2 * node + 1, none),
        np.append(2 * node + 2, none),
        missing_left.astype(bool),
        np.concatenate([np.zeros((inner, targets)), leaves]),
    )


def _split(floats: Mapping[int, Any], split: Mapping[str, Any]) -> tuple[int, float, bool]:
    """The column, the border, at which a row goes left, and whether a missing value does."""
    feature = floats[split["float_feature_index"]]
    border = float(np.float32(split["border"]))
    return feature["flat_feature_index"], border, feature["nan_value_treatment"] != _GOES_RIGHT


def _nested(tree: Mapping[str, Any], split_of: _Split) -> Tree:
    """A tree as it is written: nodes within nodes."""
    found = list(_inside(tree))
    number = {id(node): index for index, node in enumerate(found)}
    splits = [split_of(node["split"]) if "split" in node else (0, 0.0, False) for node in found]
    column, border, missing_left = zip(*splits, strict=True)
    left, right = (
        np.array([number[id(node[side])] if "split" in node else -1 for node in found])
        for side in ("left", "right")
    )
    width = max(np.size(node.get("value", 0.0)) for node in found)
    leaves = np.array([np.broadcast_to(node.get("value", 0.0), width) for node in found], np.float64)
    return Tree(np.array(column), np.array(border), left, right, np.array(missing_left), leaves)


def _inside(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    if "split" in node:
        yield from _inside(node["left"])
        yield from _inside(node["right"])


def _scaled(tree: Tree, scale: float) -> Tree:
    return tree if scale == 1 else replace(tree, leaves=tree.leaves * scale)


def _answering(
    model: Any, told: Mapping[str, Any], targets: int
) -> Callable[[Nodes, str], Mapping[str, Answer]]:
    if not hasattr(model, "predict_proba"):
        return partial(boosters.numbers, transform=_transform(model), targets=targets)
    above = float(told.get("binclass_probability_threshold", 0.5))
    if targets == 1:
        return partial(boosters.two_classes, transform=both_sigmoids, classes=model.classes_, above=above)
    objective = told["params"]["loss_function"]["type"]
    if objective in _SEVERAL_LABELS:
        return partial(boosters.many_labels, targets=targets)
    transform = sigmoid if objective == _ONE_VERSUS_ALL else softmax
    return partial(boosters.many_classes, transform=transform, classes=model.classes_, column=True)


def _transform(model: Any) -> Transform:
    """What `predict` of a regressor makes of scores; any other model gives them as they are."""
    objective = str(model.get_params().get("loss_function"))
    if not isinstance(model, import_module("catboost").CatBoostRegressor):
        return identity
    if objective.startswith(_LOGARITHMS):
        return exponent
    return _mean_and_variance if objective == _UNCERTAINTY else identity


def _mean_and_variance(nodes: Nodes, scores: str) -> str:
    """The second score is the logarithm of the deviation."""
    deviation = nodes.add("Exp", nodes.columns(scores, 1))
    variance = nodes.add("Mul", deviation, deviation)
    return nodes.add("Concat", nodes.columns(scores, 0), variance, axis=1)


def _answers(model: Any, rows: Array) -> Mapping[str, Array]:
    """What the model itself says, by output name."""
    answers = {OUTPUT: np.asarray(model.predict(rows))}
    if hasattr(model, "predict_proba"):
        answers[PROBABILITIES] = np.asarray(model.predict_proba(rows))
    return answers
