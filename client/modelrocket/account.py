"""Calls that need the account's API key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelrocket import config
from modelrocket.api import Api, Budget, Call

CALL_SECONDS = 30.0
_REPEATABLE = ("GET", "PUT")


class Account:
    """One account at one endpoint. Its key is looked up at every call, so that a new one holds at once."""

    def __init__(self, api: Api, api_key: str | None) -> None:
        self._api = api
        self._api_key = api_key

    def budget(self, seconds: float = CALL_SECONDS) -> Budget:
        """Time for one call, or for several that belong together."""
        return Budget(seconds, self._api.clock)

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        budget: Budget | None = None,
        repeatable: bool | None = None,
    ) -> Any:
        """The answer's JSON, None where it is empty; `CALL_SECONDS` for it unless told.

        `repeatable`: may be sent again when its answer got lost; by default what reads or sets.
        Raises `ApiError`, `ConnectionFailed`, `Timeout` or `ConfigurationError`.
        """
        call = Call(
            method,
            path,
            body,
            repeatable=method in _REPEATABLE if repeatable is None else repeatable,
            bearer=config.find_api_key(self._api.endpoint, self._api_key),
        )
        return self._api.ask(call, budget or self.budget())
