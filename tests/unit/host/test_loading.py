"""Loading the second time: the prepared form, its two stages, and what is done when it is not right."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from chalicelib.contract.messages import Passport, VersionRecord
from host_container import builds, prepared, replicas
from host_container.examination import ExaminationLimits, run_build
from host_container.prepared import Built
from host_container.session import load, load_mapped, load_prepacked
from tests.support import onnx_models
from tests.support.door import Door, open_door
from tests.support.onnx_models import data, dense, model, value, weight
from tests.support.waiting import DEADLINE_SECONDS

Scene = Callable[[Door], Awaitable[None]]
HEAVY = Passport(load_ms=0.001, run_ms=1.0, memory_bytes=8_000_000)


def rows(width: int = 1024) -> list[list[float]]:
    return [[((row + column) % 7) / 7 for column in range(width)] for row in range(3)]


def form_of(folder: Path, content: bytes) -> Built:
    """Build it there, from a file beside."""
    folder.mkdir()
    path = folder.parent / "model.onnx"
    path.write_bytes(content)
    bytes_max = 2 * len(content) + 1_000_000
    return asyncio.run(run_build(path, folder, ExaminationLimits(), bytes_max=bytes_max))


@pytest.fixture
def every_load_counts_as_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "LOAD_SECONDS_MIN", 0.0)


def play(folder: Path, scene: Scene, *models: bytes, **options: Any) -> None:
    async def main() -> None:
        async with open_door(folder, *models, **options) as door:
            await scene(door)

    asyncio.run(main())


async def answer(door: Door, record: VersionRecord) -> Any:
    reply = await door.infer(record, {"x": rows()})
    assert reply.status == 200, reply.body
    return np.array(reply.body["result"]["y"])


async def event(door: Door, name: str, *, times: int = 1) -> dict[str, Any]:
    ends = asyncio.get_running_loop().time() + DEADLINE_SECONDS
    while len(found := door.events(name)) < times:
        assert asyncio.get_running_loop().time() < ends, f"waited in vain for {name}"
        await asyncio.sleep(0.01)
    return found[-1]


async def restarted(door: Door, record: VersionRecord) -> None:
    """The model's worker is gone and comes back, and the model with it."""
    times = len(door.events("loaded"))
    held = door.host.router.replicas.hold_now(record.version_id)
    assert held is not None
    door.host.router.replicas.release(held)
    held.worker.kill()
    await event(door, "loaded", times=times + 1)


def test_the_form_answers_as_the_uploaded_file_in_both_stages(tmp_path: Path) -> None:
    form = tmp_path / "form"
    built = form_of(form, dense())
    assert built.reason is None
    given = {"x": np.array(rows(), np.float32)}
    wanted = load(tmp_path / "model.onnx").run(given)["y"]
    for load_one in (load_mapped, load_prepacked):
        got = load_one(form / prepared.GRAPH).run(given)["y"]
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


def test_the_weights_are_mapped_and_stay_when_the_files_are_gone(tmp_path: Path) -> None:
    form = tmp_path / "form"
    assert form_of(form, dense()).reason is None
    session = load_mapped(form / prepared.GRAPH)
    (form / prepared.GRAPH).unlink()
    (form / prepared.WEIGHTS).unlink()
    maps = Path("/proc/self/maps").read_text()
    assert f"{form}/{prepared.WEIGHTS} (deleted)" in maps
    wanted = load(tmp_path / "model.onnx").run({"x": np.ones((1, 1024), np.float32)})["y"]
    got = session.run({"x": np.ones((1, 1024), np.float32)})["y"]
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


def test_a_model_without_weights_gets_no_form(tmp_path: Path) -> None:
    built = form_of(tmp_path / "form", onnx_models.identity("float32"))
    assert built.reason is not None and "large enough to be mapped" in built.reason


def test_random_answers_are_never_taken_for_the_models(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["noise"]),
        helper.make_node("MatMul", ["noise", "w"], ["y"]),
    ]
    big = weight("w", np.ones((1024, 1024)))
    content = data(model(nodes, [value("x", ["n", 1024])], [value("y", ["n", 1024])], [big]))
    assert form_of(tmp_path / "form", content).reason is not None


def test_constants_that_unfold_are_not_written_beyond_the_limit(tmp_path: Path) -> None:
    """A few hundred bytes that optimising makes 64 MB."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"], value=weight("", [1.5])),
        helper.make_node("MatMul", ["x", "big"], ["y"]),
    ]
    shape = weight("shape", [4000, 4000], "int64")
    content = data(model(nodes, [value("x", ["n", 4000])], [value("y", ["n", 4000])], [shape]))
    built = form_of(tmp_path / "form", content)
    assert built.reason is not None
    assert sum(path.stat().st_size for path in (tmp_path / "form").iterdir()) < 5_000_000


@pytest.mark.usefixtures("every_load_counts_as_slow")
def test_the_second_load_is_of_the_form_and_then_prepacked(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        [record] = door.records
        first = await answer(door, record)
        assert (await event(door, "form_built"))["reason"] is None
        await restarted(door, record)
        mapped = await answer(door, record)
        await event(door, "prepacked")
        fast = await answer(door, record)
        assert [one["prepared"] for one in door.events("loaded")] == [False, True]
        np.testing.assert_allclose(mapped, first, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(fast, first, rtol=1e-4, atol=1e-6)
        assert len(door.events("form_built")) == 1

    play(tmp_path, scene, dense(), passport=HEAVY)


@pytest.mark.usefixtures("every_load_counts_as_slow")
def test_where_only_the_mapped_weights_fit_they_stay_mapped(tmp_path: Path) -> None:
    """Rearranged beside them, they would take twice the memory: more than this host has for all models."""
    content = dense()
    size = len(content)
    tight = Passport(
        load_ms=0.001,
        run_ms=1.0,
        memory_bytes=2 * size,
        bytes_anonymous=1_000,
        bytes_mapped=size,
        bytes_prepacked=size,
    )

    async def scene(door: Door) -> None:
        [record] = door.records
        first = await answer(door, record)
        await event(door, "form_built")
        await restarted(door, record)
        for _ in range(3):
            np.testing.assert_allclose(await answer(door, record), first, rtol=1e-4, atol=1e-6)
        assert door.host.router.replicas.bytes_used == size + 1_000
        await asyncio.sleep(2 * replicas._PREPACK_DELAY_SECONDS)
        assert door.events("prepacked") == door.events("not_prepacked") == []

    play(tmp_path, scene, content, passport=tight, memory_bytes_max=size + size // 2)


@pytest.mark.usefixtures("every_load_counts_as_slow")
def test_the_workers_folder_is_empty_once_a_form_runs(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        [record] = door.records
        await answer(door, record)
        await event(door, "form_built")
        await restarted(door, record)
        await event(door, "prepacked")
        workers = door.host.settings.cache_dir / "workers"
        assert [path for path in workers.rglob("*") if path.is_file()] == []

    play(tmp_path, scene, dense(), passport=HEAVY)


@pytest.mark.usefixtures("every_load_counts_as_slow")
def test_f23_a_form_that_changed_at_rest_is_not_used_and_made_again(tmp_path: Path) -> None:
    async def first(door: Door) -> None:
        await answer(door, door.records[0])
        await event(door, "form_built")

    play(tmp_path / "a", first, dense(), passport=HEAVY)
    [weights] = (tmp_path / "a").rglob(prepared.WEIGHTS)
    with weights.open("r+b") as file:
        file.write(b"\xff\xff")

    async def second(door: Door) -> None:
        artifacts, record = door.host.router.replicas._artifacts, door.records[0]
        with artifacts.held_to_load(record) as files:
            assert (files.built, len(files.paths)) == (None, 1)
        assert not weights.exists()

    play_again(tmp_path / "a", second, weights.parent.parent)


def play_again(folder: Path, scene: Scene, version: Path) -> None:
    """A host that starts on the disk of an earlier one, and knows its version."""

    async def main() -> None:
        async with open_door(folder) as door:
            path = next(version.glob("*.onnx"))
            record = VersionRecord(
                version_id=version.name,
                model_id="m",
                tenant=version.parent.name,
                number=1,
                sha256=path.stem,
                bytes=path.stat().st_size,
                object_key="none",
                signature=load(path).signature,
                passport=HEAVY,
            )
            door.host.router.replicas.remember(record)
            await scene(Door(door.host, [record], door.log))

    asyncio.run(main())


@pytest.mark.usefixtures("every_load_counts_as_slow")
def test_a_form_outlives_the_process_that_made_it(tmp_path: Path) -> None:
    async def first(door: Door) -> None:
        await answer(door, door.records[0])
        await event(door, "form_built")

    async def second(door: Door) -> None:
        await answer(door, door.records[0])
        assert [one["prepared"] for one in door.events("loaded")][-1] is True

    play(tmp_path, first, dense(), passport=HEAVY)
    [weights] = tmp_path.rglob(prepared.WEIGHTS)
    play_again(tmp_path, second, weights.parent.parent)


@pytest.mark.usefixtures("every_load_counts_as_slow")
def test_a_form_that_does_not_load_is_dropped_and_the_uploaded_file_served(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        [record] = door.records
        await answer(door, record)
        await event(door, "form_built")
        [graph] = tmp_path.rglob(prepared.GRAPH)
        graph.write_bytes(b"not a graph")  # after it was verified: this process does not look again
        await restarted(door, record)
        await answer(door, record)
        assert len(door.events("form_dropped")) == 1
        assert [one["prepared"] for one in door.events("loaded")] == [False, False]

    play(tmp_path, scene, dense(), passport=HEAVY)


@pytest.mark.parametrize("kind", ["link", "stranger", "second name", "no graph"])
def test_a_folder_that_holds_anything_else_is_no_form(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "form"
    folder.mkdir()
    (folder / prepared.GRAPH).write_bytes(b"graph")
    if kind == "link":
        (folder / prepared.WEIGHTS).symlink_to("/etc/passwd")
    elif kind == "stranger":
        (folder / "other").write_bytes(b"")
    elif kind == "second name":
        (tmp_path / "elsewhere").write_bytes(b"")
        os.link(tmp_path / "elsewhere", folder / prepared.WEIGHTS)
    else:
        (folder / prepared.GRAPH).unlink()
    with pytest.raises(ValueError, match="file"):
        prepared.seal(folder, Built())


def test_forms_of_other_machines_and_versions_are_swept_at_start(tmp_path: Path) -> None:
    stale = tmp_path / "cache/versions/tenant/version" / f"{'0' * 64}.ort0-other-cpu"
    stale.mkdir(parents=True)
    (stale / prepared.WEIGHTS).write_bytes(b"old")

    async def scene(door: Door) -> None:
        assert not stale.exists()

    play(tmp_path, scene)
