"""`fairness`: one account asks at a steady pace while another floods the host without pause.

The flood comes from a process of its own that gives way to the host and to the
process that measures, so that what is seen is the host and not a queue at the caller.
"""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks import interference, loadgen, models, pacing, wire
from benchmarks.alone import Stores, tree, wait_until_quiet
from benchmarks.cells import LOOPBACK, Lane
from benchmarks.children import child
from benchmarks.interference import Interference, Schedule
from benchmarks.rocket import Deployed, expect_ok, inference_lane
from chalicelib.contract.messages import VersionRecord
from chalicelib.contract.tokens import new_token
from tests.support.hosts import HostProcess

CONNECTIONS: Final = 256
NICE: Final = 5
SMALL, LARGE, REFUSED = "small JSON, tiny model", "3 MB JSON, MobileNet", "an unknown token"
FLOODS: Final = (SMALL, LARGE, REFUSED)
STEADY: Final = {"tiny": 50.0, "mlp": 20.0}
"""The steady account's models, and how often it asks for each in a second."""
_IMAGES: Final = 2
_TOKENS: Final = 512
_WARM_UP_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Setting:
    """Two hosts, of which the first is asked by the steady account, and what each account has."""

    hosts: tuple[HostProcess, HostProcess]
    steady: Sequence[pacing.Stream]
    floods: dict[str, Callable[[int], Sequence[bytes]]]
    """Whole requests by the name of the flood, for a host's port."""


def measure(
    stores: Stores, folder: Path, schedule: Schedule, *, say: Callable[[str], None]
) -> dict[str, Interference]:
    """By flood."""
    with stores.host() as first, stores.host() as second:
        setting = _prepared(stores, (first, second), folder)
        return {name: _measure_flood(setting, name, schedule, say=say) for name in FLOODS}


def _measure_flood(
    setting: Setting, name: str, schedule: Schedule, *, say: Callable[[str], None]
) -> Interference:
    @contextmanager
    def flood(host: HostProcess, seconds: float) -> Iterator[Callable[[], float]]:
        with flooded(setting.floods[name](host.port), host.port) as rate:
            yield rate

    return interference.measure(
        setting.steady, flood, setting.hosts, schedule, say=lambda text: say(f"{name}: {text}")
    )


@contextmanager
def flooded(requests: Sequence[bytes], port: int) -> Iterator[Callable[[], float]]:
    """All connections ask this port without pause; the block begins when they have done so for a while.

    What it gives ends the flood and tells its answers a second, refusals included.
    """
    order = loadgen.Order(
        host=LOOPBACK,
        port=port,
        connections=CONNECTIONS,
        warm_up_seconds=_WARM_UP_SECONDS,
        requests=[base64.b64encode(request).decode() for request in requests],
        pause_seconds=0,
        nice=NICE,
    )
    with child("benchmarks.loadgen", asdict(order)) as flooder:
        flooder.hear()
        start = time.monotonic()

        def rate() -> float:
            end = time.monotonic()
            report = flooder.ask({"window": [start, end]})
            return float((report["count"] + report["refused"]) / (end - start))

        yield rate


def _prepared(stores: Stores, hosts: tuple[HostProcess, HostProcess], folder: Path) -> Setting:
    examples = {name: models.make(name, folder / "models") for name in ("tiny", "mlp", "mobilenet")}
    records = {name: stores.prepared(example.path.read_bytes()) for name, example in examples.items()}
    steady, flooding = str(uuid.uuid4()), str(uuid.uuid4())

    def deploy(name: str, tenant: str) -> Deployed:
        return stores.deploy(records[name], tenant=tenant)[0]

    streams = [
        _stream(name, per_second, hosts[0].port, examples[name], deploy(name, steady))
        for name, per_second in STEADY.items()
    ]
    tiny, mobilenet = deploy("tiny", flooding), deploy("mobilenet", flooding)
    images = [_several(examples["mobilenet"].inputs, first) for first in (0, _IMAGES)]
    unknown = [_unknown(tiny.record) for _ in range(_TOKENS)]
    setting = Setting(
        hosts,
        streams,
        {
            SMALL: lambda port: inference_lane(port, examples["tiny"].inputs, tiny).requests(),
            LARGE: lambda port: inference_lane(port, images, mobilenet).requests(),
            REFUSED: lambda port: [
                inference_lane(port, examples["tiny"].inputs[:1], one).requests()[0] for one in unknown
            ],
        },
    )
    _warm(setting)
    return setting


def _warm(setting: Setting) -> None:
    """Every model of a flood is in every host's memory, and its prepared form on disk."""
    for host in setting.hosts:
        for name in (SMALL, LARGE):
            expect_ok(Lane("json", host.port, partial(setting.floods[name], host.port), wire.read_inference))
        wait_until_quiet(tree(host))


def _stream(
    name: str, per_second: float, port: int, example: models.Example, deployed: Deployed
) -> pacing.Stream:
    requests = inference_lane(port, example.inputs, deployed).requests()
    encoded = [base64.b64encode(request).decode() for request in requests]
    return pacing.Stream(name, port, per_second, encoded)


def _several(inputs: Sequence[wire.Tensors], first: int) -> wire.Tensors:
    """Some of the inputs in one request."""
    chosen = inputs[first : first + _IMAGES]
    return {name: np.concatenate([one[name] for one in chosen]) for name in chosen[0]}


def _unknown(record: VersionRecord) -> Deployed:
    """A token that looks like one: only the hot state can tell that it is not."""
    return Deployed(new_token(), record)
