"""A worker that says what no worker may say is ended, and costs nobody else anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chalicelib.contract.messages import VersionRecord
from tests.support import onnx_models
from tests.support.door import Door, open_door, warm
from tests.support.hostile_worker import HANG_UP, MISDEEDS
from tests.support.processes import is_alive
from tests.support.waiting import eventually

ONE = {"x": [[1]]}
"""What no misdeed is named by: a worker answers it as it should."""
CORRUPT = "import tests.support.hostile_worker as hostile\nhostile.corrupt()\n"

Scene = Callable[[Door], Awaitable[None]]


@pytest.fixture(autouse=True)
def corrupted_fork_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By way of what every Python imports when it starts."""
    folder = tmp_path / "python"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CORRUPT)
    monkeypatch.syspath_prepend(str(folder))


def play(folder: Path, scene: Scene, **options: Any) -> None:
    async def main() -> None:
        models = onnx_models.marked(1), onnx_models.marked(2)
        async with asyncio.timeout(60), open_door(folder, *models, **options) as door:
            for record in door.records:
                await warm(door, record)
                assert (await door.infer(record, ONE)).status == 200
            await scene(door)
            assert door.events("crash") == []

    asyncio.run(main())


def pid_of(door: Door, record: VersionRecord) -> int:
    """Of the worker that holds it."""
    replicas = door.host.router.replicas
    held = replicas.hold_now(record.version_id)
    assert held is not None
    replicas.release(held)
    return held.worker.pid


@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_who_breaks_the_protocol_is_killed_and_others_never_notice(tmp_path: Path, misdeed: str) -> None:
    async def scene(door: Door) -> None:
        hostile, other = door.records
        doomed, mine = pid_of(door, hostile), pid_of(door, other)
        asked = asyncio.create_task(door.infer(hostile, {"x": misdeed}))
        await eventually(lambda: door.events("worker_ended"), what="the end of the worker")
        for n in range(20):
            assert (await door.infer(other, {"x": [[n]]})).body["result"] == {"y": [[2, n]]}
        ended = door.events("worker_ended")[0]
        assert (ended["pid"], ended["suspects"], bool(ended["broken"])) == (
            doomed,
            [hostile.version_id],
            True,
        )
        assert not is_alive(doomed)
        assert (await asked).status == (200 if misdeed == "answer twice" else 500)
        assert pid_of(door, other) == mine

    play(tmp_path, scene, tenants=["mallory", "me"])


def test_who_hangs_up_is_killed(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        hostile, other = door.records
        doomed, mine = pid_of(door, hostile), pid_of(door, other)
        assert (await door.infer(hostile, {"x": HANG_UP})).status == 500
        assert not is_alive(doomed)
        assert pid_of(door, other) == mine

    play(tmp_path, scene, tenants=["mallory", "me"])


def test_a_version_that_breaks_it_again_is_quarantined_and_its_siblings_are_not(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        hostile, sibling = door.records
        assert pid_of(door, hostile) == pid_of(door, sibling)
        assert (await door.infer(hostile, {"x": "answer to nothing"})).status == 500
        reply = await door.infer(hostile, ONE)
        assert (reply.status, reply.code) == (422, "invalid_model")
        assert (await door.infer(sibling, ONE)).body["result"] == {"y": [[2, 1]]}

    play(tmp_path, scene)
