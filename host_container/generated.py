"""Inputs that nobody sent: made to find out what a model does with some.

A model may bring an example of its inputs: a few rows that it takes, as its metadata's `modelrocket.example`.
Words and whole numbers are then drawn from it, since a model may know no others.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
import numpy.random

from chalicelib.contract import limits
from chalicelib.contract.errors import InferenceFailed, InvalidModel
from chalicelib.contract.messages import TensorSignature
from host_container.session import Dimension, Session
from modelrocket.errors import InvalidTensor
from modelrocket.tensors import Array, TensorSpec, decode, numpy_dtype

Feeds = Mapping[str, Array]

SEED: Final = 20_240_607
_DRAWN: Final = "biuO"
"""Kinds of dtypes of which the example's values are taken: of floats a model takes any."""
_FREE_SIZES: Final = (1, 8, 32, 224)
"""Tried in turn for dimensions of any size (but the first): a convolution may refuse a 1 x 1 image."""
_GENERATED_BYTES_MAX: Final = 256 * limits.MIB
_TEXTS: Final = ("", "a", "grün")
EXAMPLE_KEY: Final = "modelrocket.example"
"""Of the metadata: `{"inputs": {name: nested lists}}`, as a request has them; with `"made_up": true` where
none of the values are the owner's."""


@dataclass(frozen=True, slots=True)
class FirstRun:
    """What came out of a generated input that the model ran on; `free` sizes are what it took."""

    outputs: dict[str, Array]
    free: int


def first_run(session: Session) -> FirstRun:
    """One row of zeros, with the first size of the free dimensions that works. Raises InvalidModel."""
    failures: list[InferenceFailed] = []
    for free in _FREE_SIZES:
        if failures and input_bytes(session, rows=1, free=free) > _GENERATED_BYTES_MAX:
            break
        try:
            return FirstRun(session.run(zeros(session, rows=1, free=free)), free)
        except InferenceFailed as error:
            failures.append(error)
    shown = ", ".join(f"{given.name} {list(given.shape)}" for given in session.signature.inputs)
    raise InvalidModel(
        f"It loads but does not run on zeros of the shape it declares ({shown}). {failures[0]}. "
        f"Declare the sizes that it needs, or give rows that it takes as its metadata's {EXAMPLE_KEY}."
    )


def example(session: Session) -> Feeds:
    """The rows that the model brings, by input name; none where they are not what it says it takes."""
    try:
        told = _brought(session)["inputs"]
        rows = {
            given.name: decode(told[given.name], TensorSpec(given.name, given.dtype, given.shape))
            for given in session.signature.inputs
        }
    except (ValueError, TypeError, KeyError, RecursionError, InvalidTensor):
        return {}
    counts = {len(array) if array.ndim else 0 for array in rows.values()}
    return rows if len(counts) == 1 and counts != {0} and all(array.size for array in rows.values()) else {}


def owners_row(session: Session) -> Feeds:
    """The first row of the model's example, where its values are its owner's to show; else nothing."""
    rows = example(session)
    if not rows or _brought(session).get("made_up"):
        return {}
    free = {name for name, shape in session.dimensions().items() if shape[0].size is None}
    return {name: array[:1] if name in free else array for name, array in rows.items()}


def _brought(session: Session) -> Any:
    """Raises ValueError, RecursionError."""
    return json.loads(session.metadata.get(EXAMPLE_KEY, ""))


def takes_rows(session: Session) -> bool:
    """Whether the first dimension of some input takes any size."""
    return any(shape and shape[0].size is None for shape in session.dimensions().values())


def zeros(session: Session, *, rows: int, free: int) -> Feeds:
    """And empty strings: the input least likely to be out of some range. Of an example, its first row's."""
    shapes, examples = _shapes(session, rows=rows, free=free), example(session)

    def value(given: TensorSignature) -> Array:
        shape, dtype = shapes[given.name], numpy_dtype(given.dtype)
        known = examples.get(given.name)
        if known is not None and _fits(known, shape):
            return _drawn(known, np.zeros(shape, np.intp))
        return np.full(shape, "", dtype=object) if given.dtype == "string" else np.zeros(shape, dtype)

    return {given.name: value(given) for given in session.signature.inputs}


def random_inputs(
    session: Session, generator: numpy.random.Generator, *, rows: int, free: int, scale: float = 1.0
) -> Feeds:
    """As `made_up`, but with the whole numbers and texts of the model's example where it brings one."""
    made = made_up(session, generator, rows=rows, free=free, scale=scale)
    return made | drawn(session, generator, rows=rows, free=free)


def made_up(
    session: Session,
    generator: numpy.random.Generator,
    *,
    rows: int,
    free: int,
    scale: float = 1.0,
    whole_max: int = 1,
) -> dict[str, Array]:
    """Floats of a normal distribution times `scale`; whole numbers from 0 to `whole_max`; texts.

    With `scale` 0 whole numbers are 0 too.
    """
    shapes = _shapes(session, rows=rows, free=free)

    def values(given: TensorSignature) -> Array:
        shape, dtype = shapes[given.name], numpy_dtype(given.dtype)
        if given.dtype == "string":
            return generator.choice(np.array(_TEXTS, dtype=object), size=shape)
        if dtype.kind in "biu":
            high = 1 if dtype.kind == "b" else whole_max
            return (generator.integers(0, high, shape, endpoint=True) * bool(scale)).astype(dtype)
        with np.errstate(over="ignore"):
            return np.asarray(generator.standard_normal(shape) * scale).astype(dtype)

    return {given.name: values(given) for given in session.signature.inputs}


def drawn(session: Session, generator: numpy.random.Generator, *, rows: int, free: int) -> dict[str, Array]:
    """Whole numbers and texts of the model's example, each from those in its place, by input name."""
    shapes, examples = _shapes(session, rows=rows, free=free), example(session)
    return {
        name: _drawn(known, generator.integers(0, len(known), shapes[name]))
        for name, known in examples.items()
        if _fits(known, shapes[name])
    }


def _fits(example: Array, shape: tuple[int, ...]) -> bool:
    return example.dtype.kind in _DRAWN and example.shape[1:] == shape[1:]


def _drawn(example: Array, picks: Array) -> Array:
    """Of each place, the value that the picked row of the example has there."""
    return np.take_along_axis(example, picks, axis=0)


def input_bytes(session: Session, *, rows: int, free: int) -> int:
    """What the generated inputs take."""
    shapes = _shapes(session, rows=rows, free=free)
    return sum(
        prod(shapes[given.name]) * numpy_dtype(given.dtype).itemsize for given in session.signature.inputs
    )


def timed(session: Session, inputs: Feeds) -> float:
    """Seconds of one run."""
    started = time.perf_counter()
    session.run(inputs)
    return time.perf_counter() - started


def _shapes(session: Session, *, rows: int, free: int) -> dict[str, tuple[int, ...]]:
    """Of every input: first dimensions of any size, and whatever shares their symbol, hold the rows; others
    of any size have the example's, else `free`."""
    dimensions = session.dimensions()
    examples = example(session)
    symbols = {shape[0].symbol for shape in dimensions.values() if shape} - {None}

    def size(name: str, position: int, dimension: Dimension) -> int:
        if dimension.size is not None:
            return dimension.size
        if position == 0 or dimension.symbol in symbols:
            return rows
        return examples[name].shape[position] if name in examples else free

    return {
        name: tuple(size(name, *place) for place in enumerate(shape)) for name, shape in dimensions.items()
    }
