"""`passports`: what a passport says of a model, beside what a host then sees when it loads it.

A host prepares each model as any upload and loads it at once, and again when it has been restarted, each time
into a worker that has loaded nothing before: the passport comes from a process of the preparation, the loads
from the workers' own reports. Beside it stands what a caller is told, and waits for: when the model will be
ready, by the passport and by the loads that the host has seen since its start.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.alone import Stores, running_stores
from benchmarks.rocket import until
from benchmarks.zoo import Specimen, collect
from chalicelib.contract.messages import Passport, PrepareResult, VersionRecord
from host_container.forecast import Forecast
from tests.support.hosts import HostProcess, outcome, running_host, store

PAGES_BYTES: Final = 8_192
"""Two pages: memory comes in no smaller pieces, and what is left free in the last ones is chance."""
LARGE_BYTES: Final = 1_000_000
_RESTARTS: Final = 4


@dataclass(frozen=True, slots=True)
class Seen:
    """One model: its passport, and what the host saw. `seconds` are of the whole preparation.

    Attributes:
        load_ms: processor time of the host's loads; like all that follows, the median.
        told_ms, ready_ms: what the host forecast for its loads, from asking to being able to run, and what
            they took beside whatever else ran.
        refused: why it is no version.
    """

    name: str
    file_bytes: int
    seconds: float
    passport: Passport | None
    batchable: bool
    evidence: str
    load_ms: float = 0.0
    told_ms: float = 0.0
    ready_ms: float = 0.0
    bytes_anonymous: int = 0
    refused: str | None = None

    @property
    def load_difference_ms(self) -> float:
        """Positive where more was said than was seen, like all differences and errors here."""
        assert self.passport is not None
        return self.passport.load_ms - self.load_ms

    @property
    def load_error(self) -> float:
        """Relative, like all errors here."""
        return self.load_difference_ms / self.load_ms

    @property
    def ready_difference_ms(self) -> float:
        return self.told_ms - self.ready_ms

    @property
    def ready_error(self) -> float:
        return self.ready_difference_ms / self.ready_ms

    @property
    def memory_difference(self) -> int:
        """In bytes."""
        assert self.passport is not None
        return self.passport.bytes_anonymous - self.bytes_anonymous

    @property
    def memory_error(self) -> float:
        return self.memory_difference / max(self.bytes_anonymous, 1)

    @property
    def memory_error_beyond_pages(self) -> float:
        beyond = max(0, abs(self.memory_difference) - PAGES_BYTES)
        return beyond / max(self.bytes_anonymous, 1)


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
                _load_again(host, random.Random(number).sample(prepared, len(prepared)))
    return [_seen(one) for one in prepared]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One specimen, and the loads that a host's log tells of. `told_ms`: its forecasts for the later ones."""

    specimen: Specimen
    result: PrepareResult
    seconds: float
    record: VersionRecord | None
    loads: list[Mapping[str, Any]]
    told_ms: list[float] = field(default_factory=list)


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


def _load_again(host: HostProcess, prepared: Iterable[_Prepared]) -> None:
    """By requests that ask for nothing. What the host would tell who waits is computed as it does."""
    forecast = Forecast()
    for one in prepared:
        if one.record is None:
            continue
        one.told_ms.append(1000 * forecast.seconds(one.record, on_disk=True))
        host.infer(one.record, {})
        loaded = _event(host, "loaded", one.record.version_id)
        forecast.saw(one.record, on_disk=True, seconds=loaded["ms"] / 1000)
        one.loads.append(loaded)


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
        told_ms=statistics.median(prepared.told_ms) if prepared.told_ms else 0.0,
        ready_ms=statistics.median(load["ms"] for load in prepared.loads[1:]) if prepared.told_ms else 0.0,
        bytes_anonymous=int(median("bytes_anonymous")),
        refused=result.reason,
    )


def _event(host: HostProcess, name: str, version_id: str) -> Mapping[str, Any]:
    """The first of this name, as soon as the log has it."""
    until(lambda: bool(_events(host, name, version_id)), what=f"{name} in the host's log")
    return _events(host, name, version_id)[0]


def _events(host: HostProcess, name: str, version_id: str) -> list[dict[str, Any]]:
    return [event for event in host.events(name) if event["version"] == version_id]


def ninth_decile(errors: Iterable[float]) -> float:
    """What nine of ten stay within."""
    sizes = sorted(abs(error) for error in errors)
    return statistics.quantiles(sizes, n=10, method="inclusive")[-1] if len(sizes) > 1 else sizes[0]


def measured(seen: Sequence[Seen]) -> list[Seen]:
    return [one for one in seen if one.passport is not None]
