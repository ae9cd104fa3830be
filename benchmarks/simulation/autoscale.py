"""What the fleet autoscaler costs and leaves unserved, beside perfect foresight and other autoscalers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.simulation import foresight
from benchmarks.simulation.baselines import HOSTS_MAX, HOSTS_MIN, OTHERS, TARGET, Ours
from benchmarks.simulation.experiment import Cell, Experiment, Goal, Plot, Series, Table
from benchmarks.simulation.fleet import SLOTS, Autoscaler, Load, Outcome, load_of, simulate
from benchmarks.simulation.traces import Demand, Functions, Ints, Shape, Tokens, Trace, Volume
from chalicelib.contract import limits
from chalicelib.coordinator.scaling import ScalingPolicy

COST_MAX: Final = 1.7
UNSERVED_MAX: Final = 0.0002
BOOT_SECONDS: Final = 20
BOOTS: Final = (5, 20, 60, 180)
RATES: Final = (0.5, 1.0, 2.0, 4.0)
IDLE_SECONDS_MAX: Final = 1200
DECIDED_ON: Final = ("functions-1350", "functions-500", "llm-conversation")
OURS: Final = "ModelRocket"
TRACES: Final[tuple[Trace, ...]] = (
    Functions(
        "functions-1350",
        "azure_functions_2019_invitro1350_inv.csv",
        "azure_functions_2019_invitro1350_run.csv",
        scale=2,
    ),
    Functions(
        "functions-500",
        "azure_functions_2019_dirigent500_invocations.csv",
        "azure_functions_2019_dirigent500_durations.csv",
        scale=2,
    ),
    Tokens("llm-conversation", "azure_llm_2023_conv.csv", scale=2),
    Tokens("llm-code", "azure_llm_2023_code.csv", scale=24),
    Volume("load-balancer", "nab_elb_request_count_8c0756.csv", mean_in_flight=80, days=3),
    Volume("tweets-apple", "nab_twitter_volume_AAPL.csv", mean_in_flight=80, days=3),
    Volume("tweets-google", "nab_twitter_volume_GOOG.csv", mean_in_flight=80, days=3),
    Volume("tweets-coca-cola", "nab_twitter_volume_KO.csv", mean_in_flight=80, days=3),
)
"""Scaled to some ten hosts in the mean."""
_QUICK: Final = ("functions-500", "llm-conversation")
_SWEPT: Final = ("functions-1350", "llm-conversation", "load-balancer")
_QUICK_SECONDS: Final = 3600
_HOUR: Final = 3600
_DAY: Final = 86_400
_MINUTE: Final = 60
_IDLE_HOSTS: Final = 1000
_PATIENCE_SECONDS: Final = 300
_STEPS: Final = (20, 80, 320)
"""Slots that a load fills after its step."""
_STEP_SERVICE_SECONDS: Final = 0.5

_NOTES: Final = (
    f"A host runs {SLOTS} requests at once. Cost: seconds of hosts paid for, boots included, over those of "
    "perfect foresight, which knows all demand and the boot time and never lets a request wait; "
    "benchmarks/simulation/foresight.py says why it is exact. Used: slot-seconds of all requests over "
    "those paid for, which needs no oracle.",
    f"Unserved: requests refused by a full queue ({limits.TENANT_QUEUE_MAX} for each ready host) or not "
    f"begun within {limits.DEADLINE_SECONDS_DEFAULT:g} s, where runs are cut too, as the platform does. "
    "Late: those that waited for more than 1 s and were served.",
    "The slots of a fleet are one pool, and a host that has booted is at once as good as any: what routing "
    "and loading models on new hosts cost is left out, which favours who changes the fleet often.",
    "By the hour: hosts beyond foresight's in the median hour, in the 95th of 100, in the worst.",
    f"The policy's numbers were decided on {', '.join(DECIDED_ON)}; what the others gave was seen meanwhile.",
    "Knative, 5 min: its defaults but for a scale-down-delay of 300 s, the patience that ours is bound to.",
    "All start with what the first minute needs and keep one host at least. All are told requests in flight, "
    "waiting or running; ours also how many wait and how many begin.",
)


@dataclass(frozen=True, slots=True)
class _Run:
    """One autoscaler on one load."""

    name: str
    load: Load
    outcome: Outcome
    foreseen: Ints

    @property
    def cost(self) -> float:
        return self.outcome.host_seconds / float(self.foreseen.sum())

    @property
    def used(self) -> float:
        return float(self.load.occupied.sum()) / (self.outcome.host_seconds * SLOTS)

    @property
    def regrets(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Hosts paid for beyond foresight's, the mean of every whole hour; of it all if none is whole."""
        excess = self.outcome.paid - self.foreseen
        hours = max(len(excess) // _HOUR, 1)
        return np.array([part.mean() for part in np.array_split(excess[: hours * _HOUR], hours)])


def run(traces: Path, *, quick: bool) -> Experiment:
    """`quick`: the first hour of two traces, and no sweeps."""
    chosen = [trace for trace in TRACES if not quick or trace.name in _QUICK]
    shape = Shape(seconds_max=_QUICK_SECONDS if quick else None)
    by_trace = {}
    for trace in chosen:
        by_trace[trace.name] = _compared(load_of(trace.load(traces, shape)), BOOT_SECONDS)
    swept = [trace for trace in chosen if trace.name in _SWEPT and not quick]
    boots, sweeps = _boots(swept, traces), _shapes(swept, traces)
    return Experiment(
        name="autoscale",
        question="What does a fleet cost that follows demand, and what does it leave unserved?",
        tables=(_table(by_trace), _hours(by_trace), *_swept_table(boots, sweeps)),
        goals=(*_goals(by_trace), _patience(), _idle()),
        plots=(*_hosts_plots(by_trace), *_boot_plots(boots)),
        notes=_NOTES,
    )


def _compared(load: Load, boot_seconds: int) -> list[_Run]:
    """Ours and the others on one load, ours first."""
    policy = ScalingPolicy(hosts_min=HOSTS_MIN, hosts_max=HOSTS_MAX, boot_seconds=boot_seconds)
    everyone: dict[str, Callable[[], Autoscaler]] = {OURS: lambda: Ours(policy), **OTHERS}
    foreseen = foresight.paid_by_second(
        load.occupied, slots=SLOTS, boot_seconds=boot_seconds, hosts_min=HOSTS_MIN
    )
    first = max(int(np.ceil(load.occupied[:_MINUTE].mean() / (TARGET * SLOTS))), HOSTS_MIN)
    return [
        _Run(
            name,
            load,
            simulate(load, make(), boot_seconds=boot_seconds, hosts_at_first=first),
            foreseen,
        )
        for name, make in everyone.items()
    ]


def _boots(swept: Sequence[Trace], traces: Path) -> dict[str, dict[int, list[_Run]]]:
    shape = Shape(seconds_max=_DAY)
    loads = {trace.name: load_of(trace.load(traces, shape)) for trace in swept}
    return {name: {boot: _compared(load, boot) for boot in BOOTS} for name, load in loads.items()}


def _shapes(swept: Sequence[Trace], traces: Path) -> dict[tuple[str, str], list[_Run]]:
    shapes = {f"rate x {rate:g}": Shape(rate, seconds_max=_DAY) for rate in RATES if rate != 1}
    shapes["burstiness x 4"] = Shape(bursty=True, seconds_max=_DAY)
    return {
        (trace.name, label): _compared(load_of(trace.load(traces, shape)), BOOT_SECONDS)
        for trace in swept
        for label, shape in shapes.items()
    }


def _table(by_trace: Mapping[str, list[_Run]]) -> Table:
    columns = ("trace", "autoscaler", "cost", "used %", "unserved %", "late %", "changes")
    rows: list[tuple[Cell, ...]] = []
    for trace, runs in by_trace.items():
        hosts, slots = float(runs[0].foreseen.sum()), float(runs[0].load.occupied.sum())
        rows.append((trace, "perfect foresight", 1.0, 100 * slots / hosts / SLOTS, 0.0, 0.0, "-"))
        for run in runs:
            rows.append(
                (
                    trace,
                    run.name,
                    run.cost,
                    100 * run.used,
                    100 * run.outcome.unserved_share,
                    100 * run.outcome.late_share,
                    run.outcome.changes,
                )
            )
    return Table(f"Traces, {BOOT_SECONDS} s to boot", columns, tuple(rows))


def _hours(by_trace: Mapping[str, list[_Run]]) -> Table:
    rows = [
        (trace, run.name, *np.percentile(run.regrets, (50, 95, 100)).tolist(), _worst_hour(run))
        for trace, runs in by_trace.items()
        for run in runs
    ]
    columns = ("trace", "autoscaler", "median hour", "95th", "worst", "unserved % in its worst hour")
    return Table("Hosts beyond foresight, by the hour", columns, tuple(rows))


def _worst_hour(run: _Run) -> float:
    """Percent of an hour's requests."""
    ends = np.arange(_HOUR, run.load.seconds + _HOUR, _HOUR).clip(max=run.load.seconds)
    lost = np.diff(np.concatenate(([0], np.cumsum(run.outcome.unserved)))[np.concatenate(([0], ends))])
    came = np.diff(run.load.begin[np.concatenate(([0], ends))])
    return float(100 * (lost / np.maximum(came, 1)).max())


def _swept_table(
    boots: Mapping[str, Mapping[int, list[_Run]]], shapes: Mapping[tuple[str, str], list[_Run]]
) -> Iterator[Table]:
    if not boots:
        return
    rows = [
        (trace, label, run.name, run.cost, 100 * run.outcome.unserved_share, 100 * run.outcome.late_share)
        for (trace, label), runs in (
            *(((trace, f"boot {boot} s"), runs) for trace, of in boots.items() for boot, runs in of.items()),
            *shapes.items(),
        )
        for run in runs
    ]
    yield Table("Sweeps", ("trace", "what", "autoscaler", "cost", "unserved %", "late %"), tuple(rows))


def _goals(by_trace: Mapping[str, list[_Run]]) -> Iterator[Goal]:
    for trace, runs in by_trace.items():
        ours, others = runs[0], {run.name: run for run in runs}
        lost = ours.outcome.unserved_share
        yield Goal(f"{trace}: cost", ours.cost, f"at most {COST_MAX} x foresight", ours.cost <= COST_MAX)
        yield Goal(f"{trace}: unserved", f"{lost:.4%}", f"at most {UNSERVED_MAX:.2%}", lost <= UNSERVED_MAX)
        for name in ("Knative", "HPA"):
            other = others[name]
            ahead = ours.cost < other.cost and lost <= other.outcome.unserved_share
            yield Goal(
                f"{trace}: ahead of {name}",
                f"{ours.cost:.2f} and {lost:.4%}",
                f"less than {other.cost:.2f} and {other.outcome.unserved_share:.4%}",
                ahead,
            )


def _patience() -> Goal:
    """At loads that rise once and stay: the least time from a host added to one told to go."""
    least = min(_seconds_to_shrink(_paid(_step(slots))) for slots in _STEPS)
    return Goal(
        "at a constant load no host goes so soon after one was added",
        f"{least} s",
        f"at least {_PATIENCE_SECONDS} s",
        least >= _PATIENCE_SECONDS,
    )


def _step(slots: int) -> Demand:
    """An hour: callers at random that fill a third of so many slots for ten minutes, and then all of them."""
    draw = np.random.default_rng(slots)
    rates = np.where(np.arange(_HOUR) < _HOUR // 6, slots / 3, slots) / _STEP_SERVICE_SECONDS
    second = np.repeat(np.arange(_HOUR), draw.poisson(rates))
    return Demand(f"step-{slots}", _HOUR, second, draw.exponential(_STEP_SERVICE_SECONDS, len(second)))


def _paid(demand: Demand) -> Ints:
    ours = Ours(ScalingPolicy(hosts_min=HOSTS_MIN, hosts_max=HOSTS_MAX, boot_seconds=BOOT_SECONDS))
    return simulate(load_of(demand), ours, boot_seconds=BOOT_SECONDS, hosts_at_first=1).paid


def _seconds_to_shrink(paid: Ints) -> int:
    """From a rise to the next fall, the least; the length of it all if there is none."""
    change = np.diff(paid)
    rises, falls = np.flatnonzero(change > 0), np.flatnonzero(change < 0)
    before = np.searchsorted(rises, falls) - 1
    apart = falls[before >= 0] - rises[before[before >= 0]]
    return int(apart.min(initial=len(paid)))


def _idle() -> Goal:
    """A thousand hosts and no more requests: how long until the least is left, with a floor of 0."""
    nothing = Demand("nothing", 2 * IDLE_SECONDS_MAX, np.zeros(0, np.int64), np.zeros(0))
    ours = Ours(ScalingPolicy(0, HOSTS_MAX))
    paid = simulate(load_of(nothing), ours, boot_seconds=BOOT_SECONDS, hosts_at_first=_IDLE_HOSTS).paid
    seconds = int(np.flatnonzero(paid)[-1]) + 1
    return Goal(
        f"{_IDLE_HOSTS:,} idle hosts to none",
        f"{seconds / 60:.1f} min",
        f"at most {IDLE_SECONDS_MAX // 60} min",
        seconds <= IDLE_SECONDS_MAX,
    )


def _hosts_plots(by_trace: Mapping[str, list[_Run]]) -> Iterator[Plot]:
    """By the minute, around the second that needs most."""
    for trace, runs in by_trace.items():
        middle = int(runs[0].load.occupied.argmax())
        start = max(min(middle - _HOUR, runs[0].load.seconds - 2 * _HOUR), 0) // _MINUTE * _MINUTE
        named = [("foresight", runs[0].foreseen), (OURS, runs[0].outcome.paid)]
        named += [(run.name, run.outcome.paid) for run in runs if run.name in ("Knative", "HPA")]
        lines = tuple(Series(name, _minutes(paid[start : start + 2 * _HOUR])) for name, paid in named)
        yield Plot(trace, f"{trace}: hosts in the two hours around its peak", "minutes", "hosts", lines)


def _minutes(paid: Ints) -> tuple[tuple[float, float], ...]:
    """The most of every minute."""
    minutes = len(paid) // _MINUTE
    most = paid[: minutes * _MINUTE].reshape(minutes, _MINUTE).max(axis=1)
    return tuple((float(minute), float(hosts)) for minute, hosts in enumerate(most.tolist()))


def _boot_plots(boots: Mapping[str, Mapping[int, list[_Run]]]) -> Iterator[Plot]:
    for trace, of in boots.items():
        names = [run.name for run in of[BOOT_SECONDS]]
        lines = tuple(
            Series(
                name,
                tuple((float(boot), 100 * runs[number].outcome.unserved_share) for boot, runs in of.items()),
            )
            for number, name in enumerate(names)
        )
        yield Plot(f"boot-{trace}", f"{trace}: unserved by the time to boot", "seconds", "%", lines)
