"""Which host, how long to wait for it, and whether to ask another.

A host that does not answer is followed by one other, if the budget for that allows; where a candidate was
meant to answer and no host could run it, the active version answers instead. An answer of the model itself is
final, also an error: a request that may have ended its worker is not tried on another. What a host does to us
(not what others say of it) decides whether it is left alone for a while.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.choice import Weigh, alive, destinations, mirrored
from chalicelib.contract.dispatches import (
    error_code,
    is_for_another,
    is_own_fault,
    patience,
    refused,
    unreachable,
)
from chalicelib.contract.errors import DeadlineExceeded, DependencyFailed, ModelRocketError
from chalicelib.contract.health import Ejections, RetryBudget
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.hotstate.admission import Admissions, RouteView
from chalicelib.contract.messages import Heartbeat, VersionRecord
from chalicelib.contract.tokens import Ticket
from chalicelib.ports import HostCalls, HostReply, HostUnreachable
from chalicelib.routing.calls import Asked, InferenceCall
from chalicelib.routing.lookups import Seen
from chalicelib.routing.shortage import NO_HOST_SECONDS, Shortage, no_capacity
from chalicelib.settings import Network

_ADDRESSES_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class Dispatching:
    """`key` signs tickets; hosts are only spoken to inside `network`."""

    key: bytes
    network: Network


class Dispatch(msgspec.Struct):
    """One request on its way to hosts, and how far it came.

    Attributes:
        ends: monotonic time of its deadline.
        version: which is to answer, or did.
        host: the last one that was asked; None while none was.
        reply: what it answered, if it did.
        seconds: how long that took.
    """

    call: InferenceCall
    asked: Asked
    seen: Seen
    ends: float
    version: VersionRecord | None = None
    host: Heartbeat | None = None
    reply: HostReply | None = None
    tries: int = 0
    seconds: float = 0.0


class _Target(msgspec.Struct, frozen=True):
    host: Heartbeat
    version: VersionRecord


class Dispatcher:
    """Sends requests to hosts. Safe to use from many threads.

    `hot`: all hosts there are, and who hears where there are none. `unix` is for deadlines that hosts read.
    """

    def __init__(
        self,
        *,
        hosts: HostCalls,
        admissions: Admissions,
        hot: HotState,
        clocks: Clocks,
        dispatching: Dispatching,
        generator: random.Random,
    ) -> None:
        self._hosts = hosts
        self._admissions = admissions
        self._fleet = hot.hosts
        self._shortage = Shortage(hot)
        self._clocks = clocks
        self._dispatching = dispatching
        self._random = generator
        self._ejections = Ejections(generator)
        self._budget = RetryBudget()
        self._in_flight = _InFlight()
        self._inside = lru_cache(maxsize=_ADDRESSES_MAX)(partial(_inside, dispatching.network))

    def send(self, dispatch: Dispatch) -> HostReply:
        """Raises NoCapacity, DeadlineExceeded, DependencyFailed."""
        self._budget.asked(now=self._clocks.monotonic())
        target = self._first(dispatch)
        failed = self._try(dispatch, target)
        if failed is None:
            return _told(dispatch.reply)
        second = self._second(dispatch, target, failed)
        if second is None:
            return _in_the_end(dispatch.reply, failed)
        failed = self._try(dispatch, second)
        return _told(dispatch.reply) if failed is None else _in_the_end(dispatch.reply, failed)

    def check_ready(self) -> None:
        """Raises NoCapacity where no host is alive, DependencyFailed."""
        now, hosts = self._fleet()
        if not alive(hosts, now=now):
            raise no_capacity(NO_HOST_SECONDS)

    def ask(self, dispatch: Dispatch, headers: Mapping[str, str]) -> HostReply:
        """Something more about the same request, of the host that answered it.

        Raises DeadlineExceeded, DependencyFailed.
        """
        assert dispatch.host is not None and dispatch.version is not None
        remaining = dispatch.ends - self._clocks.monotonic()
        if remaining <= 0:
            raise DeadlineExceeded("The answer could not be stored in time.")
        ticket = self._ticket(dispatch, _Target(dispatch.host, dispatch.version), remaining)
        told = {**headers, "X-Rocket-Ticket": ticket}
        try:
            return self._hosts.infer(dispatch.host, b"", headers=told, timeout=remaining)
        except HostUnreachable as error:
            raise _as_error(error) from error

    def _first(self, dispatch: Dispatch) -> _Target:
        assert dispatch.version is not None
        view = dispatch.seen.view
        ordered = self._ordered(dispatch, dispatch.version, alive(view.hosts, now=view.now))
        if not ordered and dispatch.seen.hosts_registered > len(view.hosts):
            view, all_hosts = self._looked_again(view)
            ordered = self._ordered(dispatch, dispatch.version, alive(all_hosts, now=view.now))
        if not ordered and dispatch.seen.remembered:
            raise no_capacity(NO_HOST_SECONDS)
        if not ordered:
            raise self._shortage.met(dispatch.version)
        return _Target(ordered[0], dispatch.version)

    def _second(
        self, dispatch: Dispatch, first: _Target, failed: HostReply | HostUnreachable
    ) -> _Target | None:
        """Another host, or for a candidate the active version, or the same host where only the line broke."""
        now = self._clocks.monotonic()
        if dispatch.ends - now <= 0 or not self._budget.allows(now=now):
            return None
        version = _instead(dispatch, first.version)
        view, all_hosts = dispatch.seen.view, dispatch.seen.view.hosts
        if dispatch.seen.hosts_registered > len(all_hosts) or _misdirected(failed):
            view, all_hosts = self._looked_again(view)
        reachable = alive(all_hosts, now=view.now)
        others = [host for host in reachable if host.host_id != first.host.host_id]
        ordered = self._ordered(dispatch, version, others)
        if not ordered and _same_again(first, version, failed):
            same = [host for host in reachable if host.host_id == first.host.host_id]
            ordered = self._ordered(dispatch, version, same)
        return _Target(ordered[0], version) if ordered and self._budget.take(now=now) else None

    def _looked_again(self, view: RouteView) -> tuple[RouteView, tuple[Heartbeat, ...]]:
        """At the whole fleet: the first look showed only who has the model."""
        try:
            now, hosts = self._fleet()
        except DependencyFailed:
            return view, view.hosts
        return msgspec.structs.replace(view, now=now, hosts=hosts), hosts

    def _ordered(
        self, dispatch: Dispatch, version: VersionRecord, hosts: Sequence[Heartbeat]
    ) -> Sequence[Heartbeat]:
        """Whom to ask, the best first. Only inside the configured network, whatever a heartbeat claims."""
        now = self._clocks.monotonic()
        reachable = [host for host in hosts if self._inside(host.address)]
        kept = self._ejections.kept([host.host_id for host in reachable], now=now)
        weigh = Weigh(
            generator=self._random,
            share=partial(self._ejections.share, now=now),
            in_flight=self._in_flight.counts if dispatch.seen.remembered else None,
        )
        if len(kept) < len(reachable):
            reachable = [host for host in reachable if host.host_id in kept]
        return destinations(dispatch.seen.view, version, hosts=reachable, weigh=weigh)

    def _try(self, dispatch: Dispatch, target: _Target) -> HostReply | HostUnreachable | None:
        """None where it answered for good; else why another may do better. Raises DeadlineExceeded."""
        began = self._clocks.monotonic()
        remaining = dispatch.ends - began
        if remaining <= 0:
            raise DeadlineExceeded("The model did not answer in time.")
        self._begin(dispatch, target, now=began)
        last = dispatch.tries == limits.TRIES_MAX or not self._budget.allows(now=began)
        timeout = remaining if last else _patience(dispatch, remaining)
        ticket = self._ticket(dispatch, target, remaining)
        headers = {**dispatch.asked.headers, "X-Rocket-Ticket": ticket}
        try:
            reply = self._hosts.infer(target.host, dispatch.asked.inputs, headers=headers, timeout=timeout)
        except HostUnreachable as error:
            self._unreachable(target.host, error, since=began)
            return error
        finally:
            self._in_flight.end(target.host.host_id)
            ended = self._clocks.monotonic()
            dispatch.seconds = ended - began
        dispatch.reply = reply
        code = error_code(reply.body) if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR else ""
        self._judge(target.host, reply.status, code, now=ended)
        return reply if is_for_another(reply.status, code) else None

    def _begin(self, dispatch: Dispatch, target: _Target, *, now: float) -> None:
        """The host has one more in flight, and the one before it one less."""
        seen = dispatch.seen
        if not seen.remembered:
            before = dispatch.host.host_id if dispatch.host is not None else ""
            came = dispatch.ends - dispatch.call.deadline_seconds
            self._admissions.lease(
                target.host.host_id, seen.lease, now=seen.view.now + now - came, instead_of=before
            )
        self._in_flight.begin(target.host.host_id)
        dispatch.host, dispatch.version, dispatch.reply = target.host, target.version, None
        dispatch.tries += 1

    def _unreachable(self, host: Heartbeat, error: HostUnreachable, *, since: float) -> None:
        now = self._clocks.monotonic()
        if error.timed_out:
            self._ejections.late(host.host_id, since=since, now=now)
        else:
            self._ejections.silent(host.host_id, now=now)

    def _judge(self, host: Heartbeat, status: int, code: str, *, now: float) -> None:
        if is_own_fault(status, code):
            self._ejections.failed(host.host_id, now=now)
        else:
            self._ejections.answered(host.host_id, now=now)

    def _ticket(self, dispatch: Dispatch, target: _Target, remaining: float) -> str:
        model, version = dispatch.seen.model, target.version
        request_id = dispatch.call.request_id
        quarantined = dispatch.seen.view.quarantined
        mirror = mirrored(model, answering=version, request_id=request_id, quarantined=quarantined)
        candidate = model.candidate
        return Ticket(
            request_id=request_id,
            tenant=version.tenant,
            version_id=version.version_id,
            boot_id=target.host.boot_id,
            deadline_ms=int((self._clocks.unix() + remaining) * 1000),
            trial=candidate.trial if candidate else 0,
            mirror_version_id=mirror.version_id if mirror else "",
            drift_tolerance=candidate.drift_tolerance if candidate else 0.0,
        ).sign(self._dispatching.key)


@dataclass(frozen=True, slots=True)
class Clocks:
    """`monotonic` measures, `unix` is for deadlines that another machine reads. Seconds."""

    monotonic: Callable[[], float]
    unix: Callable[[], float]


class _InFlight:
    """What this process itself has under way at each host: all it knows while the hot state is away."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def counts(self) -> Mapping[str, int]:
        return self._counts

    def begin(self, host_id: str) -> None:
        with self._lock:
            self._counts[host_id] = self._counts.get(host_id, 0) + 1

    def end(self, host_id: str) -> None:
        with self._lock:
            left = self._counts[host_id] - 1
            if left:
                self._counts[host_id] = left
            else:
                del self._counts[host_id]


def _misdirected(failed: HostReply | HostUnreachable) -> bool:
    return isinstance(failed, HostReply) and failed.status == HTTPStatus.MISDIRECTED_REQUEST


def _same_again(first: _Target, version: VersionRecord, failed: HostReply | HostUnreachable) -> bool:
    """Whether the same host may do better: of another version, as another process, on another connection."""
    if version is not first.version or _misdirected(failed):
        return True
    return isinstance(failed, HostUnreachable) and not failed.timed_out


def _instead(dispatch: Dispatch, version: VersionRecord) -> VersionRecord:
    """What to ask another host for: the active version, unless it is quarantined or another was asked for."""
    active = dispatch.seen.model.active
    if active is None or dispatch.call.version or active.version_id in dispatch.seen.view.quarantined:
        return version
    return active


def _told(reply: HostReply | None) -> HostReply:
    assert reply is not None
    return reply


def _in_the_end(reply: HostReply | None, failed: HostReply | HostUnreachable) -> HostReply:
    """The host's own reason with its Retry-After, where there is one; else ours, raised."""
    if reply is not None and reply.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return reply
    raise _as_error(failed)


def _as_error(failed: HostReply | HostUnreachable) -> ModelRocketError:
    return refused() if isinstance(failed, HostReply) else unreachable(timed_out=failed.timed_out)


def _patience(dispatch: Dispatch, remaining: float) -> float:
    """How long to wait for a host that may hang while another could answer."""
    version, host, seen = dispatch.version, dispatch.host, dispatch.seen
    assert version is not None and host is not None
    if seen.hosts_registered <= 1 or dispatch.asked.inputs_from:  # how many rows are in the store?
        return remaining
    body_bytes = len(dispatch.asked.inputs)
    return patience(seen.view, version, host, body_bytes=body_bytes, remaining=remaining)


def _inside(network: Network, address: str) -> bool:
    try:
        return ip_address(address) in network
    except ValueError:
        return False
