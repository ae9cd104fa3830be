"""Commands that look after API keys and model tokens."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from modelrocket.commands.interface import MODEL, OK, REFUSED, Command, Outcome, quantity, with_client
from modelrocket.commands.terminal import attended, confirmed, first_line
from modelrocket.errors import ModelRocketError

if TYPE_CHECKING:
    from modelrocket.client import Client
    from modelrocket.keys import NewKey

_KEY = "a key's name, id or first characters"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WEEK = 7 * 86400
_SCOPES = ("infer", "models:read", "models:write", "keys", "operate")


def _list(client: Client, parsed: argparse.Namespace) -> Outcome:
    from modelrocket import printing

    found = client.keys.list(model=parsed.model)
    return Outcome(found, lambda: printing.keys(found))


def _create(client: Client, parsed: argparse.Namespace) -> Outcome:
    made = client.keys.create(
        parsed.name,
        scopes=parsed.scopes,
        model=parsed.model,
        expires_in_days=parsed.expires_in,
        requests_per_second=parsed.requests_per_second,
    )
    return _of_secret(made)


def _rotate(client: Client, parsed: argparse.Namespace) -> Outcome:
    return _of_secret(client.keys.rotate(parsed.key, overlap_seconds=parsed.overlap))


def _of_secret(made: NewKey) -> Outcome:
    """The only outcome that shows a secret."""
    from modelrocket import printing

    old = asdict(made.old) if made.old else None
    content = {"key": asdict(made.key), "secret": made.secret, "old": old}
    return Outcome(content, lambda: printing.new_key(made))


def _revoke(client: Client, parsed: argparse.Namespace) -> Outcome:
    key = client.keys.get(parsed.key)
    named = f"{key.name or 'the key'} ({key.hint})"
    if not parsed.yes and not confirmed(f"Revoke {named}? Whoever uses it is refused."):
        raise ModelRocketError("Nothing was revoked.")
    revoked = client.keys.revoke(key.id)
    return Outcome(revoked, lambda: f"Revoked {named}. It is refused everywhere within five seconds.")


def _explain(client: Client, parsed: argparse.Namespace) -> Outcome:
    from modelrocket import printing

    found = client.keys.explain(first_line() if parsed.key_stdin else parsed.key)
    return Outcome(found, lambda: printing.explanation(found), code=OK if found.works else REFUSED)


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="MODEL", help="only the tokens of this model: its name or id")


def _create_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="for you to know it by")
    parser.add_argument(
        "--scope", dest="scopes", metavar="SCOPE", choices=_SCOPES, action="append", help=", ".join(_SCOPES)
    )
    parser.add_argument("--model", metavar="MODEL", help=f"may only run this one: {MODEL}")
    told = "days until it expires, or never; by default 90 for API keys, never for a model's tokens"
    parser.add_argument("--expires-in", metavar="DAYS", type=_days, help=told)
    told = "its own limit, below the account's"
    parser.add_argument("--requests-per-second", metavar="N", type=quantity, help=told)


def _rotate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", help=_KEY)
    told = "how long the old secret still works: 30m, 24h, 7d; 0 for not at all (by default 24h)"
    parser.add_argument("--overlap", metavar="TIME", type=_overlap, default=86400, help=told)


def _revoke_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", help=_KEY)
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _explain_arguments(parser: argparse.ArgumentParser) -> None:
    told = f"{_KEY}; by default the API key in use"
    parser.add_argument("key", metavar="KEY", nargs="?", help=told)
    told = "read a whole key from standard input, whoever's it is"
    parser.add_argument("--key-stdin", action="store_true", help=told)


def _days(text: str) -> int | str:
    if text == "never":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of days from 1, or never, expected, got {text!r}")
    return int(text)


def _overlap(text: str) -> int:
    """Seconds."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _SECONDS else (text, "s")
    seconds = int(number) * _SECONDS[unit] if number.isdecimal() else -1
    if not 0 <= seconds <= _WEEK:
        raise argparse.ArgumentTypeError(f"a time from 0 to 7d, as 30m or 24h, expected, got {text!r}")
    return seconds


def _wrong_with_create(parsed: argparse.Namespace) -> str | None:
    if parsed.model is None and not parsed.scopes:
        return "say what the key may do: --scope, once for each, or --model for one that may only run it"
    if parsed.model is not None and parsed.scopes not in (None, ["infer"]):
        return "a model's token may only run it: leave --scope out"
    return None


def _wrong_with_revoke(parsed: argparse.Namespace) -> str | None:
    return (
        None if parsed.yes or attended() else "revoking is asked about on a terminal; without one, say --yes"
    )


def _wrong_with_explain(parsed: argparse.Namespace) -> str | None:
    return "either a key's name or a key on standard input" if parsed.key and parsed.key_stdin else None


COMMANDS = (
    Command(
        "keys list",
        "list your API keys and model tokens",
        "Lists your keys, the newest first: what each may do, whether it works, when it was last used. What "
        "was revoked or has expired is listed for three months more. Secrets are shown only when they are "
        "made.",
        ("modelrocket keys list", "modelrocket keys list --model digits --json"),
        _list_arguments,
        with_client(_list),
    ),
    Command(
        "keys create",
        "make a key",
        "With --scope it is an API key, which may do that and nothing else: infer runs every model; "
        "models:read sees models, versions and reports; models:write uploads, activates, rolls back and "
        "deletes; keys lists, makes, rotates and revokes keys. With --model it is a token that may only run "
        "that model. A key can give no scope that it does not have. The secret is shown once: keep it.",
        (
            "modelrocket keys create ci --scope models:read --scope models:write --expires-in 30",
            "modelrocket keys create website --model digits --requests-per-second 20",
            "modelrocket keys create batch --scope infer --expires-in never --json | jq -r .secret",
        ),
        _create_arguments,
        with_client(_create),
        _wrong_with_create,
    ),
    Command(
        "keys rotate",
        "give a key a new secret",
        "The new secret has the same rights. The old one works beside it for the overlap, so that nothing "
        "fails while you change it where it is used; `keys list` says when it was last used.",
        (
            "modelrocket keys rotate website",
            "modelrocket keys rotate mr_a1B2c --overlap 7d",
            "modelrocket keys rotate ci --overlap 0",
        ),
        _rotate_arguments,
        with_client(_rotate),
    ),
    Command(
        "keys revoke",
        "make a key stop working",
        "It is refused everywhere within five seconds, also on connections that are open and for requests "
        "that wait. This cannot be undone.",
        ("modelrocket keys revoke website", "modelrocket keys revoke mr_a1B2c --yes"),
        _revoke_arguments,
        with_client(_revoke),
        _wrong_with_revoke,
    ),
    Command(
        "keys explain",
        "say what a key may do",
        "Each scope in a sentence, the models it may run, its limits; or why it is refused, which makes the "
        "exit code 1. Without KEY it is the API key in use. A key that you found somewhere goes to "
        "standard input, so that it stays out of your shell's history.",
        (
            "modelrocket keys explain",
            "modelrocket keys explain website",
            "modelrocket keys explain --key-stdin < found.txt",
        ),
        _explain_arguments,
        with_client(_explain),
        _wrong_with_explain,
    ),
)
