"""Usage from a gateway's dispatch to what an account is shown, over the real stores; hosts are played."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from chalicelib.adapters.mongo import MongoStore
from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import (
    DependencyFailed,
    InvalidRequest,
    NoCapacity,
    NotFound,
    PermissionDenied,
    RateLimited,
)
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.latency import Phase, latencies
from chalicelib.contract.limiting import AccountLimits
from chalicelib.contract.messages import Heartbeat, Scope
from chalicelib.contract.metering import Measures, MinuteOfUsage, Usage, UsageKey
from chalicelib.ports import HostReply
from chalicelib.routing import InferenceCall
from chalicelib.usage import Grain, Metering, Question
from chalicelib.wiring import ControlPlane
from infra.local.embedded import EmbeddedServers
from tests.support.metering import make_past
from tests.support.played import INPUTS, Play, World, goes_away, says
from tests.support.stores import new_database
from tests.support.waiting import wait_for

NOW = datetime(2026, 3, 4, 5, 30, tzinfo=UTC)
ALICE = Principal("alice", "mr_…", frozenset({Scope.MODELS_READ}))
MALLORY = Principal("mallory", "mr_…", frozenset({Scope.MODELS_READ}))
ONCE = Usage(requests=1, rows=2, compute_us=500, bytes_in=10, bytes_out=20)
TIMINGS = "queue;dur=0.1, load;dur=0.000, batch;dur=0.1, run;dur=4.000"


def ran(*, load_ms: str = "0.000") -> Play:
    """Two rows of a run that eight shared."""
    headers = {"x-rows": "2", "x-batch-rows": "8", "server-timing": TIMINGS.replace("0.000", load_ms)}
    return lambda _: HostReply(200, b'{"result": {}}', headers)


class Counted:
    """A gateway's requests, and what was counted of them."""

    def __init__(self, world: World, raw_redis: Any) -> None:
        self.world = world
        self._redis = raw_redis

    def infer(self, request_id: str = "", **more: Any) -> None:
        whole = {"token": self.world.issued.plain, "model": self.world.version.model_id}
        self.world.router.infer(
            InferenceCall(
                body=json.dumps({**whole, "inputs": json.loads(INPUTS), **more}).encode(),
                authorization=None,
                request_id=request_id or "minted",
                deadline_seconds=25,
                callers_id=bool(request_id),
            )
        )

    def usage(self, *, requests: int) -> Usage:
        """Of the model's token, once so many requests are counted: nobody waits for that."""
        return self.measures(requests=requests).usage

    def measures(self, *, requests: int) -> Measures:
        """As `usage`."""

        def found() -> Measures | None:
            measures = self.counted().get(self.key, Measures())
            return measures if measures.usage.requests >= requests else None

        return wait_for(found, what=f"{requests} requests to be counted")

    def counted(self) -> Mapping[UsageKey, Measures]:
        """Of the account, as if its minute were over."""
        minute = self._redis.time()[0] // 60 - 1
        make_past(self._redis, minute)
        return self.world.plane.hot.usage_of(minute, self.key.tenant).counted

    @property
    def key(self) -> UsageKey:
        version = self.world.version
        return UsageKey(version.tenant, self.world.issued.token.id, version.model_id, version.number)


@pytest.fixture
def counted(plane: ControlPlane, alice: Principal, raw_redis: Any) -> Counted:
    return Counted(World(plane, alice), raw_redis)


def test_what_a_host_ran_is_counted_with_its_part_of_the_run(counted: Counted) -> None:
    counted.world.add_host("a", ran())
    counted.infer()
    usage = counted.usage(requests=1)
    assert usage.bytes_in > len(INPUTS)
    assert usage == Usage(
        requests=1, rows=2, compute_us=1_000, bytes_in=usage.bytes_in, bytes_out=len(b'{"result": {}}')
    )


def test_a_request_that_waited_for_a_load_is_counted_as_cold_with_where_its_time_went(
    counted: Counted,
) -> None:
    counted.world.add_host("a", ran(load_ms="812.500"))
    counted.infer()
    measures = counted.measures(requests=1)
    assert measures.usage.cold_loads == 1
    found = latencies(measures.counters)
    assert {phase: one.count for phase, one in found.items()} == dict.fromkeys(Phase, 1)
    assert found[Phase.LOAD].p50_ms == pytest.approx(812.5, rel=0.1)
    assert found[Phase.RUN].p50_ms == pytest.approx(4, rel=0.1)
    assert found[Phase.TOTAL].p50_ms > 0
    assert measures.codes == {}


@pytest.mark.parametrize(
    ("play", "fault", "code"),
    [
        (says(422, "invalid_tensor"), "errors_caller", "invalid_tensor"),
        (says(500, "inference_failed"), "errors_model", "inference_failed"),
        (says(504, "what is this?"), "errors_platform", "internal"),
    ],
)
def test_errors_are_counted_by_code_and_by_whose_fault_they_are(
    counted: Counted, play: Play, fault: str, code: str
) -> None:
    counted.world.add_host("a", play)
    counted.infer()
    measures = counted.measures(requests=1)
    usage = measures.usage
    assert (measures.codes, latencies(measures.counters)) == ({code: 1}, {})
    assert {name: getattr(usage, name) for name in ("errors_caller", "errors_model", "errors_platform")} == {
        "errors_caller": 0,
        "errors_model": 0,
        "errors_platform": 0,
        fault: 1,
    }


def test_f41_a_request_whose_answer_was_lost_and_that_another_host_answered_is_counted_once(
    counted: Counted,
) -> None:
    """The first host ran it; only its answer did not arrive."""
    plays: list[Play] = [goes_away, ran()]

    def play(host: Heartbeat) -> HostReply:
        return plays.pop(0)(host)

    for name in "ab":
        counted.world.add_host(name, play)
    counted.infer()
    assert plays == []
    assert counted.usage(requests=1).requests == 1
    assert counted.usage(requests=1).rows == 2


def test_s12_a_request_that_its_caller_sends_again_is_counted_once_and_others_each(counted: Counted) -> None:
    """Also where the platform failed the first time."""
    counted.world.add_host("a", goes_away)
    with pytest.raises(DependencyFailed):
        counted.infer("mine")
    counted.world.add_host("a", ran())
    for request_id in ("mine", "mine", "mine", "", ""):
        counted.infer(request_id)
    usage = counted.usage(requests=3)
    assert (usage.requests, usage.rows, usage.errors_platform) == (3, 6, 1)


def test_what_is_refused_before_any_host_is_asked_is_not_usage_and_counted_by_code(counted: Counted) -> None:
    with pytest.raises(NoCapacity):
        counted.infer()
    counted.world.add_host("a", ran())
    with pytest.raises(NotFound):
        counted.infer(model="00000000-0000-4000-8000-000000000000")
    counted.infer()
    measures = counted.measures(requests=1)
    assert (measures.usage.requests, measures.codes) == (1, {})
    key, others = counted.key, dict(counted.counted())
    del others[key]
    assert others == {
        msgspec.structs.replace(key, version=0): Measures(counters={"code:no_capacity": 1}),
        msgspec.structs.replace(key, version=0, model_id=""): Measures(counters={"code:not_found": 1}),
    }


def test_who_asks_too_often_is_counted_under_the_model_that_was_meant(
    plane: ControlPlane, alice: Principal, raw_redis: Any
) -> None:
    counted = Counted(World(plane, alice, account=AccountLimits.of(1, 256)), raw_redis)
    counted.world.add_host("a", ran())
    refused = 0
    for _ in range(6):
        try:
            counted.infer()
        except RateLimited:
            refused += 1
    assert refused
    of_model = msgspec.structs.replace(counted.key, version=0)
    told = wait_for(lambda: counted.counted().get(of_model), what="refusals to be counted")
    wait_for(lambda: counted.counted()[of_model].codes == {"rate_limited": refused}, what="all of them")
    assert told.usage == Usage()


# What an account is shown.


class Shown:
    """An account's usage, and what it is shown of it."""

    def __init__(self, store: MongoStore, hot: HotState) -> None:
        self.who = ALICE
        self.store = store
        self.metering = Metering(store=store, hot=hot, now=lambda: NOW)

    def add(self, at: datetime, *, key: str = "k1", model: str = "m1", version: int = 1) -> None:
        counted = {UsageKey(self.who.tenant, key, model, version): Measures(ONCE)}
        minute = int(at.timestamp()) // 60
        self.store.add_usage([MinuteOfUsage(minute, self.who.tenant, b"made", counted)])

    def lines(self, by: Grain, *, who: Principal = ALICE, **asked: str) -> list[tuple[str, str, int]]:
        """Time, key and requests."""
        page = self.metering.page(who, Question(by=by, **asked))
        return [(line.at.isoformat()[:16], line.token_id, line.usage.requests) for line in page.lines]


@pytest.fixture
def empty(servers: EmbeddedServers, hot: HotState) -> Shown:
    store = MongoStore(servers.connections.mongo_stack_url, database=new_database())
    store.create_indexes()
    return Shown(store, hot)


@pytest.fixture
def shown(empty: Shown) -> Shown:
    for at, key in (
        ("2026-03-04T05:29", "k1"),
        ("2026-03-04T05:29", "k2"),
        ("2026-03-04T05:10", "k1"),
        ("2026-03-04T04:59", "k1"),
        ("2026-03-03T04:00", "k1"),
        ("2026-02-01T04:00", "k1"),
    ):
        empty.add(datetime.fromisoformat(at).replace(tzinfo=UTC), key=key)
    return empty


def test_usage_is_shown_by_minute_hour_and_day(shown: Shown) -> None:
    assert shown.lines(Grain.MINUTE) == [
        ("2026-03-04T04:59", "k1", 1),
        ("2026-03-04T05:10", "k1", 1),
        ("2026-03-04T05:29", "k1", 1),
        ("2026-03-04T05:29", "k2", 1),
    ]
    assert shown.lines(Grain.HOUR) == [
        ("2026-03-04T04:00", "k1", 1),
        ("2026-03-04T05:00", "k1", 2),
        ("2026-03-04T05:00", "k2", 1),
    ]
    assert shown.lines(Grain.DAY) == [
        ("2026-03-03T00:00", "k1", 1),
        ("2026-03-04T00:00", "k1", 3),
        ("2026-03-04T00:00", "k2", 1),
    ]


@pytest.mark.parametrize(
    ("by", "asked", "expected"),
    [
        (Grain.DAY, {"since": "2026-02-01", "until": "2026-02-02"}, [("2026-02-01T00:00", "k1", 1)]),
        (Grain.DAY, {"token_id": "k2"}, [("2026-03-04T00:00", "k2", 1)]),
        (Grain.DAY, {"model_id": "other"}, []),
        (
            Grain.MINUTE,
            {"since": "2026-03-04T05:00", "until": "2026-03-04T07:29:00+02:00"},
            [("2026-03-04T05:10", "k1", 1)],
        ),
        (
            Grain.MINUTE,
            {"since": "2026-03-03T04:00Z", "until": "2026-03-03T04:00:30Z"},
            [("2026-03-03T04:00", "k1", 1)],
        ),
        (Grain.MINUTE, {"since": "2026-02-01", "until": "2026-03-02"}, []),
    ],
)
def test_a_span_a_model_and_a_key_may_be_asked_for(
    shown: Shown, by: Grain, asked: dict[str, Any], expected: list[tuple[str, str, int]]
) -> None:
    assert shown.lines(by, **asked) == expected


def test_pages_are_bounded_and_follow_each_other(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "USAGE_PAGE", 2)
    first = shown.metering.page(shown.who, Question(by=Grain.HOUR))
    assert len(first.lines) == 2
    assert first.after
    assert shown.lines(Grain.HOUR, after=first.after) == [("2026-03-04T05:00", "k2", 1)]


def test_another_tenant_sees_nothing_and_an_operator_any_account(shown: Shown) -> None:
    operator = Principal("mallory", "mr_…", frozenset({Scope.OPERATE}))
    for after in ("", f"../{shown.who.tenant}/2026", f"{shown.who.tenant}/2026"):
        assert shown.lines(Grain.DAY, who=MALLORY, after=after) == []
    with pytest.raises(PermissionDenied):
        shown.lines(Grain.DAY, who=MALLORY, account=shown.who.tenant)
    assert len(shown.lines(Grain.DAY, who=operator, account=shown.who.tenant)) == 3


@pytest.mark.parametrize(
    "asked",
    [
        {"since": "yesterday"},
        {"until": "2026-13-01"},
        {"since": "2026-03-05", "until": "2026-03-04"},
        pytest.param({"until": "0001-01-01"}, id="nothing is before it"),
        pytest.param({"until": "9999-12-31T23:59:59"}, id="nothing is behind it"),
        pytest.param({"since": "0001-01-01T00:00+05:00"}, id="before the first day in UTC"),
        pytest.param({"until": "9999-12-31T23:59-05:00"}, id="behind the last day in UTC"),
    ],
)
def test_times_that_are_none_are_refused(shown: Shown, asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=r"^(from|to): "):
        shown.lines(Grain.DAY, **asked)


@pytest.mark.parametrize("by", Grain)
def test_any_time_that_a_clock_has_shown_may_be_asked_for(shown: Shown, by: Grain) -> None:
    assert shown.lines(by, since="1970-01-01", until="1970-01-02") == []
    assert shown.lines(by, since="1970-01-01", until="9998-12-31T23:59:59")
