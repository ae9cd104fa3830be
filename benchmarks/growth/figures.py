"""What `measuring` found, and where it is kept: docs/scale/measured.json."""

from __future__ import annotations

from typing import Final

import msgspec

from benchmarks.children import REPOSITORY
from benchmarks.machine import Machine

MEASURED: Final = REPOSITORY / "docs" / "scale" / "measured.json"


class Connections(msgspec.Struct, frozen=True):
    """That one process of a kind holds once it has done its work."""

    redis: int
    mongo: int


class Tick(msgspec.Struct, frozen=True):
    """One pass of the planner over so many. `memory_mb`: the most the process had, Python included."""

    hosts: int
    models: int
    cpu_seconds: float
    memory_mb: float


class HotCosts(msgspec.Struct, frozen=True):
    """Of the hot state. Microseconds are of the server's processor time.

    Attributes:
        request_us: a request to a warm model: admitted, leased, released and counted, one after the other.
        script_us: the part of it in which scripts run: what is left when nothing is lost between requests.
        request_bytes: that it sends for one.
        cold_host_us: what each host there is adds to a request for a model that no host has.
        beat_us: a heartbeat with the load of `BEAT_VERSIONS` versions.
        model_bytes: of memory, a model with one version, two replicas and one token.
        host_bytes: of memory, a host.
        counted_bytes: of memory, what one key used of one version in one minute.
    """

    request_us: float
    script_us: float
    request_bytes: float
    cold_host_us: float
    beat_us: float
    model_bytes: float
    host_bytes: float
    counted_bytes: float


class PassCosts(msgspec.Struct, frozen=True):
    """Of the coordinator's passes, in seconds of the clock beside the stores on the same machine.

    Attributes:
        model_read_us, model_read_cpu_us: a model of a process that reads all of them; its own processor time.
        token_read_us: a token of a hot state that has to be filled.
        rolled_up_us: what one key used of one version in a minute, read, written down and forgotten, where
            an account has one of them.
    """

    model_read_us: float
    model_read_cpu_us: float
    token_read_us: float
    rolled_up_us: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        gateway_cpu_us: processor time of the gateway's process per request, the host's answer not included.
        worker_mb: what a host's processes grow by for each account that has a model there.
        inference, management, coordinator: of functions as Lambda runs them, and after a flush of Redis.
        host: of a host.
    """

    at: str
    command: str
    machine: Machine
    gateway_cpu_us: float
    worker_mb: float
    hot: HotCosts
    passes: PassCosts
    ticks: tuple[Tick, ...]
    inference: Connections
    management: Connections
    coordinator: Connections
    host: Connections


def keep(measured: Measured) -> None:
    MEASURED.parent.mkdir(parents=True, exist_ok=True)
    MEASURED.write_bytes(msgspec.json.format(msgspec.json.encode(measured), indent=1) + b"\n")


def kept() -> Measured:
    """The latest run. Raises FileNotFoundError, msgspec.ValidationError."""
    return msgspec.json.decode(MEASURED.read_bytes(), type=Measured)
