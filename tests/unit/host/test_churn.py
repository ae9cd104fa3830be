"""Memory after many loads and evictions in one worker: none of it stays, and the check would notice."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

import pytest

from chalicelib.contract.messages import Passport, VersionRecord
from host_container import prepared
from host_container.examination import ExaminationLimits, run_build
from host_container.frames import Asked
from host_container.handle import Loaded, Outcome, Ran
from host_container.prepared import ModelFiles
from host_container.workers import Workers
from tests.support import onnx_models
from tests.support.door import Door, open_door

CYCLES: Final = 1_000
SETTLED: Final = 200
"""Allocator and interpreter have what they need by then."""
STAGED_CYCLES: Final = 600
GROWTH_MAX: Final = 0.02
ONE: Final = Asked(b'{"x": [[1]]}')
WIDE: Final = Asked(b'{"x": [[' + b"1," * 255 + b"1]]}")
LIGHT: Final = Passport(load_ms=0.1, run_ms=0.01, memory_bytes=100_000)
HEAVY: Final = Passport(load_ms=0.1, run_ms=5.0, memory_bytes=100_000)


def resident_bytes(loaded: Loaded) -> int:
    pages = int(Path(f"/proc/{loaded.worker.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def answered(workers: Workers, loaded: Loaded, asked: Asked = ONE) -> Outcome:
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    workers.run(loaded, asked, deadline=asyncio.get_running_loop().time() + 30, done=done.set_result)
    return await done


async def growth(door: Door, *, kept_every: int | None) -> float:
    """Of a worker that loads, runs and evicts one model again and again, but for what is kept."""
    workers, [record] = door.host.router.workers, door.records
    [path] = door.host.settings.cache_dir.rglob(f"{record.sha256}.onnx")
    sizes = []
    for cycle in range(1, CYCLES + 1):
        loaded = await loaded_once(workers, record, path)
        if cycle in (SETTLED, CYCLES):
            sizes.append(resident_bytes(loaded))
        if kept_every is None or cycle % kept_every:
            workers.unload(loaded)
    return sizes[1] / sizes[0] - 1


async def loaded_once(workers: Workers, record: VersionRecord, path: Path) -> Loaded:
    loaded = await workers.load(record, ModelFiles((path,)), key="one")
    assert isinstance(await answered(workers, loaded), Ran)
    return loaded


@pytest.mark.parametrize("passport", [pytest.param(LIGHT, id="light"), pytest.param(HEAVY, id="heavy")])
def test_a_thousand_loads_and_evictions_leave_nothing_behind(tmp_path: Path, passport: Passport) -> None:
    assert churned(tmp_path, passport, kept_every=None) <= GROWTH_MAX


def test_a_worker_that_keeps_one_model_in_twenty_is_noticed(tmp_path: Path) -> None:
    assert churned(tmp_path, LIGHT, kept_every=20) > GROWTH_MAX


def test_hundreds_of_loads_in_two_stages_leave_nothing_behind(tmp_path: Path) -> None:
    assert asyncio.run(churned_form(tmp_path)) <= GROWTH_MAX


async def churned_form(folder: Path) -> float:
    """Growth of a worker that maps a prepared form, runs it, prepacks it, runs it and evicts it."""
    content, form = onnx_models.dense(256), folder / "form"
    form.mkdir()
    (folder / "model.onnx").write_bytes(content)
    bounds = ExaminationLimits()
    built = await run_build(folder / "model.onnx", form, bounds, bytes_max=2 * len(content))
    files = ModelFiles((form / prepared.GRAPH, form / prepared.WEIGHTS), built)
    async with open_door(folder, content, passport=HEAVY) as door:
        workers, [record] = door.host.router.workers, door.records
        sizes = []
        for cycle in range(1, STAGED_CYCLES + 1):
            loaded = await workers.load(record, files, key="one")
            await answered(workers, loaded, WIDE)
            await workers.prepack(loaded, files)
            assert isinstance(await answered(workers, loaded, WIDE), Ran)
            if cycle in (SETTLED, STAGED_CYCLES):
                sizes.append(resident_bytes(loaded))
            workers.unload(loaded)
    return sizes[1] / sizes[0] - 1


def churned(folder: Path, passport: Passport, *, kept_every: int | None) -> float:
    async def main() -> float:
        content = onnx_models.marked(1, padding_bytes=100_000)
        async with open_door(folder, content, passport=passport) as door:
            return await growth(door, kept_every=kept_every)

    return asyncio.run(main())
