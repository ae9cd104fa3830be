"""What was seen of versions on trial since the fleet was last told. Pure.

Bounded: what was seen of the trials that were counted longest ago is given up first. A sum that is lost
costs a trial some evidence; it never says anything wrong.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import msgspec

from chalicelib.contract.messages import Counts

_TRIALS_MAX: Final = 1_024


@dataclass(frozen=True, slots=True)
class Trial:
    """One split of a model's traffic."""

    model_id: str
    number: int


class Tally:
    """Sums by trial and version id. Owned by the event loop."""

    def __init__(self) -> None:
        self._sums: OrderedDict[Trial, dict[str, Counts]] = OrderedDict()

    def add(self, trial: Trial, version_id: str, seen: Counts) -> None:
        sums = self._sums.setdefault(trial, {})
        sums[version_id] = _sum(sums.get(version_id, Counts()), seen)
        self._sums.move_to_end(trial)
        if len(self._sums) > _TRIALS_MAX:
            self._sums.popitem(last=False)

    def take(self) -> tuple[Trial, dict[str, Counts]] | None:
        """The sums of one trial, by version id: they are the caller's now. None when there are no more."""
        return self._sums.popitem(last=False) if self._sums else None

    def give_back(self, trial: Trial, sums: dict[str, Counts]) -> None:
        """They could not be told."""
        for version_id, seen in sums.items():
            self.add(trial, version_id, seen)


def _sum(one: Counts, other: Counts) -> Counts:
    added = msgspec.structs.asdict(other)
    return Counts(**{name: amount + added[name] for name, amount in msgspec.structs.asdict(one).items()})
