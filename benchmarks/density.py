"""`density`: what many small models cost a host in memory and threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import models
from benchmarks.process_tree import ProcessTree
from benchmarks.rocket import Rocket, until


@dataclass(frozen=True, slots=True)
class Occupancy:
    """A host's process tree with so many models resident."""

    resident: int
    memory_bytes: int
    threads: int
    processes: int


def measure(rocket: Rocket, *, steps: Sequence[int], say: Callable[[str], None]) -> tuple[Occupancy, ...]:
    """The tree at each of these numbers of different tiny models, all loaded, on one host."""
    tree = ProcessTree(rocket.pids("host-1"))
    seen = []
    for count in steps:
        for number in range(len(rocket.deployed), count):
            rocket.deploy(f"tiny-{number}", models.tiny(seed=number).SerializeToString())
        _wait_until_resident(rocket, count)
        say(f"{count} models in memory")
        seen.append(occupancy(tree, count))
    return tuple(seen)


def _wait_until_resident(rocket: Rocket, count: int) -> None:
    """By the host's heartbeat."""
    until(lambda: rocket.hosts()[0].versions_ready >= count, what=f"{count} models in the host's memory")


def occupancy(tree: ProcessTree, resident: int) -> Occupancy:
    processes = tree.processes()
    threads = sum(_threads(process.pid) for process in processes)
    return Occupancy(resident, tree.memory_bytes(), threads, len(processes))


def _threads(pid: int) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return 0
