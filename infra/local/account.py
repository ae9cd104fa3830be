"""`python -m infra.local account`: an e-mail address and a password for the account that the stack made.

Its models and keys stay as they are; who logs in is its operator.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Mapping
from shlex import quote
from typing import Final

from infra.local.credentials import FILE_NAME, load_or_create
from infra.local.files import read_json
from infra.local.ports import PORTS_FILE
from infra.local.servers import Layout
from infra.local.settings import StackSettings
from infra.local.stack import Stack

_CHOSEN: Final = ("ROCKET_HOME", "ROCKET_PORT")


class CannotGiveLogIn(Exception):
    """Says why, and what to do."""


def give_log_in(settings: StackSettings, environ: Mapping[str, str], *, email: str, password: str) -> None:
    """The stack has to be running. Raises CannotGiveLogIn."""
    from chalicelib.accounts import LogIn
    from chalicelib.bootstrap import ACCOUNT
    from chalicelib.contract.errors import ModelRocketError
    from chalicelib.records import named_account_id
    from chalicelib.wiring import build

    home = settings.home
    if not (home / FILE_NAME).exists():
        raise CannotGiveLogIn(f"There is no stack in {home} yet: python -m infra.local up")
    layout = Layout(
        home=home,
        ports=read_json(home / PORTS_FILE),
        credentials=load_or_create(home),
        external=settings.external,
    )
    plane = build(Stack(settings=settings, layout=layout, environ=environ).control_plane("coordinator"))
    try:
        plane.accounts.give_log_in(named_account_id(ACCOUNT), LogIn(email, password))
    except ModelRocketError as error:
        hint = " Is the stack running?" if error.retryable else ""
        raise CannotGiveLogIn(error.message + hint) from error


def log_in_command(environ: Mapping[str, str]) -> str:
    """What to type in another terminal to get a log-in for the stack that these settings start."""
    settings = "".join(f"{name}={quote(environ[name])} " for name in _CHOSEN if environ.get(name))
    return f"{settings}make account EMAIL=you@example.com"


def ask_password() -> str:
    """Twice from a terminal, unseen; else one line. Raises CannotGiveLogIn."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise CannotGiveLogIn("These are two different passwords.")
    return password
