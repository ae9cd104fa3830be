"""Which host answers."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chalicelib.contract import limits
from chalicelib.contract.choice import (
    Weigh,
    alive,
    chosen,
    destinations,
    expected_seconds,
    mirrored,
    rendezvous,
)
from chalicelib.contract.hotstate import RouteView
from chalicelib.contract.hotstate.admission import Latency
from chalicelib.contract.messages import (
    CandidateRecord,
    Heartbeat,
    HostState,
    ModelRecord,
    Replica,
    ReplicaState,
    VersionRecord,
)
from tests.support.uploads import PASSPORT, SIGNATURE

NOW = 1_000.0
V1 = VersionRecord("v1", "model", "t", 1, "00" * 32, 10, "v1", SIGNATURE, PASSPORT)
OLD, NEW = (
    VersionRecord(name, "model", "t", number, "00" * 32, 10, name, SIGNATURE, PASSPORT)
    for number, name in ((1, "old"), (2, "new"))
)
keys = st.text(st.characters(codec="ascii"), min_size=1, max_size=40)
percents = st.integers(0, 99)
host_ids = st.lists(st.uuids().map(str), min_size=1, max_size=12, unique=True)


def host(host_id: str, *, age: float = 0.0, state: HostState = HostState.READY) -> Heartbeat:
    return Heartbeat(
        host_id=host_id,
        boot_id=f"boot-{host_id}",
        address="127.0.0.1",
        port=1,
        state=state,
        memory_bytes_max=2**30,
        memory_bytes_used=0,
        in_flight=0,
        versions_ready=0,
        at=NOW - age,
    )


def view(hosts: Sequence[Heartbeat], *replicas: tuple[str, str, ReplicaState]) -> RouteView:
    return RouteView(
        now=NOW,
        token=None,
        model=ModelRecord(model_id="model", tenant="t", revision=1),
        hosts=tuple(hosts),
        replicas=tuple(
            ("v1", Replica(host_id=host_id, boot_id=boot_id, state=state))
            for host_id, boot_id, state in replicas
        ),
    )


def order(shown: RouteView, *, seed: int = 0, shares: Mapping[str, float] | None = None) -> list[str]:
    weigh = Weigh(random.Random(seed), lambda host_id: (shares or {}).get(host_id, 1.0))
    hosts = alive(shown.hosts, now=shown.now)
    return [found.host_id for found in destinations(shown, V1, hosts=hosts, weigh=weigh)]


@given(host_ids, st.uuids().map(str), st.uuids().map(str))
def test_a_new_host_takes_models_and_shuffles_none(hosts: list[str], newcomer: str, model: str) -> None:
    before = rendezvous(model, hosts)
    after = [host_id for host_id in rendezvous(model, [*hosts, newcomer]) if host_id != newcomer]
    assert list(before) == [host_id for host_id in after if host_id in before]


def test_a_ready_replica_comes_before_a_loading_one_before_the_rest() -> None:
    hosts = [host(name) for name in "abcd"]
    shown = view(hosts, ("c", "boot-c", ReplicaState.READY), ("a", "boot-a", ReplicaState.LOADING))
    assert order(shown)[:2] == ["c", "a"]
    assert sorted(order(shown)) == ["a", "b", "c", "d"]


def test_a_replica_of_an_earlier_boot_does_not_count() -> None:
    hosts = [host(name) for name in "ab"]
    cold = order(view(hosts))
    stale = view(hosts, (cold[1], "boot-before", ReplicaState.READY))
    assert order(stale) == cold


def test_all_callers_of_a_cold_model_wake_the_same_host() -> None:
    hosts = [host(name) for name in "abcdef"]
    assert order(view(hosts)) == order(view(hosts[::-1]))


def stored_and_assigned(
    *, stored: str = "", assigned: str = "", free: Mapping[str, int] | None = None
) -> str:
    """Who is woken of four hosts."""
    hosts = [
        replace(host(name), memory_bytes_max=800, memory_bytes_used=800 - (free or {}).get(name, 0))
        for name in "abcd"
    ]
    shown = view(hosts, *([(stored, f"boot-{stored}", ReplicaState.STORED)] if stored else []))
    return order(replace(shown, assigned=frozenset({("v1", assigned)})))[0]


def test_a_cold_model_goes_to_who_has_the_file_then_who_is_to_hold_it_then_who_has_room() -> None:
    assert stored_and_assigned(stored="d", assigned="c", free={"b": 800}) == "d"
    assert stored_and_assigned(assigned="c", free={"b": 800}) == "c"
    assert stored_and_assigned(free={"b": 800}) == "b"


@given(st.fixed_dictionaries({name: st.integers(400, 450) for name in "abcd"}))
def test_callers_of_a_cold_model_wake_the_same_host_though_memory_moves_a_little(
    free: dict[str, int],
) -> None:
    assert stored_and_assigned(free=free) == stored_and_assigned(free=dict.fromkeys("abcd", 420))


READY = ReplicaState.READY


def ready_view(names: str, **latency: float) -> RouteView:
    shown = view([host(name) for name in names], *((name, f"boot-{name}", READY) for name in names))
    return replace(shown, latency={("v1", name): Latency(taken, NOW) for name, taken in latency.items()})


def shares(shown: RouteView, *, shares: Mapping[str, float] | None = None) -> Counter[str]:
    """Of 1,000 requests one after the other."""
    return Counter(order(shown, seed=seed, shares=shares)[0] for seed in range(1000))


def test_the_better_of_two_by_requests_in_flight_and_latency() -> None:
    busy = replace(ready_view("ab", a=0.010, b=0.010), in_flight={"a": 3, "b": 1})
    assert shares(busy) == {"b": 1000}
    slow = replace(ready_view("ab", a=0.010, b=0.050), in_flight={"a": 3, "b": 1})
    assert shares(slow) == {"a": 1000}


def test_of_many_the_worst_gets_nothing_and_no_herd_forms() -> None:
    seen = shares(ready_view("abcde", a=0.010, b=0.011, c=0.012, d=0.013, e=0.014))
    assert "e" not in seen
    assert max(seen.values()) < 500, "two are drawn at random: not everybody runs to the best"


def test_f31_a_host_that_warms_up_gets_less() -> None:
    even = ready_view("ab", a=0.010, b=0.010)
    assert shares(even, shares={"a": 0.1}) == {"b": 1000}


def test_f30_what_was_slow_long_ago_is_tried_again() -> None:
    fresh, stale = (
        replace(
            ready_view("ab"),
            latency={("v1", "a"): Latency(2.0, NOW - age), ("v1", "b"): Latency(0.02, NOW)},
            in_flight={"b": 40},
        )
        for age in (1, 600)
    )
    assert expected_seconds(fresh, V1, "a") > 1
    assert shares(fresh) == {"b": 1000}
    assert shares(stale) == {"a": 1000}


def test_f46_what_was_measured_before_the_clock_was_set_back_is_old() -> None:
    shown = replace(ready_view("a"), latency={("v1", "a"): Latency(2.0, NOW + 3600)})
    assert expected_seconds(shown, V1, "a") < 0.1


@given(st.floats(0, 1e6, allow_nan=False), st.floats(-1e6, 1e6))
def test_f45_what_a_replica_is_expected_to_take_is_between_passport_and_measurement(
    measured: float, age: float
) -> None:
    shown = replace(ready_view("a"), latency={("v1", "a"): Latency(measured, NOW - age)})
    told = expected_seconds(ready_view("a"), V1, "a")
    assert min(told, measured) - 1e-9 <= expected_seconds(shown, V1, "a") <= max(told, measured) + 1e-9


def test_draining_launching_and_silent_hosts_are_left_out() -> None:
    hosts = [
        host("ready"),
        host("draining", state=HostState.DRAINING),
        host("launching", state=HostState.LAUNCHING),
        host("suspect", age=6),
        host("dead", age=60),
    ]
    assert [found.host_id for found in alive(hosts, now=NOW)] == ["ready"]


def test_suspects_serve_when_there_is_nobody_else() -> None:
    hosts = [host("suspect", age=6), host("dead", age=60)]
    assert [found.host_id for found in alive(hosts, now=NOW)] == ["suspect"]


def split(percent: int, *, mirror_percent: int = 0, model_id: str = "model") -> ModelRecord:
    candidate = CandidateRecord(NEW, percent, mirror_percent, trial=1, drift_tolerance=0.1)
    return ModelRecord(model_id, "t", 1, active=OLD, candidate=candidate)


def share(count: int, decide: Callable[[str], bool]) -> float:
    return 100 * sum(decide(str(uuid.UUID(int=number * 7919))) for number in range(count)) / count


@given(percents, keys, st.uuids().map(str))
def test_a_caller_with_a_sticky_key_is_always_answered_by_the_same_version(
    percent: int, key: str, other: str
) -> None:
    first = chosen(split(percent), sticky=key, request_id="1")
    assert chosen(split(percent), sticky=key, request_id=other) == first


@given(percents, percents, keys)
def test_who_has_the_candidate_keeps_it_when_its_share_grows(one: int, other: int, key: str) -> None:
    small, large = sorted((one, other))
    if chosen(split(small), sticky=key, request_id="1") == NEW:
        assert chosen(split(large), sticky=key, request_id="2") == NEW


@given(st.sampled_from([1, 5, 25, 50, 90, 99]), st.sampled_from(["a", "b", "c"]))
def test_the_candidate_answers_its_share_of_callers(percent: int, model_id: str) -> None:
    """Of 4,000 the share is within five standard deviations."""
    record = split(percent, model_id=model_id)
    bound = 5 * (percent * (100 - percent) / 4000) ** 0.5
    by_key = share(4000, lambda key: chosen(record, sticky=key, request_id="same") == NEW)
    by_request = share(4000, lambda key: chosen(record, sticky=None, request_id=key) == NEW)
    assert abs(by_key - percent) <= bound
    assert abs(by_request - percent) <= bound


def test_the_callers_of_one_model_are_not_those_of_another_or_of_another_candidate() -> None:
    other = replace(NEW, version_id="newer")
    records = [
        split(50),
        split(50, model_id="other"),
        replace(split(50), candidate=CandidateRecord(other, 50, 0, trial=2, drift_tolerance=0.1)),
    ]
    answers = [
        [chosen(record, sticky=str(key), request_id="") == OLD for key in range(200)] for record in records
    ]
    assert answers[0] != answers[1] != answers[2] != answers[0]


@given(keys)
def test_without_a_candidate_or_with_a_shadow_the_active_version_answers(key: str) -> None:
    alone = ModelRecord("model", "t", 1, active=OLD)
    for record in (alone, split(0), split(0, mirror_percent=100)):
        assert chosen(record, sticky=key, request_id=key) == OLD
    assert mirrored(alone, answering=OLD, request_id=key) is None


@given(keys)
def test_a_quarantined_version_neither_answers_for_a_candidate_nor_is_compared(key: str) -> None:
    record = split(99, mirror_percent=100)
    assert chosen(record, sticky=key, request_id="1", quarantined={"new"}) == OLD
    assert mirrored(record, answering=OLD, request_id=key, quarantined={"new"}) is None
    assert mirrored(record, answering=NEW, request_id=key, quarantined={"old"}) is None


@given(percents, st.sampled_from([0, 1, 10, 50, 100]))
def test_the_mirrored_share_runs_the_version_that_does_not_answer(percent: int, mirror_percent: int) -> None:
    record = split(percent, mirror_percent=mirror_percent)
    for answering, other in ((OLD, NEW), (NEW, OLD)):
        compared = [mirrored(record, answering=answering, request_id=f"{number}") for number in range(1000)]
        assert set(compared) <= {None, other}
        count = sum(version is not None for version in compared)
        assert abs(count / 10 - mirror_percent) <= 5 * (mirror_percent * (100 - mirror_percent) / 1000) ** 0.5


def test_whether_a_request_is_compared_does_not_depend_on_who_answers_it() -> None:
    record = split(10, mirror_percent=10)
    both = sum(
        chosen(record, sticky=None, request_id=str(number)) == NEW
        and mirrored(record, answering=NEW, request_id=str(number)) is not None
        for number in range(20_000)
    )
    assert 120 <= both <= 280


def test_f32_a_host_whose_loop_is_stuck_is_asked_last() -> None:
    stuck = replace(host("stuck"), loop_lag_seconds=limits.LOOP_LAG_SECONDS_MAX + 1)
    seen = view((stuck, host("cold")), ("stuck", "boot-stuck", ReplicaState.READY))
    weigh = Weigh(generator=random.Random(1), share=lambda _: 1.0)
    asked = destinations(seen, V1, hosts=seen.hosts, weigh=weigh)
    assert [one.host_id for one in asked] == ["cold"]
    assert tuple(destinations(seen, V1, hosts=(stuck,), weigh=weigh)) == (stuck,)
