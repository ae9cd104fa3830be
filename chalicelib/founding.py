"""The deployment's own account, an operator's, as whoever deploys gets into it: not through the API.

Only what is kept of keys and passwords comes here. They themselves stay where they were made.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from chalicelib.accounts import KnownLogIn, set_log_in
from chalicelib.keys import Fingerprint, own_key
from chalicelib.ports import Store
from chalicelib.records import Account, Role, named_account_id
from chalicelib.sessions import Sessions

OPERATOR: Final = "operator"


class Founding:
    """The use cases."""

    def __init__(
        self, *, store: Store, sessions: Sessions, now: Callable[[], datetime], new_id: Callable[[], str]
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._now = now
        self._new_id = new_id

    def add_first_key(self, known: Fingerprint) -> bool:
        """Make the account, and this its key. False, and no key is made, where somebody has got in already.

        Safe to repeat: an account that was left without a key gets this one.
        """
        account = self._store.ensure_account(self._account())
        made = self._store.token(known.sha256)
        if made is not None:
            return made.tenant == account.id
        if account.email or self._store.tokens(account.id, model_id=None, after="", limit=1):
            return False
        self._add(account, known)
        return True

    def add_key(self, known: Fingerprint) -> None:
        """One more. Safe to repeat."""
        self._add(self._store.ensure_account(self._account()), known)

    def set_log_in(self, known: KnownLogIn) -> None:
        """Raises InvalidRequest, Conflict where the address has another account."""
        account = self._store.ensure_account(self._account())
        set_log_in(self._store, self._sessions, account.id, known, at=self._now())

    def _account(self) -> Account:
        return Account(
            id=named_account_id(OPERATOR), name=OPERATOR, created_at=self._now(), role=Role.OPERATOR
        )

    def _add(self, account: Account, known: Fingerprint) -> None:
        self._store.add_token(own_key(account.id, known, id_=self._new_id(), at=self._now()))
