"""`python -m infra.compose env`: the environment file of `localstack-compose.yml`. `key`: the operator's."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from infra.compose import variables
from infra.compose.variables import Store

_ROOT: Final = Path(__file__).resolve().parents[2]
_UP: Final = "docker compose -f localstack-compose.yml up --build --detach"
_DOWN: Final = "docker compose -f localstack-compose.yml down --volumes"
_CANNOT: Final = 2


class CannotSay(Exception):
    """Says why, and what to do."""


def main(arguments: Sequence[str], environ: Mapping[str, str], *, folder: Path = _ROOT) -> int:
    """The exit code."""
    chosen = _parse(arguments)
    path = folder / variables.FILE_NAME
    try:
        if chosen.command == "key":
            print(_key(path))
        else:
            _env(path, chosen, environ)
    except CannotSay as error:
        print(error, file=sys.stderr)
        return _CANNOT
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m infra.compose", description="What localstack-compose.yml needs before it is started."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    env = commands.add_parser("env", help=f"write {variables.FILE_NAME}, with secrets made at random")
    env.add_argument("--store", type=Store, choices=list(Store), help="whose S3 the models are in (minio)")
    env.add_argument("--port", type=int, help="the gateway's and the web UI's on 127.0.0.1 (5000)")
    env.add_argument("--s3-port", type=int, help="the store's on 127.0.0.1 (9000, LocalStack's 4566)")
    commands.add_parser("key", help="print the operator's API key")
    return parser.parse_args(arguments)


def _env(path: Path, chosen: argparse.Namespace, environ: Mapping[str, str]) -> None:
    """Adds what is missing. Raises CannotSay where a choice would change what is there."""
    known = variables.read(path)
    is_in_use = variables.has_secrets(known)
    if is_in_use and (chosen.store or chosen.port or chosen.s3_port):
        raise CannotSay(
            f"{path} is there already, and data that belong to it may be: change the ports in it by hand, or "
            f"end what it belongs to ({_DOWN}) and remove it."
        )
    fresh = variables.made(_store(path, known, chosen.store), port=chosen.port, s3_port=chosen.s3_port)
    if is_in_use:
        del fresh[variables.PROJECT]  # its volumes have the name by which they were made
    variables.add(path, {name: value for name, value in fresh.items() if name not in known})
    print(f"{path} has the secrets. Start with: {_UP}")
    _remember(fresh | known, environ)


def _store(path: Path, known: Mapping[str, str], wanted: Store | None) -> Store:
    """The one that Compose will start. Raises CannotSay where the file says another one, or none."""
    if variables.PROFILES not in known:
        return wanted or Store.MINIO
    profiles = [name.strip() for name in known[variables.PROFILES].split(",")]
    started = [store for store in Store if store in profiles]
    if len(started) != 1 or wanted not in (None, *started):
        raise CannotSay(
            f"{variables.PROFILES} in {path} has to name {wanted or ' or '.join(Store)}, and no other store."
        )
    return started[0]


def _remember(told: Mapping[str, str], environ: Mapping[str, str]) -> None:
    from modelrocket.config import remember
    from modelrocket.errors import ConfigurationError

    try:
        remember(variables.url(told), told[variables.API_KEY], environ=environ)
    except ConfigurationError as error:
        print(f"The client does not know the API key yet: {error}", file=sys.stderr)


def _key(path: Path) -> str:
    try:
        return variables.read(path)[variables.API_KEY]
    except KeyError:
        raise CannotSay(f"{path} has no API key: make compose-env") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))  # noqa: TID251 - an entry point
