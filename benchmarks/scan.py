"""`scan`: fifty hot models asked for all the time, while someone asks for each of thousands of others once.

The hosts have memory for the hot ones and a quarter more. What a cold model
costs is a look-up of its token, a download, and a load that evicts another.
"""

from __future__ import annotations

import base64
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Final

from benchmarks import interference, pacing
from benchmarks.alone import Stores, memory_for
from benchmarks.cells import LOOPBACK
from benchmarks.children import Child, child
from benchmarks.interference import ELSEWHERE, HERE, PHASES, Interference, Schedule
from benchmarks.models import Example
from benchmarks.rocket import Deployed, inference_lane
from chalicelib.contract.messages import VersionRecord
from tests.support.hosts import HostProcess

HOT: Final = 50
HOT_PER_SECOND: Final = 100.0
COLD_PER_SECOND: Final = 50.0
SPARE: Final = 1.25
"""How much more memory there is than the hot models take."""
NICE: Final = 5
_HOT, _COLD = "hot", "cold"
_LEAD_SECONDS: Final = 0.5
_TURNS: Final = 20
"""Of the hot models in the list of requests, each turn in another order."""
_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Scanned:
    """What became of a scan.

    Attributes:
        seen: what the callers of the hot models heard. Its rates are cold models served in a second.
        cold: answers to requests for cold models at the same host, by kind.
        reloads: how often that host had to load a hot model again.
    """

    seen: Interference
    cold: Counter[str]
    reloads: int

    @property
    def hit_rate(self) -> float:
        """Of requests for hot models, over all phases."""
        heard = [self.seen.heard[phase][_HOT] for phase in PHASES]
        asked = sum(len(one.seconds) + one.problems.total() for one in heard)
        return 1 - self.reloads / asked


class Scanner:
    """Asks one host for each of some cold models once, at a steady pace, phase by phase."""

    def __init__(self, asking: Child) -> None:
        self._asking = asking
        self.answers: Counter[str] = Counter()

    @contextmanager
    def during(self, seconds: float) -> Iterator[Callable[[], float]]:
        """Under way when the block begins; what it gives waits for the end and tells models a second."""
        asked_for = _asking_seconds(seconds)
        self._asking.tell(asked_for)
        time.sleep(_LEAD_SECONDS)

        def rate() -> float:
            heard = self._asking.hear()[_COLD]
            served = len(heard["seconds"])
            self.answers.update({"served": served, **heard["problems"]})
            return float(served / asked_for)

        yield rate


def measure(
    stores: Stores, example: Example, schedule: Schedule, *, same_account: bool, say: Callable[[str], None]
) -> Scanned:
    """The cold models are of the hot ones' account, and share its worker, or of another."""
    with stores.host():
        record = stores.prepared(example.path.read_bytes())
    environ = memory_for(record, SPARE * HOT)
    owner = str(uuid.uuid4())
    hot = stores.deploy(record, count=HOT, tenant=owner)
    cold = _Cold(stores, example, record, owner if same_account else str(uuid.uuid4()), schedule)
    with stores.host(environ) as first, stores.host(environ) as second:
        with cold.scanner(first, HERE) as here, cold.scanner(second, ELSEWHERE) as elsewhere:
            scanners = {first.host_id: here, second.host_id: elsewhere}
            seen = interference.measure(
                [_hot_stream(hot, example, first.port)],
                lambda host, seconds: scanners[host.host_id].during(seconds),
                (first, second),
                schedule,
                say=say,
            )
        return Scanned(seen, here.answers, _loads(first, hot) - HOT)


@dataclass(frozen=True, slots=True)
class _Cold:
    """What a scan asks for: as many versions as it has time for, told to the hot state when it begins."""

    stores: Stores
    example: Example
    record: VersionRecord
    tenant: str
    schedule: Schedule

    @contextmanager
    def scanner(self, host: HostProcess, phase: str) -> Iterator[Scanner]:
        count = self.schedule.rounds * round(COLD_PER_SECOND * _asking_seconds(self.schedule.seconds[phase]))
        deployed = self.stores.deploy(self.record, count=count, tenant=self.tenant)
        requests = [_request(self.example, number, one, host.port) for number, one in enumerate(deployed)]
        stream = pacing.Stream(_COLD, host.port, COLD_PER_SECOND, requests)
        with child("benchmarks.pacing", asdict(pacing.Order(LOOPBACK, [stream], nice=NICE))) as asking:
            yield Scanner(asking)


def _asking_seconds(seconds: float) -> float:
    return seconds + _LEAD_SECONDS


def _hot_stream(hot: Sequence[Deployed], example: Example, port: int) -> pacing.Stream:
    """Each model once in every turn."""
    chance = random.Random(_SEED)
    turns = [one for _ in range(_TURNS) for one in chance.sample(hot, len(hot))]
    requests = [_request(example, number, one, port) for number, one in enumerate(turns)]
    return pacing.Stream(_HOT, port, HOT_PER_SECOND, requests)


def _request(example: Example, number: int, deployed: Deployed, port: int) -> str:
    inputs = example.inputs[number % len(example.inputs)]
    return base64.b64encode(inference_lane(port, [inputs], deployed).requests()[0]).decode()


def _loads(host: HostProcess, deployed: Sequence[Deployed]) -> int:
    """How often these were loaded, by the host's log."""
    versions = {one.record.version_id for one in deployed}
    return sum(event["version"] in versions for event in host.events("loaded"))
