"""A conversation with the server as steps, so that the same code runs with asyncio and without.

A flow yields what is to be done next and is sent the response, or thrown the `httpx.TransportError`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """A request to be answered."""

    request: httpx.Request


@dataclass(frozen=True)
class Wait:
    """Seconds in which nothing is to happen."""

    seconds: float


Flow: TypeAlias = "Generator[Send | Wait, httpx.Response | None, T]"


def run(flow: Flow[T], send: Callable[[httpx.Request], httpx.Response], sleep: Callable[[float], None]) -> T:
    """All steps, one after the other; what the flow returns or raises."""
    from httpx import TransportError

    try:
        step = next(flow)
        while True:
            try:
                response = _done(step, send, sleep)
            except TransportError as error:
                step = flow.throw(error)
            else:
                step = flow.send(response)
    except StopIteration as end:
        result: T = end.value
        return result


def _done(
    step: Send | Wait, send: Callable[[httpx.Request], httpx.Response], sleep: Callable[[float], None]
) -> httpx.Response | None:
    if isinstance(step, Send):
        return send(step.request)
    sleep(step.seconds)
    return None


async def run_async(
    flow: Flow[T],
    send: Callable[[httpx.Request], Awaitable[httpx.Response]],
    sleep: Callable[[float], Awaitable[None]],
) -> T:
    """The same with asyncio. A task that is cancelled takes its step with it."""
    from httpx import TransportError

    try:
        step = next(flow)
        while True:
            try:
                response = await (send(step.request) if isinstance(step, Send) else sleep(step.seconds))
            except TransportError as error:
                step = flow.throw(error)
            else:
                step = flow.send(response)
    except StopIteration as end:
        result: T = end.value
        return result
