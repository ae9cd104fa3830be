"""LightGBM: its scikit-learn API and native boosters, read from the text that it saves itself as."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np

from modelrocket.convert import boosters
from modelrocket.convert.boosters import Answer, Booster, Transform, exponent, identity, sigmoid, softmax
from modelrocket.convert.forest import BETWEEN, ZERO_WITHIN, Columns, Forest, Membership, Nodes, Tree
from modelrocket.convert.interface import INPUT, OUTPUT, PROBABILITIES, Declared, Source
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.tensors import Array

_HINT = "Give the model that fit returned, or its Booster; or export it to ONNX yourself and give the file."
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING_SHIFT, _ZERO_IS_MISSING = 2, 1
"""`decision_type` is a bit field: two flags, and above them what is missing: nothing, zero or NaN."""
_WORD_BITS = 32
_NUMERIC = ("[", "none")
"""How a column's range begins; a column of categories lists them."""


def _softplus(nodes: Nodes, scores: str) -> str:
    return nodes.add("Softplus", scores)


def _square(nodes: Nodes, scores: str) -> str:
    return nodes.add("Mul", scores, nodes.add("Abs", scores))


_EXPONENTS = frozenset({"gamma", "poisson", "tweedie"})
_AS_THEY_ARE = frozenset(
    {
        "custom",
        "fair",
        "huber",
        "lambdarank",
        "mape",
        "quantile",
        "rank_xendcg",
        "regression",
        "regression_l1",
    }
)


def source(model: Any, declared: Declared) -> Source:
    """Raises `ConversionError` where the model is not trained or has something that has no ONNX form."""
    lightgbm = import_module("lightgbm")
    return boosters.source(
        read(model),
        declared,
        framework=f"LightGBM {lightgbm.__version__}",
        original=lambda feeds: _answers(model, feeds[INPUT]),
        hint=_HINT,
    )


def estimators() -> tuple[type, ...]:
    """The scikit-learn classes."""
    lightgbm = import_module("lightgbm")
    return (lightgbm.LGBMClassifier, lightgbm.LGBMRegressor, lightgbm.LGBMRanker)


def read(model: Any) -> Booster:
    """Raises `ConversionError`."""
    native = _native(model)
    head, *trees = native.model_to_string().partition("\nend of trees")[0].split("\nTree=")
    told = _fields(head)
    features, targets = int(told["max_feature_idx"]) + 1, int(told["num_tree_per_iteration"])
    columns = Columns(features)
    shares = len(trees) // targets if "average_output" in told else 1
    forest = Forest(
        columns,
        [_tree(_fields(tree), columns, shares, number % targets) for number, tree in enumerate(trees)],
        np.zeros(targets),
        inclusive=True,
    )
    return Booster(
        features=features,
        scores=forest,
        answers=_answering(model, told.get("objective", "custom"), targets),
        rounds=False,
        notes=_notes(model, native, told),
    )


def _native(model: Any) -> Any:
    lightgbm = import_module("lightgbm")
    if isinstance(model, lightgbm.Booster):
        return model
    if not isinstance(model, lightgbm.LGBMModel):
        raise UnsupportedModel(f"{type(model).__name__} is not a model of LightGBM.", hint=_HINT)
    if not model.__sklearn_is_fitted__():
        raise ConversionError(
            f"{type(model).__name__} is not fitted yet.", hint="Call fit on it before uploading."
        )
    return model.booster_


def _fields(text: str) -> dict[str, str]:
    """Lines of `name=value`; a line without a value is a flag."""
    return {name: value for name, _, value in (line.partition("=") for line in text.splitlines())}


def _transform(objective: str) -> Transform:
    """What `predict` makes of scores; the objective as the model has it: a name and parameters."""
    name, told = objective.split(maxsplit=1)[0], _parameters(objective)
    if name in ("binary", "multiclassova"):
        return partial(sigmoid, slope=float(told["sigmoid"]))
    if name == "regression" and "sqrt" in told:
        return _square
    found = {"multiclass": softmax, "cross_entropy": sigmoid, "cross_entropy_lambda": _softplus}
    found |= dict.fromkeys(_EXPONENTS, exponent) | dict.fromkeys(_AS_THEY_ARE, identity)
    if name not in found:
        raise ConversionError(f"LightGBM's objective {name} does not convert.", hint=_HINT)
    return found[name]


def _parameters(objective: str) -> dict[str, str]:
    return dict(one.partition(":")[::2] for one in objective.split()[1:])


def _tree(told: Mapping[str, str], columns: Columns, shares: int, target: int) -> Tree:
    """Splits come before leaves; a child below zero is the leaf -child - 1."""
    if told["is_linear"] != "0":
        raise ConversionError(
            "LightGBM's linear_tree does not convert: its leaves are linear models.",
            hint="Train it without linear_tree.",
        )
    value = _numbers(told, "leaf_value", np.float64)
    leaf = np.zeros(len(value), np.int64)
    count = len(value) - 1
    leaves = np.concatenate([leaf[:count], value / shares]).reshape(-1, 1)
    if not count:
        return Tree(leaf, leaf, leaf - 1, leaf - 1, leaf != 0, leaves, target)
    sets = _category_sets(told)
    names = {"decision_type": np.int64, "split_feature": np.int64, "threshold": np.float64}
    told_splits = zip(*(_numbers(told, name, dtype).tolist() for name, dtype in names.items()), strict=True)
    column, threshold, missing_left = zip(*(_split(columns, sets, *one) for one in told_splits), strict=True)
    left, right = (_numbers(told, name, np.int64) for name in ("left_child", "right_child"))
    return Tree(
        np.append(column, leaf),
        np.append(threshold, leaf),
        np.append(np.where(left < 0, count - 1 - left, left), leaf - 1),
        np.append(np.where(right < 0, count - 1 - right, right), leaf - 1),
        np.append(missing_left, leaf != 0),
        leaves,
        target,
    )


def _split(
    columns: Columns, sets: Sequence[frozenset[int]], decision: int, feature: int, threshold: float
) -> tuple[int, float, bool]:
    """The column to split on, the threshold, and whether a missing value goes left."""
    if decision & _CATEGORICAL:
        return columns.membership(_membership(feature, sets[int(threshold)])), BETWEEN, False
    if abs(threshold) <= ZERO_WITHIN:  # a value as small as that is 0 before it is compared
        threshold = ZERO_WITHIN if threshold >= 0 else float(np.nextafter(-ZERO_WITHIN, -np.inf))
    missing = decision >> _MISSING_SHIFT
    column = columns.zero_as_missing(feature) if missing == _ZERO_IS_MISSING else feature
    return column, threshold, bool(decision & _DEFAULT_LEFT) if missing else threshold >= 0


def _numbers(told: Mapping[str, str], name: str, dtype: type) -> Array:
    return np.array(told[name].split(), dtype)


def _membership(feature: int, categories: frozenset[int]) -> Membership:
    return Membership(feature, categories, chosen_left=True, missing_left=False, truncates=True)


def _category_sets(told: Mapping[str, str]) -> list[frozenset[int]]:
    """Bit fields, one after the other."""
    if told.get("num_cat", "0") == "0":
        return []
    ends, words = _numbers(told, "cat_boundaries", np.int64), _numbers(told, "cat_threshold", np.uint32)
    return [
        frozenset(
            number * _WORD_BITS + bit
            for number, word in enumerate(words[start:end].tolist())
            for bit in range(_WORD_BITS)
            if word >> bit & 1
        )
        for start, end in pairwise(ends)
    ]


def _answering(model: Any, objective: str, targets: int) -> Callable[[Nodes, str], Mapping[str, Answer]]:
    transform = _transform(objective)
    if not _classifies(model):
        return partial(boosters.numbers, transform=transform, targets=targets)
    if targets > 1:
        return partial(boosters.many_classes, transform=transform, classes=model.classes_)
    both = partial(boosters.both_sigmoids, slope=float(_parameters(objective)["sigmoid"]))
    return partial(boosters.two_classes, transform=both, classes=model.classes_)


def _classifies(model: Any) -> bool:
    """With an objective of the owner's own, a classifier gives scores alone."""
    return hasattr(model, "predict_proba") and not callable(model.objective_)


def _notes(model: Any, native: Any, told: Mapping[str, str]) -> tuple[str, ...]:
    notes = []
    if hasattr(model, "predict_proba") and not _classifies(model):
        notes.append("It gives scores, as its predict does: the objective is the owner's own function.")
    ranges = told["feature_infos"].split() if native.pandas_categorical else []
    coded = [number for number, values in enumerate(ranges) if not values.startswith(_NUMERIC)]
    return (*notes, *boosters.notes_on_codes(coded))


def _answers(model: Any, rows: Array) -> Mapping[str, Array]:
    """What the model itself says, by output name."""
    answers = {OUTPUT: np.asarray(model.predict(rows))}
    if _classifies(model):
        answers[PROBABILITIES] = model.predict_proba(rows)
    return answers
