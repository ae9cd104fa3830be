"""The supervisor against processes that die, hang, detach themselves or hold a port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.local.files import read_json, write_private
from infra.local.ports import accepts_connections
from infra.local.report import STATE_FILE
from tests.support.processes import alive, descendants, is_alive
from tests.support.stack import REPOSITORY
from tests.support.waiting import DEADLINE_SECONDS, wait_for


@dataclass(slots=True)
class StandIn:
    """A stand-in stack in a process of its own."""

    process: subprocess.Popen[str]
    home: Path

    @property
    def children(self) -> dict[str, Any]:
        return dict(read_json(self.home / STATE_FILE).get("children", {}))

    @property
    def ready(self) -> bool:
        return read_json(self.home / STATE_FILE).get("state") == "ready"

    def pid(self, name: str) -> int:
        pid: int = wait_for(lambda: self.children.get(name, {}).get("pid"), what=f"a running {name}")
        return pid

    def output(self) -> str:
        """All it printed; waits for its end."""
        return self.process.communicate(timeout=DEADLINE_SECONDS)[0]


class Start:
    def __init__(self, home: Path) -> None:
        self._home = home
        self.started: list[StandIn] = []

    def __call__(self, scenario: str = "plain") -> StandIn:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.infra.stand_in_stack", str(self._home), scenario],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        stack = StandIn(process, self._home)
        self.started.append(stack)
        return stack

    def ready(self, scenario: str = "plain") -> StandIn:
        stack = self(scenario)
        wait_for(lambda: stack.ready or stack.process.poll() is not None, what="a ready stack")
        assert stack.process.poll() is None, stack.output()
        return stack


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    start = Start(tmp_path)
    yield start
    for stack in start.started:
        stack.process.kill()
        stack.process.communicate()


def family(stack: StandIn) -> set[int]:
    """Everything the stack started, down to the detached grandchild."""
    found = descendants(stack.process.pid)
    log = (stack.home / "server.log").read_text().split()
    grandchildren = {int(pid) for pid in log}
    assert grandchildren <= found
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_everything_and_leaves_no_process(start: Start, number: signal.Signals) -> None:
    stack = start.ready()
    everyone = family(stack)

    stack.process.send_signal(number)

    output = stack.output()
    assert stack.process.returncode == 0
    assert not alive(everyone)
    assert output.index("stopping web") < output.index("stopping server")


def test_a_killed_stack_leaves_no_process_of_its_sessions(start: Start) -> None:
    stack = start.ready()
    own_session = int((stack.home / "server.log").read_text().split()[0])
    children = {stack.pid("server"), stack.pid("web"), own_session}

    stack.process.kill()

    wait_for(lambda: not alive(children), what="the children's end")


def test_a_killed_child_is_named_restarted_on_its_port_and_leaves_nothing(start: Start) -> None:
    stack = start.ready()
    port = int(stack.children["web"]["address"].rpartition(":")[2])
    left_behind = {int(pid) for pid in (stack.home / "server.log").read_text().split()}
    old = {name: stack.pid(name) for name in ("server", "web")}

    for pid in old.values():
        os.kill(pid, signal.SIGKILL)

    wait_for(lambda: stack.pid("server") != old["server"], what="a new server")
    wait_for(lambda: stack.pid("web") != old["web"] and accepts_connections(port), what="a new web")
    assert not alive(left_behind)
    stack.process.terminate()
    output = stack.output()
    assert "web ended with signal SIGKILL." in output
    assert "server ended with signal SIGKILL. The end of" in output


def test_a_child_that_keeps_dying_stops_the_stack(start: Start) -> None:
    stack = start.ready()
    everyone = family(stack)

    def killed_until_the_end() -> bool:
        pid = stack.children.get("web", {}).get("pid")
        if pid and is_alive(pid):
            os.kill(pid, signal.SIGKILL)
        return stack.process.poll() is not None

    wait_for(killed_until_the_end, what="the stack to give up")

    output = stack.output()
    assert "times within 60 s: giving up." in output
    assert stack.process.returncode == 1
    assert not alive(everyone)


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        pytest.param("failing command", "command ended with exit code 3. The end of", id="command"),
        pytest.param("never up", "broken ended with exit code 1. The end of", id="child"),
    ],
)
def test_what_cannot_start_is_named_with_the_end_of_its_log(
    start: Start, scenario: str, expected: str
) -> None:
    stack = start(scenario)

    output = stack.output()

    assert expected in output
    assert "FAILED" in output and "Traceback" not in output
    assert stack.process.returncode == 1
    assert not accepts_connections(int(read_json(stack.home / "ports.json")["web"]))


def test_a_deaf_child_is_killed_at_its_deadline(start: Start) -> None:
    stack = start.ready("deaf")
    everyone = family(stack)

    stack.process.terminate()

    assert "killed deaf" in stack.output()
    assert stack.process.returncode == 0
    assert not alive(everyone)


def test_a_second_request_kills_at_once(start: Start) -> None:
    stack = start.ready("deaf")
    everyone = family(stack)

    stack.process.send_signal(signal.SIGINT)
    stack.process.send_signal(signal.SIGINT)
    stack.process.send_signal(signal.SIGTERM)

    assert "killed" in stack.output()
    assert not alive(everyone)


def wish(stack: StandIn, hosts: int, *ending: str) -> None:
    write_private(stack.home / "wish.json", json.dumps({"hosts": hosts, "ending": ending, "epoch": 1}))


def hosts(stack: StandIn) -> set[str]:
    """Of the table, those that run."""
    return {name for name, one in stack.children.items() if name.startswith("host-") and one["pid"]}


def test_hosts_come_and_go_as_is_wished_and_nobody_else_does(start: Start) -> None:
    stack = start.ready("pool")
    first = stack.pid("host-1")
    wish(stack, 2)
    wait_for(lambda: hosts(stack) == {"host-1", "host-2"}, what="another host")
    second = stack.pid("host-2")

    wish(stack, 1)  # nobody is named
    wish(stack, 1, "host-1")
    wait_for(lambda: hosts(stack) == {"host-2"}, what="the named host's end")
    assert not is_alive(first)
    assert "draining" in (stack.home / "host-1.log").read_text()
    wish(stack, 2, "host-1")  # its number is not taken while it is to end
    wait_for(lambda: hosts(stack) == {"host-2", "host-3"}, what="a host in its place")

    deaf = stack.pid("host-3")
    wait_for((stack.home / "host-3.log").read_text, what="a deaf host")
    wish(stack, 1, "host-3")
    wait_for(lambda: hosts(stack) == {"host-2"}, what="the end of the deaf one")
    assert not is_alive(deaf)

    assert stack.pid("host-2") == second and is_alive(second)
    stack.process.terminate()
    output = stack.output()
    assert output.count("starting host-") == 2
    assert output.count("stopped with exit code 0") == 1
    assert output.count("stopped with signal SIGKILL") == 1
    assert "Starting it again" not in output


def test_a_host_that_does_not_come_up_takes_none_of_the_others_with_it(start: Start) -> None:
    stack = start.ready("pool")
    wish(stack, 5)
    log = stack.home / "host-5.log"
    wait_for(lambda: log.exists() and log.read_text().count("no memory left") > 5, what="some tries")
    assert hosts(stack) >= {"host-1", "host-2", "host-3", "host-4"}

    wish(stack, 4, "host-5")
    wait_for(lambda: "host-5" not in stack.children, what="no further try")
    wish(stack, 5, "host-5")
    wait_for(lambda: "host-6" in stack.children, what="one that cannot be started at all")
    wish(stack, 4, "host-5", "host-6")
    wait_for(lambda: "host-6" not in stack.children, what="no further try")

    stack.process.terminate()
    output = stack.output()
    assert stack.process.returncode == 0
    assert "host-5 ended with exit code 1." in output
    assert "host-6 cannot be started" in output


@pytest.mark.parametrize(
    ("hosts_wished", "ending"),
    [pytest.param(4, (), id="while hosts start"), pytest.param(2, ("host-3",), id="while one drains")],
)
def test_stopping_while_hosts_come_and_go_leaves_no_process(
    start: Start, hosts_wished: int, ending: tuple[str, ...]
) -> None:
    stack = start.ready("pool")
    wish(stack, 3)
    wait_for(lambda: len(hosts(stack)) == 3, what="all hosts")
    wish(stack, hosts_wished, *ending)
    wait_for(lambda: "host-4" in stack.children or ending, what="the change")
    everyone = family(stack)

    stack.process.send_signal(signal.SIGINT)

    output = stack.output()
    assert stack.process.returncode == 0
    assert "Traceback" not in output
    assert not alive(everyone)


@pytest.mark.parametrize("code", [0, 3])
def test_a_foreground_program_writes_to_the_terminal_and_decides_the_exit_code(
    start: Start, code: int
) -> None:
    stack = start(f"demo {code}")

    output = stack.output()

    assert "demo says hello" in output
    assert ("demo failed: exit code 3." in output) == (code == 3)
    assert stack.process.returncode == code
