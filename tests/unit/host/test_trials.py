"""Two versions of a model in a host, one of them on trial: what is counted, and what is compared."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pytest

from chalicelib.contract.errors import ModelRocketError
from chalicelib.contract.messages import Counts, Passport, VersionRecord
from host_container import trials
from host_container.admission import Admitted, OnTrial
from host_container.frames import Asked, Form
from host_container.handle import Loaded, WorkerHandle
from host_container.router import Answer
from host_container.tally import Trial
from tests.support import onnx_models
from tests.support.door import Door, open_door, warm
from tests.support.waiting import eventually

TRIAL: Final = 3
SLOW_TURNS: Final = 2_000_000
LIGHT: Final = Passport(load_ms=0.001, run_ms=0.01, memory_bytes=1_000)
ONE: Final = {"x": [[5]]}

Scene = Callable[["Pair"], Awaitable[None]]


class Pair:
    """The active version and the candidate of one model, both loaded, and another model of their tenant."""

    def __init__(self, door: Door, active: VersionRecord, candidate: VersionRecord) -> None:
        self.door = door
        self.active, self.candidate = active, candidate
        self.counted: dict[str, Counts] = {}

    async def ask(
        self,
        record: VersionRecord,
        inputs: Any,
        *,
        beside: VersionRecord | None = None,
        seconds: float = 25,
    ) -> int:
        ticket = self.door.ticket(
            record,
            seconds=seconds,
            trial=TRIAL,
            mirror_version_id=beside.version_id if beside else "",
            drift_tolerance=0.1,
        )
        return (await self.door.infer(record, inputs, ticket=ticket)).status

    def loaded(self, record: VersionRecord) -> Loaded:
        replicas = self.door.host.router.replicas
        found = replicas.hold_now(record.version_id)
        assert found is not None
        replicas.release(found)
        return found

    @property
    def worker(self) -> WorkerHandle:
        """The one they share."""
        return self.loaded(self.active).worker

    def counts(self, record: VersionRecord) -> Counts:
        """All so far."""
        while (taken := self.door.host.agent.tally.take()) is not None:
            trial, sums = taken
            assert trial == Trial(self.active.model_id, TRIAL)
            for version_id, seen in sums.items():
                self.counted[version_id] = _sum(self.counted.get(version_id, Counts()), seen)
        return self.counted.get(record.version_id, Counts())

    async def compared(self, count: int = 1) -> None:
        await eventually(lambda: self.counts(self.candidate).mirrored == count, what="a comparison")


def _sum(one: Counts, other: Counts) -> Counts:
    return Counts(*(sum(pair) for pair in zip(*map(msgspec.structs.astuple, (one, other)), strict=True)))


def without_time(counts: Counts) -> Counts:
    return msgspec.structs.replace(counts, run_us=0, row_us=0)


@asynccontextmanager
async def pair(folder: Path, active: bytes, candidate: bytes, **options: Any) -> AsyncIterator[Pair]:
    async with asyncio.timeout(60), open_door(folder, active, candidate, **options) as door:
        first, second = door.records
        second = msgspec.structs.replace(second, model_id=first.model_id, number=2)
        for record in (first, second):
            await warm(door, record)
        yield Pair(door, first, second)


def play(folder: Path, scene: Scene, active: bytes, candidate: bytes, **options: Any) -> None:
    async def main() -> None:
        async with pair(folder, active, candidate, **options) as versions:
            await scene(versions)

    asyncio.run(main())


def test_what_a_version_runs_and_gets_wrong_is_counted_and_what_callers_get_wrong_is_not(
    tmp_path: Path,
) -> None:
    async def scene(two: Pair) -> None:
        assert [await two.ask(two.active, {"x": [1, 2]}) for _ in range(3)] == [200] * 3
        assert await two.ask(two.candidate, {"x": [1, 2, 3, 4, 5, 6]}) == 200
        assert await two.ask(two.candidate, {"x": [1]}) == 500
        mistakes: list[Any] = [{}, {"x": ["a"]}, []]
        assert [await two.ask(two.candidate, mistake) for mistake in mistakes] == [422, 422, 400]
        assert await two.ask(two.candidate, {"x": [1]}, seconds=-1) == 504
        assert without_time(two.counts(two.active)) == Counts(requests=3)
        assert without_time(two.counts(two.candidate)) == Counts(requests=2, errors=1)
        assert two.counts(two.active).run_us > 0

    play(tmp_path, scene, onnx_models.identity("float32"), onnx_models.reshaping())


def test_without_a_trial_nothing_is_counted(tmp_path: Path) -> None:
    async def scene(two: Pair) -> None:
        assert (await two.door.infer(two.active, ONE)).status == 200
        assert two.door.host.agent.tally.take() is None

    play(tmp_path, scene, onnx_models.marked(1), onnx_models.marked(2))


@pytest.mark.parametrize(
    ("active", "candidate", "inputs", "differing", "errors"),
    [
        pytest.param(onnx_models.marked(1), onnx_models.marked(1.05), ONE, 0, 0, id="agree"),
        pytest.param(onnx_models.marked(1), onnx_models.marked(2), ONE, 1, 0, id="differ"),
        pytest.param(
            onnx_models.identity("float32"), onnx_models.reshaping(), {"x": [1]}, 1, 1, id="one fails"
        ),
    ],
)
def test_a_shadow_is_compared_and_counted_and_the_other_is_not_counted_twice(
    tmp_path: Path, active: bytes, candidate: bytes, inputs: Any, differing: int, errors: int
) -> None:
    async def scene(two: Pair) -> None:
        assert await two.ask(two.active, inputs, beside=two.candidate) == 200
        await two.compared()
        shadow = Counts(requests=1, errors=errors, mirrored=1, differing=differing)
        assert without_time(two.counts(two.candidate)) == shadow
        assert two.counts(two.active).requests == 1
        assert len(two.door.events("differing")) == differing

    play(tmp_path, scene, active, candidate)


def test_a_candidate_that_answers_is_compared_with_the_active_version(tmp_path: Path) -> None:
    async def scene(two: Pair) -> None:
        assert await two.ask(two.candidate, ONE, beside=two.active) == 200
        await two.compared()
        assert without_time(two.counts(two.candidate)) == Counts(requests=1, mirrored=1, differing=1)
        assert two.counts(two.active).requests == 1

    play(tmp_path, scene, onnx_models.marked(1), onnx_models.marked(2))


def test_a_candidate_that_does_not_take_the_inputs_differs(tmp_path: Path) -> None:
    async def scene(two: Pair) -> None:
        assert await two.ask(two.active, ONE, beside=two.candidate) == 200
        await two.compared()
        assert two.counts(two.candidate) == Counts(mirrored=1, differing=1)

    play(tmp_path, scene, onnx_models.marked(1), onnx_models.marked(1, name="z"))


@pytest.mark.parametrize("mark", [1, 2])
def test_binary_requests_are_compared_too(tmp_path: Path, mark: float) -> None:
    async def scene(two: Pair) -> None:
        answers: list[Answer | ModelRocketError] = []
        on_trial = OnTrial(TRIAL, two.candidate.version_id, 0.1)
        admitted = Admitted("r", two.active.tenant, two.active.version_id, 25, two.active, on_trial)
        two.door.host.router.start(admitted, binary(5.0), answers.append)
        await two.compared()
        [answer] = answers
        assert isinstance(answer, Answer) and answer.json_bytes == 0
        assert two.counts(two.candidate).differing == mark - 1

    play(tmp_path, scene, onnx_models.marked(1), onnx_models.marked(mark))


def binary(value: float) -> Asked:
    content = np.array([[value]], np.float32).tobytes()
    tensor = {
        "name": "x",
        "shape": [1, 1],
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(content)},
    }
    header = json.dumps({"inputs": [tensor]}).encode()
    return Asked(header + content, Form.V2, len(header))


def test_nobody_waits_for_a_comparison(tmp_path: Path) -> None:
    async def scene(two: Pair) -> None:
        assert await two.ask(two.active, {"x": [1]}, beside=two.candidate) == 200
        assert two.worker.compares
        assert [await two.ask(two.active, {"x": [1]}) for _ in range(5)] == [200] * 5
        assert two.worker.compares, "the others waited for it"
        assert two.counts(two.candidate) == Counts()
        await two.compared()

    play(tmp_path, scene, onnx_models.identity("float32"), onnx_models.slow(SLOW_TURNS), passport=LIGHT)


def test_a_worker_compares_one_request_at_a_time(tmp_path: Path) -> None:
    async def scene(two: Pair) -> None:
        for _ in range(3):
            assert await two.ask(two.active, {"x": [1]}, beside=two.candidate) == 200
        await two.compared()
        assert not two.worker.compares
        assert without_time(two.counts(two.candidate)) == Counts(requests=1, mirrored=1)

    play(tmp_path, scene, onnx_models.identity("float32"), onnx_models.slow(SLOW_TURNS))


def test_nothing_is_compared_beside_callers_who_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_WAITING_MAX", -1)

    async def scene(two: Pair) -> None:
        assert await two.ask(two.active, ONE, beside=two.candidate) == 200
        assert not two.worker.compares

    play(tmp_path, scene, onnx_models.marked(1), onnx_models.marked(2))


def test_nothing_is_compared_with_a_version_that_is_not_in_memory(tmp_path: Path) -> None:
    async def scene(two: Pair) -> None:
        two.door.host.router.replicas.drop([two.candidate.version_id])
        assert await two.ask(two.active, ONE, beside=two.candidate) == 200
        assert two.counts(two.candidate) == Counts()

    play(tmp_path, scene, onnx_models.marked(1), onnx_models.marked(2))


def test_a_shadow_that_ends_their_worker_costs_no_caller_an_answer(tmp_path: Path) -> None:
    async def scene(two: Pair) -> None:
        assert await two.ask(two.active, {"x": [1]}, beside=two.candidate) == 200
        shadow, handle = two.loaded(two.candidate).slot, two.worker
        await eventually(lambda: shadow in handle.running(), what="the shadow to run")
        callers = [asyncio.create_task(two.ask(two.active, {"x": [n]})) for n in range(2)]
        callers.append(asyncio.create_task(two.ask(two.candidate, {"x": [1]})))
        await eventually(lambda: len(handle.pending) > 1, what="callers to wait")
        os.kill(handle.pid, signal.SIGSEGV)
        assert await asyncio.gather(*callers) == [200] * 3
        [blamed] = two.door.events("blamed")
        assert blamed["version"] == two.candidate.version_id
        assert without_time(two.counts(two.candidate)) == Counts(
            requests=2, errors=1, mirrored=1, differing=1
        )
        assert two.loaded(two.active).worker is not two.loaded(two.candidate).worker
        assert await two.ask(two.active, {"x": [1]}, beside=two.candidate) == 200
        assert two.counts(two.candidate).mirrored == 1, "they are not in one worker any more"

    play(tmp_path, scene, onnx_models.slow(SLOW_TURNS // 10), onnx_models.slow(SLOW_TURNS))


def test_a_shadow_costs_no_caller_an_answer_who_was_interrupted_before(tmp_path: Path) -> None:
    async def scene(two: Pair) -> None:
        before = two.worker
        os.kill(before.pid, signal.SIGSTOP)
        first = asyncio.create_task(two.ask(two.active, {"x": [1]}, beside=two.candidate))
        callers = [asyncio.create_task(two.ask(two.active, {"x": [n]})) for n in range(6)]
        await eventually(lambda: len(before.pending) == 1 + len(callers), what="callers to wait")
        os.kill(before.pid, signal.SIGKILL)
        assert await first == 200
        shadow, handle = two.loaded(two.candidate).slot, two.worker
        await eventually(lambda: shadow in handle.running(), what="the shadow to run")
        assert not all(caller.done() for caller in callers), "nobody is interrupted again"
        os.kill(handle.pid, signal.SIGSEGV)
        assert await asyncio.gather(*callers) == [200] * len(callers)
        assert [blamed["version"] for blamed in two.door.events("blamed")] == [two.candidate.version_id]

    play(tmp_path, scene, onnx_models.slow(SLOW_TURNS // 10), onnx_models.slow(SLOW_TURNS))


def test_a_shadow_that_does_not_end_is_killed_and_blamed(tmp_path: Path) -> None:
    async def scene(two: Pair) -> None:
        assert await two.ask(two.active, {"x": [1]}, beside=two.candidate, seconds=1) == 200
        await two.compared()
        [blamed] = two.door.events("blamed")
        assert (blamed["version"], blamed["quarantined"]) == (two.candidate.version_id, False)
        assert without_time(two.counts(two.candidate)) == Counts(
            requests=1, errors=1, mirrored=1, differing=1
        )
        assert await two.ask(two.active, {"x": [1]}) == 200

    play(tmp_path, scene, onnx_models.identity("float32"), onnx_models.endless())
