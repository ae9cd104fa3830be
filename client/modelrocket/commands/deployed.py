"""Commands that look after what is deployed: models, versions, reports, traffic, tokens."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from modelrocket.commands.interface import (
    Command,
    Outcome,
    model_argument,
    no_arguments,
    percent,
    quantity,
    version_number,
    with_client,
)
from modelrocket.commands.terminal import attended, confirmed
from modelrocket.errors import ModelRocketError
from modelrocket.rollout import Limits

if TYPE_CHECKING:
    from modelrocket.client import Client
    from modelrocket.rollout import Traffic

_LIMITS = {
    "errors_percent_max": "percent of its runs may fail through its own fault",
    "latency_ratio_max": "times the active version's mean run time it may take",
    "drift_percent_max": "percent of compared requests it may answer differently",
    "requests_min": "runs before it is judged",
    "drift_tolerance": "by which floats may differ and count as the same",
}


def _models(client: Client, _: argparse.Namespace) -> Outcome:
    from modelrocket import printing

    models = client.models()
    return Outcome(models, lambda: printing.models(models))


def _versions(client: Client, parsed: argparse.Namespace) -> Outcome:
    from modelrocket import printing

    versions = client.model(parsed.model).versions()
    return Outcome(versions, lambda: printing.versions(versions))


def _report(client: Client, parsed: argparse.Namespace) -> Outcome:
    from modelrocket import reporting

    model = client.model(parsed.model)
    report = model.report(parsed.version)
    return Outcome(report.content, lambda: reporting.report(model.name, report))


def _traffic(client: Client, parsed: argparse.Namespace) -> Outcome:
    model = client.model(parsed.model)
    if parsed.clear:
        return _of_traffic(model.clear_traffic())
    if parsed.version is None:
        return _of_traffic(model.traffic())
    shares = {"percent": parsed.percent or 0, "mirror_percent": parsed.mirror or 0}
    return _of_traffic(model.set_traffic(parsed.version, **shares, limits=Limits(**_limits(parsed))))


def _limits(parsed: argparse.Namespace) -> dict[str, Any]:
    """Those that were given."""
    given = {one.name: getattr(parsed, one.name) for one in fields(Limits)}
    return {name: value for name, value in given.items() if value is not None}


def _activate(client: Client, parsed: argparse.Namespace) -> Outcome:
    return _of_traffic(client.model(parsed.model).activate(parsed.version))


def _rollback(client: Client, parsed: argparse.Namespace) -> Outcome:
    return _of_traffic(client.model(parsed.model).rollback(parsed.version))


def _of_traffic(traffic: Traffic) -> Outcome:
    from modelrocket import printing

    return Outcome(traffic, lambda: printing.traffic(traffic))


def _delete(client: Client, parsed: argparse.Namespace) -> Outcome:
    model = client.model(parsed.model)
    named = f"version {parsed.version} of " if parsed.version else ""
    what = f"{named}{model.name} ({model.id})"
    all_of_it = "" if parsed.version else ", all its versions and tokens"
    if not parsed.yes and not confirmed(f"Delete {what}{all_of_it}?"):
        raise ModelRocketError("Nothing was deleted.")
    model.delete(parsed.version)
    return Outcome({"deleted": {"model": model.id, "version": parsed.version}}, lambda: f"Deleted {what}.")


def _create_token(client: Client, parsed: argparse.Namespace) -> Outcome:
    from modelrocket import printing

    model = client.model(parsed.model)
    token = client.create_token(model.id)
    found = {"model": model.id, "token": token, "url": model.url}
    return Outcome(found, lambda: printing.token(model, token))


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    model_argument(parser)
    told = "by default the active one, else the newest"
    parser.add_argument("version", metavar="VERSION", type=version_number, nargs="?", help=told)


def _activate_arguments(parser: argparse.ArgumentParser) -> None:
    model_argument(parser)
    parser.add_argument("version", metavar="VERSION", type=version_number, help="a version that is ready")


def _rollback_arguments(parser: argparse.ArgumentParser) -> None:
    model_argument(parser)
    parser.add_argument("--version", metavar="N", type=version_number, help="go to this one; safe to repeat")


def _delete_arguments(parser: argparse.ArgumentParser) -> None:
    model_argument(parser)
    told = "only this one, which has no traffic"
    parser.add_argument("--version", metavar="N", type=version_number, help=told)
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _traffic_arguments(parser: argparse.ArgumentParser) -> None:
    model_argument(parser)
    told = "the candidate: a version that is ready"
    parser.add_argument("--version", metavar="N", type=version_number, help=told)
    told = "of callers, answered by it; 100 activates it"
    parser.add_argument("--percent", metavar="P", type=percent, help=told)
    told = "percent of requests it runs too, to be compared"
    parser.add_argument("--mirror", metavar="M", type=percent, help=told)
    parser.add_argument("--clear", action="store_true", help="take the candidate away")
    limits = parser.add_argument_group("when it goes away by itself (the platform's own limits otherwise)")
    for one in fields(Limits):
        whole = one.name == "requests_min"
        limits.add_argument(
            f"--{one.name.replace('_', '-')}",
            metavar="N" if whole else "X",
            type=_runs if whole else quantity,
            help=_LIMITS[one.name],
        )


def _runs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 expected, got {text!r}")
    return int(text)


def _wrong_with_split(parsed: argparse.Namespace) -> str | None:
    shares = parsed.percent is not None or parsed.mirror is not None
    limits = _limits(parsed)
    if parsed.clear and (parsed.version or shares or limits):
        return "--clear takes the candidate away, whichever it is: leave the others out"
    if not parsed.clear and (shares or bool(limits)) != (parsed.version is not None):
        return "a split takes --version and at least one of --percent and --mirror"
    if limits and not shares:
        return "limits are of a split: say --percent or --mirror too"
    return None


def _wrong_with_delete(parsed: argparse.Namespace) -> str | None:
    return (
        None if parsed.yes or attended() else "deleting is asked about on a terminal; without one, say --yes"
    )


COMMANDS = (
    Command(
        "models",
        "list your models",
        "Lists your models.",
        ("modelrocket models", "modelrocket models --json"),
        no_arguments,
        with_client(_models),
    ),
    Command(
        "versions",
        "list a model's versions",
        "Lists a model's versions, the failed ones too.",
        ("modelrocket versions digits",),
        model_argument,
        with_client(_versions),
    ),
    Command(
        "report",
        "show what is known of a version",
        "Signature, passport (what was measured), certificate (whether requests may share a run), what the "
        "file is made of, how the converted model compares with the original, hashes; or why it failed.",
        ("modelrocket report digits", "modelrocket report digits 2 --json"),
        _report_arguments,
        with_client(_report),
    ),
    Command(
        "traffic",
        "show or change who answers",
        "Without options: the versions that have traffic, what was counted of a candidate, and the history. "
        "With --version: put it on trial beside the active one; beyond its limits it goes away by itself.",
        (
            "modelrocket traffic digits",
            "modelrocket traffic digits --version 2 --percent 10 --errors-percent-max 1",
            "modelrocket traffic digits --version 2 --mirror 20 --drift-tolerance 0.001",
            "modelrocket traffic digits --clear",
        ),
        _traffic_arguments,
        with_client(_traffic),
        _wrong_with_split,
    ),
    Command(
        "activate",
        "give a version all the traffic",
        "Returns when it has it: hosts load it first, and no request fails.",
        ("modelrocket activate digits 2",),
        _activate_arguments,
        with_client(_activate),
    ),
    Command(
        "rollback",
        "go back at once",
        "Without --version: the candidate goes, else what is about to take over stays out, else the version "
        "before comes back.",
        ("modelrocket rollback digits", "modelrocket rollback digits --version 1"),
        _rollback_arguments,
        with_client(_rollback),
    ),
    Command(
        "delete",
        "delete a model, or one of its versions",
        "What is in flight is answered. A model's tokens are revoked, and its name is free again.",
        ("modelrocket delete digits --version 1", "modelrocket delete digits --yes"),
        _delete_arguments,
        with_client(_delete),
        _wrong_with_delete,
    ),
    Command(
        "token create",
        "make a further token for calling a model",
        "The tokens made before keep working. The server shows a token only when it is made: keep it.",
        ("modelrocket token create digits", "modelrocket token create digits --json | jq -r .token"),
        model_argument,
        with_client(_create_token),
    ),
)
