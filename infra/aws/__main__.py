"""`python -m infra.aws deploy`: the platform in one's own AWS account. --help says what else there is."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from infra.aws import deploy as deploying
from infra.aws import destroy as destroying
from infra.aws import names, preflight
from infra.aws.arguments import parse
from infra.aws.built import Built
from infra.aws.cloud import AwsError, CannotGoOn, Clock, Cloud, here
from infra.aws.command import CDK, Cdk, synthesize
from infra.aws.deployment import PARAMETERS, Deployment, InvalidContext
from infra.aws.owner import Owner

_FAILED: Final = 1
_CANNOT_START: Final = 2
_CLOCK: Final = Clock(time.monotonic, time.sleep)
_REGION: Final = "region"
_DOMAIN: Final = "domain"
_CERTIFICATE: Final = "certificate"


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """The exit code: 0 done, 1 it has failed on the way, 2 nothing was begun."""
    chosen = parse(arguments)
    try:
        cloud = here(chosen.region or environ.get("AWS_REGION"))
        return _COMMANDS[chosen.command](chosen, cloud, environ)
    except (KeyboardInterrupt, EOFError):
        print(
            "\nStopped. What AWS has begun it ends by itself; then the same command again goes on from here.",
            file=sys.stderr,
        )
    except CannotGoOn as error:
        print(f"\n{error}\n", file=sys.stderr)
    except AwsError as error:
        print(f"\nAWS: {error}\n", file=sys.stderr)
    return _FAILED


def _deploy(chosen: argparse.Namespace, cloud: Cloud, environ: Mapping[str, str]) -> int:
    try:
        context = _context(chosen, cloud)
        deployment = Deployment.from_context(context.get)
    except InvalidContext as error:
        print(error, file=sys.stderr)
        return _CANNOT_START
    machine = preflight.Machine(environ=environ, cdk=CDK, built=Built())
    found = preflight.look(deployment, machine, cloud)
    for note in found.notes:
        print(f"note: {note}")
    if found.problems:
        print(
            "Nothing was made, because:", *(f"- {one}" for one in found.problems), sep="\n", file=sys.stderr
        )
        return _CANNOT_START
    account, who = cloud.identity()
    print(f"ModelRocket, {deployment.profile.name}, in account {account}, region {cloud.region}, as {who}.")
    keys: list[str] = []

    def told_key(key: str) -> None:
        """At once: what comes after may die."""
        keys.append(key)
        _show_key(key)

    with TemporaryDirectory(prefix="modelrocket-") as folder:
        tools = deploying.Tools(
            cdk=Cdk(environ, cloud.region),
            clock=_CLOCK,
            owner=Owner(cloud, _CLOCK),
            synthesize=lambda given: synthesize(given, environ, Path(folder) / "cdk.out"),
            say=_say,
        )
        deploying.deploy(cloud, tools, context, told_key=told_key)
    for key in keys:
        _show_key(key)
    _show_ways_in(cloud, new=bool(keys))
    return 0


def _context(chosen: argparse.Namespace, cloud: Cloud) -> dict[str, str]:
    """As it was deployed last, but for what is said now."""
    said = {name: getattr(chosen, name) for name in PARAMETERS}
    try:
        cloud.identity()
    except AwsError:
        before: Mapping[str, str] = {}  # the preflight says so, with everything else
    else:
        before = deploying.remembered(cloud)
    now = {name: value for name, value in said.items() if value is not None}
    if now.get(_DOMAIN) == "":
        now.setdefault(_CERTIFICATE, "")  # it was for that name
    return {**before, **now, _REGION: cloud.region}


def _destroy(chosen: argparse.Namespace, cloud: Cloud, _environ: Mapping[str, str]) -> int:
    everything = chosen.models == "delete"
    account, _ = cloud.identity()
    stacks = destroying.standing(cloud)
    if not stacks:
        print(f"Nothing is deployed in account {account}, region {cloud.region}.")
        return 0
    print(f"In account {account}, region {cloud.region}, these go for good: {', '.join(stacks)}.")
    print(_EVERYTHING if everything else _STAYS)
    if not chosen.yes and not _confirmed("delete the models" if everything else "yes"):
        print("Nothing was touched.")
        return _CANNOT_START
    stays = destroying.destroy(
        destroying.Destroying(cloud=cloud, clock=_CLOCK, say=_say, everything=everything),
    )
    print("\nIt is gone.", *(f"  stays: {one}" for one in stays), sep="\n")
    return 0


_STAYS: Final = (
    "What stays, and costs a little: the bucket with the models, the one with the logs of access to it, "
    "the key that encrypts them, and the last backup of DocumentDB. `--models delete` (MODELS=delete) takes "
    "those too."
)
_EVERYTHING: Final = (
    "The models, every version of them, and the last backup of the records go too, the key after 30 days."
)


def _confirmed(word: str) -> bool:
    if not sys.stdin.isatty():
        print("Nobody can be asked here: --yes goes on without.")
        return False
    return input(f"Type “{word}” to go on: ").strip() == word


def _key(_chosen: argparse.Namespace, cloud: Cloud, _environ: Mapping[str, str]) -> int:
    _show_key(Owner(cloud, _CLOCK).new_key())
    print("Those that were made before still work: `modelrocket keys list`, `modelrocket keys revoke`.")
    return 0


def _account(chosen: argparse.Namespace, cloud: Cloud, _environ: Mapping[str, str]) -> int:
    Owner(cloud, _CLOCK).set_log_in(chosen.email, _password())
    print(f"Log in as {chosen.email} at {_output(cloud, names.SITE_URL) or 'the site, once it is deployed'}.")
    return 0


def _password() -> str:
    """Twice from a terminal, unseen; else one line. Raises CannotGoOn."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ", stream=sys.stderr)
    if getpass.getpass("Once more: ", stream=sys.stderr) != password:
        raise CannotGoOn("These are two different passwords.")
    return password


def _say(line: str) -> None:
    print(f"\n{time.strftime('%H:%M:%S')}  {line}", flush=True)


def _show_key(key: str) -> None:
    print(f"\nThe operator's API key, which nobody can show again later: {key}\n", flush=True)


def _show_ways_in(cloud: Cloud, *, new: bool) -> None:
    url, target = _output(cloud, names.SITE_URL), _output(cloud, names.SITE_TARGET)
    where = f" --region {cloud.region}"
    print(f"\nModelRocket is at {url}")
    if target:
        print(f"once that name is a CNAME or an alias of {target}.")
    if not new:
        print(f"The operator's key is the one from before. Where it is lost: python -m infra.aws key{where}")
    print(
        f"\n  .venv/bin/modelrocket login {url}"
        "\n  .venv/bin/modelrocket upload model.onnx --name first"
        f"\n  .venv/bin/python -m infra.aws account --email you@example.com{where}"
        "\n\nThe last gives you a log-in for the web UI. The first model waits some minutes for its host.\n"
    )


def _output(cloud: Cloud, name: str) -> str:
    stack = cloud.stack(names.SITE)
    return stack.outputs.get(name, "") if stack else ""


_COMMANDS: Final = {"deploy": _deploy, "destroy": _destroy, "key": _key, "account": _account}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))  # noqa: TID251 - an entry point
