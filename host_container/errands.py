"""A dispatched request that goes by way of the store: its inputs, its answer, or both.

    inputs   fetched, then run as if they had come in the body
    answer   the one that this host holds of the request is put where the gateway says
    later    whatever fails only for now is tried again until the time is up; the answer is told, not sent

Owned by the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from http import HTTPStatus

from chalicelib.contract.errors import Draining, ModelRocketError, Unavailable
from chalicelib.contract.transfers import Transfer
from host_container.admission import Admitted
from host_container.answers import Deferred, Held
from host_container.failures import too_late
from host_container.fairness import Turns
from host_container.http1 import Response
from host_container.payloads import Fetched, Payloads


@dataclass(frozen=True, slots=True)
class Means:
    """What errands are done with. `clock`: monotonic seconds."""

    payloads: Payloads
    held: Held
    deferred: Deferred
    turns: Turns
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Ends:
    """What an errand comes to: `run` begins with the inputs, and says itself what is wrong with them.

    `crash` is of the exception that is being handled.
    """

    run: Callable[[Admitted, bytearray], None]
    done: Callable[[Response], None]
    fail: Callable[[ModelRocketError], None]
    crash: Callable[[], None]


class Errand:
    """Of one request. `later`: nobody waits for it on a connection."""

    __slots__ = (
        "_admitted",
        "_deadline",
        "_ends",
        "_fetched",
        "_means",
        "_over",
        "_task",
        "later",
        "transfer",
    )

    def __init__(
        self, admitted: Admitted, transfer: Transfer, means: Means, ends: Ends, *, began: float
    ) -> None:
        self.transfer = transfer
        self.later = bool(transfer.answer_id)
        self._admitted = admitted
        self._means = means
        self._ends = ends
        self._deadline = began + (transfer.seconds if self.later else admitted.seconds_left)
        self._fetched: Fetched | None = None
        self._task: asyncio.Task[None] | None = None
        self._over = False

    def start(self) -> None:
        """Raises Overloaded, NotFound."""
        if self.later:
            self._means.deferred.accept(self._admitted.tenant)
        if self.transfer.inputs_url:
            self._go(self._fetch)
        else:
            held = self._means.held.take(self._admitted.request_id)
            self._go(lambda: self._store(held))

    def end(self) -> None:
        """Nothing of it is needed any more."""
        self._over = True
        if self._task is not None:
            self._task.cancel()
        if self._fetched is not None:
            self._fetched.release()
            self._fetched = None

    def comes_back(self, error: ModelRocketError) -> bool:
        """Whether a request that nobody waits for is tried again here, or is for another host to take."""
        if not self.later:
            return False
        if isinstance(error, Draining):
            self.end()
            self._means.deferred.leave(self._admitted.tenant)
            return True
        pause = error.retry_after or 0.0
        if not isinstance(error, Unavailable) or self._means.clock() + pause >= self._deadline:
            return False
        asyncio.get_running_loop().call_later(pause, self._again)
        return True

    def tell(self, response: Response, counted: Callable[[], None]) -> None:
        """What a request came to that nobody waits for. `counted` hears if nobody had told it before."""
        self._means.deferred.tell(self._admitted.tenant, self.transfer, response, counted)

    def _again(self) -> None:
        if self._fetched is None:
            self._go(self._fetch)
        else:
            self._begin()

    async def _fetch(self) -> None:
        tenant = self._admitted.tenant
        self._fetched = await self._means.payloads.fetch(
            self.transfer.inputs_url, caller=tenant, deadline=self._deadline
        )
        self._task = None
        self._means.turns.take(tenant, self._begin)

    async def _store(self, held: Response) -> None:
        await self._means.payloads.put(
            self.transfer.answer_url, held.body, content_type=held.content_type, deadline=self._deadline
        )
        self._task = None
        self._ends.done(Response(HTTPStatus.OK, b"", {}))

    def _begin(self) -> None:
        """With what has been fetched."""
        if self._over or self._fetched is None:
            return
        left = self._deadline - self._means.clock()
        if left <= 0:
            self._ends.fail(too_late())
        else:
            self._ends.run(replace(self._admitted, seconds_left=left), self._fetched.body)

    def _go(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        async def guarded() -> None:
            try:
                await work()
            except ModelRocketError as error:
                self._task = None
                self._ends.fail(error)
            except Exception:  # the boundary of a request that has a task: it must end
                self._task = None
                self._ends.crash()

        self._task = asyncio.get_running_loop().create_task(guarded())
