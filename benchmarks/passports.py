"""`passports`: what a passport says of a model, beside what a host then sees when it loads it.

A host prepares each model as any upload and loads it at once, and again when it has been restarted, each time
into a worker that has loaded nothing before: the passport comes from a process of the preparation, the loads
from the workers' own reports.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.alone import Stores, running_stores
from benchmarks.rocket import until
from benchmarks.zoo import Specimen, collect
from chalicelib.contract.messages import Passport, PrepareResult, VersionRecord
from tests.support.hosts import HostProcess, outcome, running_host, store

PAGE_BYTES: Final = 65_536
"""Memory comes in pages: of tiny models this much is not an error."""
LARGE_BYTES: Final = 1_000_000
_RESTARTS: Final = 2


@dataclass(frozen=True, slots=True)
class Seen:
    """One model: its passport, and what the host saw. `seconds` are of the whole preparation.

    Attributes:
        load_ms, wall_ms: processor time of the host's loads, and how long they took beside whatever else ran;
            medians.
        refused: why it is no version.
    """

    name: str
    file_bytes: int
    seconds: float
    passport: Passport | None
    batchable: bool
    evidence: str
    load_ms: float = 0.0
    wall_ms: float = 0.0
    bytes_anonymous: int = 0
    refused: str | None = None

    @property
    def load_error(self) -> float:
        """Relative; positive where the passport says more than was seen."""
        assert self.passport is not None
        return self.passport.load_ms / self.load_ms - 1

    @property
    def wall_error(self) -> float:
        """As above, with what the load waited for others."""
        assert self.passport is not None
        return self.passport.load_ms / self.wall_ms - 1

    @property
    def memory_error(self) -> float:
        """Relative, as above."""
        return self._memory_difference / max(self.bytes_anonymous, 1)

    @property
    def memory_error_beyond_pages(self) -> float:
        beyond = max(0, abs(self._memory_difference) - PAGE_BYTES)
        return beyond / max(self.bytes_anonymous, 1)

    @property
    def _memory_difference(self) -> int:
        assert self.passport is not None
        return self.passport.bytes_anonymous - self.bytes_anonymous


def measure(folder: Path, *, most: int | None, say: Callable[[str], None]) -> list[Seen]:
    specimens = list(collect(folder / "zoo", say))[:most]
    with running_stores(folder / "stores") as stores:
        home = stores.folder / "host"
        home.mkdir()
        with running_host(stores.servers, home) as host:
            prepared = [_prepared(stores, specimen, host, say) for specimen in specimens]
        for number in range(_RESTARTS):
            say(f"loading them all again, {number + 1} of {_RESTARTS}")
            with running_host(stores.servers, home) as host:
                for one in prepared:
                    _load_again(host, one)
    return [_seen(one) for one in prepared]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One specimen, and the loads that a host's log tells of."""

    specimen: Specimen
    result: PrepareResult
    seconds: float
    record: VersionRecord | None
    loads: list[Mapping[str, Any]]


def _prepared(stores: Stores, specimen: Specimen, host: HostProcess, say: Callable[[str], None]) -> _Prepared:
    say(f"preparing {specimen.name}")
    job = store(stores.servers, specimen.path.read_bytes())
    stores.hot.enqueue(job)
    result = outcome(stores.hot, job)
    done = _event(host, "prepared", job.version_id)
    if result.signature is None or result.passport is None:
        return _Prepared(specimen, result, done["ms"] / 1000, None, [])
    record = VersionRecord(
        **msgspec.structs.asdict(job),
        signature=result.signature,
        passport=result.passport,
        certificate=result.certificate,
    )
    stores.hot.put_version(record)
    loaded = _event(host, "loaded", job.version_id)
    return _Prepared(specimen, result, done["ms"] / 1000, record, [loaded])


def _load_again(host: HostProcess, prepared: _Prepared) -> None:
    """By a request that asks for nothing."""
    if prepared.record is not None:
        host.infer(prepared.record, {})
        prepared.loads.append(_event(host, "loaded", prepared.record.version_id))


def _seen(prepared: _Prepared) -> Seen:
    result, certificate = prepared.result, prepared.result.certificate
    form = result.passport is not None and result.passport.prepared
    loads = [
        load for load in prepared.loads if load["prepared"] is form
    ]  # a slow load may be followed by a form

    def median(name: str) -> float:
        return statistics.median(load[name] for load in loads) if loads else 0.0

    return Seen(
        prepared.specimen.name,
        prepared.specimen.path.stat().st_size,
        prepared.seconds,
        result.passport,
        certificate is not None and certificate.batchable,
        certificate.evidence if certificate else "",
        load_ms=median("processor_ms"),
        wall_ms=median("session_ms"),
        bytes_anonymous=int(median("bytes_anonymous")),
        refused=result.reason,
    )


def _event(host: HostProcess, name: str, version_id: str) -> Mapping[str, Any]:
    """The first of this name, as soon as the log has it."""
    until(lambda: bool(_events(host, name, version_id)), what=f"{name} in the host's log")
    return _events(host, name, version_id)[0]


def _events(host: HostProcess, name: str, version_id: str) -> list[dict[str, Any]]:
    return [event for event in host.events(name) if event["version"] == version_id]


def ninth_decile(errors: Iterator[float]) -> float:
    """What nine of ten stay within."""
    sizes = sorted(abs(error) for error in errors)
    return statistics.quantiles(sizes, n=10, method="inclusive")[-1] if len(sizes) > 1 else sizes[0]


def measured(seen: Sequence[Seen]) -> list[Seen]:
    return [one for one in seen if one.passport is not None]
