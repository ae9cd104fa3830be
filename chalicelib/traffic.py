"""Where a model's traffic goes: the active version, one candidate on trial, and the way from one to the next.

    ask        a version that became ready takes over once it is loaded where it will serve
    change     the owner activates a version, puts one on trial, or takes it away
    roll_back  the candidate goes, or the version that was active before comes back
    advance    what is loaded by now takes over          (status polls and the coordinator's passes)
    watch      a candidate beyond its limits goes away   (the coordinator's passes)

Every step compares the model's revision and sets it, so any number of them may run at once.
The truth changes first, then the hot state; what dies in between is made up for by the next pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Final

import msgspec

from chalicelib.audit import Acted, Audit
from chalicelib.auth import Principal
from chalicelib.contract.errors import Conflict, DependencyFailed, InvalidRequest, NotFound
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import Counts, Guard, Heartbeat, Signature, TensorSignature
from chalicelib.coordinator.rollout import Warmth, judge, may_take_over, wanted_on
from chalicelib.ports import Store
from chalicelib.records import (
    Activation,
    Candidate,
    Model,
    TrafficChange,
    Version,
    VersionState,
    activated,
    activating,
    gone_back,
    on_trial,
    routing_record,
    split,
    without_activation,
    without_candidate,
)

_TRIES: Final = 10
_ALL: Final = 100
_PLATFORM: Final = "platform"


class ChangeTraffic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`PUT /v1/models/{id}/traffic`: 100 percent activates, 0 with nothing mirrored ends a trial."""

    version: Annotated[int, msgspec.Meta(ge=1)]
    percent: Annotated[int, msgspec.Meta(ge=0, le=_ALL)]
    mirror_percent: Annotated[int, msgspec.Meta(ge=0, le=_ALL)] = 0
    limits: Guard = Guard()


class RollBack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/models/{id}/rollback`. With the version named, repeating it changes nothing more."""

    version: Annotated[int, msgspec.Meta(ge=1)] | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """`counts` by version id; None while they cannot be read."""

    model: Model
    counts: dict[str, Counts] | None


Decide = Callable[[Model], tuple[Model, str] | None]
"""The model as it should be and why, or None when it is so already."""


class Traffic:
    """The rollout use cases."""

    def __init__(
        self,
        *,
        store: Store,
        hot: HotState,
        audit: Audit,
        now: Callable[[], datetime],
        replicas_per_model: int,
    ) -> None:
        self._store = store
        self._audit = audit
        self._hot = hot
        self._now = now
        self._replicas_per_model = replicas_per_model

    def show(self, principal: Principal, model_id: str) -> Shown:
        """The split as it is now, and what was seen of it."""
        model = self.advance(self._model(principal, model_id))
        return Shown(model, self._counts(model))

    def history(self, principal: Principal, model_id: str) -> Sequence[TrafficChange]:
        return self._store.history(principal.tenant, model_id)

    def change(self, principal: Principal, model_id: str, request: ChangeTraffic) -> Shown:
        """Raises NotFound, Conflict, InvalidRequest."""
        if request.percent == _ALL and request.mirror_percent:
            raise InvalidRequest("mirror_percent: a version that answers everybody has nothing to mirror")
        model = self._model(principal, model_id)
        version = self._servable(model, request.version)
        if request.percent == _ALL:
            decide = self._activation(version, by=principal.hint)
        elif request.percent or request.mirror_percent:
            decide = self._trial(version, request)
        else:
            decide = _end_of_trial(version)
        changed = self.advance(self._decided(principal, model_id, version, decide))
        self._prefetch(changed)
        return Shown(changed, self._counts(changed))

    def roll_back(self, principal: Principal, model_id: str, request: RollBack) -> Shown:
        """At once, loaded or not: hosts load it when it is asked for. Raises NotFound, Conflict."""
        model = self._model(principal, model_id)
        number = request.version or _to_go_back_to(model)
        version = self._servable(model, number) if number else None

        def decide(model: Model) -> tuple[Model, str] | None:
            if request.version is None and (model.candidate or model.activation):
                return without_candidate(without_activation(model)), "rolled back"
            if version is None or (request.version is None and _to_go_back_to(model) != version.number):
                raise Conflict("There is nothing to go back to. Name a version to go to.")
            if model.active_version_id == version.id:
                settled = model.candidate is None and model.activation is None
                return None if settled else (without_candidate(without_activation(model)), "rolled back")
            return gone_back(model, version), "rolled back"

        changed = self._decided(principal, model_id, version, decide)
        self._prefetch(changed)
        return Shown(changed, self._counts(changed))

    def ask(self, version: Version) -> None:
        """A version that became ready asks for the traffic. A newer one that has it or is to get it stays."""
        for _ in range(_TRIES):
            model = self._store.model(version.tenant, version.model_id)
            if model is None or _newest(model) >= version.number:
                return
            by = f"upload of version {version.number}"
            changed = activated(model, version)
            if model.active_version is not None:
                changed = activating(model, self._activation_of(version, by=by))
            if self._apply(model, changed, by=by, why="activated"):
                if changed.active_version_id == version.id:
                    self._tell("version.activate", model, version.number)
                self.advance(changed)
                return
        raise Conflict("The model's traffic changes too often at once. Try again.")

    def advance(self, model: Model) -> Model:
        """The model after its waiting version took over, if it may by now; else hosts are to load it."""
        if model.activation is None:
            return model
        version = self._store.any_version(model.activation.version_id)
        if version is None or version.state is not VersionState.READY:
            self._apply(model, without_activation(model), by=_PLATFORM, why="deleted")
            return self._store.any_model(model.id) or model
        warmth = self._warmth(model.id)
        wanted = self._wanted_on(model, warmth)
        waited = (self._now() - model.activation.since).total_seconds()
        if may_take_over(version.id, wanted, warmth, waited_seconds=waited):
            changed = activated(model, version)
            if self._apply(model, changed, by=model.activation.by, why="activated"):
                self._tell("version.activate", model, version.number)
                return changed
            return self._store.any_model(model.id) or model
        self._load(version, wanted)
        return model

    def watch(self, model: Model) -> Model:
        """The model after its candidate was taken away, if that is beyond its limits."""
        candidate = model.candidate
        if candidate is None:
            return model
        reason = self._against(model, candidate)
        if reason is None:
            return model
        changed = without_candidate(model)
        if self._apply(model, changed, by=_PLATFORM, why=f"rolled back automatically: {reason}"):
            self._tell("model.rollback", model, candidate.version)
        return self._store.any_model(model.id) or changed

    def _against(self, model: Model, candidate: Candidate) -> str | None:
        if candidate.version_id in self._hot.quarantined(model.id):
            return "it ended its process twice and is quarantined"
        seen = self._hot.rollout(model.id, candidate.trial)
        return judge(candidate.version_id, model.active_version_id or "", seen, candidate.limits)

    def _activation(self, version: Version, *, by: str) -> Decide:
        def decide(model: Model) -> tuple[Model, str] | None:
            if model.active_version_id is None:
                return activated(model, version), "activated"
            if model.active_version_id == version.id:
                settled = model.candidate is None and model.activation is None
                return None if settled else (activated(model, version), "activated")
            if model.activation is not None and model.activation.version_id == version.id:
                return None
            return activating(model, self._activation_of(version, by=by)), "activated"

        return decide

    def _trial(self, version: Version, request: ChangeTraffic) -> Decide:
        def decide(model: Model) -> tuple[Model, str] | None:
            active = self._store.any_version(model.active_version_id or "")
            _check_trial(model, active, version)
            candidate = Candidate(
                version=version.number,
                version_id=version.id,
                percent=request.percent,
                mirror_percent=request.mirror_percent,
                limits=request.limits,
                trial=model.revision + 1,
            )
            same = model.candidate and msgspec.structs.replace(model.candidate, trial=candidate.trial)
            if same == candidate and model.activation is None:
                return None
            return on_trial(model, candidate), "candidate"

        return decide

    def _activation_of(self, version: Version, *, by: str) -> Activation:
        return Activation(version=version.number, version_id=version.id, since=self._now(), by=by)

    def _decided(self, principal: Principal, model_id: str, version: Version | None, decide: Decide) -> Model:
        """The model with the decision applied to whatever it is by then."""
        for _ in range(_TRIES):
            model = self._model(principal, model_id)
            if version is not None:
                self._servable(model, version.number)
            decided = decide(model)
            if decided is None:
                return model
            changed, why = decided
            if self._apply(model, changed, by=principal.hint, why=why):
                return changed
        raise Conflict("The model's traffic changes too often at once. Try again.")

    def _apply(self, model: Model, changed: Model, *, by: str, why: str) -> bool:
        """False when somebody else was faster. The history tells of what callers can notice."""
        before, after = split(model), split(changed)
        entry = TrafficChange(at=self._now(), by=by, why=why, before=before, after=after)
        if not self._store.change_model(model, changed, entry if before != after else None):
            return False
        ids = changed.version_ids
        versions = {version.id: version for version in self._store.any_versions(ids)}
        self._hot.put_model(routing_record(changed, versions))
        return True

    def _tell(self, action: str, model: Model, number: int) -> None:
        """The audit log, of what nobody asked for at this moment."""
        name = f"{model.name} version {number}"
        self._audit.by_platform(Acted(model.tenant, action, "model", model.id, name))

    def _prefetch(self, model: Model) -> None:
        """Have hosts load what is on trial, before the coordinator's next pass does."""
        if model.candidate is not None:
            version = self._store.any_version(model.candidate.version_id)
            if version is not None:
                self._load(version, self._wanted_on(model, self._warmth(model.id)))

    def _load(self, version: Version, host_ids: Sequence[str]) -> None:
        hot = version.hot()
        if hot is not None:
            self._hot.put_version(hot)
            self._hot.assign_too(host_ids, [version.id])

    def _wanted_on(self, model: Model, warmth: Warmth) -> tuple[str, ...]:
        active_id = model.active_version_id or ""
        return wanted_on(model.id, active_id, warmth, replicas_per_model=self._replicas_per_model)

    def _warmth(self, model_id: str) -> Warmth:
        now, hosts = self._hot.hosts()
        replicas = self._hot.replicas(model_id)
        quarantined = self._hot.quarantined(model_id)
        return Warmth(now, hosts, replicas, quarantined, partial(self._assigned_to, hosts))

    def _assigned_to(self, hosts: Sequence[Heartbeat], version_id: str) -> frozenset[str]:
        assigned = self._hot.assignments(host.host_id for host in hosts)
        return frozenset(host_id for host_id, version_ids in assigned.items() if version_id in version_ids)

    def _counts(self, model: Model) -> dict[str, Counts] | None:
        if model.candidate is None:
            return {}
        try:
            return self._hot.rollout(model.id, model.candidate.trial)
        except DependencyFailed:
            return None

    def _model(self, principal: Principal, model_id: str) -> Model:
        model = self._store.model(principal.tenant, model_id)
        if model is None:
            raise NotFound("There is no such model.")
        return model

    def _servable(self, model: Model, number: int) -> Version:
        version = self._store.version(model.tenant, model.id, number)
        if version is None:
            raise NotFound(f"There is no version {number} of this model.")
        if version.state is not VersionState.READY:
            because = f": {version.reason}" if version.reason else ""
            raise Conflict(
                f"Version {number} is {version.state}{because}. Only one that is ready gets traffic."
            )
        return version


def _end_of_trial(version: Version) -> Decide:
    def decide(model: Model) -> tuple[Model, str] | None:
        if model.active_version_id == version.id:
            raise Conflict(f"Version {version.number} is the active one: activate another one instead.")
        if model.candidate is not None and model.candidate.version_id == version.id:
            return without_candidate(model), "taken away"
        if model.activation is not None and model.activation.version_id == version.id:
            return without_activation(model), "taken away"
        return None

    return decide


def _check_trial(model: Model, active: Version | None, version: Version) -> None:
    """Raises Conflict when the version cannot stand beside the active one."""
    if active is None:
        raise Conflict("There is no active version to compare with: give this one 100 percent.")
    if model.active_version_id == version.id:
        raise Conflict(f"Version {version.number} is the active one already.")
    if active.signature and version.signature and not _takes_all(version.signature, active.signature):
        raise Conflict(
            f"Version {version.number} does not take the inputs that version {active.number} takes, so "
            "callers cannot be shared between them. Give it 100 percent to activate it for all."
        )


def _takes_all(wide: Signature, narrow: Signature) -> bool:
    """Whether every request that one takes is taken by the other too."""
    inputs = {tensor.name: tensor for tensor in wide.inputs}
    return inputs.keys() == {tensor.name for tensor in narrow.inputs} and all(
        _takes(inputs[tensor.name], tensor) for tensor in narrow.inputs
    )


def _takes(wide: TensorSignature, narrow: TensorSignature) -> bool:
    return (
        wide.dtype == narrow.dtype
        and len(wide.shape) == len(narrow.shape)
        and all(size in (None, other) for size, other in zip(wide.shape, narrow.shape, strict=True))
    )


def _to_go_back_to(model: Model) -> int | None:
    return None if model.candidate or model.activation else model.previous_version


def _newest(model: Model) -> int:
    return max(model.active_version or 0, model.activation.version if model.activation else 0)
