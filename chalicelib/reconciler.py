"""The coordinator's shell: read the world, plan, apply. Safe to run twice, and safe to run late.

One pass also brings the hot state in line with the truth, which is how a
flushed Redis fills again, records what hosts found about new versions, moves
traffic on to those that are loaded, takes away candidates beyond their limits,
removes what was deleted long ago, and adds up usage.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from chalicelib.audit import Audit
from chalicelib.contract import limits
from chalicelib.contract.errors import ModelRocketError
from chalicelib.contract.hotstate import HotState
from chalicelib.coordinator.planner import Action, Assign, ForgetHost, Policy, plan
from chalicelib.coordinator.state import FleetState, ModelState
from chalicelib.deletion import Deletion
from chalicelib.operators import Operators
from chalicelib.payloads import Payloads
from chalicelib.ports import Store
from chalicelib.projection import TokenProjection
from chalicelib.records import Model, routing_record
from chalicelib.traffic import Traffic
from chalicelib.uploads import Uploads
from chalicelib.usage import Metering

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loop:
    """How one scheduled invocation spends its time. Seconds; `wait` sleeps."""

    tick_seconds: float
    loop_seconds: float
    monotonic: Callable[[], float]
    wait: Callable[[float], None]


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


class Reconciler:
    """Runs passes of the coordinator."""

    def __init__(self, *, store: Store, hot: HotState, cases: UseCases, policy: Policy, loop: Loop) -> None:
        self._store = store
        self._hot = hot
        self._tokens = TokenProjection(store=store, hot=hot)
        self._uploads = cases.uploads
        self._traffic = cases.traffic
        self._deletion = cases.deletion
        self._metering = cases.metering
        self._audit = cases.audit
        self._operators = cases.operators
        self._payloads = cases.payloads
        self._policy = policy
        self._loop = loop

    def run(self) -> int:
        """Passes until the invocation's time is up; returns how many.

        A pass that fails because a store is away is logged, and the next one tries again.
        """
        ends = self._loop.monotonic() + self._loop.loop_seconds
        passes = 0
        while True:
            try:
                self.tick()
            except ModelRocketError as error:
                log.warning("pass failed", extra={"code": error.code, "reason": error.message})
            passes += 1
            if self._loop.monotonic() + self._loop.tick_seconds >= ends:
                return passes
            self._loop.wait(self._loop.tick_seconds)

    def tick(self) -> tuple[Action, ...]:
        """One pass."""
        self._uploads.settle()
        self._uploads.repair()
        self._operators.settle()
        projection = self._hot.begin_projection()
        tokens_until = self._tokens.project(projection.tokens_until)
        models = tuple(self._project_models())
        self._project_tombstones()
        self._hot.end_projection(projection, tokens_until=tokens_until)
        self._deletion.reap()
        now, hosts = self._hot.hosts()
        actions = plan(FleetState(now=now, hosts=hosts, models=models), self._policy)
        for action in actions:
            self._apply(action, models)
        self._metering.roll_up()
        self._audit.settle()
        if self._hot.sweep_due(every=limits.PAYLOAD_SWEEP_SECONDS):
            self._payloads.sweep()
        return actions

    def _project_models(self) -> Iterator[ModelState]:
        """Routes of all models; yields those that serve."""
        after = ""
        while page := self._store.models_page(after, limits.PROJECTION_PAGE):
            after = page[-1].id
            self._project_page(page)
            for model in page:
                state = self._state(self._traffic.watch(self._traffic.advance(model)))
                if state is not None:
                    yield state

    def _project_tombstones(self) -> None:
        after = ""
        while page := self._store.tombstones_page(after, limits.PROJECTION_PAGE):
            after = page[-1].id
            self._hot.put_models(routing_record(model, {}) for model in page)
            for model in page:
                self._deletion.finish(model)

    def _project_page(self, page: Sequence[Model]) -> None:
        version_ids = [version_id for model in page for version_id in model.version_ids]
        versions = {version.id: version for version in self._store.any_versions(version_ids)}
        self._hot.put_models(routing_record(model, versions) for model in page)

    def _state(self, model: Model) -> ModelState | None:
        active_id, *following = model.version_ids or (None,)
        if active_id is None or model.active_version_id is None:
            return None
        held_on = self._traffic.held_on(model) if following else frozenset()
        return ModelState(model.id, active_id, tuple(following), held_on)

    def _apply(self, action: Action, models: Sequence[ModelState]) -> None:
        match action:
            case Assign(host_id, version_ids):
                self._hot.assign(host_id, version_ids)
            case ForgetHost(host_id, boot_id):
                log.warning("host is dead", extra={"host_id": host_id})
                self._forget(host_id, boot_id, models)

    def _forget(self, host_id: str, boot_id: str, models: Sequence[ModelState]) -> None:
        for model in models:
            gone = [
                (version_id, replica.host_id)
                for version_id, replica in self._hot.replicas(model.model_id)
                if (replica.host_id, replica.boot_id) == (host_id, boot_id)
            ]
            self._hot.drop_replicas(model.model_id, gone)
        self._hot.forget_host(host_id)
