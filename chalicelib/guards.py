"""What every route of the API goes through, put together. Implements `http.Guards`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from chalicelib import cookies, edge
from chalicelib.api import Asked
from chalicelib.audit import Audit
from chalicelib.auditing import entries
from chalicelib.auth import Auth, Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import RateLimited
from chalicelib.contract.limiting import LocalRates, Rate
from chalicelib.http import Happened
from chalicelib.idempotency import HEADER, Attempt, Attempts
from chalicelib.sessions import Sessions

_PACE: Final = Rate.of(limits.MANAGEMENT_REQUESTS_PER_SECOND)


@dataclass(frozen=True, slots=True)
class RouteGuards:
    """Credentials, repeated requests, and the audit log."""

    auth: Auth
    sessions: Sessions
    attempts: Attempts
    audit: Audit
    public_url: str
    monotonic: Callable[[], float]
    edge_key: str | None = None
    pace: LocalRates = field(default_factory=lambda: LocalRates(entries_max=limits.MANAGEMENT_ACCOUNTS_MAX))

    def authenticate(self, asked: Asked) -> Principal:
        """By the key that it shows, else by its session.

        Raises Unauthenticated, PermissionDenied, RateLimited for an account that asks too often.
        """
        principal = self._principal(asked)
        refused = self.pace.take([(principal.tenant, _PACE)], cost=1, now=self.monotonic())
        if refused is not None:
            raise RateLimited("This account asks more often than it may.", retry_after=refused[1])
        return principal

    def _principal(self, asked: Asked) -> Principal:
        authorization = asked.headers.get("authorization")
        secret = None if authorization else cookies.session_secret(asked.headers, self.public_url)
        if secret is None:
            return self.auth.authenticate(authorization)
        if asked.writes:
            cookies.check_own_page(asked.headers, self.public_url)
        return self.sessions.principal(secret)

    def attempt(self, principal: Principal, asked: Asked, *, keep_body: bool) -> Attempt | None:
        """What its caller may do is part of a request: who may do less is not told what was answered.

        Raises Conflict, InvalidRequest.
        """
        key = asked.headers.get(HEADER)
        if not key:
            return None
        allowed = " ".join(sorted(principal.scopes))
        request = b"\n".join((asked.method.encode(), asked.path.encode(), allowed.encode(), asked.raw))
        return self.attempts.begin(principal.tenant, key, request=request, keep_body=keep_body)

    def record(self, happened: Happened) -> None:
        """Raises nothing."""
        for entry in entries(happened):
            self.audit.record(entry)

    def is_edge(self, shown: str) -> bool:
        return edge.is_key(shown, self.edge_key)
