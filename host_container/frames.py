"""Frames between the host's front and its workers, over a stream socket pair, and orders to the fork server.

A frame is a head (payload length, kind, form, header length, slot, identity,
stamp) and its payload.
Both sides write as many frames as they have at once: under load one system call
carries many requests.

    to the worker                          from the worker
    LOAD    slot, LoadOrder as JSON        LOADED  slot, LoadReport as JSON
    PREPACK slot, LoadOrder as JSON        FAILED  slot, Failure as JSON
    UNLOAD  slot
    RUN     slot, identity, deadline,      ANSWER  identity, Ran + the body of the answer
            the inputs as they came        REFUSED identity, Failure as JSON
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgspec

from chalicelib.contract.errors import (
    DeadlineExceeded,
    InferenceFailed,
    InvalidModel,
    InvalidRequest,
    InvalidTensor,
    ModelRocketError,
    PayloadTooLarge,
)
from chalicelib.contract.messages import Signature, VersionRecord
from host_container.prepared import Built

HEAD: Final = struct.Struct("<IBBxxIIQd")
RAN: Final = struct.Struct("<ffII")
"""Seconds waited, seconds run, rows of the batch it ran in, bytes of JSON before binary tensors (0: all)."""

_DETAILS: Final = frozenset({"input", "expected", "got"})
_MESSAGE_LENGTH_MAX: Final = 2_000


class Kind(IntEnum):
    LOAD = 1
    UNLOAD = 2
    RUN = 3
    LOADED = 4
    FAILED = 5
    ANSWER = 6
    REFUSED = 7
    PREPACK = 8


class Form(IntEnum):
    """How a body says its tensors."""

    INPUTS = 0
    """`{"input": […]}`: the inputs of POST /inference."""
    V2 = 1
    """Open Inference Protocol v2; binary tensors may follow the JSON."""


class Frame(NamedTuple):
    """`stamp` is on the monotonic clock, which processes of one machine share.

    `header_length` is how much of a body is JSON, 0 for all of it.
    """

    kind: int
    form: int
    header_length: int
    slot: int
    identity: int
    stamp: float
    payload: memoryview


@dataclass(frozen=True, slots=True)
class Asked:
    """A body as it came, and how to read it."""

    body: bytes | bytearray | memoryview
    form: int = Form.INPUTS
    header_length: int = 0


class LoadOrder(msgspec.Struct, frozen=True):
    """`file` is a name in the worker's own folder; `built` is set for a prepared form."""

    record: VersionRecord
    file: str
    built: Built | None = None


class LoadReport(msgspec.Struct, frozen=True):
    """What the worker found when it loaded a version.

    Attributes:
        bytes_resident: what the worker's memory grew by.
        bytes_anonymous: the part of it that no file backs, so that nobody shares it.
        batch_size_max: how many rows may share a run; 1 where rows must not.
        batching: why it is so, for people.
    """

    signature: Signature
    load_seconds: float
    run_seconds: float
    bytes_resident: int
    bytes_anonymous: int
    batch_size_max: int
    batching: str


class SpawnOrder(msgspec.Struct, frozen=True):
    """A worker to be.

    Attributes:
        folder: all of the disk it may read.
        memory_bytes_max: what it may map beyond what every worker maps.
        threads: for heavy models.
        sandbox_required: without it, what the machine lacks is done without.
    """

    worker: int
    folder: str
    memory_bytes_max: int
    threads: int
    sandbox_required: bool


class Spawned(msgspec.Struct, frozen=True, tag="spawned"):
    worker: int
    pid: int


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """`status` as `os.waitstatus_to_exitcode` gives it: negative for a signal."""

    worker: int
    exit_code: int


Event = Spawned | Ended


class Failure(msgspec.Struct, frozen=True):
    """An error of the contract on its way out of a worker."""

    code: str
    message: str
    details: dict[str, str] = {}

    @classmethod
    def of(cls, error: ModelRocketError) -> Failure:
        details = {name: str(value) for name, value in error.details.items()}
        return cls(error.code, error.message, details)

    def error(self) -> ModelRocketError:
        """As it was, as far as a worker may say; any other code is the model's fault."""
        details: dict[str, Any] = {name: text for name, text in self.details.items() if name in _DETAILS}
        return _ERRORS.get(self.code, InferenceFailed)(self.message[:_MESSAGE_LENGTH_MAX], **details)


_ERRORS: Final[dict[str, type[ModelRocketError]]] = {
    kind.code: kind
    for kind in (
        DeadlineExceeded,
        InferenceFailed,
        InvalidModel,
        InvalidRequest,
        InvalidTensor,
        PayloadTooLarge,
    )
}


class BrokenFrames(Exception):
    """The other side does not speak this protocol (any more)."""


class FrameReader:
    """Cuts a stream into frames. Payloads are views of one read: use them before the next `feed`."""

    def __init__(self, *, payload_bytes_max: int) -> None:
        self._payload_bytes_max = payload_bytes_max
        self._rest = bytearray()
        self._wanted = HEAD.size

    def feed(self, data: bytes | memoryview) -> list[Frame]:
        """The frames that became whole. Raises BrokenFrames."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return []
            whole = memoryview(bytes(self._rest))
        else:
            whole = memoryview(data)
        frames, start = [], 0
        while len(whole) - start >= HEAD.size:
            length, kind, form, header_length, slot, identity, stamp = HEAD.unpack_from(whole, start)
            if length > self._payload_bytes_max:
                raise BrokenFrames(f"a frame of {length} bytes")
            end = start + HEAD.size + length
            if end > len(whole):
                self._wanted = end - start
                break
            payload = whole[start + HEAD.size : end]
            frames.append(Frame(kind, form, header_length, slot, identity, stamp, payload))
            start = end
        else:
            self._wanted = HEAD.size
        self._rest = bytearray(whole[start:])
        return frames


def frame(kind: Kind, payload: bytes, *, slot: int = 0, identity: int = 0, stamp: float = 0.0) -> bytes:
    """Anything but a RUN."""
    return HEAD.pack(len(payload), kind, 0, 0, slot, identity, stamp) + payload


def run_head(asked: Asked, length: int, *, slot: int, identity: int, deadline: float) -> bytes:
    """What goes before a body of this length."""
    return HEAD.pack(length, Kind.RUN, asked.form, asked.header_length, slot, identity, deadline)
