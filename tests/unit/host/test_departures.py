"""What was deleted leaves memory and disk; what is no longer assigned leaves memory; nobody is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from chalicelib.contract import limits
from chalicelib.contract.messages import Passport, VersionRecord
from host_container import assignments, replicas
from tests.support import onnx_models
from tests.support.door import Door, open_door, warm
from tests.support.waiting import eventually

Scene = Callable[[Door], Awaitable[None]]
ONE: Final = {"x": [[1]]}
SLOW_TURNS: Final = 2_000_000
HEAVY: Final = Passport(load_ms=0.001, run_ms=5, memory_bytes=1_000)
"""It runs on a thread of its own: what else is to be loaded is not held up."""


def play(folder: Path, scene: Scene, *models: bytes, **options: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), open_door(folder, *models, **options) as door:
            await scene(door)

    asyncio.run(main())


def drop(door: Door, *records: VersionRecord) -> frozenset[str]:
    return door.host.router.replicas.drop([record.version_id for record in records])


def test_what_was_deleted_ends_what_it_runs_and_takes_nothing_new(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        deleted, other = door.records
        memory = door.host.router.replicas
        await warm(door, deleted)
        await warm(door, other)
        running = asyncio.create_task(door.infer(deleted, {"x": [7]}))
        await eventually(lambda: door.host.router.in_flight, what="the request to run")
        assert drop(door, deleted) == {deleted.version_id}
        assert drop(door, deleted) == frozenset(), "it is known"
        refused = await door.infer(deleted, {"x": [7]})
        assert (refused.status, refused.code) == (404, "not_found")
        assert (memory.ready, memory.leaving) == (1, frozenset({deleted.version_id}))
        assert (await running).body["result"] == {"y": [7]}
        assert (memory.leaving, memory.bytes_used) == (frozenset(), other.passport.memory_bytes)
        assert len(door.events("dropped")) == 1
        assert (await door.infer(other, ONE)).status == 200

    play(tmp_path, scene, onnx_models.slow(SLOW_TURNS), onnx_models.marked(1))


def test_what_is_deleted_while_it_is_loaded_is_not_kept(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        (deleted,) = door.records
        memory = door.host.router.replicas
        asked = asyncio.create_task(door.infer(deleted, ONE))
        await eventually(lambda: memory.bytes_used, what="the load to begin")
        drop(door, deleted)
        assert ((await asked).status, memory.ready, memory.bytes_used) == (404, 0, 0)
        assert door.events("load_failed") == []

    play(tmp_path, scene, onnx_models.marked(1))


@pytest.mark.parametrize("known", [True, False], ids=["known before", "asked for first"])
def test_a_deleted_version_is_not_found_whether_it_was_here_or_not(tmp_path: Path, known: bool) -> None:
    async def scene(door: Door) -> None:
        (deleted,) = door.records
        if known:
            await warm(door, deleted)
        drop(door, deleted)
        assert (await door.infer(deleted, ONE)).status == 404

    play(tmp_path, scene, onnx_models.marked(1))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (assignments, replicas):
        monkeypatch.setattr(module, "LEAVE_SECONDS", 0.0)


@pytest.mark.usefixtures("at_once")
def test_what_is_no_longer_assigned_goes_when_its_last_request_has_ended(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        old, new = door.records
        memory = door.host.router.replicas
        memory.assigned([old.version_id])
        await memory.prefetch()
        running = asyncio.create_task(door.infer(old, {"x": [7]}))
        await eventually(lambda: door.host.router.in_flight, what="the request to run")
        memory.assigned([new.version_id])
        await memory.prefetch()
        assert memory.ready == 2, "the new one is there before the old one goes"
        memory.assigned([new.version_id])
        assert memory.ready == 2, "it runs"
        assert (await running).status == 200
        memory.assigned([new.version_id])
        assert [event["version"] for event in door.events("evicted")] == [old.version_id]
        assert (memory.ready, memory.bytes_used) == (1, new.passport.memory_bytes)
        assert (await door.infer(old, {"x": [7]})).status == 200, "who asks for it all the same gets it"

    play(tmp_path, scene, onnx_models.slow(SLOW_TURNS), onnx_models.marked(1), passport=HEAVY)


def test_what_is_not_assigned_makes_room_for_what_is(tmp_path: Path) -> None:
    models = [onnx_models.marked(mark, padding_bytes=limits.MIB) for mark in range(4)]

    async def scene(door: Door) -> None:
        kept, *guests, new = door.records
        memory = door.host.router.replicas
        for record in (kept, *guests):
            await warm(door, record)
        memory.assigned([kept.version_id, new.version_id])
        await memory.prefetch()
        [evicted] = door.events("evicted")
        assert evicted["version"] in {guest.version_id for guest in guests}
        assert {kept.version_id, new.version_id} <= set(memory._loaded)

    play(tmp_path, scene, *models, memory_bytes_max=int(3.5 * limits.MIB))
