"""How many hosts there should be: from the load, what is remembered of it, and a policy.

Pure, and *set*, never *change by*: asked again with its own memory at the same time it says the same. The
arithmetic is Knative's concurrency autoscaling, requests in flight over what a host takes, in a long window
and a short one; what waits counts for the time it will take, not as a slot each. What is not known is left
alone: without fresh samples nothing shrinks, and nothing grows above the floor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from chalicelib.coordinator import windows
from chalicelib.coordinator.windows import LoadSample, Peak, Step

_Hosts = Annotated[int, Meta(ge=0)]
_Seconds = Annotated[float, Meta(ge=0)]
_Positive = Annotated[float, Meta(gt=0)]
_Share = Annotated[float, Meta(gt=0, le=1)]
_SPREADS: Final = 2.0
"""Standard deviations that are taken for chance."""
_ROUNDING: Final = 1e-9
"""7.000000001 hosts are 7."""


class ScalingPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator may set. Where no other source is named, a number is what did best in `make simulate`.

    Attributes:
        hosts_min: the floor: 0, 1 or n.
        hosts_max: the ceiling.
        target_utilisation: of a host's slots, in the mean. Knative's is 0.7; 0.83 costs a sixth less, and
            serves nearly as much where overloaded hosts wake the coordinator.
        stable_seconds: the long window (Knative).
        panic_seconds: the short window: one tick of the coordinator. Knative's is 6 s at ticks of 2 s.
        panic_threshold: the short window counts, and no host goes, once it asks for so many times the hosts
            that are ready. Knative's 2 leaves twice as much unserved where requests are short.
        down_delay_seconds: as many hosts stay as were wanted at any time within it (Kubernetes' stabilisation
            window). Its 300 s cost a quarter more, and serve no more of what is asked.
        patience_seconds: no host goes so soon after one was added, unless the load has fallen since; nor
            before it was known for as long.
        patience_ratio: by more than chance below so many times the most it was since then, it has fallen.
        up_factor_max, up_hosts_max, up_step_seconds: at most the greater of so many times the hosts and so
            many more within so many seconds. With 10 more a fleet of 14 leaves twice as much unserved, at the
            same cost.
        down_step_seconds: at most half of the hosts go within so many seconds (Knative's rate).
        drain_seconds: what waits should have begun within so many seconds; a request may wait for 25.
        memory_utilisation_max: of the memory hosts have for models.
        boot_seconds: expected from asking for a host until it serves.
        forecast_boot_seconds_min: from so long a boot on, the trend counts as well; for a shorter one it
            costs more than it serves.
        forecast_factor_max: a trend is believed to so many times the load.
        stale_seconds: a load heard of longer ago is not known.
    """

    hosts_min: _Hosts = 1
    hosts_max: _Hosts = 10
    target_utilisation: _Share = 0.83
    stable_seconds: _Positive = 60.0
    panic_seconds: _Positive = 10.0
    panic_threshold: _Positive = 1.0
    down_delay_seconds: _Seconds = 60.0
    patience_seconds: _Seconds = 300.0
    patience_ratio: _Share = 0.85
    up_factor_max: Annotated[float, Meta(ge=1)] = 2.0
    up_hosts_max: Annotated[int, Meta(ge=1)] = 30
    up_step_seconds: _Positive = 10.0
    down_step_seconds: _Positive = 60.0
    drain_seconds: _Positive = 15.0
    memory_utilisation_max: _Share = 0.8
    boot_seconds: _Seconds = 20.0
    forecast_boot_seconds_min: _Seconds = 60.0
    forecast_factor_max: Annotated[float, Meta(ge=1)] = 2.0
    stale_seconds: _Positive = 30.0

    def __post_init__(self) -> None:
        if self.hosts_min > self.hosts_max:
            raise ValueError(f"hosts_min is {self.hosts_min}, more than hosts_max, {self.hosts_max}")


class ScalingMemory(msgspec.Struct, frozen=True):
    """What is remembered from one decision to the next. Losing it means waiting before hosts may go.

    Attributes:
        at: when it was last decided.
        known_since: since when the load has been known without a gap.
        panic_at: when the short window last asked for too much.
        up_at: when hosts were last added.
        up_running: the most requests that ran at once since then, in the mean over the long window.
    """

    at: float
    known_since: float
    panic_at: float | None = None
    up_at: float | None = None
    up_running: float = 0.0
    samples: tuple[LoadSample, ...] = ()
    wanted: tuple[Peak, ...] = ()
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class FleetLoad:
    """What is seen of the fleet.

    Attributes:
        now: seconds, on the clock of the samples.
        samples: those since the last decision; ones that are known already do no harm.
        slots_per_host: requests a host runs well at once.
        hosts_ready: hosts that serve.
        hosts_desired: what the capacity provider was last told.
        memory_bytes_hot: of models that should stay loaded, each counted once per replica.
        memory_bytes_per_host: what a host has for models.
        known: whether the samples can be believed to be all there is.
    """

    now: float
    samples: tuple[LoadSample, ...]
    slots_per_host: float
    hosts_ready: int
    hosts_desired: int
    memory_bytes_hot: int = 0
    memory_bytes_per_host: int = 0
    known: bool = True


@dataclass(frozen=True, slots=True)
class ScalingDecision:
    """`hosts` is what the provider should be told. `reasons` are clauses with the numbers in them."""

    hosts: int
    reasons: tuple[str, ...]
    memory: ScalingMemory


@dataclass(frozen=True, slots=True)
class _Case:
    """All that a decision is made from; `memory` has the new samples in it."""

    load: FleetLoad
    memory: ScalingMemory
    policy: ScalingPolicy

    @property
    def known(self) -> bool:
        samples = self.memory.samples
        fresh = bool(samples) and self.load.now - samples[-1].at <= self.policy.stale_seconds
        return self.load.known and fresh and self.load.slots_per_host > 0

    def slots(self, seconds: float) -> float:
        """That the load of the last `seconds` fills."""
        mean = windows.mean(self.memory.samples, now=self.load.now, seconds=seconds)
        return mean.slots(self.policy.drain_seconds) if mean else 0.0

    @property
    def running(self) -> float:
        """Requests at once over the long window, without those that only waited."""
        mean = windows.mean(self.memory.samples, now=self.load.now, seconds=self.policy.stable_seconds)
        return max(mean.concurrency - mean.waiting, 0.0) if mean else 0.0

    @property
    def run_seconds(self) -> float:
        """How long a request runs, by Little's law; the whole window where that is not measured."""
        mean = windows.mean(self.memory.samples, now=self.load.now, seconds=self.policy.stable_seconds)
        seconds = self.policy.stable_seconds
        return min(self.running / mean.begun, seconds) if mean and mean.begun else seconds

    def hosts_for(self, slots: float) -> int:
        return ceil(slots / (self.policy.target_utilisation * self.load.slots_per_host) - _ROUNDING)


def scale(load: FleetLoad, memory: ScalingMemory | None, policy: ScalingPolicy) -> ScalingDecision:
    """How many hosts there should be now, why, and what to remember."""
    case = _Case(load, _recalled(load, memory, policy), policy)
    return _sized(case) if case.known else _held(case)


def _recalled(load: FleetLoad, memory: ScalingMemory | None, policy: ScalingPolicy) -> ScalingMemory:
    """The memory with the new samples in it; a fresh one if there is none or the clock went back."""
    if memory is None or memory.at > load.now:
        memory = ScalingMemory(at=load.now, known_since=load.now)
    elif load.now - memory.at > policy.stable_seconds:
        memory = msgspec.structs.replace(memory, known_since=load.now)
    samples = windows.sampled(memory.samples, load.samples, now=load.now, seconds=policy.stable_seconds)
    return msgspec.structs.replace(memory, samples=samples)


def _held(case: _Case) -> ScalingDecision:
    """Nothing changes but for the floor, which asks for no measurement."""
    hosts = max(case.load.hosts_desired, case.policy.hosts_min)
    reason = "the load is not known, so the hosts stay as they are"
    if hosts > case.load.hosts_desired:
        reason = f"the load is not known; the floor is {hosts}"
    return _decided(msgspec.structs.replace(case.memory, known_since=case.load.now), case, hosts, (reason,))


def _sized(case: _Case) -> ScalingDecision:
    panic_at = _panic_at(case)
    needed, reason = max(_needs(case, panic_at), key=lambda need: need[0])
    wanted = min(max(needed, case.policy.hosts_min), case.policy.hosts_max)
    peaks = windows.peaked(
        case.memory.wanted, wanted, now=case.load.now, seconds=case.policy.down_delay_seconds
    )
    held = min(max(peak.hosts for peak in peaks), case.policy.hosts_max)
    hosts, limits = _bounded(case, wanted, held=held, panic_at=panic_at)
    memory = msgspec.structs.replace(
        case.memory, panic_at=panic_at, wanted=peaks, up_running=_up_running(case)
    )
    return _decided(memory, case, hosts, (reason, *_bounds(needed, case.policy), *limits))


def _bounds(needed: int, policy: ScalingPolicy) -> tuple[str, ...]:
    """Why it is another number that is wanted."""
    if needed < policy.hosts_min:
        return (f"the floor is {policy.hosts_min}",)
    return (f"the ceiling is {policy.hosts_max}",) if needed > policy.hosts_max else ()


def _decided(memory: ScalingMemory, case: _Case, hosts: int, reasons: tuple[str, ...]) -> ScalingDecision:
    """With the change, if it is one, remembered."""
    load, policy = case.load, case.policy
    steps = windows.stepped(
        memory.steps,
        now=load.now,
        before=load.hosts_desired,
        after=hosts,
        seconds=max(policy.up_step_seconds, policy.down_step_seconds),
    )
    if hosts > load.hosts_desired:
        memory = msgspec.structs.replace(memory, up_at=load.now, up_running=case.running)
    return ScalingDecision(hosts, reasons, msgspec.structs.replace(memory, at=load.now, steps=steps))


def _panic_at(case: _Case) -> float | None:
    """When the short window last asked for too much, now included; None once the long one has seen it all."""
    asked = case.hosts_for(case.slots(case.policy.panic_seconds))
    if asked and asked >= case.policy.panic_threshold * max(case.load.hosts_ready, 1):
        return case.load.now
    last = case.memory.panic_at
    return last if last is not None and case.load.now - last < case.policy.stable_seconds else None


def _needs(case: _Case, panic_at: float | None) -> Iterator[tuple[int, str]]:
    """Hosts that each thing to be reckoned with asks for, and why."""
    load, policy = case.load, case.policy
    long = case.slots(policy.stable_seconds)
    yield _in_flight(case, long, f"over the last {policy.stable_seconds:g} s")
    if panic_at is not None:
        short = case.slots(policy.panic_seconds)
        yield _in_flight(case, short, f"over the last {policy.panic_seconds:g} s, in panic,")
    if policy.boot_seconds >= policy.forecast_boot_seconds_min:
        expected = min(long + _gain(case), policy.forecast_factor_max * long)
        yield _in_flight(case, expected, f"expected when a host has booted, in {policy.boot_seconds:g} s,")
    if load.memory_bytes_per_host > 0:
        yield _in_memory(case)


def _in_flight(case: _Case, slots: float, when: str) -> tuple[int, str]:
    hosts = case.hosts_for(slots)
    share = f"{case.policy.target_utilisation:.0%} of {case.load.slots_per_host:g} slots"
    return hosts, f"{slots:.1f} requests in flight {when} need {hosts} at {share}"


def _gain(case: _Case) -> float:
    """Slots that the trend adds from the middle of the long window until a host asked for now serves."""
    policy = case.policy
    gained = windows.slope(
        case.memory.samples,
        now=case.load.now,
        seconds=policy.stable_seconds,
        drain_seconds=policy.drain_seconds,
    )
    return gained * (policy.stable_seconds / 2 + policy.boot_seconds)


def _in_memory(case: _Case) -> tuple[int, str]:
    hot, per_host = case.load.memory_bytes_hot, case.load.memory_bytes_per_host
    hosts = ceil(hot / (case.policy.memory_utilisation_max * per_host) - _ROUNDING)
    share = f"{case.policy.memory_utilisation_max:.0%} of {_size(per_host)}"
    return hosts, f"{_size(hot)} of models in use need {hosts} at {share}"


def _size(bytes_: int) -> str:
    return f"{bytes_ / 2**30:.1f} GiB" if bytes_ >= 2**30 else f"{bytes_ / 2**20:.1f} MiB"


def _bounded(case: _Case, wanted: int, *, held: int, panic_at: float | None) -> tuple[int, tuple[str, ...]]:
    """As far towards what is wanted as may be now, and what held it back."""
    if wanted > case.load.hosts_desired:
        return _grown(case, wanted)
    if wanted == case.load.hosts_desired:
        return wanted, ()
    waits = _waits(case, panic_at)
    return (case.load.hosts_desired, waits) if waits else _shrunk(case, held)


def _grown(case: _Case, wanted: int) -> tuple[int, tuple[str, ...]]:
    load, policy = case.load, case.policy
    fewest = windows.lowest(
        case.memory.steps, load.hosts_desired, now=load.now, seconds=policy.up_step_seconds
    )
    most = max(int(policy.up_factor_max * fewest), fewest + policy.up_hosts_max, policy.hosts_min)
    hosts = max(min(wanted, most), load.hosts_desired)
    if hosts == wanted:
        return hosts, ()
    return hosts, (f"at most {most} within {policy.up_step_seconds:g} s of {fewest}",)


def _waits(case: _Case, panic_at: float | None) -> tuple[str, ...]:
    """Why no host may go yet; nothing if one may. A fleet above its ceiling does not wait."""
    load, memory, patience = case.load, case.memory, case.policy.patience_seconds
    if load.hosts_desired > case.policy.hosts_max:
        return ()
    if panic_at is not None:
        return (f"none goes in panic, last {load.now - panic_at:.0f} s ago",)
    if load.now - memory.known_since < patience:
        known = load.now - memory.known_since
        return (f"none goes before the load was known for {patience:g} s, {known:.0f} s so far",)
    ago = patience if memory.up_at is None else load.now - memory.up_at
    if ago < patience and not _fallen(case):
        return (f"none goes within {patience:g} s of one added at this load, {ago:.0f} s ago",)
    return ()


def _up_running(case: _Case) -> float:
    return max(case.running, case.memory.up_running)


def _fallen(case: _Case) -> bool:
    """Whether the load is less than it was since hosts were added, by more than chance.

    The mean of a random load over a window has twice its requests at once, times how long each runs over the
    window's length, for its variance.
    """
    most, seconds = _up_running(case), case.policy.stable_seconds
    spread = sqrt(2 * most * case.run_seconds / seconds)
    return case.running < case.policy.patience_ratio * most - _SPREADS * spread


def _shrunk(case: _Case, held: int) -> tuple[int, tuple[str, ...]]:
    load, policy = case.load, case.policy
    most = windows.highest(
        case.memory.steps, load.hosts_desired, now=load.now, seconds=policy.down_step_seconds
    )
    fewest = most - max(most // 2, 1)
    hosts = min(max(held, fewest), load.hosts_desired)
    if hosts > held:
        return hosts, (f"at least {fewest} within {policy.down_step_seconds:g} s of {most}",)
    return hosts, (f"{held} were wanted within the last {policy.down_delay_seconds:g} s",)
