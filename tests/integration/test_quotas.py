"""What an account may keep, over the real stores: as much as the quota, and one more is refused."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Final

import pytest

from chalicelib.accountviews import Keeps, Quota, own_account
from chalicelib.auth import Principal
from chalicelib.contract.errors import Conflict, NotFound
from chalicelib.models import Pin
from chalicelib.records import VersionState
from chalicelib.settings import AccountQuotas
from chalicelib.uploads import AnnouncedFile, BeginUpload, BegunUpload
from chalicelib.wiring import ControlPlane
from tests.support.uploads import announce, deployed, prepared, send, uploaded

MODELS, VERSIONS, BYTES, PINNED = 3, 2, 1_000, 1
MISSING: Final = "00000000-0000-4000-8000-000000000000"
SEED: Final = b"5" * 32


@pytest.fixture(autouse=True)
def small(plane: ControlPlane) -> None:
    assert plane.quotas.allowed == plane.settings.quotas
    plane.quotas.allowed = AccountQuotas(models=MODELS, model_versions=VERSIONS, bytes=BYTES, pinned=PINNED)


def begin(
    plane: ControlPlane, who: Principal, name: str, *, size: int = 1, fill: bytes = b"x"
) -> BegunUpload:
    return plane.uploads.begin(who, announce(fill * size, name=name))


def full_of_models(plane: ControlPlane, who: Principal) -> list[BegunUpload]:
    return [begin(plane, who, f"model {number}") for number in range(MODELS)]


def test_a_model_too_many_is_refused_and_leaves_nothing(
    plane: ControlPlane, alice: Principal, mallory: Principal
) -> None:
    begun = full_of_models(plane, alice)
    with pytest.raises(
        Conflict, match=r"3 models; it may have 3\. Delete one, or ask the operator"
    ) as raised:
        begin(plane, alice, "one more")
    assert not raised.value.retryable
    assert len(plane.models.list(alice, after="")) == MODELS
    begin(plane, alice, "model 0", fill=b"y")  # a version of a model that there is
    begin(plane, mallory, "one more")
    plane.deletion.delete_model(alice, begun[0].model.id)
    begin(plane, alice, "one more")


def test_a_version_too_many_is_refused_until_one_is_deleted(plane: ControlPlane, alice: Principal) -> None:
    first = deployed(plane, alice, b"1")
    deployed(plane, alice, b"2")
    with pytest.raises(Conflict, match=r"2 versions that have not failed; it may have 2\. Delete one"):
        begin(plane, alice, "digits", fill=b"3")
    begin(plane, alice, "another model")
    plane.deletion.delete_version(alice, first.model_id, first.number)
    assert begin(plane, alice, "digits", fill=b"3").version.number == 3


def test_a_version_that_failed_frees_what_it_took(plane: ControlPlane, alice: Principal) -> None:
    deployed(plane, alice, b"1" * 500)
    failing = uploaded(plane, alice, b"2" * 500)
    for name in ("digits", "another model"):
        with pytest.raises(Conflict):
            begin(plane, alice, name, size=500)
    prepared(plane, failing, reason="this is not an ONNX file")
    plane.uploads.settle()
    assert plane.models.version(alice, failing.model_id, 2).state is VersionState.FAILED
    assert plane.objects.stored(failing.object_key) is None
    begin(plane, alice, "digits", size=500)


def test_bytes_count_from_the_beginning_of_an_upload(
    plane: ControlPlane, alice: Principal, mallory: Principal
) -> None:
    begin(plane, alice, "first", size=BYTES - 1)
    with pytest.raises(Conflict, match=r"999 of the 1000 bytes that it may, and this model has 2\. Delete"):
        begin(plane, alice, "second", size=2)
    assert [model.name for model in plane.models.list(alice, after="")] == ["first"]
    begin(plane, mallory, "second", size=BYTES)
    last = begin(plane, alice, "second", size=1)
    with pytest.raises(Conflict, match="stores 1000 of the 1000"):
        begin(plane, alice, "third", size=1)
    plane.deletion.delete_model(alice, last.model.id)
    begin(plane, alice, "third", size=1)


def test_weights_beside_a_graph_count(plane: ControlPlane, alice: Principal) -> None:
    def two_files(size: int) -> BeginUpload:
        digest = hashlib.sha256(b"").hexdigest()
        return BeginUpload(name=f"of {size}", bytes=1, sha256=digest, weights=AnnouncedFile(size, digest))

    with pytest.raises(Conflict, match="this model has 1001"):
        plane.uploads.begin(alice, two_files(BYTES))
    plane.uploads.begin(alice, two_files(BYTES - 1))
    assert plane.quotas.used(alice.tenant).bytes == BYTES


def test_f55_an_upload_that_was_given_up_frees_its_bytes(plane: ControlPlane, alice: Principal) -> None:
    begin(plane, alice, "never completed", size=BYTES)
    with pytest.raises(Conflict):
        begin(plane, alice, "next")
    later = plane.uploads._now() + timedelta(hours=25)
    plane.uploads._now = lambda: later
    plane.uploads.repair()
    begin(plane, alice, "next", size=BYTES)


def test_an_upload_is_not_refused_for_its_own_sake(plane: ControlPlane, alice: Principal) -> None:
    plane.quotas.allowed = AccountQuotas(models=1, model_versions=1, bytes=5, pinned=0)
    request = announce(b"12345")
    begun = plane.uploads.begin(alice, request, seed=SEED)
    assert plane.uploads.begin(alice, request, seed=SEED).version == begun.version
    assert plane.uploads.begin(alice, request).version == begun.version, "it goes on where it was"
    send(begun, b"12345")
    plane.uploads.complete(alice, begun.model.id, 1)
    assert plane.uploads.begin(alice, request, seed=SEED).version.state is VersionState.PREPARING
    with pytest.raises(Conflict):
        plane.uploads.begin(alice, request)


def test_a_pinned_model_too_many_is_refused(
    plane: ControlPlane, alice: Principal, mallory: Principal
) -> None:
    first, second, _ = (begun.model.id for begun in full_of_models(plane, alice))
    plane.models.pin(alice, first, Pin(True))
    assert plane.models.pin(alice, first, Pin(True)).pinned, "it is one of them"
    with pytest.raises(Conflict, match=r"1 pinned models; it may have 1\. Unpin one, or ask"):
        plane.models.pin(alice, second, Pin(True))
    assert not plane.models.get(alice, second).pinned
    assert not plane.models.pin(alice, second, Pin(False)).pinned
    for foreign in (first, MISSING):
        with pytest.raises(NotFound):
            plane.models.pin(mallory, foreign, Pin(True))
    plane.models.pin(mallory, begin(plane, mallory, "own").model.id, Pin(True))
    plane.models.pin(alice, first, Pin(False))
    plane.models.pin(alice, second, Pin(True))
    plane.deletion.delete_model(alice, second)
    plane.models.pin(alice, first, Pin(True))


def test_an_account_shows_what_it_keeps(plane: ControlPlane, alice: Principal, mallory: Principal) -> None:
    version = deployed(plane, alice, b"x" * 10)
    plane.models.pin(alice, version.model_id, Pin(True))
    shown = own_account(plane.accounts.get(alice), alice, plane.quotas)
    assert shown.keeps == Keeps(Quota(1, MODELS), Quota(10, BYTES), Quota(1, PINNED))
    nothing = own_account(plane.accounts.get(mallory), mallory, plane.quotas)
    assert nothing.keeps == Keeps(Quota(0, MODELS), Quota(0, BYTES), Quota(0, PINNED))
