"""`python -m chalicelib.bootstrap`: indexes, the first account, and its API key.

Run once before a deployment serves, and harmless to repeat. The key comes in
MODELROCKET_BOOTSTRAP_KEY, made and kept by whoever deploys; only its SHA-256 is stored. It is an operator's.
Without one there is no account yet, and where people may sign up the first to do so is the operator.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from chalicelib.contract.errors import ModelRocketError
from chalicelib.contract.tokens import is_well_formed
from chalicelib.records import Role
from chalicelib.settings import InvalidSettings
from chalicelib.wiring import build

ACCOUNT: Final = "local"


def main() -> int:
    key = os.environ.get("MODELROCKET_BOOTSTRAP_KEY", "")  # noqa: TID251 - this is an entry point
    if key and not is_well_formed(key):
        print("MODELROCKET_BOOTSTRAP_KEY is no well-formed API key", file=sys.stderr)
        return 2
    try:
        plane = build(os.environ)  # noqa: TID251 - this is an entry point
        plane.store.create_indexes()
        plane.payloads.let_expire()
        if key:
            plane.keys.ensure_api_key(ACCOUNT, key, role=Role.OPERATOR)
    except InvalidSettings as error:
        print(error, file=sys.stderr)
        return 2
    except ModelRocketError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
