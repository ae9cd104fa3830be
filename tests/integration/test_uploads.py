"""From announced bytes to a version that serves, over the real stores."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.auth import Principal
from chalicelib.contract.errors import Conflict, InvalidModel, InvalidRequest, NotFound
from chalicelib.contract.messages import ModelRecord, PrepareResult, PrepareStage
from chalicelib.keys import NewKey
from chalicelib.records import Version, VersionState
from chalicelib.uploads import BeginUpload
from chalicelib.wiring import ControlPlane
from tests.support.uploads import PASSPORT, SIGNATURE, announce, deployed, prepared, send, uploaded

DATA = b"model bytes" * 100


def routed(plane: ControlPlane, version: Version) -> ModelRecord | None:
    return plane.hot.model(version.model_id)


def test_an_upload_becomes_ready_and_takes_the_traffic(plane: ControlPlane, alice: Principal) -> None:
    version = uploaded(plane, alice, DATA)
    assert version.state is VersionState.PREPARING
    assert plane.uploads.status(alice, version.model_id, 1).stage is PrepareStage.QUEUED
    assert routed(plane, version) is None
    prepared(plane, version)
    assert plane.uploads.settle() == 1
    ready = plane.models.version(alice, version.model_id, 1)
    assert ready.state is VersionState.READY
    assert plane.models.get(alice, version.model_id).active_version == 1
    record = routed(plane, version)
    assert record
    assert record.active == ready.hot()
    assert plane.hot.version(version.id) == ready.hot()


def test_the_same_name_again_is_the_next_version_of_the_same_model(
    plane: ControlPlane, alice: Principal
) -> None:
    first = deployed(plane, alice, DATA)
    second = deployed(plane, alice, DATA + b"2")
    assert (second.model_id, second.number) == (first.model_id, 2)
    assert plane.models.get(alice, first.model_id).active_version == 2
    assert routed(plane, first) == routed(plane, second)


def test_f60_a_failed_version_leaves_the_old_one_serving(plane: ControlPlane, alice: Principal) -> None:
    first = deployed(plane, alice, DATA)
    second = uploaded(plane, alice, b"not a model")
    prepared(plane, second, reason="this is not an ONNX file")
    plane.uploads.settle()
    failed = plane.models.version(alice, second.model_id, 2)
    assert (failed.state, failed.reason) == (VersionState.FAILED, "this is not an ONNX file")
    assert plane.models.get(alice, first.model_id).active_version == 1


def test_an_older_version_that_is_ready_late_does_not_take_over(
    plane: ControlPlane, alice: Principal
) -> None:
    first = uploaded(plane, alice, DATA)
    second = uploaded(plane, alice, DATA + b"2")
    jobs = {
        claimed.job.number: claimed for _ in range(2) if (claimed := plane.hot.take_job("h", wait_ms=100))
    }
    from chalicelib.contract.messages import PrepareResult

    for version in (second, first):
        result = PrepareResult(version.id, "h", signature=SIGNATURE, passport=PASSPORT)
        plane.hot.finish_job(jobs[version.number].entry_id, result)
        plane.uploads.settle()
    assert plane.models.get(alice, first.model_id).active_version == 2


def test_f55_an_upload_never_completed_is_given_up(plane: ControlPlane, alice: Principal) -> None:
    begun = plane.uploads.begin(alice, announce(DATA))
    send(begun, DATA)
    plane.uploads.repair()
    assert plane.models.version(alice, begun.model.id, 1).state is VersionState.UPLOADING
    later = plane.uploads._now() + timedelta(hours=25)
    plane.uploads._now = lambda: later
    plane.uploads.repair()
    given_up = plane.models.version(alice, begun.model.id, 1)
    assert given_up.state is VersionState.FAILED
    assert plane.objects.stored(begun.version.staging_key) is None


def test_f56_completing_fifty_times_at_once_has_one_effect(plane: ControlPlane, alice: Principal) -> None:
    begun = plane.uploads.begin(alice, announce(DATA))
    send(begun, DATA)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: plane.uploads.complete(alice, begun.model.id, 1), range(50)))
    assert {answer.state for answer in answers} == {VersionState.PREPARING}
    assert plane.hot.take_job("h", wait_ms=100) is not None
    assert plane.hot.take_job("h", wait_ms=100) is None


def test_f57_completing_before_the_bytes_arrived_is_a_conflict(plane: ControlPlane, alice: Principal) -> None:
    begun = plane.uploads.begin(alice, announce(DATA))
    with pytest.raises(Conflict):
        plane.uploads.complete(alice, begun.model.id, 1)
    assert plane.models.version(alice, begun.model.id, 1).state is VersionState.UPLOADING
    send(begun, DATA)
    assert plane.uploads.complete(alice, begun.model.id, 1).state is VersionState.PREPARING


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        pytest.param(DATA[:-1], "bytes", id="wrong size"),
        pytest.param(b"X" + DATA[1:], "SHA-256", id="wrong hash"),
    ],
)
def test_f57_other_bytes_than_announced_are_refused(
    plane: ControlPlane, alice: Principal, stored: bytes, says: str
) -> None:
    begun = plane.uploads.begin(alice, announce(DATA))
    plane.objects._client.put_object(
        Bucket=plane.objects._bucket,
        Key=begun.version.staging_key,
        Body=stored,
        ChecksumAlgorithm="SHA256",
    )
    with pytest.raises(InvalidModel, match=says):
        plane.uploads.complete(alice, begun.model.id, 1)
    assert plane.models.version(alice, begun.model.id, 1).state is VersionState.UPLOADING


def test_a_call_that_died_after_the_copy_is_taken_up_again(plane: ControlPlane, alice: Principal) -> None:
    begun = plane.uploads.begin(alice, announce(DATA))
    send(begun, DATA)
    plane.uploads._arrivals.keep(begun.version)
    assert plane.uploads.complete(alice, begun.model.id, 1).state is VersionState.PREPARING


def test_a_lost_job_and_a_lost_result_are_asked_for_again(
    plane: ControlPlane, alice: Principal, raw_redis: Any
) -> None:
    version = uploaded(plane, alice, DATA)
    raw_redis.flushall()
    plane.reconciler.tick()
    prepared(plane, version)
    raw_redis.flushall()
    plane.reconciler.tick()
    prepared(plane, version)
    plane.reconciler.tick()
    assert plane.models.version(alice, version.model_id, 1).state is VersionState.READY


def test_a_host_that_could_not_reach_the_store_does_not_fail_the_version(
    plane: ControlPlane, alice: Principal
) -> None:
    version = uploaded(plane, alice, DATA)
    claimed = plane.hot.take_job("h", wait_ms=100)
    assert claimed
    plane.hot.finish_job(claimed.entry_id, PrepareResult(version.id, "h", reason="away", retry=True))
    plane.reconciler.tick()
    assert plane.models.version(alice, version.model_id, 1).state is VersionState.PREPARING
    prepared(plane, version)
    plane.reconciler.tick()
    assert plane.models.version(alice, version.model_id, 1).state is VersionState.READY


def test_f15_truth_ahead_of_the_hot_state_is_caught_up_with(
    plane: ControlPlane, alice: Principal, raw_redis: Any
) -> None:
    version = deployed(plane, alice, DATA)
    issued = plane.keys.create(alice, NewKey(model_id=version.model_id))
    raw_redis.flushall()
    plane.reconciler.tick()
    [view] = plane.hot.credentials([(issued.token.sha256, version.model_id)])
    assert view.token == issued.token.hot()
    assert view.model
    assert view.model.active == version.hot()
    assert plane.hot.version(version.id) == version.hot()


def test_another_tenants_upload_looks_like_a_missing_one(
    plane: ControlPlane, alice: Principal, mallory: Principal
) -> None:
    version = deployed(plane, alice, DATA)
    missing = "00000000-0000-4000-8000-000000000000"
    for model_id in (version.model_id, missing):
        for call in (
            lambda model_id=model_id: plane.uploads.complete(mallory, model_id, 1),
            lambda model_id=model_id: plane.models.get(mallory, model_id),
            lambda model_id=model_id: plane.models.version(mallory, model_id, 1),
            lambda model_id=model_id: plane.models.versions(mallory, model_id, after=0),
            lambda model_id=model_id: plane.keys.create(mallory, NewKey(model_id=model_id)),
        ):
            with pytest.raises(NotFound) as raised:
                call()
            assert model_id not in raised.value.message
    assert plane.models.list(mallory, after="") == ()


@pytest.mark.parametrize(
    ("announced", "error", "says"),
    [
        (BeginUpload(name="", bytes=1, sha256="0" * 64), InvalidRequest, "name"),
        (BeginUpload(name="../x", bytes=1, sha256="0" * 64), InvalidRequest, "name"),
        (BeginUpload(name="x" * 101, bytes=1, sha256="0" * 64), InvalidRequest, "name"),
        (BeginUpload(name="a\n", bytes=1, sha256="0" * 64), InvalidRequest, "name"),
        (BeginUpload(name="a", bytes=0, sha256="0" * 64), InvalidModel, "bytes"),
        (BeginUpload(name="a", bytes=2**31 + 1, sha256="0" * 64), InvalidModel, "bytes"),
        (BeginUpload(name="a", bytes=1, sha256="0" * 63), InvalidRequest, "sha256"),
        (BeginUpload(name="a", bytes=1, sha256="A" * 64), InvalidRequest, "sha256"),
        (BeginUpload(name="a", bytes=1, sha256="0" * 64, framework="x" * 101), InvalidRequest, "framework"),
    ],
)
def test_a_bad_announcement_says_which_field(
    plane: ControlPlane, alice: Principal, announced: BeginUpload, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        plane.uploads.begin(alice, announced)
    assert plane.models.list(alice, after="") == ()
