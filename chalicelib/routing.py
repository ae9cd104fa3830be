"""The inference gateway: token → model → version → the best replica → its answer.

One round trip to the hot state per request. What it does not know is read
through from the truth, at a bounded rate, so that a flushed Redis never turns a
valid token away. A host that does not answer is followed by one other; where a candidate
was meant to answer and no host could run it, the active version answers instead.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.choice import chosen, destinations, mirrored
from chalicelib.contract.errors import (
    DeadlineExceeded,
    DependencyFailed,
    InvalidModel,
    ModelRocketError,
    NoCapacity,
    PayloadTooLarge,
)
from chalicelib.contract.hotstate import HotState, RouteView
from chalicelib.contract.inference import (
    NO_MODEL,
    authorised,
    bearer,
    credential_sha256,
    model_key,
    read_inference,
)
from chalicelib.contract.messages import Heartbeat, ModelRecord, TokenRecord, VersionRecord
from chalicelib.contract.metadata import HEADER_LENGTH, ModelPath, named, read_header_length
from chalicelib.contract.tokens import Ticket
from chalicelib.ports import HostCalls, HostReply, HostUnreachable, Store
from chalicelib.records import routing_record
from chalicelib.settings import Network

_MISDIRECTED: Final = 421
_UNAVAILABLE: Final = 503
_SILENCE_SECONDS_MIN: Final = 5.0
_SILENCE_RUNS: Final = 20
"""A ready replica silent for this many of its measured run times is given up for another."""


@dataclass(frozen=True, slots=True)
class OpenInference:
    """What a request of Open Inference Protocol v2 says beside its body; `header_length` is as it came."""

    path: ModelPath
    header_length: str | None = None


@dataclass(frozen=True, slots=True)
class InferenceCall:
    """A request as it came, and what the gateway gave it. `sticky` keeps a caller with one version.

    `open_inference`: the body is of that protocol, else of `POST /inference`.
    """

    body: bytes
    authorization: str | None
    request_id: str
    deadline_seconds: float
    sticky: str | None = None
    open_inference: OpenInference | None = None

    @property
    def version(self) -> str:
        """The number of the one version that may answer, empty where any may."""
        return "" if self.open_inference is None else self.open_inference.path.version


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds spent in the gateway, for Server-Timing."""

    auth: float
    route: float


@dataclass(frozen=True, slots=True)
class InferenceAnswer:
    reply: HostReply
    version: int
    tries: int
    timings: Timings


@dataclass(frozen=True, slots=True)
class Clocks:
    """`monotonic` measures, `unix` is for deadlines that another machine reads. Seconds."""

    monotonic: Callable[[], float]
    unix: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Dispatching:
    """`key` signs tickets; hosts are only spoken to inside `network`."""

    key: bytes
    network: Network


class Router:
    """Routes inference requests. Safe to use from many threads."""

    def __init__(
        self,
        *,
        store: Store,
        hot: HotState,
        hosts: HostCalls,
        clocks: Clocks,
        dispatching: Dispatching,
        generator: random.Random,
    ) -> None:
        self._store = store
        self._hot = hot
        self._hosts = hosts
        self._clocks = clocks
        self._dispatching = dispatching
        self._random = generator
        self._read_through = _ReadThroughBudget(clocks.monotonic)

    def infer(self, call: InferenceCall) -> InferenceAnswer:
        """The host's answer. Raises ModelRocketError for everything else."""
        started = self._clocks.monotonic()
        asked = _asked(call)
        view, model = self._authorised(asked.token or bearer(call.authorization), asked.model_id)
        version = _version(model, view, call)
        _refuse_quarantined(version, view)
        checked = self._clocks.monotonic()
        ends = started + call.deadline_seconds
        dispatch = _Dispatch(call, asked, model, version, view, ends)
        reply, answered, tries = self._dispatch(dispatch)
        timings = Timings(auth=checked - started, route=self._clocks.monotonic() - checked)
        return InferenceAnswer(reply=reply, version=answered.number, tries=tries, timings=timings)

    def describe(self, authorization: str | None, path: ModelPath) -> tuple[ModelRecord, VersionRecord]:
        """A model, and the version of it that the path names. Raises ModelRocketError."""
        _, model = self._authorised(bearer(authorization), path.model_id)
        return model, named(model, path.version)

    def _authorised(self, plain: str | None, model_id: str) -> tuple[RouteView, ModelRecord]:
        view = self._view(credential_sha256(plain), model_id)
        return view, authorised(view.token, view.model, now=view.now)

    def _view(self, sha256: str, model_id: str) -> RouteView:
        """The hot state's view, completed from the truth where it has gaps."""
        model_id = model_key(model_id)
        view = self._hot.route(sha256, model_id)
        if view.token is None:
            view = replace(view, token=self._token(sha256))
        if view.token is not None and view.model is None and model_id != NO_MODEL:
            view = replace(view, model=self._model(model_id))
        return view

    def _token(self, sha256: str) -> TokenRecord | None:
        self._read_through.spend()
        token = self._store.token(sha256)
        if token is None:
            return None
        self._hot.put_token(sha256, token.hot())
        return token.hot()

    def _model(self, model_id: str) -> ModelRecord | None:
        self._read_through.spend()
        model = self._store.any_model(model_id)
        if model is None:
            return None
        versions = self._store.any_versions(model.version_ids) if model.version_ids else ()
        record = routing_record(model, {version.id: version for version in versions})
        self._hot.put_model(record)
        return record

    def _dispatch(self, dispatch: _Dispatch) -> tuple[HostReply, VersionRecord, int]:
        """The answer, the version that gave it, and how many hosts were asked for it."""
        targets = self._targets(dispatch)
        last: HostReply | ModelRocketError | None = None
        for tries, (version, host) in enumerate(targets, start=1):
            dispatch = replace(dispatch, version=version)
            last = self._try(dispatch, host, last_try=tries == len(targets))
            if isinstance(last, HostReply) and not _elsewhere(last):
                return last, version, tries
        if isinstance(last, HostReply) and last.status == _UNAVAILABLE:
            return last, dispatch.version, len(targets)  # the hosts' own reason, with its Retry-After
        raise (
            last if isinstance(last, ModelRocketError) else NoCapacity("No host took the request. Try again.")
        )

    def _targets(self, dispatch: _Dispatch) -> tuple[tuple[VersionRecord, Heartbeat], ...]:
        """What to ask for and whom: twice the active version, or a candidate and then the active one.

        The second is another host where there is one.
        """
        hosts = self._hosts_for(dispatch.version, dispatch.view)
        if not hosts:
            raise NoCapacity("No host is ready to run models right now. Try again shortly.", retry_after=2)
        active = dispatch.model.active
        named_alone = dispatch.call.version or active is None or active == dispatch.version
        if named_alone or active is None or active.version_id in dispatch.view.quarantined:
            return tuple((dispatch.version, host) for host in (hosts * limits.TRIES_MAX)[: limits.TRIES_MAX])
        others = self._hosts_for(active, dispatch.view)
        second = next((host for host in others if host != hosts[0]), others[0])
        return (dispatch.version, hosts[0]), (active, second)

    def _hosts_for(self, version: VersionRecord, view: RouteView) -> tuple[Heartbeat, ...]:
        return self._reachable(destinations(view, version.version_id, shuffled=self._shuffled))

    def _try(self, dispatch: _Dispatch, host: Heartbeat, *, last_try: bool) -> HostReply | ModelRocketError:
        remaining = dispatch.ends - self._clocks.monotonic()
        if remaining <= 0:
            raise DeadlineExceeded("The model did not answer in time.")
        timeout = remaining if last_try else min(remaining, dispatch.patience)
        headers = {**dispatch.asked.headers, "X-Rocket-Ticket": self._ticket(dispatch, host, remaining)}
        try:
            return self._hosts.infer(host, dispatch.asked.inputs, headers=headers, timeout=timeout)
        except HostUnreachable as error:
            if error.timed_out and last_try:
                return DeadlineExceeded("The model did not answer in time.")
            return DependencyFailed("The host running the model went away. Try again.", retry_after=1)

    def _ticket(self, dispatch: _Dispatch, host: Heartbeat, remaining: float) -> str:
        mirror = mirrored(
            dispatch.model,
            answering=dispatch.version,
            request_id=dispatch.call.request_id,
            quarantined=dispatch.view.quarantined,
        )
        candidate = dispatch.model.candidate
        return Ticket(
            request_id=dispatch.call.request_id,
            tenant=dispatch.version.tenant,
            version_id=dispatch.version.version_id,
            boot_id=host.boot_id,
            deadline_ms=int((self._clocks.unix() + remaining) * 1000),
            trial=candidate.trial if candidate else 0,
            mirror_version_id=mirror.version_id if mirror else "",
            drift_tolerance=candidate.drift_tolerance if candidate else 0.0,
        ).sign(self._dispatching.key)

    def _shuffled(self, hosts: Sequence[Heartbeat]) -> Sequence[Heartbeat]:
        return self._random.sample(hosts, len(hosts))

    def _reachable(self, hosts: Sequence[Heartbeat]) -> tuple[Heartbeat, ...]:
        """Only addresses inside the configured network, whatever a heartbeat claims."""
        return tuple(host for host in hosts if _inside(host.address, self._dispatching.network))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a body asks for. `headers` tell the host how to read `inputs`."""

    model_id: str
    token: str | None
    inputs: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Dispatch:
    """One request on its way to hosts. `ends` is on the monotonic clock."""

    call: InferenceCall
    asked: _Asked
    model: ModelRecord
    version: VersionRecord
    view: RouteView
    ends: float

    @property
    def patience(self) -> float:
        """How long to wait for a host that may hang while another could answer."""
        passport = self.version.passport
        expected = (passport.load_ms + _SILENCE_RUNS * passport.run_ms) / 1000
        return max(_SILENCE_SECONDS_MIN, expected)


class _ReadThroughBudget:
    """Bounds how often unknown credentials may reach the truth."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._left = float(limits.TOKEN_READ_THROUGH_PER_SECOND)
        self._at = monotonic()

    def spend(self) -> None:
        """Raises DependencyFailed when the budget of this moment is used up."""
        rate = limits.TOKEN_READ_THROUGH_PER_SECOND
        with self._lock:
            now = self._monotonic()
            self._left = min(rate, self._left + (now - self._at) * rate)
            self._at = now
            if self._left < 1:
                raise DependencyFailed("Too many unknown tokens or models at once. Try again shortly.")
            self._left -= 1


def _refuse_quarantined(version: VersionRecord, view: RouteView) -> None:
    if version.version_id in view.quarantined:
        raise InvalidModel(
            "The active version of this model is quarantined for some minutes: it ended its process twice. "
            "Upload a version that does not."
        )


def _asked(call: InferenceCall) -> _Asked:
    if len(call.body) > limits.BODY_BYTES_MAX:
        raise PayloadTooLarge(
            f"The body has {len(call.body)} bytes, {limits.BODY_BYTES_MAX} are allowed. "
            "Send fewer rows at once."
        )
    if call.open_inference is not None:
        given = call.open_inference.header_length
        length = read_header_length(given, body_bytes=len(call.body))
        headers = {"Content-Type": "application/octet-stream", "X-Rocket-Form": "v2"}
        if length is not None:
            headers[HEADER_LENGTH] = str(length)
        return _Asked(call.open_inference.path.model_id, None, call.body, headers)
    body = read_inference(call.body)
    return _Asked(body.model, body.token, bytes(body.inputs), {"Content-Type": "application/json"})


def _version(model: ModelRecord, view: RouteView, call: InferenceCall) -> VersionRecord:
    """The one that the path names, if it is one that answers; else the one whose turn it is."""
    if call.version:
        return named(model, call.version)
    return chosen(model, sticky=call.sticky, request_id=call.request_id, quarantined=view.quarantined)


def _elsewhere(reply: HostReply) -> bool:
    """Whether another host may do better than this answer."""
    return reply.status in (_MISDIRECTED, _UNAVAILABLE)


def _inside(address: str, network: Network) -> bool:
    try:
        return ip_address(address) in network
    except ValueError:
        return False
