"""What one tick of the planner costs: processor seconds and memory, by the size of the fleet.

Each size has a process of its own, since the most memory a process ever had does not go down.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.simulation.experiment import Experiment, Goal, Table
from chalicelib.contract.messages import HostState
from chalicelib.coordinator.planner import Assign, Plan, Policy, plan
from chalicelib.coordinator.scaling import ScalingPolicy
from chalicelib.coordinator.state import (
    CapacityView,
    FleetState,
    Freshness,
    HostView,
    ModelDemand,
    ModelView,
    VersionView,
)
from chalicelib.coordinator.windows import LoadSample

SIZES: Final = ((10, 1_000), (100, 10_000), (1_000, 100_000))
"""Hosts and models."""
CPU_SECONDS_MAX: Final = 2.0
MEMORY_MB_MAX: Final = 512
_SLOTS: Final = 4.0
_MB: Final = 10**6
_SIZES_MB: Final = (1, 2, 5, 10, 20)
_USED: Final = 0.2
"""Share of models that are asked for between two ticks."""
_BUSY: Final = 0.5
"""Share of the fleet's slots that are busy."""
_NOW: Final = 1e6


class Cost(msgspec.Struct, frozen=True):
    """Of one tick. `memory_mb`: the most that the process had until then, the state included."""

    tick: str
    cpu_seconds: float
    memory_mb: float
    actions: int


def run(traces: Path, *, quick: bool) -> Experiment:
    """No trace is needed. `quick` leaves the largest fleet out."""
    return shown({size: apart(*size) for size in (SIZES[:-1] if quick else SIZES)})


def shown(costs: Mapping[tuple[int, int], Sequence[Cost]]) -> Experiment:
    """By hosts and models. The goals are for the largest fleet."""
    largest = costs[max(costs)]
    name = f"{max(costs)[0]:,} hosts and {max(costs)[1]:,} models"
    slowest = max(cost.cpu_seconds for cost in largest)
    most = max(cost.memory_mb for cost in largest)
    rows = tuple(
        (
            f"{hosts:,} hosts, {models:,} models",
            cost.tick,
            cost.actions,
            round(cost.cpu_seconds, 3),
            round(cost.memory_mb),
        )
        for (hosts, models), ticks in costs.items()
        for cost in ticks
    )
    return Experiment(
        name="scale",
        question="What does one tick of the planner cost?",
        tables=(Table("Ticks", ("fleet", "tick", "actions", "CPU s", "MB"), rows),),
        goals=(
            Goal(
                f"CPU s, {name}",
                round(slowest, 2),
                f"at most {CPU_SECONDS_MAX:g}",
                slowest <= CPU_SECONDS_MAX,
            ),
            Goal(f"MB, {name}", round(most), f"at most {MEMORY_MB_MAX}", most <= MEMORY_MB_MAX),
        ),
        notes=(
            f"{_USED:.0%} of the models are asked for between two ticks; {_BUSY:.0%} of all slots are busy.",
            "settled: every model has its two copies. flushed: no host is told anything yet, so that every "
            "model in use gets its first copy. lost: a tenth of the hosts died.",
            "CPU s: of the process in `plan` alone, which is pure: reading and writing Redis is not in it. "
            "MB: the most resident memory of the process up to then, Python and the state itself included.",
        ),
    )


def apart(hosts: int, models: int) -> tuple[Cost, ...]:
    command = [sys.executable, "-m", __name__, str(hosts), str(models)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=tuple[Cost, ...])


def measured(hosts: int, models: int) -> Iterator[Cost]:
    """Ticks of one fleet, in this process."""
    policy = Policy(scaling=ScalingPolicy(hosts_min=1, hosts_max=2 * hosts))
    state = fleet(hosts, models)
    made = plan(state, policy)
    for name, change in (("settled", _unchanged), ("lost", _lost), ("flushed", _flushed)):
        state = _next(state, made, change, seed=name)
        began = time.process_time()
        made = plan(state, policy)
        took = time.process_time() - began
        yield Cost(name, took, _memory_mb_max(), len(made.actions))


def _memory_mb_max() -> float:
    """Not `ru_maxrss`, in which a process inherits what its parent had."""
    status = Path("/proc/self/status").read_text()
    kib = status.partition("VmHWM:")[2].split(maxsplit=1)[0]
    return int(kib) * 1024 / _MB


def fleet(hosts: int, models: int) -> FleetState:
    """Every model on two hosts, no two models on the same two as far as that goes; half of memory taken."""
    draw = random.Random(f"{hosts}/{models}")
    views = tuple(
        ModelView(
            str(uuid.UUID(int=draw.getrandbits(128))),
            f"tenant-{at % 1000}",
            VersionView(str(uuid.UUID(int=draw.getrandbits(128))), draw.choice(_SIZES_MB) * _MB, 1.0, 50.0),
        )
        for at in range(models)
    )
    assigned: list[list[str]] = [[] for _ in range(hosts)]
    for at, view in enumerate(views):
        first, step = at % hosts, 1 + at // hosts % (hosts - 1)
        assigned[first].append(view.active.version_id)
        assigned[(first + step) % hosts].append(view.active.version_id)
    memory = 4 * sum(view.active.memory_bytes for view in views) // hosts
    names = [f"host-{at:04d}" for at in range(hosts)]
    told = tuple(
        HostView(
            name,
            f"boot-{name}",
            HostState.READY,
            Freshness.FRESH,
            _SLOTS,
            memory,
            assigned=tuple(sorted(held)),
        )
        for name, held in zip(names, assigned, strict=True)
    )
    return _asked(FleetState(_NOW, told, views, CapacityView(hosts, tuple(names))), seed="first")


def _next(
    state: FleetState, made: Plan, change: Callable[[FleetState], FleetState], *, seed: str
) -> FleetState:
    """Ten seconds later, with the plan carried out and other models asked for."""
    told = {action.host_id: action.version_ids for action in made.actions if isinstance(action, Assign)}
    hosts = tuple(
        msgspec.structs.replace(host, assigned=told.get(host.host_id, host.assigned)) for host in state.hosts
    )
    state = msgspec.structs.replace(state, now=state.now + 10, hosts=hosts, memory=made.memory)
    return change(_asked(state, seed=seed))


def _asked(state: FleetState, *, seed: str) -> FleetState:
    draw = random.Random(seed)
    slots = _SLOTS * len(state.hosts)
    mean = _BUSY * slots / (_USED * len(state.models))
    models = tuple(
        msgspec.structs.replace(
            model, demand=ModelDemand(1.0, draw.expovariate(1 / mean)) if draw.random() < _USED else None
        )
        for model in state.models
    )
    return msgspec.structs.replace(state, models=models, samples=(LoadSample(state.now, _BUSY * slots),))


def _unchanged(state: FleetState) -> FleetState:
    return state


def _lost(state: FleetState) -> FleetState:
    hosts = tuple(
        msgspec.structs.replace(host, freshness=Freshness.DEAD) if at % 10 == 0 else host
        for at, host in enumerate(state.hosts)
    )
    return msgspec.structs.replace(state, hosts=hosts)


def _flushed(state: FleetState) -> FleetState:
    hosts = tuple(
        msgspec.structs.replace(host, assigned=(), freshness=Freshness.FRESH) for host in state.hosts
    )
    return msgspec.structs.replace(state, hosts=hosts, memory=None)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(tuple(measured(int(sys.argv[1]), int(sys.argv[2])))))
