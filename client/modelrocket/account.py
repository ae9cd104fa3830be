"""Calls that need the account's API key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from modelrocket import config
from modelrocket.api import Api, Budget, Call
from modelrocket.steps import Flow

T = TypeVar("T")

CALL_SECONDS = 30.0
_REPEATABLE = ("GET", "PUT")


class Account:
    """One account at one endpoint. Its key is looked up at every call, so that a new one holds at once."""

    def __init__(self, api: Api, api_key: str | None) -> None:
        self._api = api
        self._api_key = api_key

    @property
    def key(self) -> str:
        """Raises `ConfigurationError` where there is none."""
        return config.find_api_key(self._api.endpoint, self._api_key)

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
        idempotency_key: str | None = None,
    ) -> Any:
        """The answer's JSON, None where it is empty; `CALL_SECONDS` for it unless told.

        `repeatable`: may be sent again when its answer got lost; by default what reads or sets, and what has
        an `idempotency_key`, which the server does once however often it comes.
        Raises `ApiError`, `ConnectionFailed`, `Timeout` or `ConfigurationError`.
        """
        once = idempotency_key is not None
        again = (once or method in _REPEATABLE) if repeatable is None else repeatable
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key is not None else {}
        call = Call(method, path, body, headers=headers, repeatable=again, bearer=self.key)
        return self._api.ask(call, budget or self.budget())

    def asking(self, path: str) -> Flow[Any]:
        """`ask("GET", path)` as a flow."""
        call = Call("GET", path, bearer=self.key)
        return (yield from self._api.asking_json(call, self.budget()))

    def run(self, flow: Flow[T]) -> T:
        return self._api.run(flow)
