"""What whoever deploys does by the function Setup: how the deployment begins, and how they get in.

Keys and passwords are made and asked for here. Only what is kept of them leaves this machine.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec
from botocore.exceptions import ClientError

from chalicelib.accounts import KnownLogIn
from chalicelib.adapters.passwords import Argon2Passwords
from chalicelib.adapters.passwords import Clock as PasswordClock
from chalicelib.bootstrap import Done, Order
from chalicelib.contract.errors import Conflict, DependencyFailed, InvalidRequest
from chalicelib.contract.tokens import new_token
from chalicelib.keys import fingerprint
from chalicelib.passwords import check_password, read_email
from chalicelib.settings import HashCost
from infra.aws import names
from infra.aws.cloud import Answered, CannotGoOn, Clock, Cloud

_TRIES_MAX: Final = 6
_PAUSE_SECONDS: Final = 10.0
_COST: Final = HashCost(memory_kib=19456, rounds=2, lanes=1)
"""Where a deployment's is another, the first log-in hashes it anew."""
_BUSY: Final = "TooManyRequestsException"


class Owner:
    """Raises CannotGoOn where the function is not there, or cannot do it."""

    def __init__(self, cloud: Cloud, clock: Clock) -> None:
        self._cloud = cloud
        self._clock = clock

    def begin(self) -> str | None:
        """Indexes, and the first key of a deployment that has none: it, this once, or None."""
        key = new_token()
        return key if self._order(Order(first_key=fingerprint(key))).first_key_added else None

    def new_key(self) -> str:
        """Another key of the operator's account."""
        key = new_token()
        self._order(Order(key=fingerprint(key)))
        return key

    def set_log_in(self, email: str, password: str) -> None:
        """For the operator's account."""
        try:
            check_password(password, email=read_email(email))
        except InvalidRequest as error:
            raise CannotGoOn(error.message) from error
        passwords = Argon2Passwords(_COST, PasswordClock(time.monotonic, time.sleep))
        self._order(Order(log_in=KnownLogIn(email, passwords.hash(password))))

    def _order(self, order: Order) -> Done:
        """A store that was just made, or a way out of a new network, may take a moment."""
        function = self._function()
        payload = msgspec.json.encode(order)
        for tries_left in reversed(range(_TRIES_MAX)):
            answered = self._invoke(function, payload)
            if not answered.error:
                return msgspec.convert(answered.value, Done)
            if answered.error not in (_BUSY, DependencyFailed.__name__) or not tries_left:
                break
            self._clock.sleep(_PAUSE_SECONDS)
        raise CannotGoOn(_told(answered, function))

    def _invoke(self, function: str, payload: bytes) -> Answered:
        try:
            return self._cloud.invoke(function, payload)
        except ClientError as error:
            if error.response["Error"]["Code"] != _BUSY:
                raise
            return Answered(_BUSY, "it is running already")

    def _function(self) -> str:
        stack = self._cloud.stack(names.SETUP)
        if stack is None or names.SETUP_FUNCTION not in stack.outputs:
            raise CannotGoOn(
                f"There is no deployment in {self._cloud.region}. `make deploy` makes one; "
                "with --region it is looked for elsewhere."
            )
        return stack.outputs[names.SETUP_FUNCTION]


def _told(answered: Answered, function: str) -> str:
    if answered.error in (Conflict.__name__, InvalidRequest.__name__):
        return str(answered.value)
    return (
        f"The function {function} failed: {answered.error}: {answered.value} Its log says more, and the same "
        "command again tries again."
    )
