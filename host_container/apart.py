"""Weights that are in the file beside the graph: what is said of where they are must be exact.

A version of two files has one such file, under one name. Each weight in it takes the bytes that its
dimensions and type say, begins where it can be mapped, ends before the file does, and shares
its bytes with no other, unless with all of another. Knows the format, and judges
nothing but that; says what is wrong in words that follow the weight's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from onnx import TensorProto

from chalicelib.contract import limits
from chalicelib.contract.messages import WEIGHTS_LOCATION
from host_container import onnxgraph

_NUMBER: Final = re.compile(r"[0-9]{1,15}")
_KEYS: Final = ("length", "location", "offset")


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """Where a weight is: bytes `start` to `end` of the file."""

    start: int
    end: int


def is_apart(tensor: TensorProto) -> bool:
    """Whether it says of itself that it is in another file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data)


def fault(tensor: TensorProto, *, file_bytes: int) -> str | None:
    """What is wrong with a weight that is apart; None when nothing is."""
    entries = [(entry.key, entry.value) for entry in tensor.external_data]
    told = dict(entries)
    if tensor.data_location != TensorProto.EXTERNAL or sorted(key for key, _ in entries) != list(_KEYS):
        return f"is in another file, and does not say of it {', '.join(_KEYS)}, each once and nothing else"
    if told["location"] != WEIGHTS_LOCATION:
        return f'is in a file other than "{WEIGHTS_LOCATION}"'
    if not all(_NUMBER.fullmatch(told[key]) for key in ("offset", "length")):
        return "has an offset or a length that is no whole number"
    return _misplaced(tensor, where(tensor), file_bytes)


def where(tensor: TensorProto) -> Range:
    """Of one without fault."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    return Range(int(told["offset"]), int(told["offset"]) + int(told["length"]))


def overlap(tensors: Iterable[TensorProto]) -> tuple[str, str] | None:
    """The names of two that share some of their bytes, but not all; None when there are none."""
    placed = sorted((where(tensor), tensor.name) for tensor in tensors)
    for (one, first), (other, second) in pairwise(placed):
        if other.start < one.end and one != other:
            return first, second
    return None


def _misplaced(tensor: TensorProto, place: Range, file_bytes: int) -> str | None:
    if inside := onnxgraph.filled(tensor):
        return f"is in another file and in the graph too ({inside})"
    wanted, shown = onnxgraph.raw_bytes(tensor), onnxgraph.shown_dimensions(tensor.dims)
    if wanted is None:
        return f"is {shown} of a type or size that no file of weights can hold"
    length, alignment = place.end - place.start, limits.WEIGHTS_ALIGNMENT_BYTES
    if length != wanted or not length:
        return f"says that it is {shown} ({wanted} bytes) and that it has {length} bytes in its file"
    if place.start % alignment:
        return f"begins at byte {place.start} of its file, not at a multiple of {alignment}"
    if place.end > file_bytes:
        return f"ends at byte {place.end} of its file, which has {file_bytes}"
    return None
