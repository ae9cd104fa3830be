"""`python -m infra.local up`: the whole product on this machine, until Ctrl-C. `account`: a log-in for it."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from infra.local.account import CannotGiveLogIn, ask_password, give_log_in, log_in_command
from infra.local.credentials import DamagedCredentials, load_or_create
from infra.local.home import HomeInUse, locked_home
from infra.local.ports import PORTS_FILE, NoFreePort, assign_ports, holder, is_free
from infra.local.report import STATE_FILE, Row, State, say, show_table, write_state
from infra.local.servers import PORT_NAMES, Layout, ServerMissing
from infra.local.settings import PORT_DEFAULT, InvalidSettings, StackSettings
from infra.local.stack import Stack, rotate_logs
from infra.local.supervisor import StackFailed, Supervisor

_FAILED: Final = 1
_CANNOT_START: Final = 2
_CANNOT_START_ERRORS: Final = (InvalidSettings, HomeInUse, DamagedCredentials, NoFreePort, ServerMissing)


class PortTaken(Exception):
    """The gateway's port belongs to another program."""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """The exit code: 0 stopped on request, 1 failed, 2 could not start; with --once the demo's."""
    chosen = _parse(arguments)
    try:
        if chosen.command == "account":
            settings = StackSettings.from_env(environ)
            give_log_in(settings, environ, email=chosen.email, password=ask_password())
            say(f"Log in as {chosen.email} at {settings.url}")
            return 0
        settings = StackSettings.from_env(environ, hosts=chosen.hosts)
        with locked_home(settings.home):
            _require_free(settings.port)
            return _run(settings, environ, demo=chosen.demo, once=chosen.once)
    except (PortTaken, *_CANNOT_START_ERRORS) as error:
        print(f"\n{error}\n", file=sys.stderr)
        return _CANNOT_START
    except (StackFailed, CannotGiveLogIn) as error:
        print(f"\n{error}\n", file=sys.stderr)
        return _FAILED


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m infra.local",
        description="Run ModelRocket on this machine.",
        epilog="ROCKET_PORT (5000), ROCKET_HOME (.rocket), ROCKET_HOSTS (2, or a range such as 1-3): port, "
        "folder, number of hosts.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start everything and keep it running")
    up.add_argument("--hosts", help="how many hosts, or a range such as 0-3; wins over ROCKET_HOSTS")
    up.add_argument("--demo", action="store_true", help="train, upload and call a model once all is ready")
    up.add_argument("--once", action="store_true", help="stop after the demo, with its exit code")
    account = commands.add_parser("account", help="give the running stack's own account a log-in")
    account.add_argument("--email", required=True, help="what to log in with; the password is asked for")
    chosen = parser.parse_args(arguments)
    if chosen.command == "up" and chosen.once and not chosen.demo:
        parser.error("--once needs --demo")
    return chosen


def _run(settings: StackSettings, environ: Mapping[str, str], *, demo: bool, once: bool) -> int:
    started = time.monotonic()
    stack = Stack(settings=settings, layout=_layout(settings), environ=environ)
    rotate_logs(stack.layout)
    state: State = "starting"

    def publish() -> None:
        write_state(settings.home, state=state, pid=os.getpid(), url=settings.url, rows=_rows(supervisor))

    def announce() -> None:
        nonlocal state
        state = "ready"
        publish()
        say("")
        show_table(_rows(supervisor))
        say(f"\nModelRocket is ready at {settings.url} after {time.monotonic() - started:.1f} s.")
        say(f"Data and logs are in {settings.home}. Ctrl-C stops everything.")
        say(f"A log-in for the web UI, from another terminal: {log_in_command(environ)}\n")

    supervisor = Supervisor(say=say, changed=publish)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.request_stop())
    say(f"Starting ModelRocket in {settings.home}")
    try:
        code = supervisor.run(
            stack.steps(say=say),
            on_ready=announce,
            foreground=stack.demo() if demo else None,
            stop_after_foreground=once,
        )
    finally:
        (settings.home / STATE_FILE).unlink(missing_ok=True)
    say("stopped")
    return code


def _layout(settings: StackSettings) -> Layout:
    return Layout(
        home=settings.home,
        ports=assign_ports(
            PORT_NAMES,
            remembered_in=settings.home / PORTS_FILE,
            generator=random.Random(),
            reserved=frozenset({settings.port}),
        ),
        credentials=load_or_create(settings.home),
        external=settings.external,
    )


def _rows(supervisor: Supervisor) -> list[Row]:
    return [
        Row(
            name=child.name,
            address=child.spec.address,
            pid=child.pid if child.poll() is None else None,
            log_file=child.spec.log_file,
        )
        for child in supervisor.children
    ]


def _require_free(port: int) -> None:
    try:
        if is_free(port):
            return
    except PermissionError:
        raise PortTaken(
            f"This user may not listen on port {port}. Choose one above 1023: ROCKET_PORT=5001 make up"
        ) from None
    other = PORT_DEFAULT + 1 if port == PORT_DEFAULT else PORT_DEFAULT
    raise PortTaken(
        f"Port {port} is taken by {holder(port) or 'another program'}. "
        f"Stop that one, or choose another port: ROCKET_PORT={other} make up"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))  # noqa: TID251 - an entry point
