"""What a fitted scikit-learn estimator is made of: its steps, and which of them see the rows as they come."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from modelrocket.tensors import Array

Columns: TypeAlias = Sequence[int | None]
"""Of what an estimator sees: the model's own column that each is, unchanged, or None."""

_INNER = ("best_estimator_", "estimator_", "regressor_", "final_estimator_")


def named_parts(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The model (under "") and every fitted estimator that it asks, under the names of the steps to it."""
    yield path, model
    for name, part in _named(model):
        yield from named_parts(part, f"{path}.{name}" if path else name)


def front(model: Any) -> Iterator[Any]:
    """The model and the estimators in it that see its own input, outermost first."""
    yield model
    for _, part in _named(model)[: 1 if hasattr(model, "steps") else None]:
        yield from front(part)


def seen(model: Any, columns: Columns) -> Iterator[tuple[Any, Columns]]:
    """Every estimator in the model that is no composition, and the columns that it sees."""
    if hasattr(model, "steps"):
        for _, step in _named(model):
            yield from seen(step, columns)
            columns = _after(step, columns)
    elif hasattr(model, "transformers_"):
        for _, step, indices in column_steps(model):
            yield from seen(step, _taken(columns, indices))
    elif hasattr(model, "transformer_list"):
        for _, step in _named(model):
            yield from seen(step, columns)
    elif hasattr(model, "best_estimator_"):
        yield from seen(model.best_estimator_, columns)
    else:
        yield model, columns


def column_steps(model: Any) -> list[tuple[str, Any, list[int]]]:
    """Of a ColumnTransformer: what is fitted on which columns, without those dropped or passed through."""
    indices = model._transformer_to_input_indices
    return [(name, step, list(indices[name])) for name, step, _ in model.transformers_ if _fitted(step)]


def columns_used(model: Any) -> list[int]:
    """Of a ColumnTransformer: all but those dropped."""
    indices = model._transformer_to_input_indices
    kept = (indices[name] for name, step, _ in model.transformers_ if not _is(step, "drop"))
    return sorted({int(index) for several in kept for index in several})


def categories_by_column(model: Any) -> dict[int, Array]:
    """What boosted histograms know that number categories themselves; the columns are in trees' order."""
    preprocessor = getattr(model, "_preprocessor", None)
    if preprocessor is None or not hasattr(model, "is_categorical_"):
        return {}
    places = preprocessor._transformer_to_input_indices["encoder"]
    categories = preprocessor.named_transformers_["encoder"].categories_
    return {int(place): np.asarray(known) for place, known in zip(places, categories, strict=True)}


def string_categories(model: Any) -> list[int]:
    """The columns whose categories are strings, which boosted histograms number themselves."""
    return [place for place, known in categories_by_column(model).items() if known.dtype.kind in "OUS"]


def _named(model: Any) -> list[tuple[str, Any]]:
    if hasattr(model, "steps"):
        found = list(model.steps)
    elif hasattr(model, "transformer_list"):
        found = list(model.transformer_list)
    elif hasattr(model, "transformers_"):
        found = [(name, step) for name, step, _ in column_steps(model)]
    elif type(model).__name__ == "FrozenEstimator":
        found = [("estimator", model.estimator)]
    elif hasattr(model, "get_support"):
        found = []  # the estimator of a selector is not asked again
    else:
        found = [*_several(model), *((name, getattr(model, name)) for name in _INNER if hasattr(model, name))]
    return [(name, part) for name, part in found if _fitted(part)]


def _several(model: Any) -> list[tuple[str, Any]]:
    if hasattr(model, "calibrated_classifiers_"):
        return [(f"{at}", one.estimator) for at, one in enumerate(model.calibrated_classifiers_)]
    if hasattr(model, "named_estimators_"):
        return list(model.named_estimators_.items())
    parts = getattr(model, "estimators_", None)
    if parts is None:
        return []
    return [(f"{at}", part) for at, part in enumerate(np.asarray(parts, dtype=object).ravel())]


def _fitted(part: Any) -> bool:
    return hasattr(part, "get_params") and not isinstance(part, type)


def _is(part: Any, alias: str) -> bool:
    return isinstance(part, str) and part == alias


def _after(step: Any, columns: Columns) -> Columns:
    """What the next step sees of the columns that this one lets through unchanged."""
    if hasattr(step, "transformers_"):
        return [column for columns_of in _passed(step, columns) for column in columns_of]
    if hasattr(step, "get_support"):
        return _taken(columns, step.get_support(indices=True))
    if fills_gaps(step) or is_identity(step):
        return columns
    return _unknown(step)


def _passed(model: Any, columns: Columns) -> Iterator[Columns]:
    for name, step, _ in model.transformers_:
        here = _taken(columns, model._transformer_to_input_indices[name])
        if _is(step, "passthrough"):
            yield here
        elif not _is(step, "drop"):
            inner = list(here)
            for _, part in _named(step) if hasattr(step, "steps") else [("", step)]:
                inner = list(_after(part, inner))
            yield inner


def _taken(columns: Columns, indices: Sequence[int]) -> list[int | None]:
    """Behind a step of unknown width there are more columns than are known."""
    return [columns[index] if index < len(columns) else None for index in indices]


def _unknown(step: Any) -> Columns:
    """Nothing where the step does not know its width."""
    try:
        return [None] * len(step.get_feature_names_out())
    except Exception:  # estimators that do not know their width
        return []


def is_identity(step: Any) -> bool:
    """What "passthrough" becomes in a fitted ColumnTransformer."""
    return type(step).__name__ == "FunctionTransformer" and step.func is None


def fills_gaps(step: Any) -> bool:
    """An imputer that keeps every column; what is there stays as it is."""
    kept = not getattr(step, "add_indicator", True)
    full = getattr(step, "statistics_", None)
    return kept and type(step).__name__.endswith("Imputer") and (full is None or not _nan(full))


def _nan(values: Any) -> bool:
    return any(isinstance(value, float) and np.isnan(value) for value in np.asarray(values, dtype=object))
