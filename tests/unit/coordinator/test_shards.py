"""Which hosts models choose from, and whom a failure reaches."""

from __future__ import annotations

import uuid
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.choice import rendezvous
from chalicelib.coordinator.shards import BlastRadius, blast_radius, preference

names = st.lists(st.uuids().map(str), max_size=16, unique=True)


@given(st.uuids().map(str), names)
def test_in_a_small_fleet_a_model_prefers_hosts_in_its_rendezvous_order(
    model_id: str, hosts: list[str]
) -> None:
    assert tuple(hosts[at] for at in preference(model_id, hosts, most=16)) == rendezvous(model_id, hosts)


@given(st.uuids().map(str), st.integers(17, 3000), st.integers(2, 16))
def test_of_a_large_fleet_it_draws_a_few_different_ones(model_id: str, hosts: int, most: int) -> None:
    drawn = preference(model_id, [f"host-{number}" for number in range(hosts)], most=most)
    assert 1 <= len(drawn) <= most
    assert len(set(drawn)) == len(drawn)
    assert all(0 <= at < hosts for at in drawn)


def test_every_host_of_a_large_fleet_is_drawn_first_as_often() -> None:
    hosts = [f"host-{number}" for number in range(100)]
    first = Counter(preference(str(uuid.UUID(int=seed)), hosts, most=16)[0] for seed in range(10_000))
    assert len(first) == 100
    assert max(first.values()) < 150


def test_the_blast_radius_counts_whom_a_model_takes_along() -> None:
    copies = {
        "poisonous": frozenset("ab"),
        "apart": frozenset("cd"),
        "beside": frozenset("bc"),
        "same": frozenset("ab"),
        "alone": frozenset("a"),
        "everywhere": frozenset("abcd"),
        "cold": frozenset[str](),
    }
    assert blast_radius("poisonous", copies) == BlastRadius(
        hosts=("a", "b"), sharing={0: 1, 1: 2, 2: 2}, left_without=2, others=5
    )


def test_a_model_without_hosts_takes_nobody_along() -> None:
    assert blast_radius("cold", {"other": frozenset("a")}) == BlastRadius((), {0: 1}, 0, 1)
