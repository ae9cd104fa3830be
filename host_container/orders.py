"""What the host and the processes that examine and build for it say to each other."""

from __future__ import annotations

from typing import Final

import msgspec

from chalicelib.contract.findings import Findings, Refusal
from chalicelib.contract.messages import Passport, PrepareStage, Signature

NOT_CLOSED_IN: Final = 71
"""The exit code (EX_OSERR) of a process that looked at nothing, because this machine cannot contain it."""


class Order(msgspec.Struct, frozen=True):
    """What to examine, within which limits, and for whom.

    `sandbox_required`: without it, what the machine lacks to close a process in is done without.
    """

    path: str
    parent_pid: int
    cpu_seconds_max: int
    memory_bytes_max: int
    sandbox_required: bool
    file_bytes_max: int = 0


class Report(msgspec.Struct, frozen=True):
    """A stage that begins, or (with `stage` None) the end: a reason and a refusal, or all the others."""

    stage: PrepareStage | None = None
    reason: str | None = None
    refusal: Refusal | None = None
    signature: Signature | None = None
    passport: Passport | None = None
    findings: Findings | None = None


class BuildOrder(msgspec.Struct, frozen=True):
    """`order.path` is the model; the form goes into `folder`, which is there and empty."""

    order: Order
    folder: str


def out_of_memory(memory_bytes_max: int) -> str:
    return f"It used more than {memory_bytes_max / 2**30:.3g} GiB of memory. Make the model smaller."
