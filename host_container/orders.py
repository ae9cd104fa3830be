"""What the host and the processes that examine and build for it say to each other."""

from __future__ import annotations

import msgspec

from chalicelib.contract.messages import Passport, PrepareStage, Signature


class Order(msgspec.Struct, frozen=True):
    """What to examine, within which limits, and for whom."""

    path: str
    parent_pid: int
    cpu_seconds_max: int
    memory_bytes_max: int
    file_bytes_max: int = 0


class Report(msgspec.Struct, frozen=True):
    """A stage that begins, or (with `stage` None) the end: a reason, or signature and passport."""

    stage: PrepareStage | None = None
    reason: str | None = None
    signature: Signature | None = None
    passport: Passport | None = None


class BuildOrder(msgspec.Struct, frozen=True):
    """`order.path` is the model; the form goes into `folder`, which is there and empty."""

    order: Order
    folder: str


def out_of_memory(memory_bytes_max: int) -> str:
    return f"It used more than {memory_bytes_max / 2**30:.3g} GiB of memory. Make the model smaller."
