"""The whole stack as a subprocess, for tests that need all of it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.local import servers
from infra.local.connections import Connections, External
from infra.local.credentials import load_or_create
from infra.local.files import read_json
from infra.local.ports import free_port
from infra.local.report import STATE_FILE
from tests.support.waiting import wait_for

REPOSITORY: Final = Path(__file__).resolve().parents[2]
_READY_SECONDS: Final = 180.0
_STOP_SECONDS: Final = 90.0
_PAUSE_SECONDS: Final = 0.1


@dataclass(slots=True)
class RunningStack:
    """A stack that is ready. Children are named as in its table: s3, valkey, host-1, gateway, …"""

    process: subprocess.Popen[bytes]
    home: Path
    port: int
    client_config: Path
    console: Path
    """What it printed."""
    environment: Mapping[str, str]

    def command(self, *arguments: str, given: str = "") -> str:
        """What `python -m infra.local …` prints for this stack, with this as its input."""
        return subprocess.run(
            [sys.executable, "-m", "infra.local", *arguments],
            input=given,
            text=True,
            env=self.environment,
            cwd=REPOSITORY,
            check=True,
            stdout=subprocess.PIPE,
        ).stdout

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_key(self) -> str:
        return load_or_create(self.home).api_key

    @property
    def connections(self) -> Connections:
        """Of the embedded servers, with passwords."""
        layout = servers.Layout(
            home=self.home,
            ports=read_json(self.home / "ports.json"),
            credentials=load_or_create(self.home),
            external=External(),
        )
        return servers.connections(layout)

    @property
    def redis_url(self) -> str:
        """As the user `stack`, who may do everything."""
        return self.connections.redis_urls["stack"]

    @property
    def mongo_url(self) -> str:
        return self.connections.mongo_stack_url

    @property
    def children(self) -> Mapping[str, Any]:
        """`{"pid", "address", "log"}` by name, as the stack says now."""
        content = read_json(self.home / STATE_FILE)
        return content.get("children", {}) if content.get("pid") == self.process.pid else {}

    def pid(self, name: str) -> int:
        """Waits while the child is between two lives."""
        pid: int = wait_for(lambda: self.children.get(name, {}).get("pid"), what=f"a running {name}")
        return pid

    def port_of(self, name: str) -> int:
        return int(self.children[name]["address"].rpartition(":")[2])

    def log(self, name: str) -> str:
        return Path(self.children[name]["log"]).read_text(errors="replace")

    def kill(self, name: str) -> int:
        """SIGKILL one child; its old pid. The stack will start it again."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_for_restart(self, name: str, *, old_pid: int) -> int:
        """Until another process runs in its place. It may still be starting."""

        def new_pid() -> int | None:
            pid: int | None = self.children.get(name, {}).get("pid")
            return pid if pid != old_pid else None

        return wait_for(new_pid, what=f"a new {name}")

    def stop(self) -> int:
        """SIGTERM, as Ctrl-C does it; the exit code. Again is harmless."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(_STOP_SECONDS)


@contextmanager
def running_stack(
    home: Path, hosts: int | str = 2, *, environment: Mapping[str, str] | None = None
) -> Iterator[RunningStack]:
    """`python -m infra.local up` in this folder on a free port until the block ends.

    The same folder again finds its models again. Nothing of the person's own
    configuration is read or written.
    """
    home.mkdir(parents=True, exist_ok=True)
    port = free_port(random.Random())
    client_config, console = home / "client.json", home / "console.txt"
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MODELROCKET_")},
        "ROCKET_HOME": str(home),
        "ROCKET_PORT": str(port),
        "MODELROCKET_CONFIG": str(client_config),
        **(environment or {}),
    }
    with console.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.local", "up", "--hosts", str(hosts)],
            cwd=REPOSITORY,
            env=variables,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    stack = RunningStack(
        process=process,
        home=home,
        port=port,
        client_config=client_config,
        console=console,
        environment=variables,
    )
    try:
        _wait_until_ready(stack)
        yield stack
    finally:
        try:
            stack.stop()
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _wait_until_ready(stack: RunningStack) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not _is_ready(stack):
        code = stack.process.poll()
        if code is not None or time.monotonic() > deadline:
            what = "is not ready" if code is None else f"ended with {code}"
            raise AssertionError(f"the stack {what}; it printed:\n{stack.console.read_text()}")
        time.sleep(_PAUSE_SECONDS)


def _is_ready(stack: RunningStack) -> bool:
    content = read_json(stack.home / STATE_FILE)
    return content.get("pid") == stack.process.pid and content.get("state") == "ready"
