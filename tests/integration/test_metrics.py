"""What an account is shown of what was measured: over the real stores, written down and under way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chalicelib import metricviews
from chalicelib.adapters.mongo import MongoStore
from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import InvalidRequest, NotFound, PermissionDenied
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.latency import Took
from chalicelib.contract.messages import Scope
from chalicelib.contract.metering import (
    MEMORY,
    NOBODY,
    Measures,
    MinuteOfUsage,
    Outcome,
    Usage,
    UsageKey,
    together,
)
from chalicelib.costs import Costs
from chalicelib.metrics import Metrics, MetricsReader
from chalicelib.prices import Prices
from chalicelib.records import Model, UsageKept, Version, VersionState
from chalicelib.usage import Grain, Metering, Question
from infra.local.embedded import EmbeddedServers
from tests.support.metering import make_past
from tests.support.stores import new_database

ALICE = Principal("alice", "mr_…", frozenset({Scope.MODELS_READ}))
MALLORY = Principal("mallory", "mr_…", frozenset({Scope.MODELS_READ}))
OPERATOR = Principal("mallory", "mr_…", frozenset({Scope.MODELS_READ, Scope.OPERATE}))
K1, K2 = UsageKey("alice", "k1", "m1", 1), UsageKey("alice", "k2", "m2", 1)
TOOK = Took(total=2_000, queue=500, run=1_000)
ANSWERED = Outcome(key=K1, status=200, rows=1, took=TOOK)
ONCE = Measures(ANSWERED.usage, {"total43": 1, "queue35": 1, "run39": 1})
REFUSED = Measures(counters={"code:rate_limited": 3})


def times(number: int, measures: Measures = ONCE) -> Measures:
    return together([measures] * number)


class Shown:
    """An account's metrics. `now` may be moved."""

    def __init__(self, store: MongoStore, hot: HotState) -> None:
        self.store = store
        self.hot = hot
        self.now = datetime.now(UTC)
        self.reader = MetricsReader(store=store, hot=hot, now=lambda: self.now)
        self.metering = Metering(store=store, hot=hot, now=lambda: self.now)

    @property
    def minute(self) -> datetime:
        return self.now.replace(second=0, microsecond=0)

    def add(self, at: datetime, measures: Measures = ONCE, *, key: UsageKey = K1) -> None:
        """It is written down."""
        minute = MinuteOfUsage(int(at.timestamp()) // 60, key.tenant, b"made", {key: measures})
        self.store.add_usage([minute])

    def metrics(self, by: Grain = Grain.MINUTE, *, who: Principal = ALICE, **asked: Any) -> Metrics:
        return self.reader.read(who, Question(by=by, **asked))

    def sums(self, by: Grain, **asked: Any) -> Mapping[datetime, int]:
        """Requests of each point."""
        return {at: one.usage.requests for at, one in self.metrics(by, **asked).points}


@pytest.fixture
def shown(servers: EmbeddedServers, hot: HotState) -> Shown:
    store = MongoStore(servers.connections.mongo_stack_url, database=new_database())
    store.create_indexes()
    return Shown(store, hot)


def test_metrics_are_shown_by_time_model_and_key(shown: Shown) -> None:
    last, before = shown.minute - timedelta(minutes=1), shown.minute - timedelta(minutes=59)
    shown.add(last)
    shown.add(last, times(2), key=K2)
    shown.add(last, REFUSED, key=UsageKey("alice", "k2", "m2", 0))
    shown.add(last, Measures(counters={MEMORY: 5_000}), key=UsageKey("alice", NOBODY, "m2", 1))
    shown.add(before)
    shown.add(shown.minute - timedelta(minutes=62))
    metrics = shown.metrics()
    of_k2 = times(2) + REFUSED
    assert metrics.points == ((before, ONCE), (last, ONCE + of_k2))
    assert metrics.models == (("m1", times(2)), ("m2", of_k2))
    assert metrics.keys == (("k1", times(2)), ("k2", of_k2))
    assert metrics.total == times(4) + REFUSED
    assert shown.metrics(model_id="m2").keys == (("k2", of_k2),)
    assert shown.metrics(token_id="k1").models == (("m1", times(2)),)
    assert shown.metrics(who=MALLORY).total == Measures()
    assert shown.metrics(who=OPERATOR, account="alice").total == metrics.total
    with pytest.raises(PermissionDenied):
        shown.metrics(who=MALLORY, account="alice")


def test_a_model_of_somebody_else_has_no_metrics(shown: Shown) -> None:
    shown.store.ensure_model(Model(id="m1", tenant="alice", name="digits", created_at=shown.now))
    shown.add(shown.minute)
    shown.add(shown.minute, key=K2)
    asked = Question(by=Grain.MINUTE, model_id="m1")
    assert shown.reader.of_model(ALICE, asked).total == ONCE
    with pytest.raises(NotFound):
        shown.reader.of_model(MALLORY, asked)


@pytest.mark.parametrize("by", Grain)
def test_what_is_under_way_is_shown_once_however_far_it_is_written_down(
    shown: Shown, raw_redis: Any, by: Grain
) -> None:
    """In the hot state alone, in hours, in days as well, and forgotten there; twice as much meanwhile."""
    seconds = raw_redis.time()[0]
    minute = seconds // 60 - 1
    shown.now = datetime.fromtimestamp(seconds, UTC)
    began = {Grain.MINUTE: "%Y-%m-%d %H:%M", Grain.HOUR: "%Y-%m-%d %H", Grain.DAY: "%Y-%m-%d"}[by]
    at = datetime.fromtimestamp(minute * 60, UTC).strftime(began)

    def requests() -> dict[str, int]:
        return {point.strftime(began): many for point, many in shown.sums(by).items()}

    shown.hot.tell_usage("host", 1, sums={}, outcomes=[ANSWERED])
    make_past(raw_redis, minute)
    assert requests() == {at: 1}
    read = shown.hot.usage_of(minute, "alice")
    dies = shown.store._usage[UsageKept.DAYS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dies, "bulk_write", _die)
        with pytest.raises(KeyboardInterrupt):
            shown.store.add_usage([read])
    assert requests() == {at: 1}
    shown.store.add_usage([read])
    assert requests() == {at: 1}
    shown.hot.tell_usage("host", 2, sums={}, outcomes=[ANSWERED])
    make_past(raw_redis, minute)
    assert requests() == {at: 2}
    assert shown.metrics(by).total.counters == times(2).counters
    shown.metering.roll_up()
    assert shown.hot.usage_under_way("alice", 0) == ()
    assert requests() == {at: 2}
    assert shown.metrics(by).total == times(2)


def _die(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_the_minute_that_runs_is_shown_beside_what_its_hour_has_already(shown: Shown, raw_redis: Any) -> None:
    shown.now = datetime.fromtimestamp(raw_redis.time()[0], UTC)
    shown.add(shown.minute.replace(minute=0))
    shown.hot.tell_usage("host", 1, sums={}, outcomes=[ANSWERED])
    shown.now = datetime.fromtimestamp(raw_redis.time()[0] + 60, UTC)
    for by in (Grain.DAY, Grain.HOUR):
        assert shown.metrics(by).total == times(2), by


@pytest.mark.parametrize("days_ago", [0, 1, 2, 3, 20])
def test_hours_and_days_are_shown_for_as_long_as_they_are_kept(shown: Shown, days_ago: int) -> None:
    """What is settled is read from elsewhere."""
    at = shown.now.replace(hour=7, minute=20, second=0, microsecond=0) - timedelta(days=days_ago)
    shown.now = max(shown.now, at + timedelta(minutes=1))
    shown.add(at)
    shown.add(at + timedelta(hours=1), times(2))
    shown.add(at + timedelta(hours=1), times(3), key=K2)
    shown.metering.roll_up()
    hour = at.replace(minute=0)
    span: dict[str, Any] = {
        "since": (at - timedelta(days=1)).isoformat(),
        "until": (at + timedelta(days=1)).isoformat(),
    }
    assert shown.sums(Grain.HOUR, **span) == {hour: 1, hour + timedelta(hours=1): 5}
    assert shown.sums(Grain.DAY, **span) == {hour.replace(hour=0): 6}
    assert shown.metrics(Grain.DAY, **span).total == shown.metrics(Grain.HOUR, **span).total == times(6)
    assert shown.sums(Grain.HOUR, since=(hour + timedelta(hours=1)).isoformat(), until=span["until"]) == {
        hour + timedelta(hours=1): 5
    }


def test_every_minute_is_shown_for_as_long_as_minutes_are_kept(shown: Shown) -> None:
    """Also those of an hour that began before that."""
    shown.now = shown.now.replace(hour=7, minute=30, second=0, microsecond=0)
    oldest = shown.now - timedelta(seconds=limits.USAGE_MINUTES_SECONDS)
    shown.add(oldest)
    shown.add(oldest + timedelta(minutes=10), times(2))
    shown.metering.roll_up()
    assert shown.sums(Grain.MINUTE, since=oldest.isoformat()) == {
        oldest: 1,
        oldest + timedelta(minutes=10): 2,
    }


def test_what_one_answer_adds_up_and_lists_is_bounded(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(120):
        shown.add(shown.minute, key=UsageKey("alice", f"k{number:03}", "m1", 1))
    shown.add(shown.minute, times(2), key=K1)
    assert shown.metrics().total == times(122)
    monkeypatch.setattr(limits, "METRICS_LINES_MAX", 2)
    assert [name for name, _ in shown.metrics().keys] == ["k1", "k000"]
    monkeypatch.setattr(limits, "METRICS_PERIODS_MAX", 100)
    with pytest.raises(InvalidRequest, match="shorter time"):
        shown.metrics()


def test_periods_of_many_parts_count_as_the_work_that_they_are(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour that was busy in each of its minutes is no matter of one request in it."""
    keys = [UsageKey("alice", f"k{number:03}", "m1", 1) for number in range(110)]
    hour = shown.now.replace(minute=0, second=0, microsecond=0)
    shown.now = hour + timedelta(hours=1)
    shown.store.add_usage(
        [MinuteOfUsage(int(hour.timestamp()) // 60, "alice", b"made", dict.fromkeys(keys, ONCE))]
    )
    monkeypatch.setattr(limits, "METRICS_PERIODS_MAX", 300)
    assert shown.metrics().total == times(110)
    parts = {f"parts.{minute:02}-made": {"requests": 1} for minute in range(60)}
    shown.store._usage[UsageKept.HOURS].update_many({}, {"$set": parts})
    with pytest.raises(InvalidRequest, match="shorter time"):
        shown.metrics()


def test_while_the_hot_state_is_away_what_is_written_down_is_shown(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = HotState.connect("redis://127.0.0.1:9", timeout_seconds=0.1)
    reader = MetricsReader(store=shown.store, hot=away, now=lambda: shown.now)
    shown.add(shown.minute)
    assert reader.read(ALICE, Question(by=Grain.MINUTE)).total == ONCE


def test_metrics_look_as_they_are_declared(shown: Shown) -> None:
    shown.add(shown.minute, times(9) + Measures(Usage(requests=3, errors_platform=3), REFUSED.counters))
    told = metricviews.metrics(shown.metrics())
    assert told.total == told.points[0].measured == told.models[0].measured == told.keys[0].measured
    measured = told.total
    assert (measured.sums.requests, measured.codes) == (12, {"rate_limited": 3})
    assert measured.latency.load is None
    for part, ms in (("total", 2.0), ("queue", 0.5), ("batch", 0.0), ("run", 1.0)):
        shares = getattr(measured.latency, part)
        assert shares.count == 9
        for name in ("mean_ms", "p50_ms", "p90_ms", "p99_ms"):
            assert getattr(shares, name) == pytest.approx(ms, rel=0.1), (part, name)


# Costs.


def version(number: int, size: int, created_at: datetime, **more: Any) -> Version:
    return Version(
        id=f"v{number}",
        model_id="m1",
        tenant="alice",
        number=number,
        created_at=created_at,
        bytes=size,
        sha256="0" * 64,
        framework="onnx",
        staging_key="s",
        object_key=f"o/{number}/model.onnx",
        **{"state": VersionState.READY, **more},
    )


@pytest.fixture
def costs(shown: Shown) -> Callable[..., metricviews.Costs]:
    use_case = Costs(store=shown.store, metrics=shown.reader, prices=Prices(), now=lambda: shown.now)

    def told(who: Principal = ALICE, *, account: str = "", **span: str) -> metricviews.Costs:
        span = {"since": "", "until": "", **span}
        return metricviews.costs(use_case.estimate(who, account=account, **span))

    return told


def test_a_models_cost_is_what_was_counted_times_the_prices(
    shown: Shown, costs: Callable[..., metricviews.Costs]
) -> None:
    """A million requests of 2 ms, two slot hours, three GiB for an hour, and 730 GiB kept for an hour."""
    hour = shown.minute - timedelta(hours=1)
    usage = Usage(requests=1_000_000, compute_us=2 * 3600 * 1_000_000)
    shown.add(hour, Measures(usage, {"total43": 1_000_000}))
    shown.add(hour, Measures(counters={MEMORY: 3 * 2**20 * 3600}), key=UsageKey("alice", NOBODY, "m1", 1))
    shown.add(hour, REFUSED, key=UsageKey("alice", "k1", "", 0))
    shown.store.add_version(version(1, 729 * 2**30, shown.now - timedelta(hours=1)))
    shown.store.add_version(version(2, 2**50, hour, state=VersionState.DELETED))
    told = costs()
    (line,) = told.lines
    prices = told.prices
    assert (line.model_id, line.requests) == ("m1", 1_000_000)
    assert line.parts.requests == pytest.approx(3.70 + 2_000 * prices.function_gib_second, rel=0.01)
    assert line.parts.compute == pytest.approx(2 * 0.2016 / 2 / 4, rel=1e-4)
    assert line.parts.memory == pytest.approx(3 * 0.2016 / 2 / 16, rel=1e-4)
    assert line.parts.storage == pytest.approx(729 / 730 * 0.023, rel=1e-3)
    assert told.total == line.cost == pytest.approx(sum(getattr(line.parts, one) for one in PARTS))
    assert costs(MALLORY).lines == []
    assert costs(OPERATOR, account="alice").lines == told.lines


PARTS = ("requests", "compute", "memory", "storage")


def test_a_host_that_is_all_in_use_is_paid_once(
    shown: Shown, costs: Callable[..., metricviews.Costs]
) -> None:
    prices = Prices()
    full = Usage(requests=1, compute_us=int(prices.host_slots) * 3600 * 1_000_000)
    shown.add(shown.minute, Measures(full))
    held = {MEMORY: int(prices.host_gib) * 2**20 * 3600}
    shown.add(shown.minute, Measures(counters=held), key=UsageKey("alice", NOBODY, "m1", 1))
    (line,) = costs().lines
    assert line.parts.compute + line.parts.memory == pytest.approx(prices.host_hour)


def test_files_are_paid_for_from_when_they_came(
    shown: Shown, costs: Callable[..., metricviews.Costs]
) -> None:
    shown.store.add_version(version(1, 2**40, shown.now - timedelta(days=4)))
    day = 2**40 / 2**30 * 0.023 * 24 / 730
    parts = [line.parts.storage for line in costs().lines]
    assert parts == [pytest.approx(4 * day, rel=1e-3)]
    until = (shown.now - timedelta(days=10)).isoformat()
    assert sum(line.cost for line in costs(until=until).lines) == 0
