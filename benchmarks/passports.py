"""`passports`: what a passport says of a model, beside what a host then sees when it loads it.

A host prepares each model as any upload and loads it at once into a worker that has loaded nothing before:
the passport comes from a process of the preparation, the load from the worker's own report.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.alone import running_stores
from benchmarks.rocket import until
from benchmarks.zoo import Specimen, collect
from chalicelib.contract.messages import Passport, PrepareResult
from tests.support.hosts import HostProcess, outcome, store

PAGE_BYTES: Final = 65_536
"""Memory comes in pages: of tiny models this much is not an error."""
LARGE_BYTES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Seen:
    """One model: its passport, and what the host saw. `seconds` are of the whole preparation.

    Attributes:
        load_ms, wall_ms: processor time of the host's load, and how long it took beside whatever else ran.
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
    with running_stores(folder / "stores") as stores, stores.host() as host:

        def prepared(specimen: Specimen) -> Seen:
            say(f"preparing {specimen.name}")
            job = store(stores.servers, specimen.path.read_bytes())
            stores.hot.enqueue(job)
            return _seen(specimen, outcome(stores.hot, job), host)

        return [prepared(specimen) for specimen in specimens]


def _seen(specimen: Specimen, result: PrepareResult, host: HostProcess) -> Seen:
    until(lambda: bool(_events(host, "prepared", result.version_id)), what=f"{specimen.name} to be prepared")
    done = _events(host, "prepared", result.version_id)[-1]
    certificate = result.certificate
    seen = Seen(
        specimen.name,
        specimen.path.stat().st_size,
        done["ms"] / 1000,
        result.passport,
        certificate is not None and certificate.batchable,
        certificate.evidence if certificate else "",
        refused=result.reason,
    )
    if result.passport is None:
        return seen
    until(lambda: bool(_events(host, "loaded", result.version_id)), what=f"{specimen.name} to be loaded")
    loaded = _events(host, "loaded", result.version_id)[0]
    return Seen(
        *(seen.name, seen.file_bytes, seen.seconds, seen.passport, seen.batchable, seen.evidence),
        load_ms=loaded["processor_ms"],
        wall_ms=loaded["session_ms"],
        bytes_anonymous=loaded["bytes_anonymous"],
    )


def _events(host: HostProcess, name: str, version_id: str) -> list[dict[str, Any]]:
    return [event for event in host.events(name) if event["version"] == version_id]


def ninth_decile(errors: Iterator[float]) -> float:
    """What nine of ten stay within."""
    sizes = sorted(abs(error) for error in errors)
    return statistics.quantiles(sizes, n=10, method="inclusive")[-1] if len(sizes) > 1 else sizes[0]


def measured(seen: Sequence[Seen]) -> list[Seen]:
    return [one for one in seen if one.passport is not None]
