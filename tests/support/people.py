"""The use cases of accounts over the real stores, with a clock that a test moves."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from chalicelib.accounts import Accounts, LoggedIn, LogIn, SignUp
from chalicelib.adapters.mongo import MongoStore
from chalicelib.adapters.passwords import Argon2Passwords
from chalicelib.adapters.passwords import Clock as PasswordClock
from chalicelib.auth import Auth
from chalicelib.contract.hotstate import HotState
from chalicelib.guessing import Guessing
from chalicelib.keys import Keys
from chalicelib.operators import Operators
from chalicelib.sessions import Sessions, Source
from chalicelib.settings import HashCost, SignUpMode
from infra.local.embedded import EmbeddedServers
from tests.support.stores import new_database

PASSWORD: Final = "tide-oak-88-lamp"
HERE: Final = Source("192.0.2.1", "a browser")
CHEAP: Final = HashCost(memory_kib=64, rounds=1, lanes=1)
COST: Final = HashCost(memory_kib=19_456, rounds=2, lanes=1)
"""As deployments have it; a test that is not about it need not pay it."""


@dataclass(slots=True)
class Clock:
    """Both clocks of a process. It starts now, since the store removes what has expired by its own."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    seconds: float = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    def pass_by(self, **spent: float) -> None:
        self.at += timedelta(**spent)
        self.seconds += timedelta(**spent).total_seconds()


class People:
    """One process's use cases. Give several the same store and they are several processes."""

    def __init__(
        self,
        store: MongoStore,
        hot: HotState,
        *,
        sign_up: SignUpMode = SignUpMode.OPEN,
        clock: Clock | None = None,
        cost: HashCost = CHEAP,
    ) -> None:
        self.store, self.hot, self.clock = store, hot, clock or Clock()
        now, monotonic = self.clock.now, self.clock.monotonic
        self.passwords = Argon2Passwords(cost, PasswordClock(time.monotonic, lambda _seconds: None))
        self.sessions = Sessions(store=store, now=now, monotonic=monotonic, new_id=_new_id)
        self.accounts = Accounts(
            store=store,
            sessions=self.sessions,
            passwords=self.passwords,
            guessing=Guessing(hot=hot, monotonic=monotonic),
            sign_up=sign_up,
            now=now,
            new_id=_new_id,
        )
        self.operators = Operators(
            store=store, hot=hot, sessions=self.sessions, passwords=self.passwords, now=now, new_id=_new_id
        )
        self.auth = Auth(store=store, now=now, monotonic=monotonic)
        self.keys = Keys(store=store, hot=hot, auth=self.auth, now=now, new_id=_new_id)

    def sign_up(self, name: str = "ada", source: Source = HERE) -> LoggedIn:
        return self.accounts.sign_up(SignUp(f"{name}@example.org", PASSWORD, name), source)

    def log_in(self, name: str = "ada", password: str = PASSWORD, source: Source = HERE) -> LoggedIn:
        return self.accounts.log_in(LogIn(f"{name}@example.org", password), source)


def fresh_store(servers: EmbeddedServers) -> MongoStore:
    """A database of its own."""
    store = MongoStore(servers.connections.mongo_stack_url, database=new_database())
    store.create_indexes()
    return store


def _new_id() -> str:
    return str(uuid.uuid4())
