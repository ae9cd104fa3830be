"""What counting must do: once, whatever is repeated, late, or killed halfway."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chalicelib.adapters.mongo import MongoStore
from chalicelib.contract import limits
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.latency import Took
from chalicelib.contract.metering import Measures, MinuteOfUsage, Outcome, Usage, UsageKey, together
from chalicelib.records import UsageKept, UsagePeriod, UsageQuery
from chalicelib.usage import Metering
from infra.local.embedded import EmbeddedServers
from tests.contract.test_store import token
from tests.support.metering import make_past
from tests.support.stores import new_database
from tests.support.waiting import wait_for

KEY = UsageKey("alice", "key-1", "m1", 1)
OTHER = UsageKey("alice", "key-2", "m1", 2)
NOW = datetime.now(UTC).replace(second=0, microsecond=0)
MINUTE = int(NOW.timestamp()) // 60 - 2
LATE_IN_A_MINUTE = 57
AT = datetime.fromtimestamp(MINUTE * 60, UTC)


class Killed(BaseException):
    """The process ends here."""


TOOK = Took(total=2_000, queue=50, batch=200, run=1_000)


def answered(key: UsageKey = KEY, *, request_id: str = "", status: int = 200) -> Outcome:
    good = {"rows": 4, "compute_us": 900, "bytes_in": 100, "bytes_out": 50, "took": TOOK}
    bad = {"code": {422: "invalid_tensor", 500: "inference_failed"}.get(status, "no_capacity")}
    return Outcome(key=key, status=status, request_id=request_id, **(good if status < 400 else bad))


ONCE = answered().usage
ANSWERED = Measures(ONCE, {"total43": 1, "batch30": 1, "run39": 1})


def times(number: int, measures: Measures) -> Measures:
    return together([measures] * number)


class Teller:
    """A host that tells of one batch after the other."""

    def __init__(self, hot: HotState, source: str = "host-1") -> None:
        self._hot = hot
        self._source = source
        self._number = 0

    def tell(self, *outcomes: Outcome, number: int | None = None) -> bool:
        self._number = number or self._number + 1
        return self._hot.tell_usage(self._source, self._number, sums={}, outcomes=outcomes)


@pytest.fixture
def teller(hot: HotState) -> Teller:
    return Teller(hot)


@pytest.fixture
def store(servers: EmbeddedServers) -> MongoStore:
    store = MongoStore(servers.connections.mongo_stack_url, database=new_database())
    store.create_indexes()
    return store


@pytest.fixture
def metering(store: MongoStore, hot: HotState) -> Metering:
    return Metering(store=store, hot=hot, now=lambda: NOW)


def kept(store: MongoStore, tenant: str = "alice") -> tuple[Sequence[UsagePeriod], Sequence[UsagePeriod]]:
    day = AT.replace(hour=0, minute=0)
    since, until = day - timedelta(days=1), day + timedelta(days=2)
    hours, days = (UsageQuery(kept=kept, tenant=tenant, since=since, until=until) for kept in UsageKept)
    return store.usage(hours, after="", limit=100), store.usage(days, after="", limit=100)


def totals(periods: Sequence[UsagePeriod]) -> dict[str, Usage]:
    return {period.token_id: period.total for period in periods}


def test_a_minute_that_is_over_is_added_up_by_hour_and_day_and_forgotten(
    teller: Teller, metering: Metering, store: MongoStore, raw_redis: Any
) -> None:
    wait_for(lambda: raw_redis.time()[0] % 60 < LATE_IN_A_MINUTE, what="another minute")
    teller.tell(answered(), answered(OTHER, status=500), answered(OTHER, status=422))
    assert metering.roll_up() == 0, "a minute that runs is not over"
    make_past(raw_redis, MINUTE)
    assert metering.roll_up() == 1
    expected = {"key-1": ONCE, "key-2": Usage(requests=2, errors_caller=1, errors_model=1)}
    hours, days = kept(store)
    assert totals(hours) == totals(days) == expected
    assert {(hour.at, day.at) for hour, day in zip(hours, days, strict=True)} == {
        (AT.replace(minute=0), AT.replace(hour=0, minute=0))
    }
    assert metering.roll_up() == 0
    assert raw_redis.keys("mr:usage:[0-9m]*") == []
    assert kept(store, "mallory") == ((), ())


def test_sums_and_single_requests_add_up_to_the_same(hot: HotState, raw_redis: Any) -> None:
    twice = {KEY: Measures(ONCE + ONCE, {TOOK.counter: 2})}
    hot.tell_usage("host-1", 1, sums=twice, outcomes=[answered(), answered(request_id="a")])
    make_past(raw_redis, MINUTE)
    assert hot.usage_of(MINUTE, "alice").counted == {KEY: times(4, ANSWERED)}


def test_s12_a_request_that_comes_again_under_its_id_is_counted_once(
    teller: Teller, hot: HotState, raw_redis: Any
) -> None:
    other_door = Teller(hot, "host-2")
    teller.tell(answered(request_id="again"), answered(request_id="again"), answered(request_id="other"))
    other_door.tell(answered(request_id="again"))
    other_account = UsageKey("mallory", "key-9", "m9", 1)
    other_door.tell(answered(other_account, request_id="again"))
    make_past(raw_redis, MINUTE)
    assert hot.usage_of(MINUTE, "alice").counted == {KEY: times(2, ANSWERED)}
    assert hot.usage_of(MINUTE, "mallory").counted == {other_account: ANSWERED}
    assert 0 < raw_redis.ttl("mr:usage:by:alice/again") <= limits.USAGE_ID_SECONDS


def test_s12_what_the_platform_failed_first_is_one_request_with_the_rows_of_the_try_that_came_through(
    teller: Teller, hot: HotState, raw_redis: Any
) -> None:
    for status in (503, 504, 200, 200, 503):
        teller.tell(answered(request_id="retried", status=status))
    make_past(raw_redis, MINUTE)
    usage = Usage(requests=1, errors_platform=1, rows=4, compute_us=900, bytes_in=100, bytes_out=50)
    counters = {**ANSWERED.counters, "code:no_capacity": 1}
    assert hot.usage_of(MINUTE, "alice").counted == {KEY: Measures(usage, counters)}


def test_f41_a_batch_whose_reply_was_lost_is_counted_once(
    teller: Teller, hot: HotState, raw_redis: Any
) -> None:
    assert teller.tell(answered(), answered(request_id="a"), number=1)
    assert not teller.tell(answered(), answered(request_id="a"), number=1), "told again, for lack of a reply"
    assert teller.tell(answered(), number=2)
    assert Teller(hot, "host-2").tell(answered(), number=1), "another host has numbers of its own"
    make_past(raw_redis, MINUTE)
    assert hot.usage_of(MINUTE, "alice").counted == {KEY: times(4, ANSWERED)}


@pytest.mark.parametrize("where", ["add_usage", "bulk_write", "mark_used"])
def test_s12_a_roll_up_that_dies_halfway_is_made_up_for(
    where: str,
    teller: Teller,
    metering: Metering,
    store: MongoStore,
    raw_redis: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the truth has it, between hours and days, and before the hot state forgets."""
    teller.tell(answered(), answered(OTHER))
    make_past(raw_redis, MINUTE)

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    collection = store._usage[UsageKept.DAYS]
    with monkeypatch.context() as patch:
        patch.setattr(collection if where == "bulk_write" else store, where, die)
        with pytest.raises(Killed):
            metering.roll_up()
    metering.roll_up()
    metering.roll_up()
    hours, days = kept(store)
    assert totals(hours) == totals(days) == {"key-1": ONCE, "key-2": ONCE}


def test_s12_passes_that_overlap_or_read_only_a_part_change_nothing(
    teller: Teller, metering: Metering, store: MongoStore, hot: HotState, raw_redis: Any
) -> None:
    teller.tell(*(answered(UsageKey("alice", f"key-{number}", "m1", 1)) for number in range(50)))
    make_past(raw_redis, MINUTE)
    minute = hot.usage_of(MINUTE, "alice")
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(metering.roll_up) for _ in range(16)]:
            done.result()
    part = MinuteOfUsage(MINUTE, "alice", minute.made, {KEY: Measures(Usage(rows=1))})
    store.add_usage([part])  # it read while another one forgot
    hours, days = kept(store)
    assert totals(hours) == totals(days) == {f"key-{number}": ONCE for number in range(50)}


def test_a_clock_that_stepped_back_begins_the_minute_anew(
    teller: Teller, metering: Metering, store: MongoStore, hot: HotState, raw_redis: Any
) -> None:
    teller.tell(answered())
    make_past(raw_redis, MINUTE)
    read = hot.usage_of(MINUTE, "alice")
    metering.roll_up()
    teller.tell(answered(), answered())
    make_past(raw_redis, MINUTE)
    hot.forget_usage(read)  # late, and of the minute before the step
    metering.roll_up()
    hours, days = kept(store)
    assert totals(hours) == totals(days) == {"key-1": ONCE + ONCE + ONCE}


def test_minutes_and_hours_become_sums_when_their_time_is_over(
    teller: Teller, metering: Metering, store: MongoStore, raw_redis: Any
) -> None:
    teller.tell(answered())
    make_past(raw_redis, MINUTE)
    metering.roll_up()
    (hour,), (day,) = kept(store)
    assert (len(hour.parts), len(day.parts)) == (1, 1)
    late = Metering(
        store=store,
        hot=metering._hot,
        now=lambda: NOW + timedelta(seconds=limits.USAGE_MINUTES_SECONDS + 2 * 86_400),
    )
    late.roll_up()
    late.roll_up()
    (hour,), (day,) = kept(store)
    assert (hour.parts, hour.counters, day.parts, day.counters) == ({}, {}, {}, {})
    assert hour.total == day.total == hour.settled == ONCE
    assert hour.measures == day.measures == ANSWERED


def test_what_one_key_used_is_found_without_looking_at_the_others(store: MongoStore) -> None:
    """Of an account with many keys, one that has used nothing is as quickly told."""
    keys = [UsageKey("alice", f"key-{number}", "m1", 1) for number in range(50)]
    store.add_usage([MinuteOfUsage(MINUTE, "alice", b"made", dict.fromkeys(keys, ANSWERED))])
    database = store._usage[UsageKept.HOURS].database
    database.command("profile", 2)
    for kept in UsageKept:
        since, until = AT - timedelta(days=2), AT + timedelta(days=2)
        asked = UsageQuery(kept=kept, tenant="alice", token_id="key-7", since=since, until=until)
        assert [one.token_id for one in store.usage(asked, after="", limit=100)] == ["key-7"]
        told = database["system.profile"].find_one({"command.find": f"usage_{kept}"})
        assert told is not None
        explained = store._usage[kept].find(told["command"]["filter"]).sort("_id", 1).explain()
        assert explained["executionStats"]["totalDocsExamined"] == 1
    database.command("profile", 0)


JUNK = (
    *("colours", "run", "run7777", "~", "~1.2", "~x.....", "~40....1e1", "~2....40", "~999....40"),
    f"~40.{'0' * 5_000}..40.40",
    *("code:", "code:nonsense", "code:$x.y"),
)


def test_what_does_not_decode_is_left_out(hot: HotState, raw_redis: Any, teller: Teller) -> None:
    teller.tell(answered())
    make_past(raw_redis, MINUTE)
    junk: dict[str | bytes, str | bytes] = {
        b"\xff": b"1",
        "b/c/x/requests": "1",
        "b/requests": "1",
        **{f"{KEY.prefix}{name}": "3" for name in JUNK},
        f"{OTHER.prefix}rows": "x",
    }
    raw_redis.hset(f"mr:usage:{MINUTE}/alice", mapping=junk)
    assert hot.usage_of(MINUTE, "alice").counted == {KEY: ANSWERED}


@pytest.mark.parametrize("made", ["", "a..b", "$x", "1.2", b"\xff", "x" * 10_000])
def test_f07_junk_stops_no_pass_and_what_is_right_beside_it_is_counted(
    teller: Teller, metering: Metering, store: MongoStore, raw_redis: Any, made: str | bytes
) -> None:
    teller.tell(answered())
    make_past(raw_redis, MINUTE)
    beyond = str(2**63)
    junk = {f"key-1/m1/{beyond}/requests": "1", f"{OTHER.prefix}requests": beyond, "!": made}
    raw_redis.hset(f"mr:usage:{MINUTE}/alice", mapping=junk)
    raw_redis.sadd("mr:usage:minutes", "", "x/alice", "/", f"{MINUTE}", b"\xff/\xff")
    assert metering.roll_up() == 1
    hours, days = kept(store)
    assert totals(hours) == totals(days) == {"key-1": ONCE}
    assert metering.roll_up() == 0


def test_f07_what_adds_up_to_more_than_a_store_keeps_stops_no_pass(
    teller: Teller, metering: Metering, store: MongoStore, raw_redis: Any
) -> None:
    teller.tell(answered())
    make_past(raw_redis, MINUTE)
    many = {f"{OTHER.prefix}~{number}....40": "9" * 18 for number in range(40, 60)}
    raw_redis.hset(f"mr:usage:{MINUTE}/alice", mapping=many)
    assert metering.roll_up() == 1
    assert totals(kept(store)[1])["key-1"] == ONCE
    assert metering.roll_up() == 0


def test_keys_were_last_used_in_the_minute_that_they_were_counted_in(
    teller: Teller, metering: Metering, store: MongoStore, raw_redis: Any
) -> None:
    store.add_token(token("key-1"))
    teller.tell(answered())
    make_past(raw_redis, MINUTE)
    metering.roll_up()
    found = store.token("key-1")
    assert found is not None
    assert found.last_used_at == AT
