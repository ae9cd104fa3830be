"""A Chalice object that several threads may call at the same time.

Plain Chalice keeps the current request in attributes of the one app object, so
two requests at once see each other's. Lambda never does that to it; the local
gateway does.
"""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from typing import Any

from chalice.app import Chalice

_current_request: ContextVar[Any] = ContextVar("current_request", default=None)
_lambda_context: ContextVar[Any] = ContextVar("lambda_context", default=None)


class ThreadSafeChalice(Chalice):
    """Chalice whose `current_request` and `lambda_context` belong to the call that is running.

    Outside a call both are None.
    """

    @property
    def current_request(self) -> Any:
        return _current_request.get()

    @current_request.setter
    def current_request(self, value: Any) -> None:
        _current_request.set(value)

    @property
    def lambda_context(self) -> Any:
        return _lambda_context.get()

    @lambda_context.setter
    def lambda_context(self, value: Any) -> None:
        _lambda_context.set(value)

    def __call__(self, event: Any, context: Any) -> dict[str, Any]:
        # In a context of its own: nothing of this request stays behind in the thread.
        return copy_context().run(super().__call__, event, context)
