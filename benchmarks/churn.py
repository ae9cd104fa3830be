"""`churn`: does a host's memory grow that evicts a version for nearly every other that is asked for?"""

from __future__ import annotations

import http.client
import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from benchmarks import wire
from benchmarks.alone import Stores, counters, memory_for, tree, wait_until_quiet
from benchmarks.cells import LOOPBACK
from benchmarks.rocket import CannotServe, inference_lane
from chalicelib.contract.messages import VersionRecord
from tests.support.hosts import HostProcess

_SEED: Final = 7
_SETTLED_SHARE: Final = 0.2
"""Of all cycles: allocators and caches have what they need by then. Forms that are prepared in the background
are waited for, and models loaded before they were there are evicted, before the steady state begins."""
_REFUSED_PAUSE_SECONDS: Final = 0.02
_REQUEST_SECONDS_MAX: Final = 30.0
_OK, _UNAVAILABLE = 200, 503


@dataclass(frozen=True, slots=True)
class Subject:
    """What is loaded and evicted: so many versions with the same bytes, of which only some fit."""

    name: str
    content: bytes
    inputs: wire.Tensors
    versions: int
    held: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A quiet host's whole process tree after so many loads and evictions.

    Sums over its processes: what is resident, and what no file backs (shared pages divided).
    """

    resident_bytes: int
    anonymous_bytes: int
    loads: int
    evictions: int


@dataclass(frozen=True, slots=True)
class Churned:
    """The beginning of the steady state, its end, and the answers that said "no room now"."""

    start: Reading
    end: Reading
    refused: int


def measure(stores: Stores, subject: Subject, *, cycles: int, say: Callable[[str], None]) -> Churned:
    """Until so many evictions have been."""
    with stores.host() as host:
        record = stores.prepared(subject.content)
    with stores.host(memory_for(record, subject.held)) as host:
        asking = _Asking(host, _requests(stores, subject, record, host.port))
        say(f"{subject.name}: settling")
        asking.until_evicted(round(cycles * _SETTLED_SHARE))
        wait_until_quiet(tree(host))
        asking.until_evicted(round(cycles * _SETTLED_SHARE) + 2 * subject.versions)
        start = _reading(host)
        say(f"{subject.name}: {cycles} evictions")
        asking.until_evicted(cycles)
        return Churned(start, _reading(host), asking.refused)


def _requests(stores: Stores, subject: Subject, record: VersionRecord, port: int) -> Sequence[bytes]:
    """One for each version."""
    deployed = stores.deploy(record, count=subject.versions, tenant=str(uuid.uuid4()))
    return [inference_lane(port, [subject.inputs], one).requests()[0] for one in deployed]


class _Asking:
    """One caller, who picks a version at random each time. Raises CannotServe for a failure."""

    def __init__(self, host: HostProcess, requests: Sequence[bytes]) -> None:
        self._host = host
        self._picks = self._endless(requests)
        self.refused = 0

    def until_evicted(self, count: int) -> None:
        while missing := max(0, count - int(counters(self._host)["evictions_total"])):
            self._ask(missing)

    def _ask(self, times: int) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, self._host.port, timeout=_REQUEST_SECONDS_MAX)
        with closing(connection):
            connection.connect()
            for _ in range(times):
                self._note(*_exchange(connection, next(self._picks)))

    def _note(self, status: int, body: bytes) -> None:
        if status == _UNAVAILABLE:
            self.refused += 1
            time.sleep(_REFUSED_PAUSE_SECONDS)
        elif status != _OK:
            raise CannotServe(f"{self._host.host_id} answers {status}: {body[:300]!r}")

    @staticmethod
    def _endless(requests: Sequence[bytes]) -> Iterator[bytes]:
        chance = random.Random(_SEED)
        while True:
            yield chance.choice(requests)


def _exchange(connection: http.client.HTTPConnection, request: bytes) -> tuple[int, bytes]:
    connection.sock.sendall(request)
    response = http.client.HTTPResponse(connection.sock, method="POST")
    response.begin()
    return response.status, response.read()


def _reading(host: HostProcess) -> Reading:
    processes = tree(host)
    wait_until_quiet(processes)
    now = counters(host)
    return Reading(
        resident_bytes=processes.resident_bytes(),
        anonymous_bytes=processes.anonymous_bytes(),
        loads=int(now["loads_total"]),
        evictions=int(now["evictions_total"]),
    )
