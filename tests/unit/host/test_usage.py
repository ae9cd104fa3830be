"""What a host counts at its own door, and tells."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.latency import Phase, Took, by_phase, latencies
from chalicelib.contract.metering import (
    MEMORY,
    NOBODY,
    Measures,
    Outcome,
    Refused,
    Usage,
    UsageKey,
    together,
)
from host_container.usage import Batch, Meter
from tests.support.door import warm
from tests.support.hosts import Reply
from tests.unit.host.test_own_door import TOKEN, Caller, play

KEY = UsageKey("alice", "k1", "m1", 1)
TOOK = Took(total=900, run=300)


def answered(request_id: str = "", *, key: UsageKey = KEY) -> Outcome:
    return Outcome(key=key, status=200, request_id=request_id, rows=2, took=TOOK)


def taken(meter: Meter) -> list[Batch]:
    batches = []
    while (batch := meter.batch()) is not None:
        batches.append(batch)
        meter.told(batch)
    return batches


def measured(batches: list[Batch]) -> Measures:
    sums = [measures for batch in batches for measures in batch.sums.values()]
    return together([*sums, *(measures(one) for batch in batches for one in batch.outcomes)])


def measures(outcome: Outcome) -> Measures:
    return Measures(outcome.usage, {outcome.counter: 1} if outcome.counter else {})


def counted(batches: list[Batch]) -> Usage:
    return measured(batches).usage


def test_f41_a_batch_is_told_under_its_number_until_it_is_known_to_be_counted() -> None:
    meter = Meter("host")
    meter.count(answered())
    first = meter.batch()
    meter.count(answered())
    assert meter.batch() is first
    assert first is not None
    meter.told(first)
    second = meter.batch()
    assert second is not None
    assert (first.number, second.number) == (1, 2)
    assert first.sums == second.sums == {KEY: measures(answered())}


def test_requests_with_an_id_of_their_caller_are_told_one_by_one() -> None:
    meter = Meter("host")
    for request_id in ("", "", "a", "b"):
        meter.count(answered(request_id))
    (batch,) = taken(meter)
    assert batch.sums == {KEY: Measures(answered().usage + answered().usage, {TOOK.counter: 2})}
    assert [outcome.request_id for outcome in batch.outcomes] == ["a", "b"]


def test_what_is_kept_and_told_at_once_is_bounded_and_nothing_that_fits_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"USAGE_TOLD_MAX": 3, "USAGE_KEPT_MAX": 4, "USAGE_SUMS_MAX": 2}.items():
        monkeypatch.setattr(limits, name, value)
    meter = Meter("host")
    for number in range(10):
        meter.count(answered(f"id-{number}"))
    batches = taken(meter)
    assert counted(batches) == Usage(requests=10, rows=20)
    assert all(len(batch.sums) + len(batch.outcomes) <= 3 for batch in batches)
    for number in range(5):
        meter.count(answered(key=UsageKey("alice", f"k{number}", "m1", 1)))
    assert counted(taken(meter)) == Usage(requests=2, rows=4)
    monkeypatch.setattr(limits, "USAGE_COUNTERS_MAX", 2)
    for code in ("rate_limited", "no_capacity", "overloaded", "rate_limited"):
        meter.refuse(Refused(KEY, code))
    assert measured(taken(meter)).codes == {"rate_limited": 2, "no_capacity": 1}


def used(caller: Caller) -> Usage:
    return counted(taken(caller.door.host.front.door.meter))


def test_a_door_counts_what_its_callers_use_and_not_what_a_gateway_dispatched(tmp_path: Path) -> None:
    async def scene(caller: Caller) -> None:
        replies: list[Reply] = [await caller.infer(caller.body(inputs={"x": [[1], [2], [3]]}))]
        cold = used(caller)
        assert (cold.requests, cold.rows, cold.cold_loads) == (1, 3, 1)
        assert cold.compute_us > 0
        assert cold.bytes_in == len(caller.body(inputs={"x": [[1], [2], [3]]}))
        assert cold.bytes_out == len(_bytes(replies[0]))
        await caller.infer(X_Request_Id="mine")
        await caller.infer(caller.body(inputs={"x": "wrong"}))
        await caller.infer_v2(json.dumps({"inputs": []}).encode())
        warm_use = used(caller)
        assert (warm_use.requests, warm_use.rows, warm_use.cold_loads) == (3, 1, 0)
        assert warm_use.errors_caller == 2
        await caller.infer(caller.body(token="mr_no"))
        await caller.send("GET", f"/v2/models/{caller.record.model_id}", Authorization="Bearer none")
        await caller.door.infer(caller.record, {"x": [[1]]})
        assert used(caller) == Usage(), "nobody was recognised, and a gateway counts by itself"

    play(tmp_path, scene)


def test_a_door_counts_how_long_it_took_and_how_requests_failed(tmp_path: Path) -> None:
    async def scene(caller: Caller) -> None:
        for _ in range(3):
            await caller.infer()
        counters = measured(taken(caller.door.host.front.door.meter)).counters
        times: Counter[str] = Counter()
        for whole, many in counters.items():
            times.update(dict.fromkeys(by_phase(whole), many))
        found = latencies(times)
        assert {phase: one.count for phase, one in found.items()} == {
            phase: 1 if phase is Phase.LOAD else 3 for phase in Phase
        }
        assert found[Phase.TOTAL].p99_ms >= found[Phase.LOAD].p99_ms > found[Phase.RUN].p99_ms > 0
        await caller.infer(caller.body(inputs={"x": "wrong"}))
        model_id = caller.record.model_id
        await caller.send(
            "POST", f"/v2/models/{model_id}/versions/9/infer", b"{}", Authorization=f"Bearer {TOKEN}"
        )
        await caller.infer(caller.body(token="mr_no"))
        (batch,) = taken(caller.door.host.front.door.meter)
        run, refused = UsageKey("tenant", "t1", model_id, 1), UsageKey("tenant", "t1", model_id, 0)
        assert {key: one.counters for key, one in batch.sums.items()} == {
            run: {"code:invalid_tensor": 1},
            refused: {"code:not_found": 1},
        }
        assert batch.sums[refused].usage == Usage()

    play(tmp_path, scene)


def test_memory_is_counted_for_as_long_as_a_version_has_it(tmp_path: Path) -> None:
    async def scene(caller: Caller) -> None:
        await warm(caller.door, caller.record)
        agent, meter = caller.door.host.agent, caller.door.host.front.door.meter
        now = 1_000.0
        agent.clock = lambda: now
        ((record, size),) = agent.replicas.held()
        assert record == caller.record
        assert size >= record.bytes_in_all
        agent._count_memory()
        now += limits.MEMORY_COUNTED_SECONDS - 1
        agent._count_memory()
        assert taken(meter) == []
        now += 31
        agent._count_memory()
        (batch,) = taken(meter)
        key = UsageKey(record.tenant, NOBODY, record.model_id, record.number)
        seconds = limits.MEMORY_COUNTED_SECONDS + 30
        assert batch.sums == {key: Measures(counters={MEMORY: round(size / 1024 * seconds)})}

    play(tmp_path, scene)


def _bytes(reply: Reply) -> bytes:
    return json.dumps(reply.body, separators=(",", ":")).encode()


def test_f41_what_was_not_heard_to_be_counted_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(caller: Caller) -> None:
        told: list[tuple[str, int, Any]] = []

        def tell(source: str, number: int, *, sums: Any, outcomes: Any) -> bool:
            told.append((source, number, sums))
            if len(told) == 1:
                raise DependencyFailed("it was counted, and the reply is lost")
            return len(told) > 2

        agent = caller.door.host.agent
        monkeypatch.setattr(agent.hot, "tell_usage", tell)
        await warm(caller.door, caller.record)
        await caller.infer()
        with pytest.raises(DependencyFailed):
            await agent._tell_usage()
        await caller.infer()
        await agent._tell_usage()
        assert [(number, len(sums)) for _, number, sums in told] == [(1, 1), (1, 1), (2, 1)]
        assert told[0] == told[1]

    play(tmp_path, scene)
