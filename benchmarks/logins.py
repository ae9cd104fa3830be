"""`logins`: inference at the gateway beside a flood of log-ins from many addresses.

A paced caller asks for one model in every phase. The flood comes from a process of its own, each try from
another address and for another account, so that no limit on either ends it. In the phase REFUSED as many
requests are refused at once, with no password to look at: what is left between the two is what the passwords
cost those who infer. Phases take turns.
"""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Final

from benchmarks import pacing, strangers
from benchmarks.cells import LOOPBACK
from benchmarks.children import Child, child
from benchmarks.figures import median_and_p99
from benchmarks.models import Example
from benchmarks.process_tree import ProcessTree
from benchmarks.rocket import Rocket, inference_lane

ALONE, REFUSED, LOG_INS = "alone", "beside refused requests", "beside log-ins"
PHASES: Final = (ALONE, REFUSED, LOG_INS)
_PATHS: Final = {REFUSED: "/v1/keys/explain", LOG_INS: "/v1/sessions"}
INFERENCES_PER_SECOND: Final = 40.0
FLOOD_PER_SECOND: Final = 100.0
_STREAM: Final = "inference"
_FIRST_SECONDS: Final = 1.0
_LEAD_SECONDS: Final = 1.0
"""The flood is under way when the measurement begins, and still when it ends."""
_MILLI: Final = 1000


@dataclass(slots=True)
class Phase:
    """What was seen in all rounds of one phase.

    Attributes:
        seconds: of each good answer of the paced caller.
        problems: what else it heard.
        flood: what the flood heard.
        gateway: CPU time of the gateway's processes, in seconds.
        measured: seconds in all.
    """

    seconds: list[float] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)
    flood: Counter[str] = field(default_factory=Counter)
    gateway: float = 0.0
    measured: float = 0.0

    def milliseconds(self) -> tuple[float, float]:
        """p50 and p99."""
        p50, p99 = median_and_p99(self.seconds)
        return p50 * _MILLI, p99 * _MILLI

    @property
    def gateway_share(self) -> float:
        """Of one processor."""
        return self.gateway / self.measured


def measure(
    rocket: Rocket, example: Example, *, rounds: int, seconds: float, say: Callable[[str], None]
) -> dict[str, Phase]:
    """By phase, in their order."""
    port = rocket.stack.port
    requests = inference_lane(port, example.inputs, rocket.deploy(example.name, example.path)).requests()
    encoded = [base64.b64encode(request).decode() for request in requests]
    stream = pacing.Stream(_STREAM, port, INFERENCES_PER_SECOND, encoded)
    crowd = strangers.Order(LOOPBACK, port, FLOOD_PER_SECOND)
    seen = {phase: Phase() for phase in PHASES}
    gateway = ProcessTree(rocket.pids("gateway"))
    with (
        child("benchmarks.pacing", asdict(pacing.Order(LOOPBACK, [stream]))) as caller,
        child("benchmarks.strangers", asdict(crowd)) as flood,
    ):
        caller.ask(_FIRST_SECONDS)
        for number in range(rounds):
            for phase in PHASES if number % 2 == 0 else reversed(PHASES):
                say(f"round {number + 1} of {rounds}, {phase}")
                if phase in _PATHS:
                    flood.tell([_PATHS[phase], seconds + 2 * _LEAD_SECONDS])
                time.sleep(_LEAD_SECONDS)
                _listen(seen[phase], caller, gateway, seconds)
                if phase in _PATHS:
                    seen[phase].flood.update(flood.hear())
    return seen


def _listen(phase: Phase, caller: Child, gateway: ProcessTree, seconds: float) -> None:
    began, used = time.monotonic(), gateway.cpu_seconds()
    heard = caller.ask(seconds)[_STREAM]
    phase.measured += time.monotonic() - began
    phase.gateway += gateway.cpu_seconds() - used
    phase.seconds += heard["seconds"]
    phase.problems.update(heard["problems"])
