"""What was used at this host's own door, and of its memory, since the fleet was last told. Pure.

A batch that is being told stays as it is, under its number, until it is known that it was counted: its number
says so where a reply was lost. Bounded: beyond, requests are summed up that would be told one by one, and
sums of further keys are given up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.latency import NOT_ANSWERED, Took
from chalicelib.contract.messages import VersionRecord
from chalicelib.contract.metering import (
    MEMORY,
    NOBODY,
    Measures,
    Outcome,
    Refused,
    Usage,
    UsageKey,
    code_counter,
)

_OK: Final = 200
_KIB: Final = 1024
_MICRO: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Batch:
    """What is told at once; numbers are 1, 2, 3, …"""

    number: int
    sums: dict[UsageKey, Measures]
    outcomes: tuple[Outcome, ...]


@dataclass(slots=True)
class Use:
    """One request as it goes on; see `Usage` and `Outcome` for what the numbers are."""

    key: UsageKey
    request_id: str
    bytes_in: int
    rows: int = 0
    compute_us: int = 0
    took: Took = NOT_ANSWERED

    def outcome(self, status: int, code: str, bytes_out: int) -> Outcome:
        return Outcome(
            key=self.key,
            status=status,
            code=code,
            request_id=self.request_id,
            rows=self.rows,
            compute_us=self.compute_us,
            bytes_in=self.bytes_in,
            bytes_out=bytes_out,
            took=self.took if status == _OK else NOT_ANSWERED,
        )


@dataclass(slots=True)
class _Sum:
    usage: Usage = field(default_factory=Usage)
    counters: dict[str, int] = field(default_factory=dict)

    def grow(self, counter: str, amount: int = 1) -> None:
        known = self.counters.get(counter)
        if known is not None:
            self.counters[counter] = known + amount
        elif len(self.counters) < limits.USAGE_COUNTERS_MAX:
            self.counters[counter] = amount


class Meter:
    """Requests by whose they are. Owned by the event loop. `source` names this process for good."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._sums: dict[UsageKey, _Sum] = {}
        self._outcomes: deque[Outcome] = deque()
        self._telling: Batch | None = None
        self._number = 0

    def count(self, outcome: Outcome) -> None:
        """Those with an id of their caller's one by one: they may have been counted elsewhere."""
        if outcome.request_id and len(self._outcomes) < limits.USAGE_KEPT_MAX:
            self._outcomes.append(outcome)
            return
        known = self._sum(outcome.key)
        if known is not None:
            known.usage += outcome.usage
            counter = outcome.counter
            if counter:
                known.grow(counter)

    def refuse(self, refused: Refused) -> None:
        """It was not run, here or elsewhere."""
        known = self._sum(refused.key)
        if known is not None:
            known.grow(code_counter(refused.code))

    def hold(self, held: Iterable[tuple[VersionRecord, int]], *, seconds: float) -> None:
        """For so long versions were in memory, each with so many bytes."""
        for record, size in held:
            known = self._sum(UsageKey(record.tenant, NOBODY, record.model_id, record.number))
            amount = round(size / _KIB * seconds)
            if known is not None and amount > 0:
                known.grow(MEMORY, amount)

    def batch(self) -> Batch | None:
        """What to tell now: the same one until it is `told`. None when there is nothing."""
        if self._telling is None and (self._sums or self._outcomes):
            self._number += 1
            taken = {key: self._sums.pop(key) for key in list(islice(self._sums, limits.USAGE_TOLD_MAX))}
            room = min(limits.USAGE_TOLD_MAX - len(taken), len(self._outcomes))
            outcomes = tuple(self._outcomes.popleft() for _ in range(room))
            sums = {key: Measures(one.usage, one.counters) for key, one in taken.items()}
            self._telling = Batch(self._number, sums, outcomes)
        return self._telling

    def told(self, batch: Batch) -> None:
        if self._telling is batch:
            self._telling = None

    def _sum(self, key: UsageKey) -> _Sum | None:
        """None where there is no room for another."""
        known = self._sums.get(key)
        if known is None and len(self._sums) < limits.USAGE_SUMS_MAX:
            known = self._sums[key] = _Sum()
        return known


def us(seconds: float) -> int:
    return round(seconds * _MICRO)
