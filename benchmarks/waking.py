"""`cold`: whether a host's word when a cold model will be ready is kept.

Several models that nobody has loaded are asked for at once, by callers who do not wait: each hears
`model_loading` and when to come back. Then the host is watched until each is ready.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.alone import Stores
from benchmarks.figures import percentile
from benchmarks.rocket import Deployed
from chalicelib.contract.messages import ReplicaState
from tests.support import onnx_models
from tests.support.hosts import HostProcess

AT_ONCE: Final = 4
_DEADLINE_SECONDS: Final = 0.3
"""Of callers: as good as no time to wait."""
_OK: Final = 200
_LOOK_SECONDS: Final = 0.01
_READY_SECONDS_MAX: Final = 60.0
_MARGIN: Final = 0.25
_LEARNT: Final = 2
"""Rounds after which a host knows what loads take on its machine."""


@dataclass(frozen=True, slots=True)
class Waking:
    """Seconds until one model was ready: as told, and as it was."""

    round: int
    told: float
    took: float

    @property
    def ratio(self) -> float:
        return self.told / self.took


@dataclass(frozen=True, slots=True)
class Kept:
    """Of the wakings of one size: nine of ten, once a host had learnt, were told within `error_p90`."""

    bytes: int
    wakings: Sequence[Waking]

    @property
    def learnt(self) -> list[Waking]:
        return [one for one in self.wakings if one.round >= _LEARNT]

    @property
    def error_p90(self) -> float:
        return percentile(sorted(abs(one.ratio - 1) for one in self.learnt), 0.9)

    @property
    def holds(self) -> bool:
        return self.error_p90 <= _MARGIN


def measure(stores: Stores, sizes: Sequence[int], *, rounds: int, say: Callable[[str], None]) -> list[Kept]:
    """Every size on a host of its own, which knows nothing yet."""
    return [_measure(stores, size, rounds=rounds, say=say) for size in sizes]


def _measure(stores: Stores, size: int, *, rounds: int, say: Callable[[str], None]) -> Kept:
    with stores.host() as preparing:
        record = stores.prepared(onnx_models.marked(1, padding_bytes=size))
        assert preparing.process.poll() is None
    wakings: list[Waking] = []
    with stores.host() as host:
        for number in range(_LEARNT + rounds):
            say(f"{AT_ONCE} models of {size / 1e6:.0f} MB, round {number + 1}")
            asked = stores.deploy(record, count=AT_ONCE, tenant=str(uuid.uuid4()))
            wakings += _wake(stores, host, asked, number)
    return Kept(size, wakings)


def _wake(stores: Stores, host: HostProcess, asked: Sequence[Deployed], number: int) -> list[Waking]:
    """Those that were not ready at once."""
    with ThreadPoolExecutor(len(asked)) as callers:  # whoever asks one after the other looks too late
        heard = list(callers.map(partial(_told, host), asked))
    told = {
        one.record.model_id: answer for one, answer in zip(asked, heard, strict=True) if answer is not None
    }
    wakings: list[Waking] = []

    gives_up = time.monotonic() + _READY_SECONDS_MAX

    def all_ready() -> bool:
        assert time.monotonic() < gives_up, "a cold model is not ready after a minute"
        for model_id, (at, seconds) in list(told.items()):
            replicas = stores.hot.replicas(model_id)
            if any(replica.state is ReplicaState.READY for _, replica in replicas):
                wakings.append(Waking(number, seconds, max(1e-3, time.monotonic() - at)))
                del told[model_id]
        return not told

    while not all_ready():
        time.sleep(_LOOK_SECONDS)
    return wakings


def _told(host: HostProcess, deployed: Deployed) -> tuple[float, float] | None:
    """When it was told, and in how many seconds the model will be ready. None where it was at once."""
    record = deployed.record
    ticket = host.ticket(record, seconds=_DEADLINE_SECONDS)
    reply = host.infer(record, {"x": [[1.0]]}, ticket=ticket)
    if reply.status == _OK:
        return None
    assert reply.code == "model_loading", reply.body
    return time.monotonic(), float(reply.body["error"]["ready_in"])
