"""What the coordinator decides, kept with all it saw, so that any tick can be replayed and explained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from chalicelib.contract import limits
from chalicelib.coordinator.journal import Entry, JournalReader, JournalWriter
from chalicelib.coordinator.planner import Plan, Policy
from chalicelib.coordinator.state import FleetState
from chalicelib.ports import CoordinatorStore
from chalicelib.records import Decision


class Recorder:
    """One coordinator's: what it decides is recorded before it is done."""

    def __init__(self, *, store: CoordinatorStore, policy: Policy) -> None:
        self._store = store
        self._policy = policy
        self._journal = JournalWriter(whole_every=limits.JOURNAL_WHOLE_EVERY)
        self._last: Decision | None = None

    def record(self, state: FleetState, planned: Plan, *, epoch: int, number: int) -> Decision:
        """Raises StaleEpoch, and nothing is to be done then."""
        last, self._last = self._last, None
        if last is None or (last.id, last.epoch) != (number - 1, epoch):
            self._journal.start_anew()
        entry = self._journal.write(state)
        at = datetime.fromtimestamp(state.now, UTC)
        subjects = frozenset(reason.subject for reason in planned.reasons)
        decision = Decision(
            id=number,
            epoch=epoch,
            at=at.replace(microsecond=at.microsecond // 1000 * 1000),
            changed=bool(planned.actions) or last is None or subjects != frozenset(last.subjects),
            actions=planned.actions,
            reasons=planned.reasons,
            whole=entry.whole,
            policy=self._policy if entry.whole else None,
            entry=entry.content,
        )
        self._store.record_decision(decision)
        self._last = decision
        return decision


@dataclass(frozen=True, slots=True)
class Tick:
    """One as it was: `plan(state, policy)` is what was decided."""

    decision: Decision
    state: FleetState
    policy: Policy


def ticks(decisions: Iterable[Decision]) -> Iterator[Tick]:
    """Those that can be read: none before the first whole entry, or between a missing one and the next."""
    reader, policy, last = JournalReader(), None, 0
    for decision in decisions:
        if decision.id != last + 1:
            reader.skip()
        last, policy = decision.id, decision.policy or policy
        state = reader.read(Entry(decision.whole, decision.entry))
        if state is not None and policy is not None:
            yield Tick(decision, state, policy)
