"""A gateway's routing over the real stores, with hosts whose answers a test writes."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from chalicelib.auth import Principal
from chalicelib.contract.hotstate.admission import Admissions
from chalicelib.contract.limiting import AccountLimits
from chalicelib.contract.messages import Heartbeat, HostState, Replica, ReplicaState
from chalicelib.keys import IssuedToken, NewKey
from chalicelib.ports import HostCalls, HostReply, HostUnreachable
from chalicelib.records import Version
from chalicelib.routing import (
    Clocks,
    Dispatcher,
    Dispatching,
    InferenceAnswer,
    InferenceCall,
    Lookups,
    Router,
)
from chalicelib.routing.transfers import Transfers
from chalicelib.wiring import ControlPlane
from tests.support.uploads import deployed
from tests.unit.test_choice import host

DATA: Final = b"model bytes" * 100
INPUTS: Final = '{"modelInput": [[1, 2, 3, 4]]}'
KEY: Final = b"k" * 32
Play = Callable[[Heartbeat], HostReply]


class PlayedHosts:
    """Hosts whose answers the test writes; remembers who was asked what, and for how long they had."""

    def __init__(self) -> None:
        self.plays: dict[str, Play] = {}
        self.asked: list[tuple[str, bytes, dict[str, str]]] = []
        self.timeouts: list[float] = []

    def infer(self, host: Heartbeat, body: bytes, *, headers: dict[str, str], timeout: float) -> HostReply:
        self.asked.append((host.host_id, body, headers))
        self.timeouts.append(timeout)
        return self.plays[host.host_id](host)


def answers(host: Heartbeat) -> HostReply:
    return HostReply(200, b'{"result": "from %s"}' % host.host_id.encode())


def goes_away(_: Heartbeat) -> HostReply:
    raise HostUnreachable("reset", timed_out=False)


def hangs(_: Heartbeat) -> HostReply:
    raise HostUnreachable("silent", timed_out=True)


def says(status: int, code: str = "x") -> Play:
    body = json.dumps({"error": {"code": code}}).encode()
    return lambda _: HostReply(status, body, {"retry-after": "3"})


def router_over(
    plane: ControlPlane,
    hosts: HostCalls,
    *,
    redis_url: str = "",
    clocks: Clocks | None = None,
    account: AccountLimits | None = None,
    key: bytes = KEY,
    admissions: Admissions | None = None,
) -> Router:
    """A gateway process of its own: nothing of what another saw is known to it."""
    clocks = clocks or Clocks(monotonic=time.monotonic, unix=time.time)
    account = account or plane.settings.account_limits
    url = redis_url or plane.settings.redis_url
    admissions = admissions or Admissions(url, account=account, clock=clocks.monotonic)
    return Router(
        lookups=Lookups(
            store=plane.store, hot=plane.hot, admissions=admissions, account=account, clock=clocks.monotonic
        ),
        dispatcher=Dispatcher(
            hosts=hosts,
            admissions=admissions,
            hot=plane.hot,
            clocks=clocks,
            dispatching=Dispatching(key=key, network=plane.settings.host_network),
            generator=random.Random(0),
        ),
        admissions=admissions,
        transfers=Transfers(plane.payloads),
        monotonic=clocks.monotonic,
    )


class World:
    """A deployed model, its token, and hosts to route to."""

    def __init__(self, plane: ControlPlane, owner: Principal, **routing: Any) -> None:
        self.plane = plane
        self.hosts = PlayedHosts()
        self.version: Version = deployed(plane, owner, DATA)
        self.issued: IssuedToken = plane.keys.create(owner, NewKey(model_id=self.version.model_id))
        self.router = router_over(plane, self.hosts, **routing)

    def add_host(
        self, host_id: str, play: Play, *, state: ReplicaState | None = ReplicaState.READY, **said: Any
    ) -> None:
        """`state`: of the model there; None where the host has nothing of it. `said`: of the heartbeat."""
        self.hosts.plays[host_id] = play
        told = {"state": said.pop("host_state", HostState.READY), **said}
        self.plane.hot.beat(msgspec.structs.replace(host(host_id), **told))
        if state is not None:
            replica = Replica(host_id, f"boot-{host_id}", state)
            self.plane.hot.put_replica(self.version.model_id, self.version.id, replica)

    def infer(
        self,
        *,
        deadline: float = 25.0,
        authorization: str | None = None,
        request_id: str = "req-1",
        **body: Any,
    ) -> InferenceAnswer:
        whole = {
            "token": self.issued.plain,
            "model": self.version.model_id,
            "inputs": json.loads(INPUTS),
            **body,
        }
        return self.router.infer(
            InferenceCall(
                body=json.dumps({k: v for k, v in whole.items() if v is not None}).encode(),
                authorization=authorization,
                request_id=request_id,
                deadline_seconds=deadline,
            )
        )

    def asked(self) -> list[str]:
        return [host_id for host_id, _, _ in self.hosts.asked]
