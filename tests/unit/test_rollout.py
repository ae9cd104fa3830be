"""When a new version may take over, and when one on trial must go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract import limits
from chalicelib.contract.messages import Counts, Guard, Replica, ReplicaState
from chalicelib.coordinator.rollout import Warmth, judge, may_take_over, wanted_on
from tests.unit.test_choice import NOW, host

GUARD = Guard(errors_percent_max=2, latency_ratio_max=2, drift_percent_max=5, requests_min=50)
WARM, COLD = limits.ROLLOUT_WARM_SECONDS_MAX, limits.ROLLOUT_COLD_SECONDS_MAX


@pytest.mark.parametrize(
    ("candidate", "active", "reason"),
    [
        pytest.param(Counts(), Counts(), None, id="nothing seen"),
        pytest.param(Counts(49, 49), Counts(1000), None, id="too few to judge"),
        pytest.param(Counts(50, 1), Counts(), None, id="errors at the limit"),
        pytest.param(
            Counts(80, 10), Counts(), "errors 12.5 % of 80 requests, limit 2 %", id="errors beyond it"
        ),
        pytest.param(Counts(80, 80), Counts(80), "errors 100 % of 80 requests, limit 2 %", id="only errors"),
        pytest.param(Counts(100, 0, 0, 49, 49), Counts(100), None, id="too few compared"),
        pytest.param(Counts(100, 0, 0, 100, 5), Counts(100), None, id="drift at the limit"),
        pytest.param(
            Counts(100, 0, 0, 100, 6),
            Counts(100),
            "6 % of 100 compared answers differ from the active version's, limit 5 %",
            id="drift beyond it",
        ),
        pytest.param(Counts(100, 0, 400_000), Counts(100, 0, 200_000), None, id="twice as slow"),
        pytest.param(
            Counts(100, 0, 500_000, row_us=500_000),
            Counts(100, 0, 200_000, row_us=200_000),
            "a run takes 5 ms, the active version's 2 ms, limit 2 times",
            id="slower than that",
        ),
        pytest.param(
            Counts(100, 0, 900_000, row_us=200_000),
            Counts(100, 0, 200_000, row_us=200_000),
            None,
            id="many rows shared its runs",
        ),
        pytest.param(Counts(100, 0, 30_000), Counts(100, 0, 3_000), None, id="tiny models vary"),
        pytest.param(Counts(100, 0, 900_000), Counts(49, 0, 4_900), None, id="nothing to compare with"),
        pytest.param(Counts(51, 1, 50_000), Counts(100, 0, 100_000), None, id="errors are not fast runs"),
    ],
)
def test_a_candidate_goes_for_a_reason(candidate: Counts, active: Counts, reason: str | None) -> None:
    assert judge("new", "old", {"new": candidate, "old": active}, GUARD) == reason


@given(st.integers(0, 1000), st.integers(1, 1000))
def test_nothing_is_judged_on_fewer_requests_than_wanted(errors: int, requests_min: int) -> None:
    few = Counts(requests_min - 1, min(errors, requests_min - 1), 10**9, requests_min - 1, requests_min - 1)
    assert judge("new", "old", {"new": few}, Guard(requests_min=requests_min)) is None


def warmth(
    old: str = "", new: str = "", *, hosts: str = "abc", assigned: str = "", quarantined: str = ""
) -> Warmth:
    ready = [("old", name) for name in old] + [("new", name) for name in new]
    return Warmth(
        now=NOW,
        hosts=tuple(host(name) for name in hosts),
        replicas=tuple((v, Replica(name, f"boot-{name}", ReplicaState.READY)) for v, name in ready),
        quarantined=frozenset({quarantined}),
        assigned_to={"old": frozenset(assigned)}.__getitem__,
    )


def takes_over(state: Warmth, *, waited: float = 0.0) -> bool:
    wanted = wanted_on("model", "old", state, replicas_per_model=2)
    return may_take_over("new", wanted, state, waited_seconds=waited)


@pytest.mark.parametrize(
    ("state", "waited", "expected"),
    [
        pytest.param(warmth(old="ab", new="ab"), 0, True, id="where the old one is"),
        pytest.param(warmth(old="ab", new="a"), 0, False, id="not everywhere yet"),
        pytest.param(warmth(old="ab", new="a"), WARM, True, id="in time one is enough"),
        pytest.param(warmth(old="ab", new="c"), 0, False, id="elsewhere"),
        pytest.param(warmth(old="a", new="a"), 0, True, id="a model of one host"),
        pytest.param(warmth(old="ab"), WARM, False, id="nowhere"),
        pytest.param(warmth(old="ab"), COLD, True, id="nobody has room, requests make it"),
        pytest.param(warmth(new="a"), 0, False, id="the old one is cold, its hosts are waited for"),
        pytest.param(warmth(new="abc"), 0, True, id="warm on all"),
        *(
            pytest.param(warmth(assigned=one, new=one), 0, True, id=f"where the old one is to be: {one}")
            for one in ("a", "b", "c")
        ),
        pytest.param(warmth(assigned="ab", new="a"), 0, False, id="not everywhere the old one is to be"),
        pytest.param(warmth(assigned="agone", new="a"), 0, True, id="of hosts that are alive"),
        pytest.param(warmth(hosts=""), 0, True, id="no host to wait for"),
        pytest.param(warmth(old="ab", new="ab", quarantined="new"), COLD, False, id="quarantined"),
    ],
)
def test_a_version_takes_over_when_it_is_warm(state: Warmth, waited: float, expected: bool) -> None:
    assert takes_over(state, waited=waited) is expected


def test_a_replica_of_a_dead_host_or_an_earlier_boot_is_not_warm() -> None:
    stale = Replica("b", "boot-before", ReplicaState.READY)
    loading = Replica("a", "boot-a", ReplicaState.LOADING)
    dead = Replica("d", "boot-d", ReplicaState.READY)
    hosts = (host("a"), host("b"), host("d", age=60))
    state = Warmth(NOW, hosts, (("new", stale), ("new", loading), ("new", dead)))
    assert state.ready_on("new") == frozenset()
