"""Uploads in parts and of two files, over the real stores."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import msgspec
import pytest

from chalicelib.adapters.s3 import S3Objects
from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import Conflict, InvalidModel, InvalidRequest
from chalicelib.contract.messages import Heartbeat, HostState, VersionFile, WeightsFile
from chalicelib.ports import UploadPart
from chalicelib.records import Version, VersionState
from chalicelib.uploads import AnnouncedFile, BeginUpload, BegunUpload
from chalicelib.wiring import ControlPlane
from infra.local.embedded import EmbeddedServers
from tests.support.hosts import HostProcess
from tests.support.localstack import is_emulator
from tests.support.waiting import wait_for

PART = limits.UPLOAD_PART_BYTES_MIN
GRAPH = b"a small graph"
WEIGHTS = b"".join(bytes([number]) * PART for number in range(3)) + b"the rest"
FILES = {VersionFile.MODEL: GRAPH, VersionFile.WEIGHTS: WEIGHTS}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


TWO_FILES = BeginUpload(
    name="large",
    bytes=len(GRAPH),
    sha256=digest(GRAPH),
    weights=AnnouncedFile(len(WEIGHTS), digest(WEIGHTS)),
)


def put(part: UploadPart) -> int:
    data = FILES[part.file][part.offset : part.offset + part.bytes]
    return httpx.put(part.url, content=data, headers=part.headers).status_code


def named(parts: tuple[UploadPart, ...]) -> list[tuple[str, int]]:
    return [(part.file.value, part.number) for part in parts]


def completed(plane: ControlPlane, who: Principal, begun: BegunUpload) -> Version:
    return plane.uploads.complete(who, begun.model.id, begun.version.number)


def test_a_version_of_two_files_is_kept_under_names_of_our_own(plane: ControlPlane, alice: Principal) -> None:
    begun = plane.uploads.begin(alice, TWO_FILES)
    assert named(begun.parts) == [("model", 1), *(("weights", number) for number in (1, 2, 3, 4))]
    assert [part.offset for part in begun.parts[1:]] == [0, PART, 2 * PART, 3 * PART]
    assert [put(part) for part in begun.parts] == [200] * 5
    version = completed(plane, alice, begun)
    assert version.state is VersionState.PREPARING
    key = f"{version.folder}{digest(WEIGHTS)}.weights"
    assert version.job().weights == WeightsFile(digest(WEIGHTS), len(WEIGHTS), key)
    assert version.job().bytes_in_all == len(GRAPH) + len(WEIGHTS)
    objects = plane.objects
    kept = objects._client.get_object(Bucket=objects._bucket, Key=key)["Body"].read()
    assert kept == WEIGHTS


def test_a_large_graph_alone_comes_in_parts_too(plane: ControlPlane, alice: Principal) -> None:
    graph = WEIGHTS[: PART + 1]
    announced = BeginUpload(name="large", bytes=len(graph), sha256=digest(graph))
    begun = plane.uploads.begin(alice, announced)
    assert named(begun.parts) == [("model", 1), ("model", 2)]
    for part in begun.parts:
        httpx.put(part.url, content=graph[part.offset : part.offset + part.bytes], headers=part.headers)
    version = completed(plane, alice, begun)
    stored = plane.objects.stored(version.object_key)
    assert stored
    assert stored.bytes == len(graph)


def test_an_upload_that_broke_off_goes_on_where_it_was(plane: ControlPlane, alice: Principal) -> None:
    begun = plane.uploads.begin(alice, TWO_FILES)
    for part in (begun.parts[0], begun.parts[1], begun.parts[3]):
        put(part)
    again = plane.uploads.begin(alice, TWO_FILES)
    assert again.version.id == begun.version.id
    assert named(again.parts) == [("weights", 2), ("weights", 4)]
    assert named(plane.uploads.missing(alice, begun.model.id, 1)) == named(again.parts)
    assert [put(part) for part in again.parts] == [200, 200]
    assert completed(plane, alice, again).state is VersionState.PREPARING


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"sha256": "0" * 64}, id="another graph"),
        pytest.param({"weights": AnnouncedFile(len(WEIGHTS), "0" * 64)}, id="other weights"),
        pytest.param({"weights": None}, id="no weights"),
        pytest.param({"activate": False}, id="not to be activated"),
    ],
)
def test_another_announcement_is_another_version(
    plane: ControlPlane, alice: Principal, changed: dict[str, object]
) -> None:
    begun = plane.uploads.begin(alice, TWO_FILES)
    other = plane.uploads.begin(alice, msgspec.structs.replace(TWO_FILES, **changed))
    assert (other.version.number, other.version.id != begun.version.id) == (2, True)


def test_a_completed_upload_is_not_gone_on_with(plane: ControlPlane, alice: Principal) -> None:
    begun = plane.uploads.begin(alice, TWO_FILES)
    for part in begun.parts:
        put(part)
    completed(plane, alice, begun)
    assert plane.uploads.begin(alice, TWO_FILES).version.number == 2
    with pytest.raises(Conflict, match="preparing"):
        plane.uploads.missing(alice, begun.model.id, 1)


def test_completing_too_early_says_how_much_is_missing(plane: ControlPlane, alice: Principal) -> None:
    begun = plane.uploads.begin(alice, TWO_FILES)
    put(begun.parts[0])
    put(begun.parts[2])
    for _ in range(2):
        with pytest.raises(Conflict, match="3 of 4 parts"):
            completed(plane, alice, begun)
    assert plane.models.version(alice, begun.model.id, 1).state is VersionState.UPLOADING
    for part in begun.parts:  # two of them a second time
        put(part)
    assert completed(plane, alice, begun).state is VersionState.PREPARING


def test_a_part_that_arrives_twice_counts_once(plane: ControlPlane, alice: Principal) -> None:
    begun = plane.uploads.begin(alice, TWO_FILES)
    for part in (*begun.parts, *begun.parts):
        assert put(part) == 200
    version = completed(plane, alice, begun)
    assert version.weights
    body = plane.objects._client.get_object(Bucket=plane.objects._bucket, Key=version.weights.object_key)
    assert body["Body"].read() == WEIGHTS


def test_completing_many_times_at_once_has_one_effect(
    servers: EmbeddedServers, plane: ControlPlane, alice: Principal
) -> None:
    if is_emulator(servers.connections.s3.endpoint_url or ""):
        pytest.skip("LocalStack shows an object without bytes while its parts are being joined")
    begun = plane.uploads.begin(alice, TWO_FILES)
    for part in begun.parts:
        put(part)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: completed(plane, alice, begun), range(16)))
    assert {answer.state for answer in answers} == {VersionState.PREPARING}
    assert plane.hot.take_job("h", wait_ms=100) is not None
    assert plane.hot.take_job("h", wait_ms=100) is None


@pytest.mark.parametrize("seen_whole", [0, 1], ids=["before it looked", "after it looked"])
def test_parts_that_go_while_another_call_joins_them_are_not_missing(
    plane: ControlPlane, alice: Principal, monkeypatch: pytest.MonkeyPatch, seen_whole: int
) -> None:
    """SeaweedFS makes the object, then takes parts away: for a moment some of them are listed."""
    begun = plane.uploads.begin(alice, TWO_FILES)
    for part in begun.parts:
        put(part)
    weights = begun.version.weights
    assert weights
    version = plane.uploads._store.any_version(begun.version.id)
    assert version
    upload = version.upload_ids[VersionFile.WEIGHTS]
    parts = plane.objects.parts(weights.object_key, upload)
    assert parts and len(parts) == 4
    plane.objects.join_parts(weights.object_key, upload, parts)
    listings = iter([parts] * seen_whole)
    joins: list[object] = []
    monkeypatch.setattr(S3Objects, "parts", lambda *_: next(listings, parts[:2]))
    monkeypatch.setattr(S3Objects, "join_parts", lambda *given: joins.append(given))
    assert completed(plane, alice, begun).state is VersionState.PREPARING
    assert joins == []


def test_beginning_many_times_at_once_shares_one_upload(plane: ControlPlane, alice: Principal) -> None:
    plane.uploads.begin(alice, TWO_FILES)
    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(lambda _: plane.uploads.begin(alice, TWO_FILES), range(8)))
    assert {one.version.number for one in begun} == {1}
    for number, one in enumerate(begun[:5]):  # each sends another part
        assert put(one.parts[number]) == 200
    assert completed(plane, alice, begun[0]).state is VersionState.PREPARING


def test_a_grant_is_worth_nothing_once_the_parts_are_joined(plane: ControlPlane, alice: Principal) -> None:
    begun = plane.uploads.begin(alice, TWO_FILES)
    for part in begun.parts:
        put(part)
    version = completed(plane, alice, begun)
    assert put(begun.parts[1]) >= 400
    assert version.weights
    stored = plane.objects.stored(version.weights.object_key)
    assert stored
    assert stored.bytes == len(WEIGHTS)


def test_f58_what_was_abandoned_is_taken_out_of_the_store(plane: ControlPlane, alice: Principal) -> None:
    begun = plane.uploads.begin(alice, TWO_FILES)
    put(begun.parts[0])
    put(begun.parts[1])
    later = plane.uploads._now() + timedelta(hours=25)
    plane.uploads._now = lambda: later
    plane.uploads.repair()
    assert plane.models.version(alice, begun.model.id, 1).state is VersionState.FAILED
    assert put(begun.parts[2]) == 404
    objects = plane.objects
    arriving = objects._client.list_multipart_uploads(Bucket=objects._bucket, Prefix=begun.version.folder)
    assert not arriving.get("Uploads")
    assert objects.stored(begun.version.staging_key) is None
    assert plane.uploads.begin(alice, TWO_FILES).version.number == 2


def test_an_upload_that_the_store_has_forgotten_begins_anew(plane: ControlPlane, alice: Principal) -> None:
    begun = plane.uploads.begin(alice, TWO_FILES)
    put(begun.parts[1])
    plane.objects.delete_under(begun.version.folder)
    again = plane.uploads.begin(alice, TWO_FILES)
    assert named(again.parts) == [("model", 1), *(("weights", number) for number in (1, 2, 3, 4))]
    for part in again.parts:
        assert put(part) == 200
    assert completed(plane, alice, again).state is VersionState.PREPARING


def test_a_call_that_died_after_the_parts_were_joined_is_taken_up_again(
    plane: ControlPlane, alice: Principal
) -> None:
    begun = plane.uploads.begin(alice, TWO_FILES)
    for part in begun.parts:
        put(part)
    version = plane.models.version(alice, begun.model.id, 1)
    plane.uploads._arrivals.keep(version)
    assert plane.uploads.begin(alice, TWO_FILES).parts == ()
    assert completed(plane, alice, begun).state is VersionState.PREPARING


@pytest.mark.parametrize(
    ("weights", "error", "says"),
    [
        (AnnouncedFile(0, "0" * 64), InvalidModel, "weights.bytes"),
        (AnnouncedFile(limits.WEIGHTS_BYTES_MAX + 1, "0" * 64), InvalidModel, "weights.bytes"),
        (AnnouncedFile(1, "0" * 63), InvalidRequest, "weights.sha256"),
    ],
)
def test_a_bad_announcement_says_which_field(
    plane: ControlPlane, alice: Principal, weights: AnnouncedFile, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        plane.uploads.begin(alice, msgspec.structs.replace(TWO_FILES, weights=weights))


def test_f22_weights_that_are_not_those_announced_are_never_loaded(
    plane: ControlPlane, alice: Principal, host: HostProcess
) -> None:
    """The store knows no SHA-256 of what came in parts; the host that prepares it does."""
    announced = msgspec.structs.replace(TWO_FILES, weights=AnnouncedFile(len(WEIGHTS), "0" * 64))
    begun = plane.uploads.begin(alice, announced)
    for part in begun.parts:
        put(part)
    version = completed(plane, alice, begun)

    def failed() -> Version | None:
        now = plane.uploads.status(alice, begun.model.id, 1).version
        return now if now.state is VersionState.FAILED else None

    version = wait_for(failed, what="the version to fail")
    assert version.reason
    assert "SHA-256 differs. Upload it again" in version.reason
    assert host.events("loaded") == []


def test_f67_what_no_host_has_memory_for_is_refused_before_it_is_sent(
    plane: ControlPlane, alice: Principal
) -> None:
    assert plane.uploads.begin(alice, TWO_FILES).version.number == 1  # no host has said anything yet
    needed = len(GRAPH) + len(WEIGHTS)
    for number, memory in enumerate((needed - 1, needed // 2)):
        plane.hot.beat(heartbeat(f"host-{number}", memory_bytes_max=memory))
    with pytest.raises(InvalidModel, match="the largest host here has"):
        plane.uploads.begin(alice, msgspec.structs.replace(TWO_FILES, name="too large"))
    assert [model.name for model in plane.models.list(alice, after="")] == ["large"]
    plane.hot.beat(heartbeat("host-2", memory_bytes_max=needed))
    assert plane.uploads.begin(alice, TWO_FILES).version.number == 1


def heartbeat(host_id: str, *, memory_bytes_max: int) -> Heartbeat:
    return Heartbeat(
        host_id=host_id,
        boot_id=f"boot-{host_id}",
        address="127.0.0.1",
        port=1,
        state=HostState.READY,
        memory_bytes_max=memory_bytes_max,
        memory_bytes_used=0,
        in_flight=0,
        versions_ready=0,
    )
