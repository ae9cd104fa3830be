"""Commands that keep or remove the user's endpoint and API key."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from modelrocket import config
from modelrocket.commands.interface import Command, Outcome
from modelrocket.commands.terminal import asked, attended, first_line, secret
from modelrocket.errors import ConfigurationError


def _log_in(parsed: argparse.Namespace) -> Iterator[Outcome]:
    from modelrocket.client import Client

    endpoint = config.find_endpoint(parsed.endpoint or _asked_for_endpoint())
    api_key = first_line() if parsed.api_key_stdin else secret(f"API key for {endpoint} (not shown): ")
    if not api_key:
        raise ConfigurationError("No API key was given, and nothing was changed.")
    with Client(endpoint, api_key) as client:
        count = len(client.models())
    path = config.log_in(endpoint, api_key)
    held = [name for name in (config.ENDPOINT_VARIABLE, config.API_KEY_VARIABLE) if config.is_set(name)]
    found = {"endpoint": endpoint, "models": count, "file": str(path), "overridden_by": held}
    lines = [f"Logged in at {endpoint}, which has {count} models of yours. Kept in {path}."]
    if held:
        lines.append(f"{' and '.join(held)} in the environment still goes before it.")
    yield Outcome(found, lambda: "\n".join(lines))


def _asked_for_endpoint() -> str | None:
    """None where nobody can be asked: then it is the one that is known already."""
    if not attended():
        return None
    try:
        known = config.find_endpoint()
    except ConfigurationError:
        return asked("Endpoint (https://…): ")
    return asked(f"Endpoint [{known}]: ") or known


def _log_out(parsed: argparse.Namespace) -> Iterator[Outcome]:
    endpoint = config.find_endpoint(parsed.endpoint)
    path = config.forget(endpoint)
    if path is None:
        told = f"No API key for {endpoint} was kept in {config.config_path()}."
    else:
        told = f"The API key for {endpoint} is no longer in {path}."
    if config.is_set(config.API_KEY_VARIABLE):
        told += f"\n{config.API_KEY_VARIABLE} is still set in the environment."
    yield Outcome({"endpoint": endpoint, "forgotten": path is not None}, lambda: told)


def _log_in_arguments(parser: argparse.ArgumentParser) -> None:
    told = "where the platform answers; asked for where it is left out"
    parser.add_argument("endpoint", metavar="ENDPOINT", nargs="?", help=told)
    told = "read the API key from standard input instead of asking"
    parser.add_argument("--api-key-stdin", action="store_true", help=told)


def _log_out_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("endpoint", metavar="ENDPOINT", nargs="?", help="by default the one in use")


def _wrong_with_log_in(parsed: argparse.Namespace) -> str | None:
    if parsed.api_key_stdin or attended():
        return None
    return "the API key is typed on a terminal; without one, say --api-key-stdin"


COMMANDS = (
    Command(
        "login",
        "keep an endpoint and its API key",
        "Asks for what is missing, tries the key, and keeps both in your configuration file, which only you "
        "can read. The endpoint becomes the one that is used by default.",
        (
            "modelrocket login",
            "modelrocket login https://rocket.example.com",
            "modelrocket login https://rocket.example.com --api-key-stdin < key.txt",
        ),
        _log_in_arguments,
        _log_in,
        _wrong_with_log_in,
    ),
    Command(
        "logout",
        "forget an endpoint's API key",
        "Takes it out of your configuration file. The key itself stays good.",
        ("modelrocket logout", "modelrocket logout https://rocket.example.com"),
        _log_out_arguments,
        _log_out,
    ),
)
