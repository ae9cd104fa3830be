"""Inputs that nobody sent: made to find out what a model does with some."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
import numpy.random

from chalicelib.contract import limits
from chalicelib.contract.errors import InferenceFailed, InvalidModel
from chalicelib.contract.messages import Signature, TensorSignature
from host_container.session import Dimension, Session
from modelrocket.tensors import Array, numpy_dtype

Feeds = Mapping[str, Array]

SEED: Final = 20_240_607
_FREE_SIZES: Final = (1, 8, 32, 224)
"""Tried in turn for dimensions of any size (but the first): a convolution may refuse a 1 x 1 image."""
_GENERATED_BYTES_MAX: Final = 256 * limits.MIB
_TEXTS: Final = ("", "a", "grün")


@dataclass(frozen=True, slots=True)
class FirstRun:
    """What came out of a generated input that the model ran on; `free` sizes are what it took."""

    outputs: dict[str, Array]
    free: int


def first_run(session: Session) -> FirstRun:
    """One row of zeros, with the first size of the free dimensions that works. Raises InvalidModel."""
    dimensions = session.dimensions()
    failures: list[InferenceFailed] = []
    for free in _FREE_SIZES:
        chosen = _sizes(dimensions, rows=1, free=free)
        if failures and _bytes(session.signature, chosen) > _GENERATED_BYTES_MAX:
            break
        try:
            return FirstRun(session.run(_zeros(session.signature, chosen)), free)
        except InferenceFailed as error:
            failures.append(error)
    shown = ", ".join(f"{given.name} {list(given.shape)}" for given in session.signature.inputs)
    raise InvalidModel(
        f"It loads but does not run on zeros of the shape it declares ({shown}). {failures[0]}. "
        "Declare the sizes that it needs."
    )


def takes_rows(session: Session) -> bool:
    """Whether the first dimension of some input takes any size."""
    return any(shape and shape[0].size is None for shape in session.dimensions().values())


def zeros(session: Session, *, rows: int, free: int) -> Feeds:
    """And empty strings: the input least likely to be out of some range."""
    return _zeros(session.signature, _sizes(session.dimensions(), rows=rows, free=free))


def random_inputs(
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
    shapes = _sizes(session.dimensions(), rows=rows, free=free)

    def values(given: TensorSignature) -> Array:
        shape = shapes[given.name]
        if given.dtype == "string":
            return generator.choice(np.array(_TEXTS, dtype=object), size=shape)
        dtype = numpy_dtype(given.dtype)
        if dtype.kind in "biu":
            high = 1 if dtype.kind == "b" else whole_max
            return (generator.integers(0, high, shape, endpoint=True) * bool(scale)).astype(dtype)
        with np.errstate(over="ignore"):
            return np.asarray(generator.standard_normal(shape) * scale).astype(dtype)

    return {given.name: values(given) for given in session.signature.inputs}


def input_bytes(session: Session, *, rows: int, free: int) -> int:
    """What the generated inputs take."""
    return _bytes(session.signature, _sizes(session.dimensions(), rows=rows, free=free))


def timed(session: Session, inputs: Feeds) -> float:
    """Seconds of one run."""
    started = time.perf_counter()
    session.run(inputs)
    return time.perf_counter() - started


def _sizes(
    dimensions: Mapping[str, tuple[Dimension, ...]], *, rows: int, free: int
) -> dict[str, tuple[int, ...]]:
    """A size for every dimension: first ones of any size, and whatever shares their symbol, hold the rows."""
    symbols = {shape[0].symbol for shape in dimensions.values() if shape} - {None}

    def size(position: int, dimension: Dimension) -> int:
        if dimension.size is not None:
            return dimension.size
        return rows if position == 0 or dimension.symbol in symbols else free

    return {name: tuple(size(*place) for place in enumerate(shape)) for name, shape in dimensions.items()}


def _zeros(signature: Signature, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    return {given.name: _zero(given.dtype, sizes[given.name]) for given in signature.inputs}


def _zero(dtype: str, shape: tuple[int, ...]) -> Array:
    return np.full(shape, "", dtype=object) if dtype == "string" else np.zeros(shape, numpy_dtype(dtype))


def _bytes(signature: Signature, sizes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(prod(sizes[given.name]) * numpy_dtype(given.dtype).itemsize for given in signature.inputs)
