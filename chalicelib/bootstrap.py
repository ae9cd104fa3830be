"""`python -m chalicelib.bootstrap`, and `Setup` on AWS: indexes, the first account, and its API key.

Run before a deployment serves, and harmless to repeat.

As a program the key comes in MODELROCKET_BOOTSTRAP_KEY, made and kept by whoever deploys; only its SHA-256 is
stored. It is an operator's. Without one there is no account yet, and where people may sign up the first to do
so is the operator.

As a function it is told what is to be done by whoever may invoke it (`infra/aws/owner.py`), and nobody else:
not by an API. What it is told has neither keys nor passwords in it.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final

import msgspec

from chalicelib.accounts import KnownLogIn
from chalicelib.contract.errors import ModelRocketError
from chalicelib.contract.tokens import is_well_formed
from chalicelib.keys import Fingerprint
from chalicelib.records import Role
from chalicelib.settings import InvalidSettings
from chalicelib.wiring import build, build_records

ACCOUNT: Final = "local"


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `Setup` is to do beside the indexes, which it makes every time.

    Attributes:
        first_key: the operator's, where there is no operator's account yet.
        key: one more.
        log_in: for the operator's account, in the place of another.
    """

    first_key: Fingerprint | None = None
    key: Fingerprint | None = None
    log_in: KnownLogIn | None = None


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """`first_key_added`: that of the order is the operator's now."""

    first_key_added: bool


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Raises ModelRocketError, InvalidSettings, msgspec.ValidationError."""
    order = msgspec.convert(event, Order)
    records = build_records(os.environ)  # noqa: TID251 - this is an entry point
    records.store.create_indexes()
    first_key_added = order.first_key is not None and records.founding.add_first_key(order.first_key)
    if order.key is not None:
        records.founding.add_key(order.key)
    if order.log_in is not None:
        records.founding.set_log_in(order.log_in)
    answered: dict[str, Any] = msgspec.to_builtins(Done(first_key_added=first_key_added))
    return answered


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
