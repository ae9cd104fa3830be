"""What a version's report shows of its inputs: a row that it has run on, as a request would bring it.

It is a row of the example that the model brings, where it runs on that and its owner let values go along;
else the zeros that it ran on first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from chalicelib.contract import limits
from chalicelib.contract.errors import InferenceFailed
from chalicelib.contract.messages import Example, ExampleSource
from host_container.generated import Feeds, owners_row, zeros
from host_container.session import Session
from modelrocket.tensors import TensorSpec, decode, encode


@dataclass(frozen=True, slots=True)
class Shown:
    """`example`: None where it is too large. `sizes`: by input name, of the row that it ran on."""

    example: Example | None
    sizes: dict[str, tuple[int, ...]]


def shown(session: Session, *, free: int) -> Shown:
    """Of a model that runs on zeros; `free` as its first run found it."""
    row = owners_row(session)
    told = _told(row) if row else None
    if told is not None and _runs(session, told):
        return Shown(Example(told, ExampleSource.SAMPLE), _sizes(row))
    row = zeros(session, rows=1, free=free)
    told = _told(row)
    return Shown(Example(told, ExampleSource.ZEROS) if told is not None else None, _sizes(row))


def _told(feeds: Feeds) -> dict[str, Any] | None:
    """As JSON has them: NaN and infinities are null. None where that is too large, or no JSON."""
    if sum(array.size for array in feeds.values()) > limits.EXAMPLE_BYTES_MAX:
        return None
    try:
        raw = orjson.dumps(
            {name: encode(array) for name, array in feeds.items()}, option=orjson.OPT_SERIALIZE_NUMPY
        )
    except orjson.JSONEncodeError:  # a text that is none
        return None
    told: dict[str, Any] = orjson.loads(raw)
    return told if len(msgspec.json.encode(told)) <= limits.EXAMPLE_BYTES_MAX else None


def _runs(session: Session, told: dict[str, Any]) -> bool:
    """On what a request with it would be read as."""
    inputs = session.signature.inputs
    feeds = {
        given.name: decode(told[given.name], TensorSpec(given.name, given.dtype, given.shape))
        for given in inputs
    }
    try:
        session.run(feeds)
    except InferenceFailed:
        return False
    return True


def _sizes(feeds: Feeds) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in feeds.items()}
