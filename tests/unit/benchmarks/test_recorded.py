"""A day in virtual time: recorded, decided again, and played under other circumstances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import pytest

from benchmarks import replay
from benchmarks.simulation.recorded import (
    Circumstances,
    Loss,
    Replayed,
    as_it_was,
    replayed,
    what_if,
)
from benchmarks.simulation.world import Machine, Offered, World
from chalicelib.coordinator.journal import JournalWriter
from chalicelib.coordinator.planner import Policy, plan
from chalicelib.coordinator.scaling import ScalingPolicy
from chalicelib.coordinator.state import ModelView, VersionView
from chalicelib.decisions import Tick, ticks
from chalicelib.records import Decision

POLICY = Policy(scaling=ScalingPolicy(hosts_min=1, hosts_max=8))
MACHINE = Machine(slots=4, memory_bytes=1_000, boot_seconds=20)
BEGAN = 1_000_000.0
TICK = 10.0


def model(name: str, *, load_ms: float = 100) -> ModelView:
    return ModelView(name, "tenant", VersionView(f"{name}/1", 10, run_ms=50, load_ms=load_ms))


def world(hosts: Sequence[str] = ("host-1",), policy: Policy = POLICY, **options: float) -> World:
    return World([model("m", **options)], hosts=hosts, machine=MACHINE, policy=policy, now=BEGAN)


def slots(wanted: float) -> Mapping[str, Offered]:
    return {"m": Offered(requests_per_second=wanted * 20, slots=wanted)}


class Recorder(World):
    """A world whose every decision is written down as the coordinator does it."""

    def recorded(self, wanted: Sequence[float], *, whole_every: int = 7) -> list[Decision]:
        writer, decisions = JournalWriter(whole_every=whole_every), []
        for number, one in enumerate(wanted, start=1):
            state = self.tick(slots(one), seconds=TICK).state
            entry, decided = writer.write(state), plan(state, self.policy)
            decisions.append(
                Decision(
                    id=number,
                    epoch=1,
                    at=datetime.fromtimestamp(state.now, UTC),
                    changed=True,
                    actions=decided.actions,
                    reasons=decided.reasons,
                    whole=entry.whole,
                    policy=self.policy if entry.whole else None,
                    entry=entry.content,
                )
            )
        return decisions


def a_day(policy: Policy = POLICY) -> list[Decision]:
    """Little, then three hosts' worth, then little again."""
    recorder = Recorder([model("m")], hosts=["host-1"], machine=MACHINE, policy=policy, now=BEGAN)
    return recorder.recorded([1.0] * 40 + [8.0] * 60 + [1.0] * 90)


@pytest.fixture(scope="module")
def day() -> tuple[Tick, ...]:
    return tuple(ticks(a_day()))


def test_what_fits_is_served_and_what_does_not_waits_until_callers_give_up() -> None:
    fixed = Policy(scaling=ScalingPolicy(hosts_min=1, hosts_max=1))
    small = world(policy=fixed)
    calm = [small.tick(slots(3), seconds=TICK) for _ in range(5)]
    assert sum(one.unserved + one.late for one in calm) == 0
    flood = [small.tick(slots(8), seconds=TICK) for _ in range(20)]
    assert flood[0].unserved == 0, "it waits"
    assert flood[-1].unserved / flood[-1].requests == pytest.approx(0.5), "twice what there are slots for"


def test_hosts_come_after_their_boot_and_cost_from_when_they_are_asked_for() -> None:
    growing = world()
    seen = [growing.tick(slots(8), seconds=TICK) for _ in range(8)]
    asked = next(number for number, one in enumerate(seen) if one.hosts_paid > 1)
    ready = next(number for number, one in enumerate(seen) if one.hosts_ready > 1)
    assert ready - asked == MACHINE.boot_seconds / TICK


def test_a_model_on_no_host_makes_its_callers_wait_for_its_load() -> None:
    outcome = world(load_ms=2_000).tick(slots(1), seconds=TICK)
    assert outcome.cold == pytest.approx(20 * 2.0)


def test_no_request_is_counted_twice() -> None:
    fixed = Policy(scaling=ScalingPolicy(hosts_min=0, hosts_max=1))
    full = world(hosts=(), policy=fixed, load_ms=5_000)
    seen = [full.tick(slots(9), seconds=TICK) for _ in range(12)]
    assert seen[0].cold == 0, "nobody loads it"
    assert any(one.cold for one in seen)
    assert any(one.late for one in seen)
    assert all(one.unserved + one.late + one.cold <= one.requests * (1 + 1e-9) for one in seen)


def test_what_finds_no_host_is_unserved_and_starts_one() -> None:
    from_zero = world(hosts=(), policy=Policy(scaling=ScalingPolicy(hosts_min=0, hosts_max=2)))
    seen = [from_zero.tick(slots(1), seconds=TICK) for _ in range(8)]
    assert seen[0].unserved == seen[0].requests
    assert seen[-1].unserved == 0 and seen[-1].hosts_ready


def test_a_recorded_day_is_decided_again_bit_for_bit(day: tuple[Tick, ...]) -> None:
    assert max(len(tick.state.hosts) for tick in day) >= 3, "there is something to decide"
    assert replayed(day) == Replayed(len(day), ())


def test_a_decision_that_comes_out_otherwise_is_named() -> None:
    decisions = a_day()
    decisions[41] = msgspec.structs.replace(decisions[41], reasons=())
    assert replayed(ticks(decisions)).different == (42,)


def test_behind_a_missing_entry_nothing_is_read_before_the_next_whole_one() -> None:
    decisions = a_day()[:21]
    del decisions[9]
    assert [tick.decision.id for tick in ticks(decisions)] == [*range(1, 10), *range(15, 22)]


def test_the_same_day_played_with_nothing_different_is_the_same(day: tuple[Tick, ...]) -> None:
    was, again = as_it_was(day), what_if(day, Circumstances(boot_seconds=20), name="again")
    assert again.host_seconds == pytest.approx(was.host_seconds, rel=0.1)
    assert again.requests == pytest.approx(was.requests, rel=0.02)


def test_more_traffic_takes_more_hosts(day: tuple[Tick, ...]) -> None:
    usual, more = (what_if(day, Circumstances(traffic=n), name="") for n in (1, 3))
    assert more.requests == pytest.approx(3 * usual.requests)
    assert more.host_seconds > 1.5 * usual.host_seconds


def test_a_policy_of_one_host_leaves_callers_unserved(day: tuple[Tick, ...]) -> None:
    one = Policy(scaling=ScalingPolicy(hosts_min=1, hosts_max=1))
    course = what_if(day, Circumstances(policy=one), name="one host")
    assert max(hosts for _, hosts in course.hosts) == 1
    assert course.attained < 0.9 < what_if(day, Circumstances(), name="").attained


def test_lost_hosts_are_missed_until_others_have_started(day: tuple[Tick, ...]) -> None:
    usual = what_if(day, Circumstances(), name="")
    lost = what_if(day, Circumstances(losses=(Loss(700.0), Loss(700.0))), name="")
    assert lost.unserved + lost.late > usual.unserved + usual.late
    assert lost.hosts[-1] == usual.hosts[-1]


def test_wishes_are_read_and_nonsense_is_named() -> None:
    read = replay.circumstances(
        ["traffic=2", "lose=host-2@60", "lose=@90", 'policy={"scaling": {"hosts_max": 3}}', "boot=5"], POLICY
    )
    assert (read.traffic, read.boot_seconds) == (2, 5)
    assert read.losses == (Loss(60, "host-2"), Loss(90))
    assert read.policy == Policy(scaling=ScalingPolicy(hosts_min=1, hosts_max=3))
    for nonsense in (
        "traffic=many",
        "traffic=-1",
        "lose=host-2",
        "policy={}}",
        'policy={"hosts": 3}',
        "weather",
    ):
        with pytest.raises(replay.CannotReplay, match="--what-if"):
            replay.circumstances([nonsense], POLICY)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        pytest.param("lose=nobody@5", "no such host. Those there were: ", id="a host that never was"),
        pytest.param("lose=@1e9", "only .* seconds were recorded", id="after the end"),
    ],
)
def test_a_loss_that_would_make_no_difference_is_refused(day: tuple[Tick, ...], wish: str, said: str) -> None:
    with pytest.raises(replay.CannotReplay, match=said):
        replay.compared(day, [wish])


def test_a_stack_that_does_not_run_is_to_be_started(capsys: pytest.CaptureFixture[str]) -> None:
    nobody = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"
    assert replay.main([], {"MODELROCKET_MONGO_URL": nobody}) == 2
    assert "make up" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["--hours=nan", "--hours=-1", "--until=soon"])
def test_times_that_are_none_are_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        replay.main([wrong], {})
    assert "expected, got" in capsys.readouterr().err


def test_the_comparison_has_a_row_and_a_line_for_each_course(day: tuple[Tick, ...]) -> None:
    found = replay.compared(day, ["traffic=2"])
    assert [row[0] for row in found.tables[0].rows] == ["as it was", "nothing different", "what if"]
    assert [series.name for series in found.plots[0].series] == ["as it was", "nothing different", "what if"]
    assert len(found.plots[0].series[0].points) < len(day)
    assert any("take 20 s to come" in note for note in found.notes)


def test_what_was_recorded_before_it_began_is_no_day() -> None:
    with pytest.raises(replay.CannotReplay, match="single decision"):
        replay.compared(tuple(ticks(a_day()[:1])), ["traffic=2"])


def test_time_that_nobody_saw_is_not_counted() -> None:
    decisions = list(ticks(a_day()[:2]))
    states = [decisions[0].state, msgspec.structs.replace(decisions[1].state, now=BEGAN + 3_600)]
    gap = [Tick(one.decision, state, one.policy) for one, state in zip(decisions, states, strict=True)]
    assert as_it_was(gap).host_seconds == 60
