"""Where a model's traffic goes, over the real stores; the hosts are played."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from chalicelib import views
from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import Conflict, InvalidRequest, NotFound
from chalicelib.contract.messages import Counts, Guard, ModelRecord, PrepareResult, PrepareStage, Replica
from chalicelib.contract.messages import ReplicaState as State
from chalicelib.records import Model, Version, VersionState
from chalicelib.traffic import ChangeTraffic, RollBack
from chalicelib.uploads import BeginUpload
from chalicelib.wiring import ControlPlane
from tests.support.uploads import PASSPORT, SIGNATURE, announce, deployed, prepared, send, uploaded
from tests.unit.test_choice import host

DATA = b"model bytes" * 100
QUICK = Guard(requests_min=10)


def waiting(plane: ControlPlane, who: Principal, data: bytes, *, name: str = "digits") -> Version:
    """A version that is ready and was told not to take over."""
    announced = msgspec.structs.replace(announce(data, name=name), activate=False)
    begun = plane.uploads.begin(who, announced)
    send(begun, data)
    version = plane.uploads.complete(who, begun.model.id, begun.version.number)
    prepared(plane, version)
    plane.uploads.settle()
    return plane.models.version(who, version.model_id, version.number)


def warm(plane: ControlPlane, version: Version, *host_ids: str) -> None:
    for host_id in host_ids:
        plane.hot.beat(host(host_id))
        replica = Replica(host_id, f"boot-{host_id}", State.READY)
        plane.hot.put_replica(version.model_id, version.id, replica)


def routed(plane: ControlPlane, model_id: str) -> ModelRecord:
    record = plane.hot.model(model_id)
    assert record is not None
    return record


class Trial:
    """A model with an active version 1 on two hosts, and version 2 ready."""

    def __init__(self, plane: ControlPlane, owner: Principal) -> None:
        self.plane, self.owner = plane, owner
        self.first = deployed(plane, owner, DATA)
        warm(plane, self.first, "a", "b")
        self.second = waiting(plane, owner, DATA + b"2")
        self.model_id = self.first.model_id

    @property
    def model(self) -> Model:
        return self.plane.models.get(self.owner, self.model_id)

    def candidate(self) -> int | None:
        return self.model.candidate.version if self.model.candidate else None

    @property
    def why(self) -> list[str]:
        return [entry.why for entry in self.plane.traffic.history(self.owner, self.model_id)]

    def put(self, version: int, percent: int, **more: Any) -> Model:
        request = ChangeTraffic(version=version, percent=percent, **more)
        return self.plane.traffic.change(self.owner, self.model_id, request).model

    def roll_back(self, version: int | None = None) -> Model:
        return self.plane.traffic.roll_back(self.owner, self.model_id, RollBack(version)).model

    def see(self, **counts: Counts) -> None:
        assert self.model.candidate
        ids = {"first": self.first.id, "second": self.second.id}
        seen = {ids[name]: one for name, one in counts.items()}
        self.plane.hot.count_rollout(self.model_id, self.model.candidate.trial, seen)


@pytest.fixture
def trial(plane: ControlPlane, alice: Principal) -> Trial:
    return Trial(plane, alice)


def test_an_upload_may_wait_for_its_owner(trial: Trial) -> None:
    status = trial.plane.uploads.status(trial.owner, trial.model_id, 2)
    assert (status.version.state, status.stage) == (VersionState.READY, None)
    assert not status.version.becomes_active(status.model)
    assert trial.model.active_version == 1


def test_a_lost_job_of_an_upload_that_waits_is_asked_for_again(
    plane: ControlPlane, alice: Principal, raw_redis: Any
) -> None:
    announced = msgspec.structs.replace(announce(DATA), activate=False)
    begun = plane.uploads.begin(alice, announced)
    send(begun, DATA)
    version = plane.uploads.complete(alice, begun.model.id, 1)
    raw_redis.flushall()
    plane.reconciler.tick()
    prepared(plane, version)


def test_the_first_version_answers_at_once(plane: ControlPlane, alice: Principal) -> None:
    plane.hot.beat(host("a"))
    assert plane.models.get(alice, deployed(plane, alice, DATA).model_id).active_version == 1


def test_f59_a_new_version_takes_over_when_it_is_ready_where_the_old_one_is(
    plane: ControlPlane, alice: Principal
) -> None:
    first = deployed(plane, alice, DATA)
    warm(plane, first, "a", "b")
    second = deployed(plane, alice, DATA + b"2")
    status = plane.uploads.status(alice, first.model_id, 2)
    assert (status.version.state, status.stage) == (VersionState.READY, PrepareStage.WARMING)
    assert (status.model.active_version, status.version.becomes_active(status.model)) == (1, True)
    assert [plane.hot.beat(host(name)).assignments for name in "ab"] == [frozenset({second.id})] * 2
    assert plane.hot.version(second.id) == second.hot()
    plane.reconciler.tick()
    assert [plane.hot.beat(host(name)).assignments for name in "ab"] == [frozenset({first.id, second.id})] * 2
    warm(plane, second, "a")
    assert plane.uploads.status(alice, first.model_id, 2).model.active_version == 1
    warm(plane, second, "b")
    status = plane.uploads.status(alice, first.model_id, 2)
    assert (status.model.active_version, status.model.previous_version, status.stage) == (2, 1, None)
    assert routed(plane, first.model_id).active == second.hot()


def test_the_coordinator_alone_activates_what_is_warm(plane: ControlPlane, alice: Principal) -> None:
    first = deployed(plane, alice, DATA)
    warm(plane, first, "a")
    second = deployed(plane, alice, DATA + b"2")
    warm(plane, second, "a")
    plane.reconciler.tick()
    assert routed(plane, first.model_id).active == second.hot()


def test_in_time_one_warm_host_is_enough(plane: ControlPlane, alice: Principal) -> None:
    first = deployed(plane, alice, DATA)
    warm(plane, first, "a", "b")
    warm(plane, deployed(plane, alice, DATA + b"2"), "a")
    assert plane.uploads.status(alice, first.model_id, 2).model.active_version == 1
    later = plane.traffic._now() + timedelta(seconds=limits.ROLLOUT_WARM_SECONDS_MAX)
    plane.traffic._now = lambda: later
    assert plane.uploads.status(alice, first.model_id, 2).model.active_version == 2


def test_of_two_new_versions_the_newer_takes_over(plane: ControlPlane, alice: Principal) -> None:
    first = deployed(plane, alice, DATA)
    warm(plane, first, "a")
    versions = [uploaded(plane, alice, DATA + tail) for tail in (b"2", b"3")]
    jobs = {claimed.job.number: claimed for _ in "23" if (claimed := plane.hot.take_job("h", wait_ms=100))}
    for version in reversed(versions):
        result = PrepareResult(version.id, "h", signature=SIGNATURE, passport=PASSPORT)
        plane.hot.finish_job(jobs[version.number].entry_id, result)
        plane.uploads.settle()
    for version in versions:
        warm(plane, version, "a")
    plane.reconciler.tick()
    plane.reconciler.tick()
    assert plane.models.get(alice, first.model_id).active_version == 3


def test_many_at_once_activate_once(trial: Trial) -> None:
    trial.put(2, 100)
    warm(trial.plane, trial.second, "a", "b")
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: trial.plane.traffic.advance(trial.model).active_version, range(16)))
    assert set(seen) == {2}
    assert trial.why == ["activated", "activated"]


def test_a_candidate_is_routed_recorded_and_loaded(trial: Trial) -> None:
    model = trial.put(2, 10, mirror_percent=5, limits=QUICK)
    assert model.candidate
    assert (model.active_version, model.candidate.version, model.candidate.percent) == (1, 2, 10)
    record = routed(trial.plane, trial.model_id)
    assert record.candidate
    assert record.candidate.version == trial.second.hot()
    assert (record.candidate.percent, record.candidate.mirror_percent) == (10, 5)
    assert record.candidate.trial == model.candidate.trial
    assert trial.second.id in (trial.plane.hot.beat(host("a")).assignments or ())
    trial.plane.reconciler.tick()
    assert frozenset({trial.first.id, trial.second.id}) == trial.plane.hot.beat(host("a")).assignments
    [*_, entry] = trial.plane.traffic.history(trial.owner, trial.model_id)
    assert (entry.by, entry.why) == (trial.owner.hint, "candidate")
    assert (entry.before.candidate, entry.after.candidate, entry.after.percent) == (None, 2, 10)


def test_the_same_split_again_is_the_same_trial_and_another_is_a_new_one(trial: Trial) -> None:
    first = trial.put(2, 10)
    trial.see(second=Counts(requests=5))
    assert trial.put(2, 10) == first
    trial.put(2, 20)
    assert trial.plane.traffic.show(trial.owner, trial.model_id).counts == {}


def test_a_candidate_that_is_promoted_takes_over_when_it_is_warm_and_answers_its_share_until_then(
    trial: Trial,
) -> None:
    trial.put(2, 50)
    promoted = trial.put(2, 100)
    assert promoted.candidate and promoted.activation
    assert trial.put(2, 100) == promoted
    warm(trial.plane, trial.second, "a", "b")
    model = trial.plane.traffic.show(trial.owner, trial.model_id).model
    assert (model.active_version, model.previous_version, model.candidate) == (2, 1, None)
    assert routed(trial.plane, trial.model_id).candidate is None


def test_a_candidate_can_be_taken_away(trial: Trial) -> None:
    trial.put(2, 50)
    assert trial.put(2, 0).candidate is None
    revision = trial.model.revision
    assert trial.put(2, 0).revision == revision
    assert routed(trial.plane, trial.model_id).candidate is None


def test_rolling_back_takes_the_candidate_away_first_and_then_the_version_before(trial: Trial) -> None:
    warm(trial.plane, trial.second, "a", "b")
    trial.put(2, 100)
    third = waiting(trial.plane, trial.owner, DATA + b"3")
    trial.put(third.number, 10)
    model = trial.roll_back()
    assert (model.active_version, model.candidate) == (2, None)
    model = trial.roll_back()
    assert (model.active_version, model.previous_version) == (1, None)
    assert routed(trial.plane, trial.model_id).active == trial.first.hot()
    with pytest.raises(Conflict, match="nothing to go back to"):
        trial.roll_back()
    assert trial.why == ["activated", "activated", "candidate", "rolled back", "rolled back"]


def test_rolling_back_to_a_named_version_may_be_repeated(trial: Trial) -> None:
    warm(trial.plane, trial.second, "a", "b")
    trial.put(2, 100)
    assert [trial.roll_back(1).active_version for _ in range(3)] == [1, 1, 1]
    trial.put(2, 10)
    assert [trial.roll_back(1).candidate for _ in range(2)] == [None, None]


def test_rolling_back_stops_a_version_on_its_way(trial: Trial) -> None:
    assert trial.put(2, 100).activation
    assert trial.roll_back().activation is None
    warm(trial.plane, trial.second, "a", "b")
    trial.plane.reconciler.tick()
    assert trial.model.active_version == 1


def test_an_upload_that_takes_over_ends_the_trial(trial: Trial) -> None:
    trial.put(2, 10)
    third = deployed(trial.plane, trial.owner, DATA + b"3")
    assert trial.candidate() == 2
    warm(trial.plane, third, "a", "b")
    trial.plane.reconciler.tick()
    assert (trial.model.active_version, trial.candidate()) == (3, None)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        pytest.param(Counts(80, 10), "errors 12.5 % of 80 requests, limit 2 %", id="errors"),
        pytest.param(
            Counts(80, 0, 8_000_000, row_us=8_000_000),
            "a run takes 100 ms, the active version's 1 ms",
            id="latency",
        ),
        pytest.param(Counts(80, 0, 0, 40, 30), "75 % of 40 compared answers differ", id="drift"),
    ],
)
def test_a_candidate_beyond_its_limits_is_rolled_back_by_the_coordinator(
    trial: Trial, counts: Counts, reason: str
) -> None:
    trial.put(2, 10, mirror_percent=5, limits=QUICK)
    trial.plane.reconciler.tick()
    assert trial.candidate() == 2
    trial.see(first=Counts(100, 0, 100_000, row_us=100_000), second=counts)
    trial.plane.reconciler.tick()
    assert (trial.model.active_version, trial.candidate()) == (1, None)
    assert routed(trial.plane, trial.model_id).candidate is None
    [*_, entry] = trial.plane.traffic.history(trial.owner, trial.model_id)
    assert (entry.by, entry.after.candidate) == ("platform", None)
    assert entry.why.startswith(f"rolled back automatically: {reason}")


def test_what_was_compared_is_told_once_and_of_the_candidate(trial: Trial) -> None:
    """Hosts count it under both: a ticket does not say which one is the candidate."""
    trial.put(2, 10, mirror_percent=5)
    seen = Counts(requests=9, run_us=900, mirrored=4, differing=1)
    trial.see(first=seen, second=seen)
    told = views.traffic(trial.plane.traffic.show(trial.owner, trial.model_id)).candidate
    assert told is not None
    assert told.counts == views.CandidateCounts(seen, Counts(requests=9, run_us=900))


def test_a_quarantined_candidate_is_rolled_back(trial: Trial) -> None:
    trial.put(2, 10)
    trial.plane.hot.quarantine(trial.model_id, trial.second.id, seconds=60)
    trial.plane.reconciler.tick()
    assert trial.model.candidate is None
    assert "quarantined" in trial.why[-1]


def test_a_flushed_hot_state_is_told_the_split_again(trial: Trial, raw_redis: Any) -> None:
    trial.put(2, 10)
    before = routed(trial.plane, trial.model_id)
    raw_redis.flushall()
    trial.plane.reconciler.tick()
    assert routed(trial.plane, trial.model_id) == before
    assert trial.plane.hot.version(trial.second.id) == trial.second.hot()


@pytest.mark.parametrize(
    ("request_", "error", "says"),
    [
        (ChangeTraffic(version=9, percent=10), NotFound, "no version 9"),
        (ChangeTraffic(version=1, percent=10), Conflict, "the active one"),
        (ChangeTraffic(version=1, percent=0), Conflict, "the active one"),
        (ChangeTraffic(version=3, percent=10), Conflict, "Version 3 is failed: no good"),
        (ChangeTraffic(version=4, percent=100), Conflict, "Version 4 is uploading"),
        (ChangeTraffic(version=2, percent=100, mirror_percent=1), InvalidRequest, "mirror_percent"),
    ],
)
def test_what_cannot_get_traffic_says_why(
    trial: Trial, request_: ChangeTraffic, error: type[Exception], says: str
) -> None:
    failed = uploaded(trial.plane, trial.owner, DATA + b"3")
    prepared(trial.plane, failed, reason="no good")
    trial.plane.uploads.settle()
    trial.plane.uploads.begin(trial.owner, announce(DATA + b"4"))
    before = trial.model
    with pytest.raises(error, match=says):
        trial.plane.traffic.change(trial.owner, trial.model_id, request_)
    assert trial.model == before


def test_versions_of_other_inputs_do_not_share_callers(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    [tensor] = SIGNATURE.inputs
    wider = msgspec.structs.replace(tensor, shape=(None, 5))
    other = msgspec.structs.replace(SIGNATURE, inputs=(wider,))
    monkeypatch.setattr("tests.support.uploads.SIGNATURE", other)
    third = waiting(trial.plane, trial.owner, DATA + b"3")
    with pytest.raises(Conflict, match="does not take the inputs"):
        trial.put(third.number, 10)
    warm(trial.plane, third, "a", "b")
    assert trial.put(third.number, 100).active_version == third.number


def test_without_an_active_version_there_is_no_trial(plane: ControlPlane, alice: Principal) -> None:
    version = waiting(plane, alice, DATA)
    with pytest.raises(Conflict, match="no active version"):
        plane.traffic.change(alice, version.model_id, ChangeTraffic(version=1, percent=10))
    changed = plane.traffic.change(alice, version.model_id, ChangeTraffic(version=1, percent=100))
    assert changed.model.active_version == 1


def test_another_tenants_traffic_looks_like_a_missing_one(trial: Trial, mallory: Principal) -> None:
    traffic, model_id = trial.plane.traffic, trial.model_id
    for call in (
        lambda: traffic.show(mallory, model_id),
        lambda: traffic.change(mallory, model_id, ChangeTraffic(version=2, percent=10)),
        lambda: traffic.roll_back(mallory, model_id, RollBack()),
        lambda: trial.plane.deletion.delete_model(mallory, model_id),
        lambda: trial.plane.deletion.delete_version(mallory, model_id, 2),
        lambda: trial.plane.uploads.status(mallory, model_id, 2),
    ):
        with pytest.raises(NotFound):
            call()
    assert traffic.history(mallory, model_id) == ()
    assert trial.model.active_version == 1


def test_an_announcement_may_say_that_it_waits() -> None:
    assert BeginUpload(name="a", bytes=1, sha256="0" * 64).activate
