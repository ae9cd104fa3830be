"""A small stack run by the real Supervisor: `python -m tests.infra.stand_in_stack HOME [SCENARIO]`.

Its children are as awkward as real ones: `server` has a child of its own and a
grandchild in another session; `web` listens on a port; `deaf` ignores SIGTERM. In the scenario `pool`
hosts come and go as HOME/wish.json says: those that end take a moment, `host-3` is deaf, `host-5` dies at
once, and `host-6` cannot even be started.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from chalicelib.contract.hotstate import CapacityWish
from chalicelib.contract.messages import decode
from infra.local.hostpool import host_name, numbers_to_start
from infra.local.ports import accepts_connections, assign_ports
from infra.local.process import ChildSpec
from infra.local.report import Row, State, say, write_state
from infra.local.restarts import RestartPolicy
from infra.local.steps import Action, Change, Command, Member, Pool, Stage, Step
from infra.local.supervisor import StackFailed, Supervisor

_SERVER: Final = """
import subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
print(subprocess.Popen(sleep).pid, subprocess.Popen(sleep, start_new_session=True).pid, flush=True)
time.sleep(600)
"""
_WEB: Final = """
import http.server, sys
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.BaseHTTPRequestHandler).serve_forever()
"""
_DEAF: Final = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""
_HOST: Final = """
import signal, sys, time
def drain(*_):
    print("draining", flush=True)
    time.sleep(0.3)
    sys.exit(0)
signal.signal(signal.SIGTERM, drain)
print("here", flush=True)
time.sleep(600)
"""
_BROKEN: Final = """
print("no memory left", flush=True)
raise SystemExit(1)
"""
_POLICY: Final = RestartPolicy(delay_seconds_first=0.1, delay_seconds_max=0.2)


def child(home: Path, name: str, code: str, *arguments: str, port: int | None = None) -> ChildSpec:
    log_file = home / f"{name}.log"
    return ChildSpec(
        name=name,
        command=(sys.executable, "-c", code, *arguments),
        environment={"PATH": "/usr/bin:/bin"},
        log_file=log_file,
        working_directory=home,
        ready=(lambda: log_file.stat().st_size > 0) if port is None else lambda: accepts_connections(port),
        address=f"127.0.0.1:{port}" if port is not None else "",
        stop_seconds=2.0,
    )


def host(home: Path, number: int) -> ChildSpec:
    folder = home / "missing" if number == 6 else home
    spec = child(home, host_name(number), {3: _DEAF, 5: _BROKEN}.get(number, _HOST))
    return replace(spec, working_directory=folder)


def pool(home: Path) -> Pool:
    def follow(members: Sequence[Member]) -> Change:
        wish = decode(read_text(home / "wish.json"), CapacityWish)
        if wish is None:
            return Change()
        start = tuple(host(home, number) for number in numbers_to_start(wish, members, hosts_max=6))
        return Change(end=frozenset(wish.ending), start=start)

    return Pool((host(home, 1),), follow)


def read_text(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def scenario_steps(home: Path, scenario: str, port: int) -> tuple[Step, ...]:
    server, web = child(home, "server", _SERVER), child(home, "web", _WEB, str(port), port=port)
    extra: dict[str, tuple[Step, ...]] = {
        "plain": (),
        "pool": (pool(home),),
        "deaf": (Stage((child(home, "deaf", _DEAF),)),),
        "failing command": (Command(child(home, "command", "print('it broke'); raise SystemExit(3)")),),
        "never up": (Stage((child(home, "broken", "raise SystemExit('no such setting')"),)),),
    }
    command = Command(child(home, "setup", "print('done')"))
    return (Stage((server,)), command, Action("check", lambda: True), *extra[scenario], Stage((web,)))


def foreground(home: Path, scenario: str) -> ChildSpec | None:
    if not scenario.startswith("demo"):
        return None
    return ChildSpec(
        name="demo",
        command=(sys.executable, "-c", f"print('demo says hello'); raise SystemExit({scenario[5:] or 0})"),
        environment={},
        working_directory=home,
    )


def main(home: Path, scenario: str = "plain") -> int:
    ports = assign_ports(("web",), remembered_in=home / "ports.json", generator=random.Random())
    state: State = "starting"

    def publish() -> None:
        rows = [
            Row(each.name, each.spec.address, each.pid if each.poll() is None else None, each.spec.log_file)
            for each in supervisor.children
        ]
        write_state(home, state=state, pid=os.getpid(), url="", rows=rows)

    def announce() -> None:
        nonlocal state
        state = "ready"
        publish()

    supervisor = Supervisor(say=say, changed=publish, policy=_POLICY)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: supervisor.request_stop())
    demo = foreground(home, scenario)
    try:
        return supervisor.run(
            scenario_steps(home, "plain" if demo else scenario, ports["web"]),
            on_ready=announce,
            foreground=demo,
            stop_after_foreground=demo is not None,
        )
    except StackFailed as error:
        say(f"FAILED {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
