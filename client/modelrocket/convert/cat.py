"""CatBoost: its estimators and native models of numeric features, read from its own JSON."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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
from modelrocket.convert.forest import Columns, Forest, Nodes, Tree
from modelrocket.convert.interface import INPUT, OUTPUT, PROBABILITIES, Declared, Source
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.tensors import Array

_HINT = "Give the model that fit returned; or export it to ONNX yourself and give the file."
_OTHER_FEATURES = ("categorical", "text", "embedding")
_GOES_RIGHT = "AsTrue"
_SEVERAL_LABELS = frozenset({"MultiLogloss", "MultiCrossEntropy"})
_ONE_VERSUS_ALL = "MultiClassOneVsAll"
_LOGARITHMS = ("Poisson", "Tweedie")
_UNCERTAINTY = "RMSEWithUncertainty"


def source(model: Any, declared: Declared) -> Source:
    """Raises `ConversionError` where the model is not trained or has something that has no ONNX form."""
    catboost = import_module("catboost")
    return boosters.source(
        read(model),
        declared,
        framework=f"CatBoost {catboost.__version__}",
        original=lambda feeds: _answers(model, feeds[INPUT]),
        hint=_HINT,
    )


def estimators() -> tuple[type, ...]:
    """The scikit-learn classes."""
    catboost = import_module("catboost")
    return (catboost.CatBoostClassifier, catboost.CatBoostRegressor, catboost.CatBoostRanker)


def read(model: Any) -> Booster:
    """Raises `ConversionError`."""
    told = _told(model)
    features = told["features_info"]
    _check_features(features)
    floats = {one["feature_index"]: one for one in features["float_features"]}
    columns = Columns(1 + max(one["flat_feature_index"] for one in floats.values()))
    scale, bias = told["scale_and_bias"]
    trees = [
        *(_oblivious(tree, floats, len(bias)) for tree in told.get("oblivious_trees", ())),
        *(_nested(tree, floats) for tree in told.get("trees", ())),
    ]
    scaled = [_scaled(tree, scale) for tree in trees]
    return Booster(
        features=columns.count,
        scores=Forest(columns, scaled, np.asarray(bias, np.float64), inclusive=True),
        answers=_answering(model, told["model_info"], len(bias)),
        rounds=True,
    )


def _told(model: Any) -> Mapping[str, Any]:
    catboost = import_module("catboost")
    if not isinstance(model, catboost.CatBoost):
        raise UnsupportedModel(f"{type(model).__name__} is not a model of CatBoost.", hint=_HINT)
    if not model.is_fitted():
        raise ConversionError(
            f"{type(model).__name__} is not fitted yet.", hint="Call fit on it before uploading."
        )
    with TemporaryDirectory(prefix="modelrocket-") as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        told: Mapping[str, Any] = json.loads(path.read_bytes())
    return told


def _check_features(features: Mapping[str, Any]) -> None:
    for kind in _OTHER_FEATURES:
        if found := features.get(f"{kind}_features"):
            columns = ", ".join(str(one["flat_feature_index"]) for one in found)
            raise ConversionError(
                f"CatBoost's {kind} features do not convert (columns {columns}): what they become is "
                "computed from statistics of the training set.",
                hint=(
                    "Encode them before training, in a scikit-learn pipeline: "
                    "make_pipeline(ColumnTransformer([('', OneHotEncoder(), columns)], "
                    "remainder='passthrough'), CatBoostClassifier())"
                ),
            )


def _oblivious(tree: Mapping[str, Any], floats: Mapping[int, Any], targets: int) -> Tree:
    """All nodes of a level have the same split; a leaf's number has a bit for each, the first the lowest."""
    splits = tree["splits"][::-1]
    inner = 2 ** len(splits) - 1
    widths = 2 ** np.arange(len(splits))
    leaves = np.asarray(tree["leaf_values"], np.float64).reshape(-1, targets)
    parts = [_split(split, floats) for split in splits]
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


def _split(split: Mapping[str, Any], floats: Mapping[int, Any]) -> tuple[int, float, bool]:
    """The column, the border, at which a row goes left, and whether a missing value does."""
    feature = floats[split["float_feature_index"]]
    border = float(np.float32(split["border"]))
    return feature["flat_feature_index"], border, feature["nan_value_treatment"] != _GOES_RIGHT


def _nested(tree: Mapping[str, Any], floats: Mapping[int, Any]) -> Tree:
    """A tree as it is written: nodes within nodes."""
    found = list(_inside(tree))
    number = {id(node): index for index, node in enumerate(found)}
    splits = [_split(node["split"], floats) if "split" in node else (0, 0.0, False) for node in found]
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
