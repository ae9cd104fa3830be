"""`python -m infra.compose.account EMAIL`: a log-in to the web UI for the account that the bootstrap made.

Run it in a container of the stack (docs/guides/compose.md). The password is asked for.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from chalicelib.accounts import LogIn
from chalicelib.bootstrap import ACCOUNT
from chalicelib.contract.errors import ModelRocketError
from chalicelib.records import named_account_id
from chalicelib.wiring import build
from infra.local.account import CannotGiveLogIn, ask_password


def main(email: str, environ: Mapping[str, str]) -> int:
    """The exit code."""
    try:
        build(environ).accounts.give_log_in(named_account_id(ACCOUNT), LogIn(email, ask_password()))
    except ModelRocketError as error:
        print(error.message, file=sys.stderr)
        return 1
    except CannotGiveLogIn as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Log in as {email} at {environ['MODELROCKET_PUBLIC_URL']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], os.environ))  # noqa: TID251 - an entry point
