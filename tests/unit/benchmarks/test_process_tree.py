"""CPU time is counted over real processes: living, ended, and grandchildren."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks.process_tree import ProcessGone, ProcessTree

TICK = 1 / os.sysconf("SC_CLK_TCK")
BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"
PARENT = """
import subprocess, sys
for line in sys.stdin:
    child = subprocess.Popen([sys.executable, "-c", line.replace(";;", "\\n")])
    print(child.pid if "sleep" in line else child.wait(), flush=True)
"""


@contextmanager
def parent() -> Iterator[subprocess.Popen[str]]:
    """A process that runs each line it reads as a child, and waits for it unless it sleeps."""
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def tell(process: subprocess.Popen[str], program: str) -> int:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(program.replace("\n", ";;") + "\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def test_the_time_of_a_child_that_lived_and_died_in_between_counts() -> None:
    with parent() as process:
        tree = ProcessTree([process.pid])
        before = tree.cpu_seconds()
        tell(process, BURN.format(seconds=0.3))
        assert tree.cpu_seconds() - before >= 0.3 - 2 * TICK
        assert [one.pid for one in tree.processes()] == [process.pid]


def test_the_time_of_a_living_child_counts() -> None:
    with parent() as process:
        tree = ProcessTree([process.pid])
        before = tree.cpu_seconds()
        child = tell(process, BURN.format(seconds=0.2) + "time.sleep(600)")
        try:
            deadline = time.monotonic() + 60
            while tree.cpu_seconds() - before < 0.2 - 2 * TICK:
                assert time.monotonic() < deadline, "the child's time never showed"
            assert {one.pid for one in tree.processes()} == {process.pid, child}
        finally:
            os.kill(child, 9)


def test_the_time_of_others_does_not_count() -> None:
    with parent() as process, parent() as other:
        tree = ProcessTree([process.pid])
        tell(process, "pass")
        before = tree.cpu_seconds()
        tell(other, BURN.format(seconds=0.2))
        assert tree.cpu_seconds() - before <= 2 * TICK


def test_a_root_that_ended_is_told() -> None:
    with parent() as process:
        tree = ProcessTree([process.pid])
        process.kill()
        process.wait()
        with pytest.raises(ProcessGone, match=str(process.pid)):
            tree.cpu_seconds()


@pytest.mark.parametrize(
    "read",
    [ProcessTree.memory_bytes, ProcessTree.resident_bytes, ProcessTree.anonymous_bytes],
    ids=["proportional", "resident", "anonymous"],
)
def test_memory_is_that_of_all_processes(read: Callable[[ProcessTree], int]) -> None:
    with parent() as process:
        tree = ProcessTree([process.pid])
        alone = read(tree)
        child = tell(process, "import time; content = b'x' * 50_000_000; time.sleep(600)")
        try:
            deadline = time.monotonic() + 60
            while read(tree) < alone + 50_000_000:
                assert time.monotonic() < deadline, "the child's memory never showed"
        finally:
            os.kill(child, 9)
