"""The inputs of a fitted scikit-learn estimator, and its rows made of them again.

a matrix   `modelInput`, rows x features, float32 unless something else is said
texts      `modelInput`, one string per row, where the first step counts words
labels     `modelInput`, one label per row, where labels are what it encodes
a table    an input for each column, rows x 1 and named as the column, where steps choose columns by name
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from modelrocket.convert.interface import INPUT, Declared, dtype_name
from modelrocket.convert.sklearn_shims import parts
from modelrocket.convert.sklearn_shims.values import matrix_values, table_values, text_values
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.inputs import Feeds, Inputs, Values
from modelrocket.tensors import Array, TensorSpec, numpy_dtype

_TAKES_OTHERS = {
    "DictVectorizer": "dictionaries",
    "FeatureHasher": "dictionaries",
    "MultiLabelBinarizer": "lists of labels of any length",
}
_EXACT_IN_FLOAT32 = "whole numbers up to 16777216 stay exact"


@dataclass(frozen=True)
class Form:
    """How the estimator takes its rows: `rows` makes of the inputs what its own methods are given."""

    inputs: Inputs
    rows: Callable[[Feeds], Any]
    notes: tuple[str, ...] = ()


def form(model: Any, declared: Declared) -> Form:
    """Raises `ConversionError` where something must be said, or what was said does not fit."""
    _check_takes_tensors(model)
    if _takes_table(model, declared):
        return _table(model, declared)
    if any(hasattr(part, "build_analyzer") for part in parts.front(model)):
        return _texts(model, declared)
    if hasattr(model, "classes_") and not hasattr(model, "predict") and not hasattr(model, "n_features_in_"):
        return _labels(model, declared)
    return _matrix(model, declared)


def _check_takes_tensors(model: Any) -> None:
    for part in parts.front(model):
        if type(part).__name__ in _TAKES_OTHERS and getattr(part, "input_type", "dict") != "string":
            raise UnsupportedModel(
                f"{type(part).__name__} takes {_TAKES_OTHERS[type(part).__name__]}, "
                "and a deployed model takes tensors.",
                hint="Fit a ColumnTransformer on a table instead: each column becomes an input.",
            )


# A matrix


def _matrix(model: Any, declared: Declared) -> Form:
    features = getattr(model, "n_features_in_", None)
    _check_one_type(model)
    values = matrix_values(model, features)
    known = None if features is None else (None, int(features))
    example = f'modelrocket.upload(model, "name", np.float32, (None, {features or 64}))'
    texts = bool(values.choices) and all(column.dtype.kind in "OUS" for column in values.choices)
    guess = None if features is None else "string" if texts else "float32"
    spec = declared.spec(example=example, shape=known, dtype=guess)
    if known is not None and spec.shape != known:
        raise ConversionError(
            f"input_shape={spec.shape} does not fit: the model was fitted on {features} features.",
            hint=f"For example: {example}",
        )
    if texts != (spec.dtype == "string"):
        values = Values(integers_below=values.integers_below, missing=values.missing)
    inputs = declared.inputs(spec, values={INPUT: values})
    return Form(inputs, lambda feeds: feeds[INPUT], _matrix_notes(spec, declared, texts))


def _check_one_type(model: Any) -> None:
    """A matrix is of strings or of numbers."""
    for part in parts.front(model):
        if 0 < len(parts.string_categories(part)) < part.n_features_in_:
            raise ConversionError(
                f"{type(part).__name__} was fitted on an array of strings and of numbers.",
                hint="Fit it on a table, as pandas has it: each column becomes an input of its own.",
            )


def _matrix_notes(spec: TensorSpec, declared: Declared, texts: bool) -> tuple[str, ...]:
    if spec.dtype.startswith(("int", "uint")):
        return (f"The {spec.dtype} input may be computed with as float32 inside: {_EXACT_IN_FLOAT32}.",)
    if declared.input_type is not None or texts:
        return ()
    if declared.sample is not None:
        return (f"The input is {spec.dtype}, as the sample's numbers are taken.",)
    return ("The input is float32: nothing else was said with input_type=.",)


# Texts and labels


def _texts(model: Any, declared: Declared) -> Form:
    spec = declared.spec(
        example='modelrocket.upload(model, "name", str, (None,))', shape=(None,), dtype="string"
    )
    if spec.dtype != "string" or spec.shape not in ((None,), (None, 1)):
        raise ConversionError(
            f"The model takes texts, one for each row, and the input is said to be {spec}.",
            hint='For example: modelrocket.upload(model, "name", str, (None,))',
        )
    inputs = declared.inputs(spec, values={INPUT: text_values(model)})
    return Form(inputs, lambda feeds: feeds[INPUT].ravel())


def _labels(model: Any, declared: Declared) -> Form:
    classes = model.classes_
    example = 'modelrocket.upload(model, "name", np.int64, (None,))'
    dtype = "string" if classes.dtype.kind in "OUS" else dtype_name(classes.dtype)
    spec = declared.spec(example=example, shape=(None,), dtype=dtype)
    inputs = declared.inputs(spec, values={INPUT: Values(choices=(classes.astype(numpy_dtype(dtype)),))})
    return Form(inputs, lambda feeds: feeds[INPUT].ravel())


# A table


def _takes_table(model: Any, declared: Declared) -> bool:
    if not hasattr(model, "feature_names_in_"):
        return False
    takes_columns = any(
        hasattr(part, "transformers_") or parts.string_categories(part) for part in parts.front(model)
    )
    return takes_columns or _is_mixed(declared)


def _is_mixed(declared: Declared) -> bool:
    """The caller's table has numbers and strings."""
    kinds = {rows.dtype == object for rows in declared.samples().values()} if declared.is_table else set()
    return len(kinds) > 1


def _table(model: Any, declared: Declared) -> Form:
    names = [str(name) for name in model.feature_names_in_]
    used = _used(model, names)
    dtypes = _dtypes(used, declared, _known_dtypes(model, names))
    specs = [TensorSpec(name, dtypes[name], (None, 1)) for name in used]
    inputs = declared.inputs(*specs, values=table_values(model, names, dtypes))
    return Form(inputs, lambda feeds: _frame(feeds, dtypes), _table_notes(used, declared))


def _used(model: Any, names: list[str]) -> list[str]:
    """Those that some step looks at; all, where a step counts columns instead of naming them."""
    compositions = [part for part in parts.front(model) if hasattr(part, "transformers_")]
    by_name = all(
        _by_name(columns) for part in compositions for _, step, columns in part.transformers_ if len(columns)
    )
    if not compositions or not by_name:
        return names
    used = {index for part in compositions for index in parts.columns_used(part)}
    return [name for index, name in enumerate(names) if index in used]


def _by_name(columns: Any) -> bool:
    return isinstance(columns, str) or all(isinstance(column, str) for column in columns)


def _known_dtypes(model: Any, names: list[str]) -> dict[str, str]:
    """Of a model that numbers categories itself, which are strings or numbers."""
    for part in parts.front(model):
        texts = parts.string_categories(part)
        if texts:
            return {name: "string" if place in texts else "float32" for place, name in enumerate(names)}
    return {}


def _dtypes(used: list[str], declared: Declared, known: Mapping[str, str]) -> dict[str, str]:
    """What was said of each column, else what the sample holds: strings, or numbers taken as float32."""
    said = declared.input_type if isinstance(declared.input_type, Mapping) else {}
    found = {str(name): dtype_name(one) for name, one in said.items()}
    for name, rows in declared.samples(used).items():
        found.setdefault(name, _column_dtype(name, rows))
    found = {**known, **found}
    missing = [name for name in used if name not in found]
    if missing:
        raise ConversionError(
            "The model was fitted on a table, and each column becomes an input of its own: "
            f"say of which type {_listed(missing)} {'is' if len(missing) == 1 else 'are'}.",
            hint=(
                'For example: modelrocket.upload(model, "name", sample=X_train.head(100))\n'
                f'or without rows: input_type={{"{missing[0]}": np.float32, …}}, and str for strings'
            ),
        )
    return found


def _column_dtype(name: str, rows: Array) -> str:
    if rows.dtype == object:
        return "string"
    if rows.dtype.kind not in "iufb":
        raise ConversionError(
            f'The column "{name}" of the sample holds {rows.dtype}, which is no tensor type.',
            hint="Make numbers or strings of it before the model sees it.",
        )
    return "float32"


def _listed(names: list[str], most: int = 8) -> str:
    shown = ", ".join(f'"{name}"' for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _table_notes(used: list[str], declared: Declared) -> tuple[str, ...]:
    said = declared.input_type if isinstance(declared.input_type, Mapping) else {}
    samples = declared.samples(used)
    whole = [name for name in used if name not in said and _is_whole(samples.get(name))]
    if not whole:
        return ()
    return (f"The columns {_listed(whole)} are taken as float32: {_EXACT_IN_FLOAT32}.",)


def _is_whole(rows: Array | None) -> bool:
    return rows is not None and rows.dtype.kind in "iub"


def _frame(feeds: Feeds, dtypes: Mapping[str, str]) -> Any:
    """What the model was fitted on again: its steps look columns up by name."""
    try:
        pandas = import_module("pandas")
    except ImportError as error:
        raise ConversionError(
            "The model takes a table, which needs pandas to be made.", hint="Install it: pip install pandas"
        ) from error
    return pandas.DataFrame({name: feeds[name].ravel() for name in feeds})
