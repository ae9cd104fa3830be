"""Other autoscalers with their published defaults, and ours, behind one interface.

All are told requests in flight, waiting or running, which is more than a host's processor can tell; all
start from the same number of hosts and none goes below `HOSTS_MIN`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Final

from benchmarks.simulation.fleet import SLOTS, Autoscaler, Seen
from chalicelib.contract import limits
from chalicelib.contract.messages import overloaded
from chalicelib.coordinator.scaling import FleetLoad, ScalingMemory, ScalingPolicy, scale
from chalicelib.coordinator.windows import LoadSample

HOSTS_MIN: Final = 1
HOSTS_MAX: Final = 10_000
TARGET: Final = 0.7
PASS_SECONDS: Final = 10
"""Between passes of the coordinator that nobody wakes."""
_ROUNDING: Final = 1e-9


@dataclass(slots=True)
class Ours:
    """`chalicelib.coordinator.scaling.scale`, told one sample a tick.

    A tick comes every `PASS_SECONDS`, and with the heartbeat of hosts that are overloaded.
    """

    policy: ScalingPolicy
    tick_seconds: int = int(limits.HEARTBEAT_SECONDS)
    reasons: tuple[str, ...] = ()
    _memory: ScalingMemory | None = None
    _last: int = 0

    def hosts(self, seen: Seen) -> int:
        if seen.now % PASS_SECONDS and not self._wakes(seen):
            return seen.wanted
        seconds, self._last = seen.now - self._last, seen.now
        last = slice(-seconds, None)
        sample = LoadSample(
            at=seen.now,
            concurrency=seen.mean(seconds),
            waiting=sum(seen.waiting[last]) / seconds,
            begun=sum(seen.begun[last]) / seconds,
        )
        load = FleetLoad(seen.now, (sample,), SLOTS, hosts_ready=seen.ready, hosts_desired=seen.wanted)
        decision = scale(load, self._memory, self.policy)
        self._memory, self.reasons = decision.memory, decision.reasons
        return decision.hosts

    def _wakes(self, seen: Seen) -> bool:
        last = slice(-self.tick_seconds, None)
        waiting, begun = (sum(some) / self.tick_seconds for some in (seen.waiting[last], seen.begun[last]))
        running = seen.mean(self.tick_seconds) - waiting
        run_seconds = running / begun if begun else None
        slots = SLOTS * max(seen.ready, 1)
        return overloaded(waiting, slots=slots, run_seconds=run_seconds) or sum(seen.refused[last]) > 0


@dataclass(slots=True)
class Knative:
    """The Knative pod autoscaler (knative.dev, "Additional autoscaling configuration for KPA",
    `config-autoscaler`).

    container-concurrency-target-percentage 70, stable-window 60s, panic-window-percentage 10 (6 s),
    panic-threshold-percentage 200, max-scale-up-rate 1000, max-scale-down-rate 2, scale-down-delay 0s; a
    decision every 2 s. Rates are of the pods that are ready. Panic ends when the threshold has not been
    crossed for one stable window, and keeps the most that it asked for.
    """

    scale_down_delay_seconds: int = 0
    tick_seconds: int = 2
    panic_at: int | None = None
    panic_hosts: int = 0
    _asked: deque[tuple[int, int]] = field(default_factory=deque)

    def hosts(self, seen: Seen) -> int:
        self._asked.append((seen.now, self._hosts(seen)))
        while self._asked[0][0] < seen.now - self.scale_down_delay_seconds:
            self._asked.popleft()
        return max(hosts for _, hosts in self._asked)

    def _hosts(self, seen: Seen) -> int:
        ready = max(seen.ready, 1)
        stable, panic = (_limited(_hosts_for(seen.mean(seconds)), ready) for seconds in (60, 6))
        if _hosts_for(seen.mean(6)) / ready >= 2.0:  # noqa: PLR2004
            self.panic_at = seen.now
        elif self.panic_at is not None and seen.now - self.panic_at > 60:  # noqa: PLR2004
            self.panic_at, self.panic_hosts = None, 0
        if self.panic_at is None:
            return max(stable, HOSTS_MIN)
        self.panic_hosts = max(self.panic_hosts, stable, panic)
        return max(self.panic_hosts, HOSTS_MIN)


def _limited(hosts: int, ready: int) -> int:
    return min(max(hosts, floor(ready / 2)), 1000 * ready)


@dataclass(slots=True)
class HorizontalPods:
    """The Kubernetes HorizontalPodAutoscaler (kubernetes.io, "Horizontal Pod Autoscaling";
    `HPAScalingRules`).

    --horizontal-pod-autoscaler-sync-period 15s, tolerance 0.1, downscale stabilization 300 s, and by
    default at most twice the pods or 4 more, whichever is greater, in 15 s, and any number fewer. Its
    metric is the mean per ready pod over the last 15 s, and pods that are not ready count as 0 on the way
    up: so it asks for the ratio times all pods.
    """

    tick_seconds: int = 15
    _recommended: deque[tuple[int, int]] = field(default_factory=deque)

    def hosts(self, seen: Seen) -> int:
        ready = max(seen.ready, 1)
        in_flight = seen.mean(15)
        ratio = in_flight / (ready * SLOTS * TARGET)
        if ratio > 1:
            ratio = max(in_flight / (max(seen.wanted, 1) * SLOTS * TARGET), 1.0)
            ready = max(seen.wanted, 1)
        recommended = seen.wanted if abs(ratio - 1) <= 0.1 else ceil(ratio * ready - _ROUNDING)  # noqa: PLR2004
        self._recommended.append((seen.now, recommended))
        while self._recommended[0][0] <= seen.now - 300:
            self._recommended.popleft()
        hosts = recommended
        if hosts < seen.wanted:
            hosts = min(max(hosts for _, hosts in self._recommended), seen.wanted)
        return max(min(hosts, max(2 * seen.wanted, seen.wanted + 4)), HOSTS_MIN)


@dataclass(slots=True)
class TargetTracking:
    """AWS target tracking for ECS services (Amazon ECS developer guide, "Target tracking scaling
    policies").

    Metrics by the minute; out when 3 of them in a row are above the target, in when 15 are below 90 % of
    it, in proportion to the last; after either a cooldown of 300 s, within which only more may be added
    than was; a host that boots gives no metrics.
    """

    tick_seconds: int = 60
    _means: deque[float] = field(default_factory=lambda: deque(maxlen=15))
    _changed_at: int = -300
    _target: int = 0

    def hosts(self, seen: Seen) -> int:
        per_host = seen.mean(60) / (max(seen.ready, 1) * SLOTS)
        self._means.append(per_host)
        last = list(self._means)
        cooling = seen.now - self._changed_at < 300  # noqa: PLR2004
        hosts = seen.wanted
        if len(last) >= 3 and min(last[-3:]) > TARGET:  # noqa: PLR2004
            asked = ceil(max(seen.ready, 1) * per_host / TARGET - _ROUNDING)
            hosts = max(asked, seen.wanted)
        elif len(last) == 15 and max(last) < 0.9 * TARGET and not cooling:  # noqa: PLR2004
            hosts = min(ceil(seen.wanted * per_host / TARGET - _ROUNDING), seen.wanted)
        hosts = max(hosts, HOSTS_MIN)
        if hosts != seen.wanted:
            self._changed_at = seen.now
        return hosts


def _hosts_for(in_flight: float) -> int:
    return ceil(in_flight / (SLOTS * TARGET) - _ROUNDING)


OTHERS: Final[dict[str, Callable[[], Autoscaler]]] = {
    "Knative": Knative,
    "Knative, 5 min": lambda: Knative(scale_down_delay_seconds=300),
    "HPA": HorizontalPods,
    "target tracking": TargetTracking,
}
