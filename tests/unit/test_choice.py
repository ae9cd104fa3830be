"""Which host answers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.choice import alive, chosen, destinations, mirrored, rendezvous
from chalicelib.contract.hotstate import RouteView
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
        memory_bytes_max=0,
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


def order(shown: RouteView) -> list[str]:
    return [found.host_id for found in destinations(shown, "v1", shuffled=lambda hosts: hosts)]


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
    other = msgspec.structs.replace(NEW, version_id="newer")
    records = [
        split(50),
        split(50, model_id="other"),
        msgspec.structs.replace(
            split(50), candidate=CandidateRecord(other, 50, 0, trial=2, drift_tolerance=0.1)
        ),
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
