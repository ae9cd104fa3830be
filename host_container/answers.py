"""Answers that do not go back over the connection that asked: held for the gateway, or fetched later.

    Held      too large for the gateway: kept for some seconds, until it says where in the store they belong
    Deferred  accepted at once: told to the hot state when they are there; the large ones are in the store

Owned by the event loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import orjson

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, ModelRocketError, NotFound, Overloaded
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.hotstate.answers import Head
from chalicelib.contract.transfers import HELD, Transfer
from host_container.events import EventLog
from host_container.http1 import Response
from host_container.payloads import Payloads

_STORE_SECONDS_MAX: Final = 60.0
_TELL_SECONDS_MAX: Final = 120.0
"""How long the hot state may be away when an answer is there."""
_TELL_PAUSE_SECONDS: Final = 1.0


class Held:
    """Answers by request id."""

    def __init__(self) -> None:
        self._responses: dict[str, Response] = {}
        self._bytes = 0

    def hold(self, request_id: str, response: Response) -> Response:
        """What the gateway is told instead. Raises Overloaded."""
        if self._bytes + len(response.body) > limits.HELD_BYTES_MAX:
            raise Overloaded("This host holds more large answers than it can. Try again shortly.")
        self._drop(request_id, self._responses.get(request_id))
        self._responses[request_id] = response
        self._bytes += len(response.body)
        loop = asyncio.get_running_loop()
        loop.call_later(limits.ANSWER_HELD_SECONDS, self._drop, request_id, response)
        headers = {**response.headers, HELD: str(len(response.body))}
        return Response(response.status, b"", headers, response.content_type)

    def take(self, request_id: str) -> Response:
        """Raises NotFound."""
        response = self._responses.get(request_id)
        if response is None:
            raise NotFound("This host holds no answer of that request any more.")
        self._drop(request_id, response)
        return response

    def _drop(self, request_id: str, response: Response | None) -> None:
        if response is not None and self._responses.get(request_id) is response:
            del self._responses[request_id]
            self._bytes -= len(response.body)


class Deferred:
    """What this host has accepted and not yet told."""

    def __init__(
        self, hot: HotState, payloads: Payloads, *, events: EventLog, clock: Callable[[], float]
    ) -> None:
        self._hot = hot
        self._payloads = payloads
        self._events = events
        self._clock = clock
        self._working: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def telling(self) -> int:
        """Answers that are there and not yet told."""
        return len(self._tasks)

    def accept(self, tenant: str) -> None:
        """Raises Overloaded. Every one that is accepted is told."""
        if self._working[tenant] >= limits.TENANT_ANSWERS_MAX:
            raise Overloaded(
                "Your account has as many answers pending on this host as it may.", retry_after=5
            )
        if self._working.total() >= limits.HOST_ANSWERS_MAX:
            raise Overloaded("This host has as many answers pending as it can.", retry_after=5)
        self._working[tenant] += 1

    def tell(self, tenant: str, transfer: Transfer, response: Response, counted: Callable[[], None]) -> None:
        """Later; tried again while the stores are away. `counted` hears if nobody had told it before."""
        task = asyncio.get_running_loop().create_task(self._tell(tenant, transfer, response, counted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def leave(self, tenant: str) -> None:
        """It is told by whichever host takes it next."""
        self._working[tenant] -= 1
        self._working += Counter()  # drops those that count nothing

    async def _tell(
        self, tenant: str, transfer: Transfer, response: Response, counted: Callable[[], None]
    ) -> None:
        try:
            response, stored = await self._stored(transfer, response)
            headers = {**response.headers, "content-type": response.content_type}
            head = Head(response.status, headers, len(response.body), stored)
            if await self._finish(transfer, head, b"" if stored else response.body):
                counted()
        finally:
            self.leave(tenant)

    async def _stored(self, transfer: Transfer, response: Response) -> tuple[Response, bool]:
        """Whether the body is in the store; an error in its place where it could not be."""
        if len(response.body) <= limits.ANSWER_BYTES_HOT_MAX:
            return response, False
        try:
            await self._payloads.put(
                transfer.answer_url,
                response.body,
                content_type=response.content_type,
                deadline=self._clock() + _STORE_SECONDS_MAX,
            )
        except ModelRocketError as error:
            lost = DependencyFailed(f"The answer was there but could not be kept: {error.message}")
            body = orjson.dumps(lost.body(transfer.request_id))
            return Response(HTTPStatus.SERVICE_UNAVAILABLE, body, lost.headers(transfer.request_id)), False
        return response, True

    async def _finish(self, transfer: Transfer, head: Head, body: bytes) -> bool:
        give_up_at = self._clock() + _TELL_SECONDS_MAX
        while True:
            try:
                return await asyncio.to_thread(self._hot.finish_answer, transfer.answer_id, head, body)
            except DependencyFailed:
                if self._clock() >= give_up_at:
                    self._events.write("answer_lost", request_id=transfer.request_id)
                    return False
                await asyncio.sleep(_TELL_PAUSE_SECONDS)
