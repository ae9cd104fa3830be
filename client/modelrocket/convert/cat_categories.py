"""CatBoost's categorical features: columns for its trees, looked up by the categories that a row has.

one-hot   1 where the category is a certain one
CTR       a number for each category, or each combination of categories and of what is beyond a border, made
          of counts over the training set; what was not seen there has the number of no counts

CatBoost knows a category by a hash of its text, and ONNX has no such hash. So categories are those of the
owner's sample, hashed by CatBoost itself. All that the model speaks of must be among them: any other text is
then one that the model does not know either.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np

from modelrocket.convert.forest import BETWEEN, Nodes
from modelrocket.errors import ConversionError
from modelrocket.tensors import Array

_ML_DOMAIN = "ai.onnx.ml"
_MULTIPLIER = np.uint64(0x4906BA494954CB65)
"""Of CatBoost's hash of a combination."""
_EMPTY = 2**64 - 1
"""The key of an empty place in its tables."""
_INDEX_MAX = 2**62
_MEANS = frozenset({"BinarizedTargetMeanValue", "FloatTargetMeanValue"})
_COUNTERS = frozenset({"Counter", "FeatureFreq"})
_BUCKETS = "Buckets"
_CATEGORY, _IS_CATEGORY = "cat_feature_value", "cat_feature_exact_value"


@dataclass(frozen=True)
class Feature:
    """A column of the model, and the sample's values of it.

    known: of a categorical one, the sample's categories, sorted; hashes: of each, as CatBoost widens them.
    missing_beyond: of a numeric one, a missing value is beyond every border.
    """

    name: str
    dtype: str
    sample: Array
    known: Array | None = None
    hashes: Array | None = None
    missing_beyond: bool = False


@dataclass(frozen=True)
class _Part:
    """Of a combination: what a row has there is a number below `size`.

    test: the number of the category that it must be, or the border that it must be beyond; else none, and it
    is the category's number.
    """

    feature: Feature
    test: float | None = None

    @property
    def is_category(self) -> bool:
        return self.feature.known is not None and self.test is None

    @property
    def size(self) -> int:
        return len(self.feature.known) + 1 if self.is_category and self.feature.known is not None else 2

    @cached_property
    def numbers(self) -> Array:
        """Of the sample's rows."""
        values = self.feature.sample
        if self.feature.known is None:
            assert self.test is not None
            beyond = values > np.float32(self.test)
            return (beyond | (np.isnan(values) & self.feature.missing_beyond)).astype(np.int64)
        found = np.searchsorted(self.feature.known, values)
        return found if self.test is None else (found == self.test).astype(np.int64)

    def hashed(self, numbers: Array) -> Array:
        if self.is_category and self.feature.hashes is not None:
            return self.feature.hashes[numbers]
        return numbers.astype(np.uint64)


class _Combination:
    """Of parts, as the sample has them, and the columns that depend on them alone."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        self.parts = parts
        sizes = [part.size for part in parts]
        if reduce(lambda product, size: product * size, sizes, 1) > _INDEX_MAX:
            raise ConversionError(
                "CatBoost's combinations of categorical features are too many to be numbered.",
                hint="Train it with fewer features in a combination: max_ctr_complexity=1.",
            )
        self.steps = [int(np.prod(sizes[number + 1 :], dtype=np.int64)) for number in range(len(parts))]
        numbers = np.stack([part.numbers for part in parts], axis=1)
        self.index, rows = np.unique(numbers @ np.array(self.steps), return_index=True)
        self.numbers: Array = numbers[rows]
        self.columns: dict[int, tuple[Array, float]] = {}
        """By number: of each combination the value, and that of any other."""

    @cached_property
    def keys(self) -> Array:
        """As CatBoost's tables have them."""
        found: Array = np.zeros(len(self.index), np.uint64)
        with np.errstate(over="ignore"):
            for part, numbers in zip(self.parts, self.numbers.T, strict=True):
                found = _MULTIPLIER * (found + _MULTIPLIER * part.hashed(numbers))
        return found

    @property
    def used(self) -> Array:
        """Which of the combinations some column tells from any other."""
        found = np.zeros(len(self.index), bool)
        for values, other in self.columns.values():
            found |= values != other
        return found

    def add_to(self, nodes: Nodes, encoded: Mapping[str, str], numeric: Mapping[str, str]) -> str:
        """Its columns; `encoded` are numbers of categories, `numeric` numbers as float32, both rows x 1."""
        index = ""
        for part, step in zip(self.parts, self.steps, strict=True):
            number = _number(nodes, part, encoded, numeric)
            scaled = nodes.add("Mul", number, nodes.constant(np.array(step))) if step > 1 else number
            index = nodes.add("Add", index, scaled) if index else scaled
        used = self.used
        table = [np.append(values[used], other) for values, other in self.columns.values()]
        row = _looked_up(nodes, index, self.index[used], np.arange(used.sum()))
        return nodes.add(
            "Gather",
            nodes.constant(np.stack(table, axis=1).astype(np.float32)),
            nodes.reshape(row, -1),
            axis=0,
        )


def _number(nodes: Nodes, part: _Part, encoded: Mapping[str, str], numeric: Mapping[str, str]) -> str:
    if part.is_category:
        return encoded[part.feature.name]
    assert part.test is not None
    if part.feature.known is not None:
        wanted = nodes.constant(np.array(int(part.test)))
        return nodes.cast(nodes.add("Equal", encoded[part.feature.name], wanted), "int64")
    value = numeric[part.feature.name]
    beyond = nodes.add("Greater", value, nodes.constant(np.array(part.test, np.float32)))
    if part.feature.missing_beyond:
        beyond = nodes.add("Or", beyond, nodes.add("IsNaN", value))
    return nodes.cast(beyond, "int64")


def _looked_up(nodes: Nodes, value: str, known: Array, numbers: Array, other: int | None = None) -> str:
    """The number of what is known; `other` (one more than there are) of anything else."""
    texts = known.dtype == object
    return nodes.add(
        "LabelEncoder",
        value,
        domain=_ML_DOMAIN,
        **{"keys_strings" if texts else "keys_int64s": known.tolist()},
        values_int64s=numbers.tolist(),
        default_int64=len(known) if other is None else other,
    )


class Seen:
    """What CatBoost's trees see of a row: its numbers, and behind them what is looked up.

    told: the model as JSON; features: the model's columns, as they lie in it.
    """

    def __init__(self, told: Mapping[str, Any], features: Sequence[Feature]) -> None:
        described = told["features_info"]
        self.numeric = [features[one["flat_feature_index"]] for one in described.get("float_features", ())]
        self._categorical = [features[one["flat_feature_index"]] for one in described["categorical_features"]]
        self._ctrs = list(_by_split(described))
        self._tables = told.get("ctr_data", {})
        self._combinations: dict[str, _Combination] = {}
        self._columns: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        """How many columns trees see."""
        return len(self.numeric) + len(self._columns)

    def split(self, split: Mapping[str, Any]) -> tuple[int, float, bool]:
        """The column, the border, at which a row goes left, and whether a missing value does."""
        if "float_feature_index" in split:
            number = split["float_feature_index"]
            return number, float(np.float32(split["border"])), not self.numeric[number].missing_beyond
        if "cat_feature_index" in split:
            return self._is_category(split["cat_feature_index"], split["value"]), BETWEEN, True
        ctr = next(ctr for first, ctr in reversed(self._ctrs) if first <= split["split_index"])
        return self._ctr(ctr), float(np.float32(split["border"])), True

    def known(self, feature: Feature) -> Array:
        """The categories that the model tells from any other."""
        assert feature.known is not None
        return np.asarray(feature.known[self._used(feature)])

    def add_to(self, nodes: Nodes, inputs: Mapping[str, str]) -> str:
        """All columns of the rows, float32; `inputs`: by feature, rows x 1."""
        numeric = {one.name: nodes.cast(inputs[one.name], "float32") for one in self.numeric}
        encoded = {
            one.name: self._encoded(nodes, one, inputs[one.name])
            for one in self._categorical
            if len(self._used(one))
        }
        parts, numbers = [*numeric.values()], [*range(len(numeric))]
        for combination in self._combinations.values():
            parts.append(combination.add_to(nodes, encoded, numeric))
            numbers += combination.columns
        together = nodes.add("Concat", *parts, axis=1)
        return nodes.columns(together, *np.argsort(numbers).tolist())

    def _encoded(self, nodes: Nodes, feature: Feature, value: str) -> str:
        assert feature.known is not None
        used = self._used(feature)
        value = value if feature.dtype in ("string", "int64") else nodes.cast(value, "int64")
        return _looked_up(nodes, value, feature.known[used], used, other=len(feature.known))

    def _used(self, feature: Feature) -> Array:
        """Numbers of its categories."""
        found = [np.empty(0, np.int64)]
        for combination in self._combinations.values():
            for part, numbers in zip(combination.parts, combination.numbers.T, strict=True):
                if part.feature is not feature:
                    continue
                found.append(
                    numbers[combination.used] if part.is_category else np.array([int(part.test or 0)])
                )
        return np.unique(np.concatenate(found))

    def _column(self, parts: Sequence[_Part], said: tuple[str, str], of: Any) -> int:
        """The number of a column; `of` makes its values of the combinations, where it is new."""
        if said not in self._columns:
            combination = self._combinations.setdefault(said[0], _Combination(parts))
            self._columns[said] = len(self)
            combination.columns[self._columns[said]] = of(combination)
        return self._columns[said]

    def _is_category(self, feature: int, hashed: int) -> int:
        part = _Part(self._categorical[feature])
        wanted = self._category(feature, hashed)

        def values(combination: _Combination) -> tuple[Array, float]:
            return (combination.index == wanted).astype(np.float32), 0.0

        return self._column([part], (str(part.feature.name), f"is {hashed}"), values)

    def _category(self, feature: int, hashed: int) -> int:
        """Its number. Raises `ConversionError` where the sample does not have it."""
        one = self._categorical[feature]
        assert one.hashes is not None
        found = np.flatnonzero(one.hashes.astype(np.uint32) == np.uint32(hashed & 0xFFFFFFFF))
        if not len(found):
            raise _unnamed([one], 1)
        return int(found[0])

    def _ctr(self, ctr: Mapping[str, Any]) -> int:
        parts = [self._part(element) for element in ctr["elements"]]
        table = self._tables[ctr["identifier"]]

        def values(combination: _Combination) -> tuple[Array, float]:
            counts = _counts(table)
            unnamed = counts.keys() - set(combination.keys.tolist())
            if unnamed:
                raise _unnamed([part.feature for part in parts if part.is_category], len(unnamed))
            none = [0.0] * (table["hash_stride"] - 1)
            found = [counts.get(key, none) for key in combination.keys.tolist()]
            made = _ctr_values(ctr, np.array([*found, none], np.float64), table["counter_denominator"])
            return made[:-1], float(made[-1])

        which = "ctr_type", "target_border_idx", "prior_numerator", "prior_denomerator", "shift", "scale"
        return self._column(parts, (str(ctr["elements"]), " ".join(str(ctr[name]) for name in which)), values)

    def _part(self, element: Mapping[str, Any]) -> _Part:
        kind = element["combination_element"]
        if kind == _CATEGORY:
            return _Part(self._categorical[element["cat_feature_index"]])
        if kind == _IS_CATEGORY:
            number = element["cat_feature_index"]
            return _Part(self._categorical[number], self._category(number, element["value"]))
        return _Part(self.numeric[element["float_feature_index"]], float(element["border"]))


def _by_split(described: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """CTRs, each behind the number of its first split; those of numbers and categories go before."""
    number = sum(len(one.get("borders") or ()) for one in described.get("float_features", ()))
    number += sum(len(one.get("values") or ()) for one in described["categorical_features"])
    for ctr in described.get("ctrs", ()):
        yield number, ctr
        number += len(ctr["borders"])


def _counts(table: Mapping[str, Any]) -> dict[int, list[float]]:
    """By key."""
    told, stride = table["hash_map"], table["hash_stride"]
    rows = (told[at : at + stride] for at in range(0, len(told), stride))
    return {int(key): [float(one) for one in counts] for key, *counts in rows if int(key) != _EMPTY}


def _ctr_values(ctr: Mapping[str, Any], counts: Array, denominator: float) -> Array:
    """In float32, as CatBoost computes them. counts: combinations x what the table has of each."""
    kind, border = ctr["ctr_type"], ctr["target_border_idx"]
    if kind in _MEANS:
        good, total = counts.T
    elif kind in _COUNTERS:
        good, total = counts[:, 0], np.full(len(counts), float(denominator))
    elif kind == _BUCKETS:
        good, total = counts[:, border], counts.sum(axis=1)
    else:
        good, total = counts[:, border + 1 :].sum(axis=1), counts.sum(axis=1)
    prior, more, shift, scale = (
        np.float32(ctr[name]) for name in ("prior_numerator", "prior_denomerator", "shift", "scale")
    )
    part = (good.astype(np.float32) + prior) / (total.astype(np.float32) + more)
    return np.asarray((part + shift) * scale)


def _unnamed(features: Sequence[Feature], count: int) -> ConversionError:
    names = ", ".join(f'"{one.name}"' for one in features)
    what = "categories" if len(features) == 1 else "combinations of categories"
    return ConversionError(
        f"The model knows {count} or more {what} of {names} that the sample does not have. CatBoost keeps "
        "hashes of categories alone, so their names must come from the sample.",
        hint="Give all rows that the model was trained on: sample=X_train",
    )
