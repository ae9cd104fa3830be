"""Which host answers."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.choice import alive, candidates, rendezvous
from chalicelib.contract.hotstate import RouteView
from chalicelib.contract.messages import Heartbeat, HostState, ModelRecord, Replica, ReplicaState

NOW = 1_000.0
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
    return [found.host_id for found in candidates(shown, "v1", shuffled=lambda hosts: hosts)]


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
