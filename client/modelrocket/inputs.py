"""The rows that a model and its converted form are compared on: made up, the same ones every time.

The first seven rows are of ordinary magnitude; a larger set has every magnitude in turn.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from modelrocket.tensors import Array, TensorSpec, numpy_dtype

Feeds: TypeAlias = Mapping[str, Array]
"""Rows by input name; as many of each input."""

Original: TypeAlias = Callable[[Feeds], Mapping[str, Array]]
"""Rows by input name -> what the model itself says, by output name."""

BATCH_SIZES = (1, 2, 3, 7)
ROWS_MAX = 512
ELEMENTS_MAX = 200_000
MAGNITUDES = (1.0, 0.1, 10.0, 100.0)
FREE_DIMENSION = 32
_TABLE = 2
_WORDS: Array = np.array(["", "a", "b", "red", "Grün"], dtype=object)


@dataclass(frozen=True)
class Values:
    """What is known of an input's values beside its type.

    integers_below: of made-up integers.
    choices: what the model was trained on, as a category or a word is: one array for all elements, or one for
    each column. Elements are drawn from it.
    thresholds: by column (of the last axis), where the model's own splits lie; only of a model that compares
    the input with them as it is, with no arithmetic before that could round.
    missing: NaN has a meaning to the model, so that what it answers then counts.
    """

    integers_below: int = 2
    choices: tuple[Array, ...] = ()
    thresholds: Mapping[int, Array] = field(default_factory=dict)
    missing: bool = False


@dataclass(frozen=True)
class Inputs:
    """How to make up rows for a model: its inputs, and what is known of their values, by name.

    sample: rows as callers will send them, where the model's owner gave some.
    """

    specs: tuple[TensorSpec, ...]
    values: Mapping[str, Values] = field(default_factory=dict)
    sample: Feeds | None = None

    def rows(self, count: int, *, free: int = FREE_DIMENSION) -> Feeds:
        """The same rows every time; other dimensions of any size are `free` long.

        Texts and integers are the sample's where no choices are known.
        """
        return {spec.name: generated(spec, count, self._values(spec), free=free) for spec in self.specs}

    def _values(self, spec: TensorSpec) -> Values:
        values = self.values.get(spec.name, Values())
        floats = spec.dtype == "bool" or "float" in spec.dtype
        if self.sample is None or values.choices or floats:
            return values
        rows = self.sample[spec.name]
        columns = rows.shape[-1] if rows.ndim == _TABLE and spec.shape[-1] is not None else 1
        return replace(values, choices=tuple(rows.reshape(-1, columns).T))

    def declared(self) -> "Inputs":
        """The same inputs, and nothing of what is known of their values."""
        return Inputs(self.specs)

    @property
    def compares(self) -> bool:
        """The model is known to compare its input with thresholds, which is exact whatever the values are."""
        return any(values.thresholds for values in self.values.values())

    @property
    def resizable(self) -> bool:
        """Some dimension beside the number of rows takes any size."""
        return any(None in spec.shape[1:] for spec in self.specs)

    @property
    def batched(self) -> bool:
        """Every input takes any number of rows."""
        return all(spec.shape and spec.shape[0] is None for spec in self.specs)

    @property
    def rows_max(self) -> int:
        """As many rows as stay affordable for these shapes."""
        elements = sum(
            int(np.prod([size or FREE_DIMENSION for size in spec.shape[1:]], dtype=np.int64))
            for spec in self.specs
        )
        return max(BATCH_SIZES[-1], min(ROWS_MAX, ELEMENTS_MAX // max(elements, 1)))

    @property
    def seed(self) -> int:
        """Of the first input's rows; those of the others are found likewise."""
        return _seed(self.specs[0])


def generated(
    spec: TensorSpec, count: int, values: Values | None = None, *, free: int = FREE_DIMENSION
) -> Array:
    """`count` rows for an input (its own size where the first dimension is fixed), the same every time."""
    values = values or Values()
    shape = tuple((free if axis else count) if size is None else size for axis, size in enumerate(spec.shape))
    random = np.random.default_rng(seed=_seed(spec))
    if values.choices:
        return _chosen(random, shape, values.choices).astype(numpy_dtype(spec.dtype))
    if spec.dtype == "bool":
        return np.asarray(random.integers(0, 2, shape), dtype=np.bool_)
    if spec.dtype == "string":
        return _WORDS[random.integers(0, len(_WORDS), shape)]
    if spec.dtype.startswith(("int", "uint")):
        below = min(values.integers_below, np.iinfo(spec.dtype).max)
        return random.integers(0, below, shape).astype(spec.dtype)
    normal = random.standard_normal(shape)
    if normal.ndim and spec.dtype in ("float32", "float64"):
        normal *= row_magnitudes(shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return np.asarray(normal, dtype=numpy_dtype(spec.dtype))


def _chosen(random: np.random.Generator, shape: tuple[int, ...], choices: Sequence[Array]) -> Array:
    if len(choices) == 1:
        return random.choice(choices[0], shape)
    columns = [random.choice(column, shape[:-1]).astype(object) for column in choices]
    return np.stack(columns, axis=-1)


def row_magnitudes(count: int) -> Array:
    """One factor per generated row: ordinary for the first batch, then every magnitude in turn."""
    turn = np.maximum(np.arange(count) - BATCH_SIZES[-1] + 1, 0)
    factors: Array = np.asarray(MAGNITUDES)[turn % len(MAGNITUDES)]
    return factors


def row_count(feeds: Feeds) -> int:
    """Of the first input."""
    rows = next(iter(feeds.values()))
    return len(rows) if rows.ndim else 1


def spread(feeds: Feeds, count: int) -> Feeds:
    """Of more rows than `count` some from everywhere."""
    rows = row_count(feeds)
    if rows <= count:
        return feeds
    return taken(feeds, np.linspace(0, rows - 1, count).astype(int))


def taken(feeds: Feeds, which: Array) -> dict[str, Array]:
    """Some of the rows, by their numbers or a mask."""
    return {name: rows[which] for name, rows in feeds.items()}


def shapes(feeds: Feeds) -> str:
    """For messages: `x [2, 64], mask [2, 64]`."""
    return ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())


def sha256(samples: Sequence[Feeds]) -> str:
    """Of all rows, their types and shapes."""
    digest = hashlib.sha256()
    for feeds in samples:
        for name, rows in feeds.items():
            digest.update(f"{name} {rows.dtype.name} {rows.shape} ".encode())
            texts = rows.dtype == object
            content = (
                "\0".join(map(str, rows.ravel())).encode() if texts else np.ascontiguousarray(rows).tobytes()
            )
            digest.update(content)
    return digest.hexdigest()


def _seed(spec: TensorSpec) -> int:
    return len(spec.shape)
