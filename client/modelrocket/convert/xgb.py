"""XGBoost: its scikit-learn API and native boosters, read from its own JSON; trees, dart and gblinear."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from math import nan
from types import MappingProxyType
from typing import Any

import numpy as np

from modelrocket.convert import boosters
from modelrocket.convert.boosters import Answer, Booster, Transform, exponent, identity, sigmoid, softmax
from modelrocket.convert.forest import BETWEEN, Columns, Forest, Linear, Membership, Nodes, Tree
from modelrocket.convert.interface import INPUT, OUTPUT, PROBABILITIES, Declared, Source
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.tensors import Array

_HINT = "Give the model that fit returned, or its Booster; or export it to ONNX yourself and give the file."
_LINEAR = "gblinear"


def _hinge(nodes: Nodes, scores: str) -> str:
    positive = nodes.add("Greater", scores, nodes.constant(np.zeros((), np.float32)))
    return nodes.cast(positive, "float32")


def _likeliest(nodes: Nodes, scores: str) -> str:
    return nodes.cast(nodes.add("ArgMax", scores, axis=1, keepdims=1), "float32")


_TRANSFORMS: Mapping[str, Transform] = MappingProxyType(
    {
        "binary:hinge": _hinge,
        "binary:logistic": sigmoid,
        "binary:logitraw": identity,
        "count:poisson": exponent,
        "multi:softmax": _likeliest,
        "multi:softprob": softmax,
        "rank:map": identity,
        "rank:ndcg": identity,
        "rank:pairwise": identity,
        "reg:absoluteerror": identity,
        "reg:expectileerror": identity,
        "reg:gamma": exponent,
        "reg:logistic": sigmoid,
        "reg:pseudohubererror": identity,
        "reg:quantileerror": identity,
        "reg:squarederror": identity,
        "reg:squaredlogerror": identity,
        "reg:tweedie": exponent,
        "survival:aft": exponent,
        "survival:cox": exponent,
    }
)
"""What `predict` makes of scores, by objective."""
_MULTICLASS = frozenset({"multi:softmax", "multi:softprob"})
_LOGITS = frozenset({"binary:logistic", "reg:logistic"})
_LOGARITHMS = frozenset(name for name, transform in _TRANSFORMS.items() if transform is exponent)
"""Whose base score is kept as what `predict` returns."""


def source(model: Any, declared: Declared) -> Source:
    """Raises `ConversionError` where the model is not trained or has something that has no ONNX form."""
    xgboost = import_module("xgboost")
    return boosters.source(
        read(model),
        declared,
        framework=f"XGBoost {xgboost.__version__}",
        original=lambda feeds: _answers(model, feeds[INPUT]),
        hint=_HINT,
    )


def estimators() -> tuple[type, ...]:
    """The scikit-learn classes."""
    xgboost = import_module("xgboost")
    return (
        xgboost.XGBClassifier,
        xgboost.XGBRFClassifier,
        xgboost.XGBRegressor,
        xgboost.XGBRFRegressor,
        xgboost.XGBRanker,
    )


def read(model: Any) -> Booster:
    """Raises `ConversionError`."""
    native = _native(model)
    learner = json.loads(bytes(native.save_raw("json")))["learner"]
    objective = learner["objective"]["name"]
    if objective not in _TRANSFORMS:
        raise ConversionError(f"XGBoost's objective {objective} does not convert.", hint=_HINT)
    parameters = learner["learner_model_param"]
    targets = max(int(parameters["num_class"]), int(parameters["num_target"]), 1)
    base = _base(parameters["base_score"], objective, targets)
    features = int(parameters["num_feature"])
    missing = getattr(model, "missing", None)
    return Booster(
        features=features,
        scores=_scores(learner["gradient_booster"], base, features, rounds=_rounds(model)),
        answers=_answering(model, objective, targets),
        rounds=True,
        missing=nan if missing is None else float(missing),
        notes=_notes(model, learner),
    )


def _native(model: Any) -> Any:
    xgboost = import_module("xgboost")
    if isinstance(model, xgboost.Booster):
        return model
    if not isinstance(model, xgboost.XGBModel):
        raise UnsupportedModel(f"{type(model).__name__} is not a model of XGBoost.", hint=_HINT)
    try:
        return model.get_booster()
    except Exception as error:
        raise ConversionError(
            f"{type(model).__name__} is not fitted yet.", hint="Call fit on it before uploading."
        ) from error


def _rounds(model: Any) -> int | None:
    """Of an estimator that was stopped early, the best ones; a native booster predicts with all."""
    if hasattr(model, "get_booster") and getattr(model, "booster", None) != _LINEAR:
        with suppress(AttributeError):
            return int(model.best_iteration) + 1
    return None


def _base(told: str, objective: str, targets: int) -> Array:
    """Of each target, as a score."""
    base = np.asarray(json.loads(told), np.float32).astype(np.float64).ravel()
    if objective in _LOGITS:
        base = np.log(base / (1 - base))
    if objective in _LOGARITHMS:
        base = np.log(base)
    return np.broadcast_to(base, (targets,))


def _scores(booster: Mapping[str, Any], base: Array, features: int, *, rounds: int | None) -> Forest | Linear:
    if booster["name"] == _LINEAR:
        weights = np.asarray(booster["model"]["weights"], np.float64).reshape(features + 1, len(base))
        return Linear(weights[:-1], base[0] + weights[-1])  # every target gets the first one's base score
    model = booster.get("gbtree", booster)["model"]
    weight = booster.get("weight_drop", [1.0] * len(model["trees"]))
    count = model["iteration_indptr"][-1 if rounds is None else rounds]
    columns = Columns(features)
    trees = zip(model["trees"][:count], weight, model["tree_info"], strict=False)
    return Forest(
        columns,
        [_tree(tree, columns, factor, target) for tree, factor, target in trees],
        base,
        inclusive=False,
    )


def _tree(tree: Mapping[str, Any], columns: Columns, weight: float, target: int) -> Tree:
    left, right = np.asarray(tree["left_children"]), np.asarray(tree["right_children"])
    leaf, width = left < 0, int(tree["tree_param"]["size_leaf_vector"])
    column = np.where(leaf, 0, np.asarray(tree["split_indices"]))
    threshold = np.asarray(tree["split_conditions"], np.float32).astype(np.float64)
    leaves = threshold.reshape(-1, 1)
    if width > 1:
        values = np.asarray(tree["leaf_weights"], np.float32).astype(np.float64).reshape(-1, width)
        leaves = np.zeros((len(left), width))
        leaves[leaf] = values[right[leaf]]
    missing_left = np.asarray(tree["default_left"], bool)
    for node, right_going in _categories(tree):
        split = Membership(
            int(column[node]),
            right_going,
            chosen_left=False,
            missing_left=bool(missing_left[node]),
            truncates=False,
        )
        column[node], threshold[node] = columns.membership(split), BETWEEN
    kept = _reachable(left, right)
    number = np.cumsum(kept) - 1
    left, right = np.where(leaf, -1, number[left])[kept], np.where(leaf, -1, number[right])[kept]
    return Tree(
        column[kept], threshold[kept], left, right, missing_left[kept], (leaves * weight)[kept], target
    )


def _reachable(left: Array, right: Array) -> Array:
    """Which nodes belong to the tree: pruning leaves others behind."""
    kept = np.zeros(len(left), bool)
    ahead = [0]
    while ahead:
        node = ahead.pop()
        kept[node] = True
        if left[node] >= 0:
            ahead += (int(left[node]), int(right[node]))
    return kept


def _categories(tree: Mapping[str, Any]) -> Iterator[tuple[int, frozenset[int]]]:
    """Each split by category: its node, and the categories that go right; any other goes left."""
    names = ("categories_nodes", "categories_segments", "categories_sizes")
    for node, start, size in zip(*(tree[name] for name in names), strict=True):
        yield node, frozenset(tree["categories"][start : start + size])


def _answering(model: Any, objective: str, targets: int) -> Callable[[Nodes, str], Mapping[str, Answer]]:
    transform = _TRANSFORMS[objective]
    if not hasattr(model, "predict_proba"):
        width = 1 if transform is _likeliest else targets
        return partial(boosters.numbers, transform=transform, targets=width)
    if targets == 1:
        rest = partial(boosters.and_the_rest, transform=transform)
        both: Transform = boosters.both_sigmoids if transform is sigmoid else rest
        return partial(boosters.two_classes, transform=both, classes=model.classes_)
    if objective in _MULTICLASS:
        return partial(boosters.many_classes, transform=softmax, classes=model.classes_)
    return partial(boosters.many_labels, targets=targets)


def _notes(model: Any, learner: Mapping[str, Any]) -> tuple[str, ...]:
    notes = []
    if callable(getattr(model, "objective", None)):
        objective = learner["objective"]["name"]
        notes.append(
            f"It answers as its predict does, which knows nothing of your objective: as {objective}."
        )
    booster = learner["gradient_booster"]
    categories = booster.get("gbtree", booster)["model"].get("cats", {"enc": ()})["enc"]
    coded = [number for number, column in enumerate(categories) if column["values"]]
    return (*notes, *boosters.notes_on_codes(coded))


def _answers(model: Any, rows: Array) -> Mapping[str, Array]:
    """What the model itself says, by output name."""
    if not hasattr(model, "get_booster"):
        return {OUTPUT: _native_answer(model, rows)}
    if not hasattr(model, "predict_proba"):
        return {OUTPUT: model.predict(rows)}
    labels = model.predict(rows)
    return {OUTPUT: labels.astype(np.int64), PROBABILITIES: model.predict_proba(rows)}


def _native_answer(booster: Any, rows: Array) -> Array:
    matrix = import_module("xgboost").DMatrix(
        rows,
        feature_names=booster.feature_names,
        feature_types=booster.feature_types,
        enable_categorical=True,
    )
    return np.asarray(booster.predict(matrix))
