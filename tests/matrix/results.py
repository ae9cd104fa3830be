"""What came of the cases of a family, as it is kept in build/matrix/FAMILY.json."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

FOLDER = Path("build/matrix")


class Outcome(StrEnum):
    OK = "ok"
    """Converted, and it answers the held-out rows like the model itself."""
    REFUSED = "refused"
    """Its framework's exporter fails or makes something that differs, and the client says so."""
    UNSUPPORTED = "unsupported"
    """No exporter knows this kind of model, and the client says so."""
    WRONG = "WRONG"
    """Converted without complaint, and it answers otherwise."""
    HANG = "HANG"
    """It did not end within the limit of time."""
    BROKEN = "BROKEN"
    """The case cannot be built, its process died, or the client raised what is no ConversionError."""


FAILURES = frozenset({Outcome.WRONG, Outcome.HANG, Outcome.BROKEN})


@dataclass(frozen=True)
class Result:
    """seconds: of training, converting and comparing."""

    name: str
    kind: str
    outcome: Outcome
    reason: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class Family:
    """versions: by distribution."""

    name: str
    title: str
    versions: Mapping[str, str]
    results: tuple[Result, ...]

    @property
    def counts(self) -> Counter[Outcome]:
        return Counter(result.outcome for result in self.results)


def write(family: Family) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    _path(family.name).write_text(json.dumps(asdict(family), indent=1, ensure_ascii=False) + "\n")


def read(name: str) -> Family:
    said = json.loads(_path(name).read_text())
    results = (
        Result(**{**one, "outcome": Outcome(one["outcome"]), "notes": tuple(one["notes"])})
        for one in said["results"]
    )
    return Family(said["name"], said["title"], said["versions"], tuple(results))


def recorded() -> list[str]:
    """The families that were run."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def merged(known: Iterable[str], family: Family) -> Family:
    """With what was recorded before of the cases that exist and were not run again now."""
    if family.name not in recorded():
        return family
    by_name = {result.name: result for result in (*read(family.name).results, *family.results)}
    return Family(
        family.name,
        family.title,
        family.versions,
        tuple(by_name[name] for name in known if name in by_name),
    )


def _path(name: str) -> Path:
    return FOLDER / f"{name}.json"
