"""When a child that died starts again, and when it is given up. Pure: `now` is an argument."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Delays double from the first to the longest; too many deaths within the window end it."""

    delay_seconds_first: float = 0.5
    delay_seconds_max: float = 10.0
    deaths_max: int = 5
    deaths_max_before_ready: int = 2
    window_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class DeathRecord:
    """What is remembered of one child's deaths: only those inside the window."""

    deaths: tuple[float, ...] = ()

    def with_death(self, now: float, policy: RestartPolicy) -> DeathRecord:
        recent = tuple(death for death in self.deaths if now - death < policy.window_seconds)
        return replace(self, deaths=(*recent, now))

    def given_up(self, policy: RestartPolicy, *, was_ready: bool) -> bool:
        limit = policy.deaths_max if was_ready else policy.deaths_max_before_ready
        return len(self.deaths) >= limit

    def delay_seconds(self, policy: RestartPolicy) -> float:
        doublings = max(0, len(self.deaths) - 1)
        return min(policy.delay_seconds_max, policy.delay_seconds_first * 2.0**doublings)
