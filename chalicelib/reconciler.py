"""The coordinator's shell: read the world, plan, record, apply. Safe to run twice, and safe to run late.

One pass also brings the hot state in line with the truth, which is how a flushed Redis fills again, records
what hosts found about new versions, moves traffic on to those that are loaded, takes away candidates beyond
their limits, removes what was deleted long ago, and adds up usage. None of that minds being done by two at
once. What only one may do is done under the epoch of this coordinator's tenure: see `tenure`.

Assignments come first, then how many hosts there should be, then what is remembered, and last who is
forgotten: whoever dies in between leaves a world from which the next tick goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from chalicelib.audit import Audit
from chalicelib.catalogue import Catalogue
from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, ModelRocketError, StaleEpoch
from chalicelib.contract.hotstate import HotState
from chalicelib.coordinator.planner import Action, Assign, ForgetHost, Plan, Policy, SetCapacity, plan
from chalicelib.coordinator.state import FleetState
from chalicelib.decisions import Recorder
from chalicelib.deletion import Deletion
from chalicelib.operators import Operators
from chalicelib.payloads import Payloads
from chalicelib.ports import Capacity, Store
from chalicelib.projection import TokenProjection
from chalicelib.records import Decision
from chalicelib.tally import Tally
from chalicelib.tenure import Tenure
from chalicelib.traffic import Traffic
from chalicelib.uploads import Uploads
from chalicelib.usage import Metering
from chalicelib.world import World

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loop:
    """How one scheduled invocation spends its time. Seconds.

    `wait` lasts at most so long: whoever wakes the coordinator ends it, and has woken nobody else then. So
    while it is another's turn, `sleep`.
    """

    tick_seconds: float
    loop_seconds: float
    monotonic: Callable[[], float]
    wait: Callable[[float], object]
    sleep: Callable[[float], object] = time.sleep


@dataclass(frozen=True, slots=True)
class UseCases:
    """What a pass carries on with."""

    uploads: Uploads
    traffic: Traffic
    deletion: Deletion
    operators: Operators
    metering: Metering
    audit: Audit
    payloads: Payloads


@dataclass(frozen=True, slots=True)
class Deciding:
    """Who decides, and how. `holder` names this coordinator, and nobody else."""

    holder: str
    policy: Policy
    capacity: Capacity | None


class Reconciler:
    """Runs passes of the coordinator.

    Attributes:
        tally: what the latest run has come to.
    """

    def __init__(
        self, *, store: Store, hot: HotState, cases: UseCases, deciding: Deciding, loop: Loop
    ) -> None:
        self._store = store
        self._hot = hot
        self._cases = cases
        self._policy = deciding.policy
        self._capacity = deciding.capacity
        self._loop = loop
        self._tenure = Tenure(store=store, hot=hot, holder=deciding.holder)
        keep = self._tenure.keep
        self._tokens = TokenProjection(store=store, hot=hot, keep=keep)
        self._catalogue = Catalogue(store=store, hot=hot, finish=cases.deletion.finish, keep=keep)
        self._world = World(
            hot=hot,
            catalogue=self._catalogue,
            capacity=deciding.capacity,
            drain_seconds=deciding.policy.scaling.drain_seconds,
        )
        self._told_deleted = False
        self._reap_after = ""
        self._recorder = Recorder(store=store, policy=deciding.policy)
        self.tally = Tally()

    def run(self) -> int:
        """Passes until the invocation's time is up, or as soon as somebody wakes it; returns how many.

        A pass that fails because a store is away is logged, and the next one tries again.
        """
        ends = self._loop.monotonic() + self._loop.loop_seconds
        passes, self.tally = 0, Tally()
        try:
            while True:
                try:
                    self._pass()
                except ModelRocketError as error:
                    self.tally.failures += 1
                    log.warning("pass failed", extra={"code": error.code, "reason": error.message})
                passes += 1
                if self._loop.monotonic() + self._loop.tick_seconds >= ends:
                    return passes
                pause = self._loop.wait if self._tenure.mine else self._loop.sleep
                pause(self._loop.tick_seconds)
        finally:
            self._end()

    def tick(self) -> Decision | None:
        """One pass by itself; None where it was another coordinator's turn."""
        try:
            return self._pass()
        finally:
            self._end()

    def _end(self) -> None:
        with suppress(DependencyFailed):  # then it runs out
            self._tenure.end()

    def _pass(self) -> Decision | None:
        """Every step is tried; raises the first one's error."""
        try:
            return self._steps() if self._tenure.begin() else None
        except StaleEpoch as error:
            log.warning("another coordinator has taken over", extra={"reason": str(error)})
            return None

    def _steps(self) -> Decision | None:
        decisions: list[Decision] = []
        errors: list[ModelRocketError] = []
        for step in (
            self._cases.uploads.settle,
            self._cases.uploads.repair,
            self._cases.operators.settle,
            self._project,
            self._reap,
            lambda: decisions.append(self._decide()) if self._catalogue.complete else None,
            lambda: self._cases.metering.roll_up(self.tally.count),
            self._cases.audit.settle,
            self._sweep_payloads,
        ):
            try:
                step()
            except ModelRocketError as error:
                log.warning("step failed", extra={"code": error.code, "reason": error.message})
                errors.append(error)
        if errors:
            raise errors[0]
        return decisions[0]

    def _project(self) -> None:
        projection = self._hot.begin_projection()
        self._told_deleted = self._told_deleted and projection.models_until is not None
        tokens_until = self._tokens.project(projection.tokens_until)
        models_until = self._catalogue.refresh(projection.models_until)
        self._follow()
        self._hot.end_projection(projection, tokens_until=tokens_until, models_until=models_until)

    def _reap(self) -> None:
        """A page of what is deleted; a hot state that was flushed is told of all of it."""
        if not self._told_deleted:
            self._reap_after = ""
        self._reap_after = self._cases.deletion.reap(self._reap_after).after
        while self._reap_after and not self._told_deleted:
            self._reap_after = self._cases.deletion.reap(self._reap_after).after
        self._told_deleted = True

    def _follow(self) -> None:
        """Let warm versions take over, and take candidates beyond their limits away."""
        following, traffic = self._catalogue.following, self._cases.traffic
        for first in range(0, len(following), limits.PROJECTION_PAGE):
            models = self._store.any_models(following[first : first + limits.PROJECTION_PAGE])
            moved = [traffic.watch(traffic.advance(model)) for model in models]
            self._catalogue.take(moved, now=self._store.clock())
            self._tenure.keep()

    def _sweep_payloads(self) -> None:
        if self._hot.sweep_due(every=limits.PAYLOAD_SWEEP_SECONDS):
            self._cases.payloads.sweep()

    def _decide(self) -> Decision:
        self._tenure.keep()
        sight = self._world.look()
        planned = plan(sight.state, self._policy)
        decision = self._recorder.record(
            sight.state, planned, epoch=self._tenure.epoch, number=self._tenure.decisions + 1
        )
        self._tenure.decisions = decision.id
        self._apply(planned, sight.state, demand_at=sight.demand_at)
        self.tally.decided(sight.state, planned, unmet=sight.unmet)
        if self._capacity is not None and sight.state.capacity is None:
            self.tally.failures += 1
        self._drop_replicas(self._catalogue.swept)
        return decision

    def _apply(self, planned: Plan, state: FleetState, *, demand_at: float) -> None:
        """What one action fails with stops none of the others."""
        epoch, last = self._tenure.epoch, []
        for action in sorted(planned.actions, key=_order):
            if isinstance(action, ForgetHost):
                last.append(action)
            else:
                self._try(action, state)
        self._world.remember(planned.memory, demand_at=demand_at, epoch=epoch)
        for action in last:
            self._try(action, state)

    def _try(self, action: Action, state: FleetState) -> None:
        try:
            self._do(action, state)
        except ModelRocketError as error:
            self.tally.failures += 1
            told = {"action": type(action).__name__, "code": error.code, "reason": error.message}
            log.warning("action failed", extra=told)

    def _do(self, action: Action, state: FleetState) -> None:
        match action:
            case Assign(host_id, version_ids):
                self._hot.assign(host_id, version_ids, epoch=self._tenure.epoch)
            case SetCapacity(hosts, ending):
                if self._capacity is not None:
                    self._tenure.confirm()
                    self._capacity.set(hosts, ending=ending, epoch=self._tenure.epoch)
            case ForgetHost(host_id):
                log.warning("host is dead", extra={"host_id": host_id})
                self._forget(host_id, state)

    def _forget(self, host_id: str, state: FleetState) -> None:
        gone = self._hot.forget_silent_host(
            host_id, silent_seconds=limits.HOST_DEAD_SECONDS, epoch=self._tenure.epoch
        )
        if gone:
            assigned = (one for host in state.hosts if host.host_id == host_id for one in host.assigned)
            models = {self._catalogue.model_of(version_id) for version_id in assigned}
            self._drop_replicas(sorted(model_id for model_id in models if model_id))

    def _drop_replicas(self, model_ids: Sequence[str]) -> None:
        """Those on hosts that are not registered any more."""
        registered = {host.host_id for host in self._hot.hosts()[1]}
        for first in range(0, len(model_ids), limits.PROJECTION_PAGE):
            found = self._hot.replicas_of(model_ids[first : first + limits.PROJECTION_PAGE])
            for model_id, replicas in found.items():
                gone = [(one, there.host_id) for one, there in replicas if there.host_id not in registered]
                self._hot.drop_replicas_of_gone(model_id, gone, epoch=self._tenure.epoch)


def _order(action: Action) -> int:
    return (Assign, SetCapacity, ForgetHost).index(type(action))
