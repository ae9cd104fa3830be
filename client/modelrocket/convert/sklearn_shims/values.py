"""What a fitted scikit-learn estimator knows of its input's values: categories, words, splits, gaps."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from modelrocket.convert import boosters
from modelrocket.convert.sklearn_shims import parts
from modelrocket.convert.sklearn_shims.scalers import is_exact
from modelrocket.inputs import MAGNITUDES, Values
from modelrocket.tensors import Array

_INTEGERS_BELOW = 256
_TEXTS = 64
_WORDS_MAX = 12
_THRESHOLDS_MAX = 256
_POSITIVES = 64
_OF_POSITIVES = ("log", "log10", "log1p", "log2", "sqrt")


def matrix_values(model: Any, features: int | None) -> Values:
    """Of a single input, rows x features."""
    columns = list(range(features or 0))
    return Values(
        integers_below=_INTEGERS_BELOW,
        choices=_all_choices(model, columns),
        thresholds=_thresholds(model, columns),
        missing=_takes_missing(model),
    )


def table_values(model: Any, names: Sequence[str], dtypes: Mapping[str, str]) -> dict[str, Values]:
    """Of an input for each column."""
    columns = list(range(len(names)))
    choices, thresholds = _choices(model, columns), _thresholds(model, columns)
    missing = {column for part, seen in parts.seen(model, columns) if _takes_missing(part) for column in seen}
    return {
        name: Values(
            choices=_of_dtype(choices.get(column), dtypes[name]),
            thresholds={0: thresholds[column]} if column in thresholds else {},
            missing=column in missing,
        )
        for column, name in enumerate(names)
        if name in dtypes
    }


def text_values(model: Any) -> Values:
    """Texts of the words that were counted in training."""
    counters = [part for part in parts.front(model) if hasattr(part, "build_analyzer")]
    words = [word for part in counters for word in getattr(part, "vocabulary_", {})]
    if not words:
        return Values()
    random = np.random.default_rng(0)
    separator = "" if counters[0].analyzer in ("char", "char_wb") else " "
    texts = [separator.join(random.choice(words, random.integers(1, _WORDS_MAX))) for _ in range(_TEXTS)]
    return Values(choices=(np.array(texts, dtype=object),))


def _of_dtype(choices: Array | None, dtype: str) -> tuple[Array, ...]:
    if choices is None or (choices.dtype.kind in "OUS") != (dtype == "string"):
        return ()
    return (choices,)


def _all_choices(model: Any, columns: parts.Columns) -> tuple[Array, ...]:
    """Only where every column has some: a single input's values are drawn all alike."""
    found = _choices(model, columns)
    if columns and len(found) == len(columns):
        return tuple(found[column] for column in range(len(columns)))
    if _positive_only(model):
        random = np.random.default_rng(0)
        return (np.abs(random.standard_normal(_POSITIVES)) * np.resize(MAGNITUDES, _POSITIVES),)
    return ()


def _choices(model: Any, columns: parts.Columns) -> dict[int, Array]:
    """By column: the categories that an encoder learned of it."""
    found: dict[int, Array] = {}
    for part, seen in parts.seen(model, columns):
        for column, categories in zip(seen, _categories(part), strict=False):
            known = _without_missing(categories)
            if column is not None and len(known):
                found.setdefault(column, known)
    return found


def _categories(part: Any) -> Sequence[Array]:
    if hasattr(part, "categories_"):
        return [np.asarray(categories) for categories in part.categories_]
    if hasattr(part, "n_categories_"):
        return [np.arange(count) for count in part.n_categories_]
    known = parts.categories_by_column(part)
    return [known.get(place, np.empty(0)) for place in range(part.n_features_in_)] if known else []


def _without_missing(categories: Array) -> Array:
    if categories.dtype.kind == "f":
        return np.asarray(categories[~np.isnan(categories)])
    if categories.dtype == object:
        kept = [one for one in categories if isinstance(one, str)]
        return np.array(kept, dtype=object)
    return categories.astype(object) if categories.dtype.kind in "US" else categories


# Trees


def _thresholds(model: Any, columns: parts.Columns) -> dict[int, Array]:
    """By column: where trees split it; none where anything but trees computes with columns as they are."""
    found: dict[int, list[Array]] = {}
    for part, seen in parts.seen(model, columns):
        if _lets_through(part):
            continue
        splits = list(_splits(part))
        if not splits and any(column is not None for column in seen):
            return {}
        for feature, thresholds in splits:
            if feature < len(seen) and seen[feature] is not None:
                found.setdefault(int(seen[feature] or 0), []).append(thresholds)
    return {column: _some(np.concatenate(several)) for column, several in found.items()}


def _lets_through(part: Any) -> bool:
    """Nothing is computed with what it sees."""
    fitted = any(hasattr(part, name) for name in ("get_support", "categories_"))
    return fitted or parts.fills_gaps(part) or parts.is_identity(part)


def _splits(part: Any) -> Iterator[tuple[int, Array]]:
    if hasattr(part, "bin_edges_"):
        yield from ((feature, edges[1:-1]) for feature, edges in enumerate(part.bin_edges_))
        return
    if hasattr(part, "_predictors"):
        yield from _histogram_splits(part)
        return
    boosted = boosters.thresholds_of(part)
    if boosted is not None:
        yield from boosted.items()
        return
    trees = [part] if hasattr(part, "tree_") else list(_members(part))
    if not all(hasattr(one, "tree_") for one in trees):
        return
    features = getattr(part, "estimators_features_", None) or [None] * len(trees)
    for tree, own in zip((one.tree_ for one in trees), features, strict=True):
        inner = tree.children_left >= 0
        feature = tree.feature[inner]
        yield from _by_feature(feature if own is None else np.asarray(own)[feature], tree.threshold[inner])


def _members(part: Any) -> Iterator[Any]:
    for one in getattr(part, "estimators_", ()):
        yield from one if isinstance(one, (list, np.ndarray)) else (one,)


def _histogram_splits(part: Any) -> Iterator[tuple[int, Array]]:
    """Trees see columns of categories first."""
    categorical = [] if part.is_categorical_ is None else list(parts.categories_by_column(part))
    others = [place for place in range(part.n_features_in_) if place not in categorical]
    order = np.array([*categorical, *others])
    for predictor in (one for several in part._predictors for one in several):
        inner = predictor.nodes[(predictor.nodes["is_leaf"] == 0) & (predictor.nodes["is_categorical"] == 0)]
        yield from _by_feature(order[inner["feature_idx"].astype(int)], inner["num_threshold"])


def _by_feature(features: Array, thresholds: Array) -> Iterator[tuple[int, Array]]:
    for feature in np.unique(features):
        yield int(feature), thresholds[features == feature]


def _some(thresholds: Array) -> Array:
    found: Array = np.unique(thresholds[np.isfinite(thresholds)])
    if len(found) <= _THRESHOLDS_MAX:
        return found
    return np.asarray(found[np.linspace(0, len(found) - 1, _THRESHOLDS_MAX).astype(int)])


def computed_before_trees(model: Any, features: int) -> tuple[str, ...]:
    """The kinds of steps whose outcome trees split, where their arithmetic may round otherwise in ONNX."""
    computing: dict[str, None] = {}
    for part, seen in parts.seen(model, list(range(features))):
        if computing and any(column is None for column in seen or (None,)) and any(_splits(part)):
            return tuple(computing)
        if not (_lets_through(part) or _keeps_values(part)):
            computing[type(part).__name__] = None
    return ()


def _keeps_values(part: Any) -> bool:
    """It makes of equal values equal ones, bit for bit."""
    return hasattr(part, "bin_edges_") or type(part).__name__ == "SimpleImputer" or is_exact(part)


# Tags


def _takes_missing(model: Any) -> bool:
    """Of a pipeline: every step does, as far as the one that fills gaps."""
    if hasattr(model, "best_estimator_"):
        return _takes_missing(model.best_estimator_)
    if not hasattr(model, "steps"):
        return _tag(model, "allow_nan")
    for _, step in model.steps:
        if not isinstance(step, str) and not _takes_missing(step):
            return False
        if type(step).__name__.endswith("Imputer"):
            return True
    return True


def _positive_only(model: Any) -> bool:
    functions = (getattr(getattr(part, "func", None), "__name__", "") for part in parts.front(model))
    tagged = any(_tag(part, "positive_only") or _is_box_cox(part) for part in parts.front(model))
    return tagged or any(name in _OF_POSITIVES for name in functions)


def _is_box_cox(part: Any) -> bool:
    return getattr(part, "method", "") == "box-cox"


def _tag(model: Any, name: str) -> bool:
    """Of its input; of scikit-learn before 1.6 nothing is known."""
    try:
        return bool(getattr(model.__sklearn_tags__().input_tags, name))
    except Exception:  # estimators of other makers need have no tags
        return False
