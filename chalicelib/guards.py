"""What every route of the API goes through, put together. Implements `http.Guards`."""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib import cookies
from chalicelib.api import Asked
from chalicelib.audit import Audit
from chalicelib.auditing import entries
from chalicelib.auth import Auth, Principal
from chalicelib.http import Happened
from chalicelib.idempotency import HEADER, Attempt, Attempts
from chalicelib.sessions import Sessions


@dataclass(frozen=True, slots=True)
class RouteGuards:
    """Credentials, repeated requests, and the audit log."""

    auth: Auth
    sessions: Sessions
    attempts: Attempts
    audit: Audit
    public_url: str

    def authenticate(self, asked: Asked) -> Principal:
        """By the key that it shows, else by its session. Raises Unauthenticated, PermissionDenied."""
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
