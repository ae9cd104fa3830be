"""How many requests there were at once: exact for short ones and for those that go on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.messages import HostLoad, VersionLoad
from host_container.load import Loads

Spans = list[tuple[str, float, float]]


def test_a_request_counts_while_it_goes_on_and_once_it_has_ended() -> None:
    loads = Loads(100.0, lambda: 0.0)
    loads.began("v", 101.0)
    assert loads.since_heard(103.0) == HostLoad(3.0, {"v": VersionLoad(0, 2.0)})
    loads.heard()
    loads.ended("v", 104.0)
    assert loads.since_heard(105.0) == HostLoad(2.0, {"v": VersionLoad(1, 1.0)})


def test_what_was_not_heard_is_told_again_under_the_same_number() -> None:
    loads = Loads(0.0, lambda: 0.0)
    loads.began("v", 1.0)
    loads.ended("v", 2.0)
    first = loads.number
    loads.since_heard(2.0)
    assert loads.since_heard(4.0) == HostLoad(4.0, {"v": VersionLoad(1, 1.0)})
    assert loads.number == first
    loads.heard()
    assert loads.number == first + 1
    assert loads.since_heard(6.0) == HostLoad(2.0, {})


def test_time_in_the_model_and_of_the_processor_is_told_since_it_was_heard() -> None:
    processor = iter((1.0, 1.5, 4.0)).__next__
    loads = Loads(0.0, processor)
    loads.began("v", 1.0)
    loads.ran("v", 0.25)
    assert loads.since_heard(2.0) == HostLoad(2.0, {"v": VersionLoad(0, 1.0, 0.25)}, 0.5)
    loads.heard()
    loads.ran("v", 0.5)
    loads.ended("v", 3.0)
    assert loads.since_heard(4.0) == HostLoad(2.0, {"v": VersionLoad(1, 1.0, 0.5)}, 2.5)


def test_what_nobody_asks_for_is_forgotten_and_begins_anew() -> None:
    loads = Loads(0.0, lambda: 0.0)
    for again in (1.0, 10.0):
        loads.began("v", again)
        loads.ended("v", again + 1)
        assert loads.since_heard(again + 2).versions == {"v": VersionLoad(1, 1.0)}
        loads.heard()
        assert not loads._busy


def test_what_ends_while_it_is_told_is_told_the_next_time() -> None:
    loads = Loads(0.0, lambda: 0.0)
    loads.began("v", 1.0)
    loads.ended("v", 2.0)
    loads.since_heard(2.0)
    loads.began("v", 2.5)
    loads.ended("v", 3.0)
    loads.heard()
    assert loads.since_heard(4.0).versions == {"v": VersionLoad(1, 0.5)}


@given(
    spans=st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 50), st.floats(0, 50)), max_size=20),
    beats=st.lists(st.tuples(st.floats(0, 120), st.booleans()), max_size=8),
)
def test_what_is_told_adds_up_to_what_there_was(spans: Spans, beats: list[tuple[float, bool]]) -> None:
    events = [(start, 0, name) for name, start, _ in spans]
    events += [(start + length, 1, name) for name, start, length in spans]
    moments = sorted(
        [(at, kind, name) for at, kind, name in events] + [(at, 2, heard) for at, heard in beats],
        key=lambda e: e[:2],
    )
    loads, seconds, ended = Loads(0.0, lambda: 0.0), {"a": 0.0, "b": 0.0}, {"a": 0, "b": 0}

    def told(at: float) -> None:
        for name, load in loads.since_heard(at).versions.items():
            seconds[name] += load.seconds
            ended[name] += load.requests
        loads.heard()

    for at, kind, what in moments:
        if kind == 0:
            loads.began(str(what), at)
        elif kind == 1:
            loads.ended(str(what), at)
        elif what:
            told(at)
        else:
            loads.since_heard(at)
    told(200.0)
    for name in "ab":
        assert seconds[name] == pytest.approx(sum(length for of, _, length in spans if of == name), abs=1e-3)
        assert ended[name] == sum(of == name for of, _, _ in spans)
