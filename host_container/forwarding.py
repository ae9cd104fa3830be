"""A request at the own door for a model that is not in memory here: sent once to the host that has it.

Chosen, leased, retried and given up as a gateway does, by the same functions, with a ticket as a gateway
signs it: who gets it runs it and sends it no further. Where nobody is better than this host, it runs here.

Owned by the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from random import Random
from typing import Any, Final

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.choice import Weigh, alive, destinations
from chalicelib.contract.dispatches import (
    error_code,
    host_times,
    is_for_another,
    is_own_fault,
    patience,
    refused,
    unreachable,
)
from chalicelib.contract.errors import ModelRocketError, Overloaded
from chalicelib.contract.health import Ejections, RetryBudget
from chalicelib.contract.hotstate import RouteView
from chalicelib.contract.messages import Heartbeat, ModelRecord, Replica, ReplicaState, VersionRecord
from chalicelib.contract.metadata import HEADER_LENGTH
from chalicelib.contract.metering import compute_us
from chalicelib.contract.tokens import Ticket
from host_container.admission import Admitted, OnTrial
from host_container.failures import too_late
from host_container.frames import Asked, Form
from host_container.lines import Lines, Reply, Unreachable
from host_container.presence import Presence
from host_container.replicas import Replicas
from host_container.router import Clocks
from host_container.routes import Route, Routes
from host_container.usage import Use

Network = IPv4Network | IPv6Network
_PASSED_ON: Final = ("retry-after", "x-rows", "x-batch-rows", HEADER_LENGTH.lower())
_OK: Final = 200
_UNAVAILABLE: Final = 503


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to run. `pinned`: the caller asked for this version, and no other may answer."""

    admitted: Admitted
    record: VersionRecord
    model: ModelRecord
    asked: Asked
    pinned: bool = False


@dataclass(slots=True)
class Forwarded:
    """What another host answered. `reply` is to be released. `final`: no other would do better."""

    reply: Reply
    record: VersionRecord
    host_id: str
    final: bool
    code: str

    def headers(self, request_id: str, *, auth_seconds: float, took: float) -> dict[str, str]:
        """What the caller hears beside the body. `took`: seconds since it was known who asks."""
        own = f"auth;dur={auth_seconds * 1000:.3f}, forward;dur={took * 1000:.3f}"
        told = self.reply.headers.get("server-timing")
        headers = {
            "x-request-id": request_id,
            "x-model-version": str(self.record.number),
            "server-timing": f"{own}, {told}" if told else own,
        }
        passed = {name: self.reply.headers[name] for name in _PASSED_ON if name in self.reply.headers}
        return headers | passed

    def used(self, use: Use, *, seconds: float) -> Use:
        """With what the host says it took, of so long in all."""
        told = self.reply.headers
        if self.reply.status == _OK:
            use.rows, run_rows = _number(told.get("x-rows")), _number(told.get("x-batch-rows"))
            use.took = host_times(told.get("server-timing", ""), total=seconds)
            use.compute_us = compute_us(run_us=use.took.run, rows=use.rows, run_rows=run_rows)
        return use


Outcome = Forwarded | Wanted | ModelRocketError
"""An answer, what is to run here after all, or why nobody answers."""
Done = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True)
class Means:
    """What forwarding is done with. Other hosts are only spoken to inside `network`; `key` signs tickets."""

    routes: Routes
    lines: Lines
    replicas: Replicas
    presence: Presence
    key: bytes
    network: Network
    clocks: Clocks
    random: Random


class Forwards:
    """Requests on their way to other hosts."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._ejections = Ejections(means.random)
        self._budget = RetryBudget()
        self._tasks: set[asyncio.Task[None]] = set()
        self.count = 0
        """Answers of other hosts, since the start."""

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    def start(self, wanted: Wanted, done: Done) -> asyncio.Task[None]:
        """`done` is called once, unless the task is cancelled. Raises Overloaded."""
        if len(self._tasks) >= limits.FORWARDS_MAX:
            raise Overloaded("This host forwards more requests than it can. Try again shortly.")
        task = asyncio.get_running_loop().create_task(self._guarded(self._send(wanted), done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def release(self, forwarded: Forwarded) -> None:
        """Its answer has been told."""
        self._means.lines.release(forwarded.reply)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._means.lines.close()
        self._means.routes.close()

    async def _guarded(self, sending: Coroutine[Any, Any, Outcome], done: Done) -> None:
        try:
            outcome = await sending
        except ModelRocketError as error:
            outcome = error.with_traceback(None)
        except Exception:  # the boundary of a request that has a task: it must end
            done(ModelRocketError("Something went wrong here. Report the request id."))
            raise
        done(outcome)

    async def _send(self, wanted: Wanted) -> Outcome:
        ends = self._means.clocks.monotonic() + wanted.admitted.seconds_left
        route = await self._means.routes.find(wanted.model.model_id)
        if route is None:
            return self._here(wanted, ends)
        self._budget.asked(now=self._means.clocks.monotonic())
        first = self._best(route, wanted)
        if first is None:
            return self._here(wanted, ends)
        came = await self._try(wanted, first, route, ends, last=False)
        now = self._means.clocks.monotonic()
        if _is_final(came) or now >= ends or not self._budget.allows(now=now):
            return _in_the_end(came)
        wanted = _instead(wanted, route.view)
        second = self._best(route, wanted, but=first.host_id)
        if second is None:
            return self._here(wanted, ends)
        if not self._budget.take(now=now):
            return _in_the_end(came)
        return _in_the_end(await self._try(wanted, second, route, ends, last=True))

    def _here(self, wanted: Wanted, ends: float) -> Outcome:
        left = ends - self._means.clocks.monotonic()
        if left <= 0:
            return too_late()
        return replace(wanted, admitted=replace(wanted.admitted, seconds_left=left))

    def _best(self, route: Route, wanted: Wanted, *, but: str = "") -> Heartbeat | None:
        """Whom to ask; None where nobody is better than this host."""
        now = self._means.clocks.monotonic()
        own = self._means.presence.address.host_id
        view = self._with_own(route.view, wanted.record)
        hosts = [host for host in alive(view.hosts, now=view.now) if self._may_be_asked(host, own, but)]
        kept = self._ejections.kept([host.host_id for host in hosts], now=now)
        hosts = [host for host in hosts if host.host_id in kept]
        weigh = Weigh(
            generator=self._means.random,
            share=partial(self._ejections.share, now=now),
            in_flight=self._means.routes.in_flight(route),
        )
        ordered = destinations(view, wanted.record, hosts=hosts, weigh=weigh)
        return None if not ordered or ordered[0].host_id == own else ordered[0]

    def _with_own(self, view: RouteView, record: VersionRecord) -> RouteView:
        """What this host knows better: the version is not in its memory, and perhaps it is loading it."""
        own = self._means.presence.address.host_id
        replicas = [
            (version_id, replica)
            for version_id, replica in view.replicas
            if replica.host_id != own or replica.state is ReplicaState.STORED
        ]
        if self._means.replicas.is_loading(record.version_id):
            replica = Replica(own, self._means.presence.boot_id, ReplicaState.LOADING)
            replicas.append((record.version_id, replica))
        return msgspec.structs.replace(view, replicas=tuple(replicas))

    def _may_be_asked(self, host: Heartbeat, own: str, but: str) -> bool:
        if host.host_id == own:
            return True
        return host.host_id != but and _inside(host.address, self._means.network)

    async def _try(
        self, wanted: Wanted, host: Heartbeat, route: Route, ends: float, *, last: bool
    ) -> Forwarded | Unreachable:
        """Raises DeadlineExceeded."""
        means, record = self._means, wanted.record
        began = means.clocks.monotonic()
        remaining = ends - began
        if remaining <= 0:
            raise too_late()
        body = wanted.asked.body
        seconds = remaining
        if not last:
            seconds = patience(route.view, record, host, body_bytes=len(body), remaining=remaining)
        lease = means.routes.begin(host.host_id, tenant=record.tenant, model_id=record.model_id, route=route)
        head = _head(wanted, self._ticket(wanted, host, remaining))
        took: float | None = None
        try:
            reply = await means.lines.ask(
                (host.address, host.port), head, body, caller=record.tenant, seconds=seconds
            )
            if reply.status == _OK and "load;dur=0.000" in reply.headers.get("server-timing", ""):
                took = means.clocks.monotonic() - began
        except Unreachable as error:
            if error.timed_out:
                self._ejections.late(host.host_id, since=began, now=means.clocks.monotonic())
            else:
                self._ejections.silent(host.host_id, now=means.clocks.monotonic())
            return error
        finally:
            means.routes.end(host.host_id, lease, version_id=record.version_id, seconds=took)
        return self._judged(reply, host, record)

    def _judged(self, reply: Reply, host: Heartbeat, record: VersionRecord) -> Forwarded:
        now = self._means.clocks.monotonic()
        code = error_code(reply.body) if reply.status != _OK else ""
        if is_own_fault(reply.status, code):
            self._ejections.failed(host.host_id, now=now)
        else:
            self._ejections.answered(host.host_id, now=now)
        final = not is_for_another(reply.status, code)
        self.count += final
        return Forwarded(reply, record, host.host_id, final, code)

    def _ticket(self, wanted: Wanted, host: Heartbeat, remaining: float) -> str:
        admitted = wanted.admitted
        trial = admitted.on_trial or OnTrial(0, "", 0.0)
        return Ticket(
            request_id=admitted.request_id,
            tenant=admitted.tenant,
            version_id=admitted.version_id,
            boot_id=host.boot_id,
            deadline_ms=int((self._means.clocks.unix() + remaining) * 1000),
            trial=trial.number,
            mirror_version_id=trial.mirror_version_id,
            drift_tolerance=trial.drift_tolerance,
        ).sign(self._means.key)


def _head(wanted: Wanted, ticket: str) -> bytes:
    asked = wanted.asked
    form = "X-Rocket-Form: v2\r\n" if asked.form == Form.V2 else ""
    length = f"{HEADER_LENGTH}: {asked.header_length}\r\n" if asked.header_length else ""
    return (
        f"POST /infer HTTP/1.1\r\nHost: host\r\nX-Rocket-Ticket: {ticket}\r\n{form}{length}"
        f"Content-Length: {len(asked.body)}\r\n\r\n"
    ).encode()


def _instead(wanted: Wanted, view: RouteView) -> Wanted:
    """The active version where a candidate was meant to answer and no host could run it."""
    active = wanted.model.active
    if wanted.pinned or active is None or active == wanted.record or active.version_id in view.quarantined:
        return wanted
    admitted = replace(wanted.admitted, version_id=active.version_id, record=active)
    if admitted.on_trial is not None and admitted.on_trial.mirror_version_id == active.version_id:
        admitted = replace(admitted, on_trial=replace(admitted.on_trial, mirror_version_id=""))
    return replace(wanted, admitted=admitted, record=active)


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else 0


def _is_final(came: Forwarded | Unreachable) -> bool:
    return isinstance(came, Forwarded) and came.final


def _in_the_end(came: Forwarded | Unreachable) -> Outcome:
    """The answer, or the host's own reason with its Retry-After where there is one; else ours."""
    if isinstance(came, Unreachable):
        return unreachable(timed_out=came.timed_out)
    return came if came.final or came.reply.status == _UNAVAILABLE else refused()


@lru_cache(maxsize=4096)
def _inside(address: str, network: Network) -> bool:
    try:
        return ip_address(address) in network
    except ValueError:
        return False
