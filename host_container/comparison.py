"""Whether two versions answer the same inputs alike.

Outputs go by their names. Labels (whole numbers, strings, booleans) are alike when they are equal;
floating-point numbers up to a tolerance, absolute below 1 and relative above. NaN is like NaN, and an
infinity like the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from chalicelib.contract.errors import ModelRocketError
from host_container.frames import Asked, Compared, Side
from host_container.inference import Clock, Model, read_inputs
from modelrocket.tensors import Array

_SHOWN_LENGTH_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class _Tried:
    """`outputs` are None where it failed, or could not even read the inputs."""

    side: Side
    outputs: Mapping[str, Array] | None


def compare(
    models: tuple[Model, Model], asked: Asked, *, tolerance: float, clock: Clock, begin: Callable[[int], None]
) -> Compared:
    """Run the one that answered, then the other. `begin` hears whose turn it is: 0, then 1."""
    answering, other = (_try(model, asked, clock, partial(begin, turn)) for turn, model in enumerate(models))
    why = _difference(answering, other, tolerance)
    return Compared(answering.side, other.side, bool(why), why)


def _try(model: Model, asked: Asked, clock: Clock, begin: Callable[[], None]) -> _Tried:
    try:
        feeds = read_inputs(model, asked)
    except ModelRocketError:
        return _Tried(Side(), None)
    begin()
    started = clock()
    try:
        outputs = model.session.run(feeds)
    except ModelRocketError:
        return _Tried(Side(ran=True, failed=True), None)
    return _Tried(Side(ran=True, run_seconds=clock() - started), outputs)


def _difference(answering: _Tried, other: _Tried, tolerance: float) -> str:
    """Empty where there is none."""
    if answering.side.ran != other.side.ran:
        return "only one of them takes these inputs"
    if answering.side.failed != other.side.failed:
        return "one of them failed"
    if answering.outputs is None or other.outputs is None:
        return ""
    if answering.outputs.keys() != other.outputs.keys():
        return "their outputs have different names"
    for name, array in answering.outputs.items():
        if why := unlike(array, other.outputs[name], tolerance=tolerance):
            return f'output "{name[:_SHOWN_LENGTH_MAX]}": {why}'
    return ""


def unlike(one: Array, other: Array, *, tolerance: float) -> str:
    """In what respect; empty where they are alike."""
    if one.dtype != other.dtype:
        return f"{other.dtype.name} in place of {one.dtype.name}"
    if one.shape != other.shape:
        return f"the shape {other.shape} in place of {one.shape}"
    alike = _near(one, other, tolerance) if _floating(one) else np.asarray(one == other)
    count = int(one.size - np.count_nonzero(alike))
    return f"{count} of {one.size} values" if count else ""


def _floating(array: Array) -> bool:
    """bfloat16 is no kind of numpy's own."""
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _near(one: Array, other: Array, tolerance: float) -> Array:
    left, right = one.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        scale = np.maximum(1, np.maximum(np.abs(left), np.abs(right)))
        near = np.abs(left - right) <= tolerance * scale
    finite = np.isfinite(left) & np.isfinite(right)
    alike: Array = (left == right) | (np.isnan(left) & np.isnan(right)) | (near & finite)
    return alike
