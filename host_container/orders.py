"""What the host and the processes that examine, build and measure for it say to each other."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from chalicelib.contract.findings import Findings, Refusal
from chalicelib.contract.messages import Certificate, Example, Passport, Signature

NOT_CLOSED_IN: Final = 71
"""The exit code (EX_OSERR) of a process that looked at nothing, because this machine cannot contain it."""


class Doing(StrEnum):
    """What a process is at, as it is told to the model's owner when it ends there."""

    READING = "reading it"
    LOADING = "loading it"
    RUNNING = "running it on a generated input"
    MEASURING = "measuring it"


class Order(msgspec.Struct, frozen=True):
    """What to examine, within which limits, and for whom.

    `path` is opened; `beside` are the other files it needs.
    `load_seconds_max`: what loads slower is refused, though it keeps to the other limits.
    `sandbox_required`: without it, what the machine lacks to close a process in is done without.
    """

    path: str
    parent_pid: int
    cpu_seconds_max: int
    memory_bytes_max: int
    sandbox_required: bool
    load_seconds_max: float
    file_bytes_max: int = 0
    beside: tuple[str, ...] = ()


class Began(msgspec.Struct, frozen=True, tag="began"):
    """What the process does from now on."""

    doing: Doing


class Report(msgspec.Struct, frozen=True, tag="report"):
    """The end of an examination: a reason and a refusal, or all the others.

    `example` and `sizes` as in `Preparation`.
    """

    reason: str | None = None
    refusal: Refusal | None = None
    signature: Signature | None = None
    findings: Findings | None = None
    load_seconds: float = 0.0
    example: Example | None = None
    sizes: dict[str, tuple[int, ...]] = {}


class BuildOrder(msgspec.Struct, frozen=True):
    """`order.path` is the model; the form goes into `folder`, which is there and empty.

    `nice`: how far it stands back for others.
    """

    order: Order
    folder: str
    nice: int = 0


class MeasureOrder(msgspec.Struct, frozen=True):
    """`order.path` is a prepared graph where `prepared`.

    `prepack_gain`: of the form, as its building found it; 1 for an uploaded file.
    """

    order: Order
    prepared: bool = False
    prepack_gain: float = 1.0


class Measured(msgspec.Struct, frozen=True, tag="measured"):
    """The end of a measurement: a reason and a refusal, or the others."""

    reason: str | None = None
    refusal: Refusal | None = None
    passport: Passport | None = None
    certificate: Certificate | None = None


def out_of_memory(memory_bytes_max: int) -> str:
    return f"It used more than {memory_bytes_max / 2**30:.3g} GiB of memory. Make the model smaller."
