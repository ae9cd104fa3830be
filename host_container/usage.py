"""What was used at this host's own door since the fleet was last told. Pure.

A batch that is being told stays as it is, under its number, until it is known that it was counted: its number
says so where a reply was lost. Bounded: beyond, requests are summed up that would be told one by one, and
sums of further keys are given up.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice

from chalicelib.contract import limits
from chalicelib.contract.metering import Outcome, Usage, UsageKey


@dataclass(frozen=True, slots=True)
class Batch:
    """What is told at once; numbers are 1, 2, 3, …"""

    number: int
    sums: dict[UsageKey, Usage]
    outcomes: tuple[Outcome, ...]


@dataclass(slots=True)
class Use:
    """One request as it goes on; see `Usage` and `Outcome` for what the numbers are."""

    key: UsageKey
    request_id: str
    bytes_in: int
    rows: int = 0
    compute_us: int = 0
    cold: bool = False

    def outcome(self, status: int, bytes_out: int) -> Outcome:
        return Outcome(
            key=self.key,
            status=status,
            request_id=self.request_id,
            rows=self.rows,
            compute_us=self.compute_us,
            bytes_in=self.bytes_in,
            bytes_out=bytes_out,
            cold=self.cold,
        )


class Meter:
    """Requests by whose they are. Owned by the event loop. `source` names this process for good."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._sums: dict[UsageKey, Usage] = {}
        self._outcomes: deque[Outcome] = deque()
        self._telling: Batch | None = None
        self._number = 0

    def count(self, outcome: Outcome) -> None:
        """Those with an id of their caller's one by one: they may have been counted elsewhere."""
        if outcome.request_id and len(self._outcomes) < limits.USAGE_KEPT_MAX:
            self._outcomes.append(outcome)
            return
        known = self._sums.get(outcome.key)
        if known is not None:
            self._sums[outcome.key] = known + outcome.usage
        elif len(self._sums) < limits.USAGE_SUMS_MAX:
            self._sums[outcome.key] = outcome.usage

    def batch(self) -> Batch | None:
        """What to tell now: the same one until it is `told`. None when there is nothing."""
        if self._telling is None and (self._sums or self._outcomes):
            self._number += 1
            sums = {key: self._sums.pop(key) for key in list(islice(self._sums, limits.USAGE_TOLD_MAX))}
            room = min(limits.USAGE_TOLD_MAX - len(sums), len(self._outcomes))
            outcomes = tuple(self._outcomes.popleft() for _ in range(room))
            self._telling = Batch(self._number, sums, outcomes)
        return self._telling

    def told(self, batch: Batch) -> None:
        if self._telling is batch:
            self._telling = None
