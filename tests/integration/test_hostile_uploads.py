"""Hostile files, from the upload to a real host: they fail with a reason, and nobody else notices."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from chalicelib.auth import Principal
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import VersionRecord
from chalicelib.records import Version, VersionState
from chalicelib.wiring import ControlPlane
from infra.local.embedded import EmbeddedServers
from tests.support import onnx_models
from tests.support.bombs import CONTAINED
from tests.support.hostile import REFUSED, Hostile
from tests.support.hosts import HostProcess, Reply, prepare
from tests.support.uploads import uploaded
from tests.support.waiting import wait_for

pytestmark = pytest.mark.stack

SAYS = {
    "external data: absolute": "external data",
    "memory address 0": "address in memory",
    "a function that hides a custom operator": "Inline them",
    "com.microsoft.EPContext": "compiled for one kind of device",
    "lying dimensions: too few bytes": "says that it is [1000, 1000]",
    "200 conditions inside each other": "nested more than 32 deep",
    "an ONNX file that is an .ort file too": "looks like an .ort file",
    "a zip archive": "looks like a zip archive",
    "a circle": "not acyclic",
    "constant folding: 6.4 GB": "of memory",
    "2^40 values at run": "of memory",
}


@contextmanager
def asked_all_the_while(host: HostProcess, record: VersionRecord) -> Iterator[list[Reply]]:
    """One request after the other; the list grows until the block ends."""
    replies: list[Reply] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            replies.append(host.infer(record, {"x": [[1]]}))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield replies
    finally:
        done.set()
        asking.join()


def ended(plane: ControlPlane, owner: Principal, version: Version) -> Version:
    """The version once a host has said what it found."""

    def look() -> Version | None:
        plane.uploads.settle()
        seen = plane.models.version(owner, version.model_id, version.number)
        return None if seen.state is VersionState.PREPARING else seen

    return wait_for(look, what="the version to be prepared")


def test_hostile_uploads_fail_with_a_reason_while_a_neighbour_is_answered(
    plane: ControlPlane, mallory: Principal, host: HostProcess, hot: HotState, servers: EmbeddedServers
) -> None:
    neighbour = prepare(hot, servers, onnx_models.marked(7))
    boot_id = host.boot_id
    corpus: dict[str, Hostile] = {one.name: one for one in (*REFUSED, *CONTAINED)}
    with asked_all_the_while(host, neighbour) as replies:
        for place, (name, says) in enumerate(SAYS.items()):
            answered = len(replies)
            version = ended(
                plane, mallory, uploaded(plane, mallory, corpus[name].build(), name=f"hostile-{place}")
            )
            assert version.state is VersionState.FAILED
            assert version.reason is not None and says in version.reason
            assert len(replies) > answered
    assert all((reply.status, reply.body["result"]) == (200, {"y": [[7, 1]]}) for reply in replies)
    assert host.boot_id == boot_id
    assert host.events("worker_killed") == []
