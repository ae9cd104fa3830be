"""How much one account's answers slow down while another keeps the host busy, phase by phase.

A paced caller asks for the bystander's models in every phase, from a process of
its own. In phase ALONE nothing else happens. In phase HERE the disturbance asks
the same host. In phase ELSEWHERE the very same disturbance asks another host
process on the same machine: it takes as much of the processors, so what is left
between the two is the host's own doing. Phases take turns, forwards and then
backwards, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final

from benchmarks import pacing
from benchmarks.alone import counters
from benchmarks.cells import LOOPBACK
from benchmarks.children import Child, child
from benchmarks.figures import median_and_p99
from benchmarks.rocket import until
from tests.support.hosts import HostProcess

ALONE, HERE, ELSEWHERE = "alone", "here", "elsewhere"
PHASES: Final = (ALONE, HERE, ELSEWHERE)
_CALM_SECONDS: Final = 0.3
_FIRST_SECONDS: Final = 1.0
_MILLI: Final = 1000

Disturbance = Callable[[HostProcess, float], AbstractContextManager[Callable[[], float]]]
"""Keeps a host busy for at least so many seconds; under way when the block begins.
What it gives tells at the end of the phase how many answers a second it had."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Rounds of all phases. `seconds` are measured in each phase of a kind."""

    rounds: int
    seconds: Mapping[str, float]

    @classmethod
    def even(cls, rounds: int, seconds: float) -> Schedule:
        return cls(rounds, dict.fromkeys(PHASES, seconds))


@dataclass(slots=True)
class Heard:
    """What the bystander heard on one stream in all phases of one kind."""

    seconds: list[float] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> float:
        """The share of requests without a good answer."""
        count = self.problems.total()
        return count / (count + len(self.seconds))

    def milliseconds(self) -> tuple[float, float]:
        """p50 and p99. What got no good answer counts as the longest that one is waited for."""
        p50, p99 = median_and_p99([*self.seconds, *[pacing.ANSWER_SECONDS_MAX] * self.problems.total()])
        return p50 * _MILLI, p99 * _MILLI


@dataclass(frozen=True, slots=True)
class Interference:
    """`heard[phase][stream]`, and the disturbance's answers a second by phase, each a list over rounds."""

    heard: Mapping[str, Mapping[str, Heard]]
    rates: Mapping[str, Sequence[float]]

    def ratio(self, stream: str, *, phase: str, to: str) -> float:
        """Of the p99s."""
        return self.heard[phase][stream].milliseconds()[1] / self.heard[to][stream].milliseconds()[1]


def measure(
    bystander: Sequence[pacing.Stream],
    disturbance: Disturbance,
    hosts: tuple[HostProcess, HostProcess],
    schedule: Schedule,
    *,
    say: Callable[[str], None],
) -> Interference:
    """The bystander asks the first of the hosts."""
    heard = {phase: {stream.name: Heard() for stream in bystander} for phase in PHASES}
    rates: dict[str, list[float]] = {phase: [] for phase in PHASES}
    order = pacing.Order(LOOPBACK, list(bystander))
    with child("benchmarks.pacing", asdict(order)) as caller:
        caller.ask(_FIRST_SECONDS)  # connections are open, models in memory
        for number in range(schedule.rounds):
            for phase in PHASES if number % 2 == 0 else reversed(PHASES):
                say(f"round {number + 1} of {schedule.rounds}, {phase}")
                _await_calm(hosts)
                seen, rate = _phase(caller, disturbance, phase, hosts, seconds=schedule.seconds[phase])
                rates[phase].append(rate)
                for stream, one in heard[phase].items():
                    one.seconds += seen[stream]["seconds"]
                    one.problems.update(seen[stream]["problems"])
    return Interference(heard, rates)


def _phase(
    caller: Child,
    disturbance: Disturbance,
    phase: str,
    hosts: tuple[HostProcess, HostProcess],
    *,
    seconds: float,
) -> tuple[Mapping[str, Any], float]:
    if phase == ALONE:
        return caller.ask(seconds), 0.0
    with disturbance(hosts[phase == ELSEWHERE], seconds) as rate:
        return caller.ask(seconds), rate()


def _await_calm(hosts: Sequence[HostProcess]) -> None:
    """What an earlier phase left behind is done with."""
    for host in hosts:
        until(partial(_is_idle, host), what=f"{host.host_id} to be idle")
    time.sleep(_CALM_SECONDS)


def _is_idle(host: HostProcess) -> bool:
    try:
        return not counters(host)["in_flight"]
    except OSError:  # it is still too busy to say
        return False
