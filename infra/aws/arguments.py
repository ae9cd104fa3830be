"""What `python -m infra.aws` is told, and what it teaches."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

_HELP: Final = {
    "profile": "small (the default), standard or gpu: docs/deploy.md says what they are and cost",
    "domain": "your own name for the site, such as models.example.com; else CloudFront gives one",
    "certificate": "the ARN of the domain's certificate, in us-east-1",
    "mongo_uri_secret": "the ARN of a secret with the URI of your MongoDB; else a DocumentDB is made",
    "door_certificate": "the ARN of a certificate of the region: hosts get an internal door with TLS",
    "alarm_email": "who is told of alarms and of the budget",
    "budget_usd": "a month, of the whole account; else half as much again as the profile costs",
    "sign_up": "closed (operators make accounts, the default) or open (whoever comes makes one)",
    "concurrency": "reserved (each function has its share, the default) or shared, for small accounts",
}
_EXAMPLES: Final = """examples:
  make deploy                                             # the same as: python -m infra.aws deploy
  make deploy PROFILE=standard REGION=eu-west-1
  python -m infra.aws deploy --alarm-email ops@example.com --budget-usd 100
  python -m infra.aws account --email you@example.com     # your log-in for the web UI
  python -m infra.aws destroy --region eu-west-1

Credentials are AWS's own: AWS_PROFILE, AWS_ACCESS_KEY_ID, aws sso login. A parameter that is left out stays
as it was when it was last deployed; "" takes it back. docs/deploy.md is the guide."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parameters of a deployment are None where they are left out. Exits where it is not understood."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.aws",
        description="ModelRocket in your own AWS account.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    everywhere = argparse.ArgumentParser(add_help=False)
    everywhere.add_argument("--region", help="where; else what AWS's configuration says, or us-east-1")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    deploy = commands.add_parser(
        "deploy",
        parents=[everywhere],
        help="make it, or bring it up to date; prints its address and, the first time, the operator's key",
        description="Checks the machine and the account, then makes or updates all of it. Safe to repeat.",
    )
    for name, text in _HELP.items():
        deploy.add_argument(f"--{name.replace('_', '-')}", help=text)
    destroy = commands.add_parser(
        "destroy",
        parents=[everywhere],
        help="take it away; models and the records' last backup stay",
        description="Says what goes and what stays, and asks. Safe to repeat.",
    )
    destroy.add_argument("--models", choices=("keep", "delete"), default="keep", help="delete: nothing stays")
    destroy.add_argument("--yes", action="store_true", help="do not ask")
    commands.add_parser("key", parents=[everywhere], help="make another key of the operator's account")
    account = commands.add_parser(
        "account", parents=[everywhere], help="give the operator's account a log-in"
    )
    account.add_argument("--email", required=True, help="what to log in with; the password is asked for")
    return parser.parse_args(arguments)
