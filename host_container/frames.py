"""Frames between the host's front and its workers, over a stream socket pair, and orders to the fork server.

A frame is a head (payload length, kind, form, header length, slot, identity,
stamp) and its payload.
Both sides write as many frames as they have at once: under load one system call
carries many requests.

    to the worker                          from the worker
    LOAD    slot, LoadOrder as JSON        LOADED  slot, LoadReport as JSON
    PREPACK slot, LoadOrder as JSON        FAILED  slot, Failure as JSON
    UNLOAD  slot
    RUN     slot, identity, deadline,      ANSWER  identity, RAN + the body of the answer
            the inputs as they came        REFUSED identity, Failure as JSON
    DROP    slot, identity                 DROPPED identity: it had not started and will not run
    COMPARE slot, identity, deadline,      COMPARED identity, Compared as JSON
            WITH + the inputs as they came REFUSED identity, Failure as JSON

To each RUN a worker says one of the three on the right, once; to a DROP nothing, when what it names has
started. The front asks to drop what nobody waits for any more, and keeps a RUN open until it has heard.
A COMPARE runs the same inputs through two models, for nobody: only how they differ is said, once.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from chalicelib.contract.errors import (
    DeadlineExceeded,
    DependencyFailed,
    InferenceFailed,
    InvalidModel,
    InvalidRequest,
    InvalidTensor,
    ModelRocketError,
    Overloaded,
    PayloadTooLarge,
)
from chalicelib.contract.messages import Signature, VersionRecord
from host_container.prepared import Built
from host_container.providers import ON_CPU, Execution

HEAD: Final = struct.Struct("<IBBxxIIQd")
RAN: Final = struct.Struct("<fffIII")
"""Seconds waited, in the making of the batch, and run; rows of the batch, the request's own of them; bytes of
JSON before binary tensors (0: all)."""
WITH: Final = struct.Struct("<Ixxxxd")
"""The slot of the other model, and how far floating-point outputs may be apart. Keeps a body behind it
aligned."""

_DETAILS: Final = frozenset({"input", "expected", "got"})
_MESSAGE_LENGTH_MAX: Final = 2_000
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]


class Kind(IntEnum):
    LOAD = 1
    UNLOAD = 2
    RUN = 3
    LOADED = 4
    FAILED = 5
    ANSWER = 6
    REFUSED = 7
    PREPACK = 8
    DROP = 9
    DROPPED = 10
    COMPARE = 11
    COMPARED = 12


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
        processor_seconds: of the load: it waited for the others.
        bytes_resident: what the worker's memory grew by.
        bytes_anonymous: the part of it that no file backs, so that nobody shares it.
        batch_size_max: how many rows may share a run; 1 where rows must not.
        batching: why it is so, for people.
        providers: what onnxruntime runs it with, the preferred one first.
    """

    signature: Signature
    load_seconds: float
    run_seconds: float
    bytes_resident: int
    bytes_anonymous: int
    batch_size_max: int
    batching: str
    providers: tuple[str, ...] = ()
    processor_seconds: float = 0.0


class Side(msgspec.Struct, frozen=True):
    """What one of two models did with the inputs. One that cannot read them has not run."""

    ran: bool = False
    failed: bool = False
    run_seconds: _Seconds = 0.0


class Compared(msgspec.Struct, frozen=True):
    """`why` the answers differ, for people: without any value of them."""

    answering: Side
    other: Side
    differing: bool
    why: Annotated[str, msgspec.Meta(max_length=_MESSAGE_LENGTH_MAX)] = ""


class SpawnOrder(msgspec.Struct, frozen=True):
    """A worker to be.

    Attributes:
        folder: all of the disk it may read.
        memory_bytes_max: what it may map beyond what every worker maps.
        threads: for heavy models.
        sandbox_required: without it, what the machine lacks is done without.
        execution: what runs its models; its enclosure is as wide as that needs.
    """

    worker: int
    folder: str
    memory_bytes_max: int
    threads: int
    sandbox_required: bool
    execution: Execution = ON_CPU


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
        DependencyFailed,
        InferenceFailed,
        InvalidModel,
        InvalidRequest,
        InvalidTensor,
        Overloaded,
        PayloadTooLarge,
    )
}


class BrokenFrames(Exception):
    """The other side does not speak this protocol (any more)."""


class FrameReader:
    """Cuts a stream into frames. Payloads stay good for as long as they are held.

    A frame that comes in pieces is put together in a buffer of its own size: each
    byte is copied once, or not at all by who reads straight into `space`.
    """

    def __init__(self, *, payload_bytes_max: int) -> None:
        self._payload_bytes_max = payload_bytes_max
        self._partial = bytearray()
        self._filled = 0

    def space(self) -> memoryview | None:
        """Where the rest of a frame belongs whose head is known; read into it and call `took`."""
        if self._filled < HEAD.size:
            return None
        return memoryview(self._partial)[self._filled :]

    def took(self, size: int) -> list[Frame]:
        """So many bytes were read into `space`."""
        self._filled += size
        return self._whole()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that became whole. Raises BrokenFrames."""
        rest = memoryview(data)
        frames: list[Frame] = []
        while rest:
            if not self._filled:
                rest = self._cut(rest, frames)
            if rest:
                rest = self._collect(rest)
                frames += self._whole()
        return frames

    def _cut(self, whole: memoryview, frames: list[Frame]) -> memoryview:
        """Takes the frames that are there from the start; what is left is part of one."""
        start = 0
        while len(whole) - start >= HEAD.size:
            end = start + self._length(whole, start)
            if end > len(whole):
                break
            frames.append(_read(whole[start:end]))
            start = end
        return whole[start:]

    def _collect(self, rest: memoryview) -> memoryview:
        """Adds what belongs to the frame in the making; gives back what does not."""
        if self._filled < HEAD.size:
            missing = HEAD.size - self._filled
            self._partial[self._filled :] = rest[:missing]
            self._filled = len(self._partial)
            rest = rest[missing:]
            if self._filled < HEAD.size:
                return rest
            head, self._partial = self._partial, bytearray(self._length(self._partial, 0))
            self._partial[: HEAD.size] = head
        count = min(len(self._partial) - self._filled, len(rest))
        self._partial[self._filled : self._filled + count] = rest[:count]
        self._filled += count
        return rest[count:]

    def _whole(self) -> list[Frame]:
        """The frame in the making, if it is made."""
        if self._filled < HEAD.size or self._filled < len(self._partial):
            return []
        made, self._partial, self._filled = self._partial, bytearray(), 0
        return [_read(memoryview(made))]

    def _length(self, data: bytearray | memoryview, start: int) -> int:
        """Of the frame that begins there, head included."""
        length: int = HEAD.unpack_from(data, start)[0]
        if length > self._payload_bytes_max:
            raise BrokenFrames(f"a frame of {length} bytes")
        return HEAD.size + length


def _read(whole: memoryview) -> Frame:
    _, kind, form, header_length, slot, identity, stamp = HEAD.unpack_from(whole)
    return Frame(kind, form, header_length, slot, identity, stamp, whole[HEAD.size :])


def frame(kind: Kind, payload: bytes, *, slot: int = 0, identity: int = 0, stamp: float = 0.0) -> bytes:
    """Anything but a RUN."""
    return HEAD.pack(len(payload), kind, 0, 0, slot, identity, stamp) + payload


def run_head(asked: Asked, length: int, *, slot: int, identity: int, deadline: float) -> bytes:
    """What goes before a body of this length."""
    return HEAD.pack(length, Kind.RUN, asked.form, asked.header_length, slot, identity, deadline)


def compare_head(
    asked: Asked, *, slots: tuple[int, int], tolerance: float, identity: int, deadline: float
) -> bytes:
    """What goes before the body: of the model that answered, and of the other one."""
    slot, other = slots
    length = WITH.size + len(asked.body)
    head = HEAD.pack(length, Kind.COMPARE, asked.form, asked.header_length, slot, identity, deadline)
    return head + WITH.pack(other, tolerance)
