"""A dispatch inside the host: found or not, loaded once, within the budget, in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chalicelib.contract import limits
from chalicelib.contract.messages import Passport
from tests.support import onnx_models
from tests.support.door import Door, open_door, warm

Scene = Callable[[Door], Awaitable[None]]
ONE = {"x": [[1]]}


def play(folder: Path, scene: Scene, *models: bytes, **options: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), open_door(folder, *models, **options) as door:
            await scene(door)

    asyncio.run(main())


def test_f63_a_hundred_callers_of_a_cold_model_cause_one_load(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        (record,) = door.records
        replies = await asyncio.gather(*(door.infer(record, {"x": [[n]]}) for n in range(100)))
        assert [reply.body["result"]["y"] for reply in replies] == [[[7, n]] for n in range(100)]
        assert len(door.events("loaded")) == 1

    play(tmp_path, scene, onnx_models.marked(7))


SAMPLES: dict[str, list[Any]] = {"string": ["grün", ""], "bool": [True, False]}


def test_every_dtype_travels_there_and_back(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        for dtype, record in zip(onnx_models.DTYPES, door.records, strict=True):
            values: list[Any] = SAMPLES.get(dtype, [0, 1])
            reply = await door.infer(record, {"modelInput": values})
            assert (dtype, reply.body.get("result")) == (dtype, {"y": values})

    play(tmp_path, scene, *(onnx_models.identity(dtype) for dtype in onnx_models.DTYPES))


def test_f67_many_models_take_turns_within_the_budget_and_answer_as_themselves(tmp_path: Path) -> None:
    models = [onnx_models.marked(mark, padding_bytes=limits.MIB) for mark in range(6)]

    async def scene(door: Door) -> None:
        replicas = door.host.router.replicas
        for turn in range(3):
            for mark, record in enumerate(door.records):
                reply = await door.infer(record, {"x": [[turn]]})
                assert reply.body["result"] == {"y": [[mark, turn]]}
                assert replicas.bytes_used <= replicas.bytes_max
                assert replicas.ready <= 3
        assert door.events("evicted")

    play(tmp_path, scene, *models, memory_bytes_max=int(3.5 * limits.MIB))


def test_s7_models_in_use_are_never_evicted_under_pressure(tmp_path: Path) -> None:
    models = [onnx_models.marked(mark, padding_bytes=limits.MIB) for mark in range(6)]

    async def scene(door: Door) -> None:
        async def ask(mark: int, turn: int) -> bool:
            reply = await door.infer(door.records[mark], {"x": [[turn]]})
            if reply.status == 503:
                assert reply.code == "no_capacity"
                return False
            assert reply.body["result"] == {"y": [[mark, turn]]}
            return True

        answered = [
            await asyncio.gather(*(ask(mark, turn) for mark in range(6) for _ in range(5)))
            for turn in range(5)
        ]
        assert all(any(turn) for turn in answered)
        assert door.events("crash") == []

    play(tmp_path, scene, *models, memory_bytes_max=int(3.5 * limits.MIB))


def test_f67_a_model_larger_than_the_host_is_refused_with_numbers_and_evicts_nothing(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        small, large = door.records
        await warm(door, small)
        reply = await door.infer(large, ONE)
        assert (reply.status, reply.code) == (503, "no_capacity")
        assert "4.0 MiB, more than the 2.0 MiB" in reply.body["error"]["message"]
        assert int(reply.headers["Retry-After"]) >= 1
        assert door.events("evicted") == []

    models = onnx_models.marked(1), onnx_models.marked(2, padding_bytes=4 * limits.MIB)
    play(tmp_path, scene, *models, memory_bytes_max=2 * limits.MIB)


def test_a_cold_model_that_takes_too_long_says_when_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COLD_WAIT_SECONDS_MAX", 0.0)

    async def scene(door: Door) -> None:
        (record,) = door.records
        reply = await door.infer(record, ONE)
        assert (reply.status, reply.code, reply.body["error"]["retryable"]) == (503, "model_loading", True)
        assert int(reply.headers["Retry-After"]) == 10  # 9 s to load, and a moment to fetch it
        while (await door.infer(record, ONE)).status != 200:
            await asyncio.sleep(0.01)

    passport = Passport(load_ms=9_000, run_ms=1, memory_bytes=1)
    play(tmp_path, scene, onnx_models.marked(7), passport=passport)


REFUSALS = [
    pytest.param({"tenant": "other"}, 404, "not_found", id="another tenant's"),
    pytest.param({"version_id": "unknown"}, 503, "dependency", id="unknown while the hot state is away"),
    pytest.param({"boot_id": "before"}, 421, "not_me", id="f37 for another process"),
    pytest.param({"seconds": -1}, 504, "deadline_exceeded", id="too late"),
]


@pytest.mark.parametrize(("changes", "status", "code"), REFUSALS)
def test_tickets_that_are_good_for_something_else(
    tmp_path: Path, changes: dict[str, Any], status: int, code: str
) -> None:
    async def scene(door: Door) -> None:
        (record,) = door.records
        reply = await door.infer(record, ONE, ticket=door.ticket(record, **{"request_id": "r"} | changes))
        assert (reply.status, reply.code) == (status, code)
        assert reply.body["error"]["retryable"] is (status in (421, 503, 504))

    play(tmp_path, scene, onnx_models.marked(7))


@pytest.mark.parametrize(
    ("inputs", "status", "code"),
    [
        pytest.param({}, 422, "invalid_tensor", id="missing input"),
        pytest.param({"x": [["a"]]}, 422, "invalid_tensor", id="wrong dtype"),
        pytest.param([], 400, "invalid_request", id="no object"),
    ],
)
def test_bad_inputs_are_the_callers(tmp_path: Path, inputs: Any, status: int, code: str) -> None:
    async def scene(door: Door) -> None:
        reply = await door.infer(door.records[0], inputs)
        assert (reply.status, reply.code, reply.body["error"]["retryable"]) == (status, code, False)

    play(tmp_path, scene, onnx_models.marked(7))


def test_f22_a_file_that_is_not_what_was_uploaded_is_never_served(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        (record,) = door.records
        path = next((tmp_path / "cache" / "versions").rglob("*.onnx"))
        path.write_bytes(onnx_models.marked(666))
        reply = await door.infer(record, ONE)
        assert (reply.status, reply.code) == (503, "dependency")
        assert not path.exists()

    play(tmp_path, scene, onnx_models.marked(7))


def test_a_load_that_failed_is_not_tried_again_at_once(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        (record,) = door.records
        next((tmp_path / "cache" / "versions").rglob("*.onnx")).write_bytes(b"changed")
        replies = [await door.infer(record, ONE) for _ in range(5)]
        assert {reply.code for reply in replies} == {"dependency"}
        assert len(door.events("load_failed")) == 1

    play(tmp_path, scene, onnx_models.marked(7))


def test_the_answer_that_comes_after_the_deadline_is_not_given(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        (record,) = door.records
        await warm(door, record)
        reply = await door.infer(record, {"x": [1]}, ticket=door.ticket(record, seconds=0.3))
        assert (reply.status, reply.code) == (504, "deadline_exceeded")

    play(tmp_path, scene, onnx_models.slow(5_000_000))


def test_a_full_host_sheds_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HOST_QUEUE_MAX", 4)

    async def scene(door: Door) -> None:
        (record,) = door.records
        replies = await asyncio.gather(*(door.infer(record, {"x": [1]}) for _ in range(12)))
        shed = [reply for reply in replies if reply.status != 200]
        assert shed and {(reply.status, reply.code) for reply in shed} == {(503, "overloaded")}
        assert len(replies) - len(shed) >= 4
        assert all("Retry-After" in reply.headers for reply in shed)

    play(tmp_path, scene, onnx_models.slow(100_000))


def test_a_closed_host_sends_callers_elsewhere(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        door.host.router.closed = True
        reply = await door.infer(door.records[0], ONE)
        assert (reply.status, reply.code, reply.headers["connection"]) == (503, "draining", "close")

    play(tmp_path, scene, onnx_models.marked(7))


def test_what_is_assigned_is_not_evicted_for_what_else_is(tmp_path: Path) -> None:
    models = [onnx_models.marked(mark, padding_bytes=limits.MIB) for mark in range(4)]

    async def scene(door: Door) -> None:
        replicas = door.host.router.replicas
        await warm(door, door.records[0])
        replicas.assigned(record.version_id for record in door.records)
        await replicas.prefetch()
        assert replicas.ready == 2
        assert door.events("evicted") == []

    play(tmp_path, scene, *models, memory_bytes_max=int(2.5 * limits.MIB))


def test_replacing_a_ticket_field_breaks_its_signature(tmp_path: Path) -> None:
    async def scene(door: Door) -> None:
        (record,) = door.records
        ticket = door.ticket(record).replace("tenant", "victim")
        assert (await door.infer(record, ONE, ticket=ticket)).status == 401

    play(tmp_path, scene, onnx_models.marked(7))
