"""Where models are in the fleet, as this host knows it: looked up in the background, at most a second old.

A look-up is one round trip in a thread, shared by all who wait for it, and repeated while the model is asked
for. Between two of them, what this host itself has sent is added. What it sends is told as a gateway tells
it, leases and how long they took, all that came together in one go.

Owned by the event loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.hotstate import RouteView
from chalicelib.contract.hotstate.admission import Admissions, Lease

_AGE_SECONDS_MAX: Final = 1.0
_RENEW_SECONDS: Final = 0.5
_ROUTES_MAX: Final = 4_096
_TELL_SECONDS: Final = 0.005
"""What came together in this time is told in one go; a lease that is over by then need not be told."""


@dataclass(frozen=True, slots=True)
class Route:
    """What was seen at a moment of the monotonic clock, and how much this host had sent to each then."""

    view: RouteView
    at: float
    sent: Mapping[str, int]


class Routes:
    """By model id. `clock`: monotonic seconds."""

    def __init__(self, admissions: Admissions, *, door: str, clock: Callable[[], float]) -> None:
        self._admissions = admissions
        self._door = door
        self._clock = clock
        self._routes: dict[str, Route] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="routes")
        self._sent: Counter[str] = Counter()
        self._leases: dict[str, Callable[[], None]] = {}
        self._releases: list[Callable[[], None]] = []
        self._telling = False
        self._number = 0

    async def find(self, model_id: str) -> Route | None:
        """None where nobody can be asked, and nothing is known since `OUTAGE_CACHE_SECONDS`."""
        known = self._routes.get(model_id)
        age = self._clock() - known.at if known is not None else _AGE_SECONDS_MAX
        if age >= _RENEW_SECONDS and model_id not in self._looking:
            self._looking[model_id] = asyncio.get_running_loop().create_task(self._look(model_id))
        if age >= _AGE_SECONDS_MAX:
            await asyncio.wait((self._looking[model_id],))
            known = self._routes.get(model_id)
        return known

    def in_flight(self, route: Route) -> dict[str, int]:
        """Of each host in it: what was seen, and what this host has sent there since."""
        return {
            host_id: max(0, seen + self._sent[host_id] - route.sent.get(host_id, 0))
            for host_id, seen in route.view.in_flight.items()
        }

    def begin(self, host_id: str, *, tenant: str, model_id: str, route: Route) -> Lease:
        """That host has one more in flight."""
        self._number += 1
        lease = Lease(f"{self._door}/{self._number:x}", tenant, model_id)
        self._sent[host_id] += 1
        now = route.view.now + self._clock() - route.at
        self._leases[lease.id] = partial(self._admissions.lease, host_id, lease, now=now)
        self._tell_soon()
        return lease

    def end(self, host_id: str, lease: Lease, *, version_id: str, seconds: float | None) -> None:
        """It is over; `seconds` is how long that took, where that says something about the host."""
        self._sent[host_id] -= 1
        if not self._sent[host_id]:
            del self._sent[host_id]
        if self._leases.pop(lease.id, None) is not None and seconds is None:
            return  # nobody has heard of it
        release = partial(
            self._admissions.release, lease, host_id=host_id, version_id=version_id, seconds=seconds
        )
        self._releases.append(release)
        self._tell_soon()

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _look(self, model_id: str) -> None:
        try:
            admission = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._admissions.look, model_id
            )
            self._remember(model_id, Route(admission.view, self._clock(), dict(self._sent)))
        except DependencyFailed:
            known = self._routes.get(model_id)
            if known is not None and self._clock() - known.at > limits.OUTAGE_CACHE_SECONDS:
                del self._routes[model_id]
        finally:
            del self._looking[model_id]

    def _remember(self, model_id: str, route: Route) -> None:
        self._routes.pop(model_id, None)
        self._routes[model_id] = route
        if len(self._routes) > _ROUTES_MAX:
            del self._routes[next(iter(self._routes))]

    def _tell_soon(self) -> None:
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_later(_TELL_SECONDS, self._tell)

    def _tell(self) -> None:
        self._telling = False
        tells = [*self._leases.values(), *self._releases]
        self._leases, self._releases = {}, []
        if tells:
            self._thread.submit(_each, tells)


def _each(tells: Sequence[Callable[[], None]]) -> None:
    for tell in tells:
        tell()
