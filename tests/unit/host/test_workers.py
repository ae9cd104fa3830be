"""Worker processes: what they share, what ends with them, what does not."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chalicelib.contract import limits
from chalicelib.contract.messages import Certificate, Passport, VersionRecord
from host_container.handle import Loaded
from host_container.settings import worker_bytes_max
from tests.support import onnx_models
from tests.support.door import Door, open_door, read_reply, warm
from tests.support.hosts import Reply
from tests.support.processes import descendants
from tests.support.waiting import DEADLINE_SECONDS, eventually

Scene = Callable[[Door], Awaitable[None]]
LIGHT = Passport(load_ms=0.001, run_ms=0.01, memory_bytes=1_000, batch_size_best=64, batch_gain=2.0)
HEAVY = Passport(load_ms=0.001, run_ms=5, memory_bytes=1_000)


def play(folder: Path, scene: Scene, *models: bytes, **options: Any) -> None:
    async def main() -> None:
        async with open_door(folder, *models, **options) as door:
            await scene(door)

    asyncio.run(main())


def loaded(door: Door, record: VersionRecord) -> Loaded:
    found = door.host.router.replicas.hold_now(record.version_id)
    assert found is not None
    door.host.router.replicas.release(found)
    return found


def test_a_tenants_models_share_a_worker_and_tenants_share_none(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        one, two, other = door.records
        for record in (one, two, other):
            assert (await door.infer(record, {"x": [[1]]})).status == 200
        assert loaded(door, one).worker is loaded(door, two).worker
        assert loaded(door, one).worker is not loaded(door, other).worker

    models = [onnx_models.marked(mark) for mark in (1, 2, 3)]
    play(tmp_path, scene, *models, tenants=["me", "me", "neighbour"])


def test_f64_a_crash_ends_one_worker_and_what_did_not_cause_it_comes_back(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        mine, also_mine, other = door.records
        for record in (mine, also_mine, other):
            assert (await door.infer(record, {"x": [[1]]})).status == 200
        before = loaded(door, other).worker.pid
        os.kill(loaded(door, mine).worker.pid, signal.SIGSEGV)
        await eventually(lambda: bool(door.events("worker_ended")), what="the end of the worker")
        [ended] = door.events("worker_ended")
        assert (ended["exit_code"], ended["suspects"], ended["versions"]) == (-signal.SIGSEGV, [], 2)
        for mark, record in ((1, mine), (2, also_mine), (3, other)):
            reply = await door.infer(record, {"x": [[5]]})
            assert reply.body["result"] == {"y": [[mark, 5]]}
        assert loaded(door, other).worker.pid == before
        assert door.events("blamed") == []

    models = [onnx_models.marked(mark) for mark in (1, 2, 3)]
    play(tmp_path, scene, *models, tenants=["me", "me", "neighbour"])


def test_f64_what_was_running_is_answered_500_and_what_waited_is_answered(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        slow, quick = door.records
        await warm(door, slow)
        await warm(door, quick)
        running = asyncio.create_task(door.infer(slow, {"x": [1]}))
        handle = loaded(door, slow).worker
        await eventually(lambda: bool(handle.beacon.lit()), what="the run to begin")
        os.kill(handle.pid, signal.SIGKILL)
        reply = await running
        assert (reply.status, reply.code) == (500, "inference_failed")
        [blamed] = door.events("blamed")
        assert (blamed["version"], blamed["quarantined"]) == (slow.version_id, False)
        assert (await door.infer(quick, {"x": [[1]]})).status == 200

    play(tmp_path, scene, onnx_models.slow(5_000_000), onnx_models.marked(7))


def test_a_blamed_version_gets_a_worker_of_its_own(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        blamed, other = door.records
        await warm(door, other)
        door.host.router.replicas._ledger.blame(blamed.version_id, now=time.monotonic())
        await warm(door, blamed)
        assert loaded(door, blamed).worker is not loaded(door, other).worker

    play(tmp_path, scene, onnx_models.marked(1), onnx_models.marked(2))


def test_f65_a_run_past_its_deadline_is_killed_and_others_never_notice(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        endless, other = door.records
        await warm(door, endless)
        await warm(door, other)
        doomed = loaded(door, endless).worker.pid
        asked = asyncio.create_task(
            door.infer(endless, {"x": [10**15]}, ticket=door.ticket(endless, seconds=0.5))
        )
        statuses, ends = [], time.monotonic() + DEADLINE_SECONDS
        while doomed in descendants(os.getpid()):
            assert time.monotonic() < ends, "the worker was not killed"
            statuses.append((await door.infer(other, {"x": [[1]]})).status)
        assert set(statuses) == {200}
        reply = await asked
        assert (reply.status, reply.code) == (504, "deadline_exceeded")
        assert len(door.events("worker_killed")) == 1

    play(tmp_path, scene, onnx_models.turning(), onnx_models.marked(7), tenants=["me", "neighbour"])


def test_f68_a_model_that_wants_too_much_memory_fails_alone(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        greedy, other = door.records
        await warm(door, other)
        reply = await door.infer(greedy, {"x": [200_000]})
        assert reply.status == 500, reply.body
        assert (await door.infer(other, {"x": [[1]]})).status == 200

    play(tmp_path, scene, onnx_models.growing(), onnx_models.marked(7))


def test_a_host_with_little_memory_serves_what_fits_into_it(tmp_path: Path) -> None:
    """Loading takes several times what is kept, and a thread an arena: both count in address space."""

    async def scene(door: Door) -> None:
        (record,) = door.records
        assert (await door.infer(record, {"x": [[0.0] * 1024]})).status == 200

    memory = 9 * limits.MIB
    bounds = {"memory_bytes_max": memory, "worker_memory_bytes_max": worker_bytes_max(memory)}
    play(tmp_path, scene, onnx_models.dense(), passport=HEAVY, **bounds)


def test_a_model_is_not_blamed_for_what_its_worker_has_no_memory_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(door: Door) -> None:
        large, small = door.records
        assert (await door.infer(small, {"x": [[1]]})).status == 200
        for _ in range(2):
            reply = await door.infer(large, {"x": [[0.0] * 2560]})
            assert (reply.status, reply.code) == (503, "overloaded"), reply.body
        assert len(door.events("load_failed")) == 1, "it is not tried again at once"
        assert door.events("worker_ended") == []

    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    models = onnx_models.dense(2560), onnx_models.marked(7)
    play(tmp_path, scene, *models, worker_memory_bytes_max=limits.MIB)


def test_while_models_run_the_workers_folder_is_empty(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        (record,) = door.records
        assert (await door.infer(record, {"x": [[1]]})).status == 200
        assert list(loaded(door, record).worker.folder.iterdir()) == []

    play(tmp_path, scene, onnx_models.marked(7))


def test_a_worker_is_closed_in(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        (record,) = door.records
        assert (await door.infer(record, {"x": [[1]]})).status == 200
        status = Path(f"/proc/{loaded(door, record).worker.pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
        assert int(fields["CapEff"], 16) == 0

    play(tmp_path, scene, onnx_models.marked(7))


def test_nothing_outlives_the_host(tmp_path: Path) -> None:
    before, below = descendants(os.getpid()), set[int]()

    async def scene(door: Door) -> None:
        assert (await door.infer(door.records[0], {"x": [[1]]})).status == 200
        below.update(descendants(os.getpid()) - before)

    play(tmp_path, scene, onnx_models.marked(7))
    assert below
    assert not below & descendants(os.getpid())


def answers(replies: list[Reply]) -> list[Any]:
    return [reply.body["result"]["y"] for reply in replies]


def test_s5_rows_that_share_runs_are_never_mixed_up(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        (record,) = door.records
        await warm(door, record)
        assert loaded(door, record).report.batch_size_max > 1, loaded(door, record).report.batching
        connections = [await door.connect() for _ in range(24)]
        shared = 0
        for turn in range(40):
            for number, (_, writer) in enumerate(connections):
                nonces = [[turn * 1000 + number], [-turn - number]][: 1 + number % 2]
                writer.write(door.request(record, {"x": nonces}))
            for number, (reader, _) in enumerate(connections):
                reply = await read_reply(reader)
                nonces = [[turn * 1000 + number], [-turn - number]][: 1 + number % 2]
                assert reply.body["result"] == {"y": [[7, nonce[0]] for nonce in nonces]}
                shared += int(reply.headers["x-batch-rows"]) > len(nonces)
        assert shared, "nothing was ever batched: the test shows nothing"
        for _, writer in connections:
            writer.close()

    play(tmp_path, scene, onnx_models.marked(7), passport=LIGHT)


def test_a_bad_row_in_a_batch_fails_alone(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        (record,) = door.records
        await warm(door, record)
        asked = [{"x": [[n]]} if n % 3 else {"x": [["bad"]]} for n in range(60)]
        replies = await asyncio.gather(*(door.infer(record, one) for one in asked))
        for n, reply in enumerate(replies):
            if n % 3:
                assert reply.body["result"] == {"y": [[7, n]]}
            else:
                assert (reply.status, reply.code) == (422, "invalid_tensor")

    play(tmp_path, scene, onnx_models.marked(7), passport=LIGHT)


def test_clients_that_vanish_mid_batch_take_nobody_with_them(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        (record,) = door.records
        await warm(door, record)
        for turn in range(20):
            vanishing = [await door.connect() for _ in range(20)]
            for _, writer in vanishing:
                writer.write(door.request(record, {"x": [[turn]]}))
            staying = asyncio.gather(*(door.infer(record, {"x": [[n]]}) for n in range(10)))
            await asyncio.sleep(0)
            for _, writer in vanishing:
                writer.transport.abort()
            assert answers(await staying) == [[[7, n]] for n in range(10)]
        await eventually(lambda: door.host.router.in_flight == 0, what="the counts to be right")
        assert loaded(door, record).in_flight == 0

    play(tmp_path, scene, onnx_models.marked(7), passport=LIGHT)


VANISHING = 200


@pytest.mark.parametrize("passport", [pytest.param(LIGHT, id="light"), pytest.param(HEAVY, id="heavy")])
def test_what_vanished_clients_asked_is_not_run_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passport: Passport
) -> None:
    """The worker is stopped meanwhile, so that none of it has begun."""
    monkeypatch.setattr(
        limits, "MODEL_QUEUE_MAX", 100
    )  # no whole number of batches: the last one has company

    async def scene(door: Door) -> None:
        (record,) = door.records
        await warm(door, record)
        held, router = loaded(door, record), door.host.router
        os.kill(held.worker.pid, signal.SIGSTOP)
        clients = [await door.connect() for _ in range(VANISHING)]
        for _, writer in clients:
            writer.write(door.request(record, {"x": [[1]] * 100}))
        await eventually(lambda: held.in_flight == limits.MODEL_QUEUE_MAX, what="the queue to be full")
        for _, writer in clients:
            writer.transport.abort()
        await eventually(lambda: router.in_flight == 0, what="the host to notice")
        asked = asyncio.create_task(door.infer(record, {"x": [[5]]}))
        await eventually(lambda: router.in_flight == 1, what="the last one to be taken in")
        os.kill(held.worker.pid, signal.SIGCONT)
        reply = await asked
        assert (reply.status, reply.body["result"]) == (200, {"y": [[7, 5]]})
        assert int(reply.headers["x-batch-rows"]) == 1
        await eventually(lambda: not held.worker.pending, what="the worker to have spoken of all")
        assert held.in_flight == 0

    play(tmp_path, scene, onnx_models.marked(7), passport=passport)


def test_what_is_late_is_dropped_and_what_runs_is_left_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KILL_GRACE_SECONDS", 60.0)

    async def scene(door: Door) -> None:
        (record,) = door.records
        await warm(door, record)
        held, ticket = loaded(door, record), door.ticket(record, seconds=0.3)
        late = [asyncio.create_task(door.infer(record, {"x": [n]}, ticket=ticket)) for n in range(9)]
        assert [(await one).status for one in late] == [504] * 9
        await eventually(
            lambda: len(held.worker.pending) == 1 and held.worker.beacon.lit(),
            what="those that had not begun to be dropped while the first one runs",
        )
        assert held.in_flight == 0
        await eventually(lambda: not held.worker.pending, what="the run to end")
        assert (await door.infer(record, {"x": [3]})).body["result"] == {"y": [3]}
        assert door.events("worker_ended") == []

    play(tmp_path, scene, onnx_models.slow(2_000_000), passport=HEAVY)


def test_f69_a_tenant_that_floods_is_shed_and_another_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MODEL_QUEUE_MAX", 4)

    async def scene(door: Door) -> None:
        flooding, other = door.records
        await warm(door, flooding)
        await warm(door, other)
        flood = asyncio.gather(*(door.infer(flooding, {"x": [1]}) for _ in range(40)))
        assert (await door.infer(other, {"x": [[1]]})).status == 200
        statuses = [(reply.status, reply.body.get("error", {}).get("code")) for reply in await flood]
        assert set(statuses) == {(200, None), (503, "overloaded")}

    play(tmp_path, scene, onnx_models.slow(200_000), onnx_models.marked(7), tenants=["me", "neighbour"])


@pytest.mark.parametrize(
    ("gain", "certificate", "expected"),
    [
        pytest.param(2.0, Certificate(True, "shown"), (16, "shown"), id="proved, and pays"),
        pytest.param(1.1, Certificate(True, "shown"), (1, "would not pay"), id="does not pay"),
        pytest.param(2.0, Certificate(False, "row 2 differs"), (1, "row 2 differs"), id="refuted"),
        pytest.param(2.0, None, (1, "no certificate"), id="never tried"),
    ],
)
def test_rows_share_runs_only_where_that_was_proved_and_measured(
    tmp_path: Path, gain: float, certificate: Certificate | None, expected: tuple[int, str]
) -> None:
    """What was found when the version was prepared is all that a host goes by."""

    async def scene(door: Door) -> None:
        (record,) = door.records
        told = msgspec.structs.replace(record, certificate=certificate)
        await warm(door, told)
        report = loaded(door, told).report
        assert report.batch_size_max == expected[0]
        assert expected[1] in report.batching

    passport = msgspec.structs.replace(LIGHT, batch_size_best=16, batch_gain=gain)
    play(tmp_path, scene, onnx_models.marked(7), passport=passport)
