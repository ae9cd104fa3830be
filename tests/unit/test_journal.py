"""What is written of a tick is read again bit for bit, and a fleet at rest costs next to nothing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.messages import HostState
from chalicelib.coordinator.journal import JournalReader, JournalWriter
from chalicelib.coordinator.state import (
    CapacityView,
    FleetState,
    Freshness,
    HostView,
    Memory,
    ModelDemand,
    ModelMemory,
    ModelView,
    VersionView,
)
from chalicelib.coordinator.windows import LoadSample

numbers = st.floats(width=64)
names = st.sampled_from("abcdefg")
versions = st.builds(VersionView, names, st.integers(0, 2**40), numbers, numbers)
demands = st.none() | st.builds(ModelDemand, numbers, numbers, numbers)
hosts = st.builds(
    HostView,
    names,
    names,
    st.sampled_from(HostState),
    st.sampled_from(Freshness),
    numbers,
    st.integers(0, 2**40),
    numbers,
    st.lists(names, max_size=3).map(tuple),
)
models = st.builds(
    ModelView,
    names,
    names,
    versions,
    st.lists(versions, max_size=2).map(tuple),
    st.booleans(),
    st.lists(names, max_size=2).map(tuple),
    demands,
    st.booleans(),
)
capacities = st.none() | st.builds(
    CapacityView, st.integers(0, 9), st.none() | st.lists(names, max_size=2).map(tuple)
)
memories = st.none() | st.builds(
    Memory,
    st.none(),
    st.dictionaries(names, st.builds(ModelMemory, numbers, numbers, numbers, st.integers(0, 9), numbers)),
    st.dictionaries(names, numbers),
)
states = st.builds(
    FleetState,
    numbers,
    st.lists(hosts, max_size=5).map(tuple),
    st.lists(models, max_size=5).map(tuple),
    capacities,
    st.booleans(),
    st.lists(st.builds(LoadSample, numbers, numbers, numbers), max_size=2).map(tuple),
    st.integers(0, 9),
    memories,
)


def written(state: FleetState) -> bytes:
    return msgspec.msgpack.encode(state)


@given(st.lists(states, max_size=6), st.integers(1, 4))
def test_every_tick_is_read_again_bit_for_bit(ticks: list[FleetState], whole_every: int) -> None:
    writer, reader = JournalWriter(whole_every=whole_every), JournalReader()
    for state in ticks:
        read = reader.read(writer.write(state))
        assert read is not None
        assert written(read) == written(state)


def fleet(size: int, *, at: float, used: Sequence[int] = ()) -> FleetState:
    return FleetState(
        now=at,
        hosts=tuple(
            HostView(f"host-{n:03}", "boot", HostState.READY, Freshness.FRESH, 2.0, 2**33) for n in range(3)
        ),
        models=tuple(
            ModelView(
                f"model-{n:036}",
                "tenant",
                VersionView(f"version-{n:036}", n * 1000),
                demand=ModelDemand(1.5, 0.25) if n in used else None,
            )
            for n in range(size)
        ),
        samples=(LoadSample(at, 0.0),),
    )


def test_a_fleet_that_does_not_change_costs_a_hundred_bytes_a_tick() -> None:
    writer = JournalWriter(whole_every=360)
    writer.write(fleet(2_000, at=1e9))
    sizes = [len(writer.write(fleet(2_000, at=1e9 + 10.1 * n)).content) for n in range(1, 50)]
    assert max(sizes) < 150
    used = len(writer.write(fleet(2_000, at=2e9, used=range(10))).content)
    assert used < 400, "and what changed no more than that takes"


def test_entries_are_whole_every_so_often_and_when_told_so() -> None:
    writer = JournalWriter(whole_every=3)
    entries = [writer.write(fleet(2, at=n)) for n in range(7)]
    assert [entry.whole for entry in entries] == [True, False, False, True, False, False, True]
    writer.write(fleet(2, at=8))
    writer.start_anew()
    assert writer.write(fleet(2, at=9)).whole


@pytest.mark.parametrize("lost", [0, 1])
def test_what_follows_a_missing_entry_is_not_guessed(lost: int) -> None:
    writer, reader = JournalWriter(whole_every=3), JournalReader()
    ticks = [fleet(2, at=n) for n in range(5)]
    read = []
    for number, state in enumerate(ticks):
        entry = writer.write(state)
        if number == lost:
            reader.skip()
        else:
            read.append(reader.read(entry))
    expected = [ticks[0]] * (lost > 0) + [None] * (2 - lost) + ticks[3:]
    assert read == expected
