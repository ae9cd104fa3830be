"""A store that callers reach at another address than the platform and its hosts do."""

from __future__ import annotations

import hashlib
import os
import socket
import time
import uuid
from urllib.parse import urlsplit

import httpx
import pytest

from chalicelib.adapters.s3 import S3Objects
from chalicelib.payloads import Origin, Payloads
from chalicelib.ports import HostReply, StoredPart
from chalicelib.settings import Settings
from chalicelib.wiring import ControlPlane, build
from host_container.payloads import Place
from infra.local.embedded import EmbeddedServers

DATA = b"the bytes of a model" * 1_000


@pytest.fixture
def inside(plane: ControlPlane) -> str:
    return plane.settings.s3_endpoint_url or ""


@pytest.fixture
def bucket(plane: ControlPlane) -> str:
    return plane.settings.s3_bucket


@pytest.fixture
def outside(inside: str) -> str:
    """The same server by another name."""
    host = urlsplit(inside).hostname or ""
    other = "localhost" if host == "127.0.0.1" else socket.gethostbyname(host)
    assert other != host
    return inside.replace(host, other)


@pytest.fixture
def objects(servers: EmbeddedServers, plane: ControlPlane, inside: str, outside: str) -> S3Objects:
    access = servers.connections.s3
    with pytest.MonkeyPatch.context() as patch:
        for name, value in access.environment().items():
            patch.setenv(name, value)
        return S3Objects(access.bucket, endpoint_url=inside, public_url=outside)


def test_what_callers_store_they_store_where_they_reach_it(objects: S3Objects, outside: str) -> None:
    key, sha256 = f"staging/{uuid.uuid4()}", hashlib.sha256(DATA).hexdigest()
    [whole] = objects.presign_upload(key, size=len(DATA), sha256=sha256)
    assert whole.url.startswith(f"{outside}/")
    assert httpx.put(whole.url, content=DATA, headers=whole.headers).status_code == 200
    assert (stored := objects.stored(key)) and stored.sha256 == sha256

    in_parts = f"staging/{uuid.uuid4()}"
    upload_id = objects.begin_parts(in_parts)
    part = objects.presign_part(in_parts, upload_id, number=1, size=len(DATA))
    assert part.url.startswith(f"{outside}/")
    answer = httpx.put(part.url, content=DATA, headers=part.headers)
    objects.join_parts(in_parts, upload_id, [StoredPart(1, len(DATA), answer.headers["ETag"])])
    assert objects.stored(in_parts)


def test_inputs_come_from_callers_and_go_to_hosts_each_where_they_reach_it(
    objects: S3Objects, bucket: str, inside: str, outside: str
) -> None:
    payloads = Payloads(objects, Origin(b"k" * 32, time.time, os.urandom))
    begun = payloads.begin("t", len(DATA))
    assert begun.upload.url.startswith(f"{outside}/")
    assert httpx.put(begun.upload.url, content=DATA, headers=begun.upload.headers).status_code == 200
    source = payloads.source("t", begun.id)
    assert Place(bucket, inside).admits(source)
    assert httpx.get(source).content == DATA


def test_answers_come_from_hosts_and_go_to_callers_each_where_they_reach_it(
    objects: S3Objects, bucket: str, inside: str, outside: str
) -> None:
    payloads = Payloads(objects, Origin(b"k" * 32, time.time, os.urandom))
    answer_id = payloads.new_id()
    place = payloads.place("t", answer_id)
    assert Place(bucket, inside).admits(place)
    assert httpx.put(place, content=DATA).status_code == 200
    reply = payloads.result_from("t", answer_id, HostReply(200, b"", {}), size=len(DATA))
    url = str(httpx.Response(200, content=reply.body).json()["result_from"]["url"])
    assert url.startswith(f"{outside}/")
    assert httpx.get(url).content == DATA


def test_the_setting_is_what_the_platform_signs_with(
    servers: EmbeddedServers, plane: ControlPlane, outside: str
) -> None:
    environ = servers.connections.control_plane("coordinator") | {
        "MODELROCKET_DISPATCH_KEY": "5a" * 32,
        "MODELROCKET_PUBLIC_URL": "http://127.0.0.1:5000",
        "MODELROCKET_HOST_NETWORK": "127.0.0.0/8",
        "MODELROCKET_S3_PUBLIC_URL": outside,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        built = build(environ)
    assert Settings.from_env(environ).s3_public_url == outside
    assert built.payloads.begin("t", 1).upload.url.startswith(f"{outside}/")
