"""`density`: what many small models cost a host in memory and threads."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import models
from benchmarks.alone import Stores, counters, tree, wait_until_quiet
from benchmarks.models import Example
from benchmarks.process_tree import ProcessTree
from benchmarks.rocket import Deployed, expect_ok, inference_lane, until
from tests.support.hosts import HostProcess

_CALLERS: Final = 4


@dataclass(frozen=True, slots=True)
class Occupancy:
    """A host's process tree with so many models resident."""

    resident: int
    memory_bytes: int
    threads: int
    processes: int


def measure(
    stores: Stores, example: Example, *, steps: Sequence[int], say: Callable[[str], None]
) -> tuple[Occupancy, ...]:
    """The tree at each of these numbers of different tiny models of one account, each loaded by a request."""
    with stores.host() as host:
        record = stores.prepared(example.path.read_bytes())
    say("making the models")
    contents = [models.tiny(seed=number).SerializeToString() for number in range(steps[-1])]
    deployed = stores.deploy_each(contents, like=record, tenant=str(uuid.uuid4()))
    with stores.host() as host:
        processes = tree(host)
        return tuple(
            _step(host, processes, example, deployed[before:count], count, say)
            for before, count in zip((0, *steps), steps, strict=False)
        )


def _step(
    host: HostProcess,
    processes: ProcessTree,
    example: Example,
    added: Sequence[Deployed],
    count: int,
    say: Callable[[str], None],
) -> Occupancy:
    lanes = [inference_lane(host.port, example.inputs[:1], one) for one in added]
    with ThreadPoolExecutor(_CALLERS) as pool:
        list(pool.map(expect_ok, lanes))
    until(lambda: counters(host)["versions_ready"] == count, what=f"{count} models in the host's memory")
    say(f"{count} models in memory")
    return occupancy(processes, count)


def occupancy(processes: ProcessTree, resident: int) -> Occupancy:
    wait_until_quiet(processes)
    found = processes.processes()
    threads = sum(_threads(process.pid) for process in found)
    return Occupancy(resident, processes.memory_bytes(), threads, len(found))


def _threads(pid: int) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return 0
