"""Commands that tell what was used, and who did what."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from modelrocket.commands.interface import MODEL, OK, REFUSED, Command, Outcome, count, with_client

if TYPE_CHECKING:
    from modelrocket.client import Client

_GRAINS = ("minute", "hour", "day")
_ENTRIES = 100


def _usage(client: Client, parsed: argparse.Namespace) -> Outcome:
    from modelrocket import printing

    names = {model.id: model.name for model in client.models()}
    if parsed.cost:
        estimate = client.costs(since=parsed.since, until=parsed.until)
        return Outcome(estimate, lambda: printing.costs(estimate, names))
    lines = client.usage(
        by=parsed.by or "day", since=parsed.since, until=parsed.until, model=parsed.model, key=parsed.key
    )
    return Outcome(lines, lambda: printing.usage(lines, names))


def _audit(client: Client, parsed: argparse.Namespace) -> Outcome:
    from modelrocket import printing

    if parsed.verify:
        verified = client.verify_audit()
        broken = verified.broken_at is not None
        return Outcome(verified, lambda: printing.verified(verified), code=REFUSED if broken else OK)
    entries = client.audit(action=parsed.action, object_id=parsed.object, entries=parsed.entries)
    return Outcome(entries, lambda: printing.audit(entries))


def _usage_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", choices=_GRAINS, help="day by default")
    told = "a day or a time (UTC), as 2026-01-31 or 2026-01-31T12:00"
    parser.add_argument("--from", dest="since", metavar="TIME", help=told)
    parser.add_argument("--to", dest="until", metavar="TIME", help="by default now")
    parser.add_argument("--model", metavar="MODEL", help=MODEL)
    parser.add_argument("--key", metavar="ID", help="of one API key or model token")
    parser.add_argument("--cost", action="store_true", help="what each model is estimated to cost, by days")


def _wrong_with_usage(parsed: argparse.Namespace) -> str | None:
    if parsed.cost and (parsed.by or parsed.model or parsed.key):
        return "--cost is of whole models, by days: leave --by, --model and --key out"
    return None


def _audit_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--action", metavar="ACTION", help="only this, as key.create")
    parser.add_argument("--object", metavar="ID", help="only what was done to this model or key")
    parser.add_argument("--entries", metavar="N", type=count, default=_ENTRIES, help=f"{_ENTRIES} by default")
    parser.add_argument("--verify", action="store_true", help="check that nothing was changed or taken out")


def _wrong_with_audit(parsed: argparse.Namespace) -> str | None:
    if parsed.verify and (parsed.action or parsed.object):
        return "--verify looks at all entries: leave --action and --object out"
    return None


COMMANDS = (
    Command(
        "usage",
        "show what was used",
        "Requests, errors, rows, time in the model and bytes, by day (the last 30), hour (the last 24) or "
        "minute (the last 60), all keys together. With --json each key by itself. Every request is counted "
        "once, however often it was sent again under its id. A minute appears soon after it is over.",
        (
            "modelrocket usage",
            "modelrocket usage --by hour --model digits",
            "modelrocket usage --from 2026-01-01 --to 2026-02-01 --json",
            "modelrocket usage --cost",
        ),
        _usage_arguments,
        with_client(_usage),
        _wrong_with_usage,
    ),
    Command(
        "audit",
        "show who did what",
        "Log-ins, keys, uploads, activations, deletions, also what was refused and what the platform did by "
        "itself; the newest is the first. Entries are kept for a year. With --verify, whether any was "
        "changed or taken out; then the exit code is 1.",
        (
            "modelrocket audit",
            "modelrocket audit --action model.delete",
            "modelrocket audit --verify",
        ),
        _audit_arguments,
        with_client(_audit),
        _wrong_with_audit,
    ),
)
