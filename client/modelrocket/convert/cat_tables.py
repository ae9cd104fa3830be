"""The table that a CatBoost model with categorical features takes: an input for each column, rows x 1.

Numbers are float32 unless something else is said, categories strings or int64 as the sample has them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from typing import Any, Self

import numpy as np

from modelrocket.convert.cat_categories import Feature, Seen
from modelrocket.convert.interface import Declared, dtype_name, to_array
from modelrocket.errors import ConversionError
from modelrocket.inputs import Feeds, Inputs, Values
from modelrocket.tensors import Array, TensorSpec

_GOES_RIGHT = "AsTrue"


@dataclass(frozen=True)
class Table:
    """The model's columns by name, in its order, and the sample's rows of them."""

    specs: tuple[TensorSpec, ...]
    categorical: tuple[int, ...]
    declared: Declared
    """With the sample by column."""

    @classmethod
    def of(cls, model: Any, declared: Declared) -> Self:
        """Raises `ConversionError` where there is no sample, or it does not fit."""
        names, categorical = list(map(str, model.feature_names_)), tuple(model.get_cat_feature_indices())
        if declared.sample is None:
            raise ConversionError(
                "The model has categorical features "
                f"({', '.join(names[number] for number in categorical)}), of which CatBoost keeps hashes "
                "alone: their names must come from a sample.",
                hint="Give all rows that the model was trained on: sample=X_train",
            )
        columns = _columns(declared, names)
        said = declared.input_type if isinstance(declared.input_type, Mapping) else {}
        specs = []
        for number, name in enumerate(names):
            if number in categorical:
                columns[name] = _categories(name, columns[name])
                dtype = "string" if columns[name].dtype == object else "int64"
            else:
                dtype = dtype_name(said.get(name, "float32"))
            specs.append(TensorSpec(name, dtype, (None, 1)))
        return cls(tuple(specs), categorical, replace(declared, sample=columns))

    @cached_property
    def _sample(self) -> Feeds:
        """As the inputs take it."""
        found = self.declared.inputs(*self.specs).sample
        assert found is not None
        return found

    @property
    def pool(self) -> Any:
        """The sample as CatBoost takes it."""
        return import_module("catboost").Pool(
            self.frame(self._sample), cat_features=[self.specs[number].name for number in self.categorical]
        )

    def frame(self, feeds: Feeds) -> Any:
        """The rows as the model takes them."""
        return import_module("pandas").DataFrame({spec.name: feeds[spec.name].ravel() for spec in self.specs})

    def features(self, told: Mapping[str, Any]) -> Sequence[Feature]:
        """As the model describes them, whose JSON it is, written with the `pool`."""
        hashes = {one["value"]: one["hash"] for one in told["features_info"]["cat_features_hash"]}
        numeric = {one["flat_feature_index"]: one for one in told["features_info"].get("float_features", ())}
        found = []
        for number, spec in enumerate(self.specs):
            rows = self._sample[spec.name].ravel()
            if number in self.categorical:
                known = np.unique(rows)
                own = np.array([hashes[str(one)] for one in known.tolist()], np.uint32)
                signed = own.view(np.int32).astype(np.int64).view(np.uint64)
                found.append(Feature(spec.name, spec.dtype, rows, known, signed))
            else:
                beyond = numeric.get(number, {}).get("nan_value_treatment") == _GOES_RIGHT
                found.append(Feature(spec.name, spec.dtype, rows.astype(np.float32), missing_beyond=beyond))
        return found

    def inputs(self, features: Sequence[Feature], seen: Seen, thresholds: Mapping[int, Array]) -> Inputs:
        """thresholds: by the number of the column that trees see."""
        values = {}
        for feature in features:
            if feature.known is not None:
                known = seen.known(feature)
                values[feature.name] = Values(choices=(known,) if len(known) else (feature.known,))
        for number, feature in enumerate(seen.numeric):
            splits = {0: thresholds[number]} if number in thresholds else {}
            values[feature.name] = Values(thresholds=splits, missing=True)
        return self.declared.inputs(*self.specs, values=values)


def _columns(declared: Declared, names: list[str]) -> dict[str, Array]:
    """The sample's, rows x 1."""
    columns = declared.samples(names)
    if not columns:
        rows = to_array(declared.sample)
        if rows.ndim != 2 or rows.shape[1] != len(names):  # noqa: PLR2004 - rows and columns
            raise ConversionError(
                f"sample has the shape {list(rows.shape)}, and the model was fitted on {len(names)} features."
            )
        columns = {name: _numbers_or_texts(rows[:, [at]]) for at, name in enumerate(names)}
    missing = [name for name in names if name not in columns]
    if missing:
        raise ConversionError(f"sample has no column {', '.join(missing)}; it has {', '.join(columns)}.")
    return {name: columns[name] for name in names}


def _numbers_or_texts(column: Array) -> Array:
    """Of an array of Python objects."""
    texts = column.dtype == object and any(isinstance(one, str) for one in column.ravel())
    return column if texts or column.dtype != object else column.astype(np.float64)


def _categories(name: str, column: Array) -> Array:
    """Strings, or whole numbers as int64; CatBoost itself takes no other."""
    if column.dtype == object or column.dtype.kind in "iu":
        return column if column.dtype == object else column.astype(np.int64)
    if column.dtype.kind == "f" and bool((column == np.trunc(column)).all()):
        return column.astype(np.int64)
    raise ConversionError(
        f'The categories of "{name}" are {column.dtype} in the sample; CatBoost takes strings or integers.',
        hint="Give them as the model was trained on them; a missing one is a string of its own.",
    )
