"""What the object store must do, whatever S3 it is given."""

from __future__ import annotations

import hashlib
import time
import uuid
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from chalicelib.adapters.s3 import S3Objects
from chalicelib.contract import limits
from chalicelib.contract.errors import Conflict, DependencyFailed
from chalicelib.ports import StoredPart, UploadPart
from infra.local.embedded import EmbeddedServers
from tests.support.localstack import is_emulator
from tests.support.waiting import wait_for

DATA = b"the bytes of a model" * 1_000
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def objects(servers: EmbeddedServers, monkeypatch: pytest.MonkeyPatch) -> S3Objects:
    access = servers.connections.s3
    for name, value in access.environment().items():
        monkeypatch.setenv(name, value)
    return S3Objects(access.bucket, endpoint_url=access.endpoint_url)


@pytest.fixture
def key() -> str:
    return f"staging/{uuid.uuid4()}"


def put(part: UploadPart, data: bytes, **changed: str) -> httpx.Response:
    headers = {name: value for name, value in part.headers.items() if name != "Content-Length"}
    return httpx.put(part.url, content=data, headers={**headers, **changed})


def test_exactly_the_announced_bytes_can_be_stored(objects: S3Objects, key: str) -> None:
    [part] = objects.presign_upload(key, size=len(DATA), sha256=SHA256)
    assert objects.stored(key) is None
    assert httpx.put(part.url, content=DATA, headers=part.headers).status_code == 200
    stored = objects.stored(key)
    assert stored
    assert (stored.bytes, stored.sha256) == (len(DATA), SHA256)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"X" + DATA[1:], id="one byte differs"),
        pytest.param(DATA[:-1], id="cut off"),
        pytest.param(DATA + b"X", id="run on"),
        pytest.param(b"", id="empty"),
    ],
)
def test_other_bytes_are_refused_by_the_store_itself(objects: S3Objects, key: str, data: bytes) -> None:
    [part] = objects.presign_upload(key, size=len(DATA), sha256=SHA256)
    assert put(part, data).status_code >= 400
    assert objects.stored(key) is None


def test_another_hash_cannot_be_slipped_in(objects: S3Objects, key: str) -> None:
    import base64

    [part] = objects.presign_upload(key, size=len(DATA), sha256=SHA256)
    other = b"Y" * len(DATA)
    checksum = base64.b64encode(hashlib.sha256(other).digest()).decode()
    reply = put(part, other, **{"x-amz-checksum-sha256": checksum})
    assert reply.status_code == 403
    assert objects.stored(key) is None


def test_the_grant_is_for_this_key_and_method_only(objects: S3Objects, key: str) -> None:
    [part] = objects.presign_upload(key, size=len(DATA), sha256=SHA256)
    elsewhere = part.url.replace(key, f"staging/{uuid.uuid4()}")
    assert httpx.put(elsewhere, content=DATA, headers=part.headers).status_code == 403
    assert httpx.get(part.url).status_code == 403


def test_without_a_grant_nothing_is_stored(servers: EmbeddedServers, objects: S3Objects, key: str) -> None:
    if is_emulator(servers.connections.s3.endpoint_url or ""):
        pytest.skip("emulators of AWS let anybody in")
    [part] = objects.presign_upload(key, size=len(DATA), sha256=SHA256)
    assert httpx.put(part.url.partition("?")[0], content=DATA).status_code == 403
    assert objects.stored(key) is None


def test_a_checked_upload_is_kept_as_it_was_checked(objects: S3Objects, key: str) -> None:
    [part] = objects.presign_upload(key, size=len(DATA), sha256=SHA256)
    put(part, DATA)
    checked = objects.stored(key)
    assert checked
    kept = f"models/{uuid.uuid4()}"
    objects.keep(checked, kept)
    objects.delete(key)
    objects.delete(key)
    again = objects.stored(kept)
    assert again
    assert (again.bytes, objects.stored(key)) == (len(DATA), None)


def test_an_upload_that_changed_after_the_check_is_not_kept(objects: S3Objects, key: str) -> None:
    [part] = objects.presign_upload(key, size=len(DATA), sha256=SHA256)
    put(part, DATA)
    checked = objects.stored(key)
    assert checked
    other = b"Z" * len(DATA)
    [second] = objects.presign_upload(key, size=len(other), sha256=hashlib.sha256(other).hexdigest())
    assert put(second, other).status_code == 200
    kept = f"models/{uuid.uuid4()}"
    with pytest.raises(Conflict):
        objects.keep(checked, kept)
    assert objects.stored(kept) is None


@pytest.mark.usefixtures("objects")
def test_f18_a_store_that_is_away_is_a_retryable_error() -> None:
    away = S3Objects("bucket", endpoint_url="http://127.0.0.1:9")
    with pytest.raises(DependencyFailed) as raised:
        away.stored("key")
    assert raised.value.retryable
    assert "bucket" not in raised.value.message


def test_everything_under_a_prefix_goes_and_nothing_beside_it(objects: S3Objects) -> None:
    folder = f"models/{uuid.uuid4()}"
    keys = [f"{folder}/v1/a.onnx", f"{folder}/v1/deep/report.json", f"{folder}/v10/a.onnx"]
    for one in keys:
        objects._client.put_object(Bucket=objects._bucket, Key=one, Body=DATA)
    objects.delete_under(f"{folder}/v1/")
    objects.delete_under(f"{folder}/v1/")
    assert [objects.stored(one) is not None for one in keys] == [False, False, True]


PART = limits.UPLOAD_PART_BYTES_MIN


def put_part(objects: S3Objects, key: str, upload_id: str, number: int, data: bytes) -> int:
    part = objects.presign_part(key, upload_id, number=number, size=len(data))
    return httpx.put(part.url, content=data, headers=part.headers).status_code


def test_parts_in_any_order_become_one_object(objects: S3Objects, key: str) -> None:
    upload_id = objects.begin_parts(key)
    assert objects.parts(key, upload_id) == ()
    for number, data in ((2, DATA), (1, b"a" * PART)):
        assert put_part(objects, key, upload_id, number, data) == 200
    arrived = objects.parts(key, upload_id)
    assert arrived
    assert [(part.number, part.bytes) for part in arrived] == [(1, PART), (2, len(DATA))]
    assert objects.stored(key) is None
    objects.join_parts(key, upload_id, arrived)
    objects.join_parts(key, upload_id, arrived)
    body = objects._client.get_object(Bucket=objects._bucket, Key=key)["Body"].read()
    assert body == b"a" * PART + DATA
    assert objects.parts(key, upload_id) is None


def test_the_last_of_two_parts_of_a_number_counts(objects: S3Objects, key: str) -> None:
    upload_id = objects.begin_parts(key)
    put_part(objects, key, upload_id, 1, b"X" * len(DATA))
    time.sleep(1.1)  # the store tells seconds
    put_part(objects, key, upload_id, 1, DATA)
    arrived = objects.parts(key, upload_id)
    assert arrived
    assert len(arrived) == 1
    objects.join_parts(key, upload_id, arrived)
    assert objects._client.get_object(Bucket=objects._bucket, Key=key)["Body"].read() == DATA


def test_a_part_of_another_length_or_number_is_refused(objects: S3Objects, key: str) -> None:
    upload_id = objects.begin_parts(key)
    part = objects.presign_part(key, upload_id, number=1, size=len(DATA))
    assert put(part, DATA[:-1]).status_code >= 400
    assert put(part, DATA + b"X").status_code >= 400
    other = part.url.replace("partNumber=1", "partNumber=2")
    assert other != part.url
    assert httpx.put(other, content=DATA, headers=part.headers).status_code == 403
    assert objects.parts(key, upload_id) == ()


def test_parts_that_are_not_there_cannot_be_joined(objects: S3Objects, key: str) -> None:
    upload_id = objects.begin_parts(key)
    with pytest.raises(Conflict):
        objects.join_parts(key, upload_id, [StoredPart(1, len(DATA), '"00000000000000000000000000000000"')])
    objects.abort_parts(key, upload_id)
    objects.abort_parts(key, upload_id)
    with pytest.raises(Conflict):
        objects.join_parts(key, upload_id, [StoredPart(1, len(DATA), '"0"')])
    assert put_part(objects, key, upload_id, 1, DATA) == 404
    assert objects.stored(key) is None


def test_what_is_still_arriving_goes_with_its_prefix(objects: S3Objects) -> None:
    folder = f"models/{uuid.uuid4()}"
    inside, beside = f"{folder}/v1/weights", f"{folder}/v10/weights"
    ids = {key: objects.begin_parts(key) for key in (inside, beside)}
    put_part(objects, inside, ids[inside], 1, DATA)
    objects.delete_under(f"{folder}/v1/")
    assert objects.parts(inside, ids[inside]) is None
    assert objects.parts(beside, ids[beside]) == ()


# Inputs and answers on their way.


def test_a_payload_is_stored_in_its_announced_size_only(objects: S3Objects) -> None:
    key = f"payloads/t/{uuid.uuid4().hex}"
    grant = objects.presign_put(key, size=len(DATA), seconds=60)
    for other in (DATA[:-1], DATA + b"X", b""):
        assert put(grant, other).status_code == 403
    assert objects.get(key) is None
    assert httpx.put(grant.url, content=DATA, headers=grant.headers).status_code == 200
    assert objects.get(key) == DATA
    assert httpx.get(grant.url).status_code == 403
    assert httpx.get(objects.presign_get(key, seconds=60)).content == DATA
    assert httpx.put(objects.presign_get(key, seconds=60), content=b"").status_code == 403


def test_a_grant_ends(objects: S3Objects) -> None:
    key = f"payloads/t/{uuid.uuid4().hex}"
    late = objects.presign_put_any(key, seconds=1)
    wait_for(lambda: httpx.put(late, content=DATA).status_code == 403, what="the grant to end")


def test_only_what_is_older_goes(objects: S3Objects) -> None:
    folder = f"payloads/{uuid.uuid4().hex}/"
    for name in ("a", "b", "c"):
        objects.put(folder + name, DATA)
    now = datetime.now(UTC)
    assert objects.delete_older(folder, than=now - timedelta(minutes=1), limit=100) == 0
    later = now + timedelta(minutes=1)
    assert objects.delete_older(folder, than=later, limit=2) == 2
    assert [objects.get(folder + name) is None for name in ("a", "b", "c")] == [True, True, False]
    assert objects.delete_older(folder, than=later, limit=100) == 1


def test_the_store_may_be_asked_to_delete_what_is_old_beside_its_other_rules(objects: S3Objects) -> None:
    other = {"ID": "other", "Filter": {"Prefix": "logs/"}, "Status": "Enabled", "Expiration": {"Days": 9}}
    configuration = {"LifecycleConfiguration": {"Rules": [other]}}
    objects._client.put_bucket_lifecycle_configuration(Bucket=objects._bucket, **configuration)
    assert objects.expire("payloads/", days=1)
    assert objects.expire("payloads/", days=1)
    rules = objects._client.get_bucket_lifecycle_configuration(Bucket=objects._bucket)["Rules"]
    found = {rule["Filter"]["Prefix"]: rule["Expiration"]["Days"] for rule in rules}
    assert (found, len(rules)) == ({"logs/": 9, "payloads/": 1}, 2)
    assert not S3Objects("bucket", endpoint_url="http://127.0.0.1:9").expire("payloads/", days=1)
