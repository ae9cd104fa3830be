"""What one run of the coordinator came to, for whoever watches it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from chalicelib.contract.errors import InferenceFailed, ModelRocketError, NoCapacity
from chalicelib.contract.latency import Phase, latencies
from chalicelib.contract.messages import HostState
from chalicelib.contract.metering import MinuteOfUsage
from chalicelib.coordinator.planner import Plan, SetCapacity
from chalicelib.coordinator.state import FleetState, Freshness

_REFUSED: Final = 0
"""The version that requests are counted under which no host was asked."""


@dataclass(frozen=True, slots=True)
class HostsSeen:
    """How many hosts there are.

    Attributes:
        wanted: None where nobody starts hosts, or whoever does did not answer; so is `running`.
        running: that their provider runs or starts, those aside that it was told to stop.
        ready: that were heard of lately and serve, those aside that may be stopped.
    """

    wanted: int | None
    running: int | None
    ready: int


@dataclass(slots=True)
class Tally:
    """Grows with every pass.

    Attributes:
        passes: in which it was decided on the fleet.
        failures: passes and actions that failed, and looks at which the provider of hosts did not answer.
        hosts: as the last of these passes saw them; None where there was none.
        unmet: requests that found no host, told to one of these passes.
        requests: in the minutes that were added up, those included that were refused by name of the account.
        errors: of them, those that failed for the platform's own fault; where no host was there is `unmet`.
    """

    passes: int = 0
    failures: int = 0
    hosts: HostsSeen | None = None
    unmet: int = 0
    requests: int = 0
    errors: int = 0
    _times: dict[str, int] = field(default_factory=dict)

    @property
    def latency_p99_ms(self) -> float | None:
        """Of all requests that were answered; None where there were none."""
        total = latencies(self._times).get(Phase.TOTAL)
        return total.p99_ms if total and total.count else None

    def decided(self, state: FleetState, planned: Plan, *, unmet: int) -> None:
        """After a pass that could."""
        self.passes += 1
        self.hosts = hosts_seen(state, planned)
        self.unmet += unmet

    def count(self, minute: MinuteOfUsage) -> None:
        """What an account asked in a minute."""
        for key, measures in minute.counted.items():
            self.requests += measures.usage.requests
            self.errors += measures.usage.errors_platform
            if key.version == _REFUSED:
                self.requests += sum(measures.codes.values())
                self.errors += sum(many for code, many in measures.codes.items() if code in _OURS)
            for name, many in measures.counters.items():
                if name.startswith(Phase.TOTAL):
                    self._times[name] = self._times.get(name, 0) + many


def hosts_seen(state: FleetState, planned: Plan) -> HostsSeen:
    """After this plan."""
    capacity = state.capacity
    told = [action.hosts for action in planned.actions if isinstance(action, SetCapacity)]
    ready = [
        host
        for host in state.hosts
        if host.state is HostState.READY
        and host.freshness is Freshness.FRESH
        and planned.memory.ending.get(host.host_id) != host.boot_id
    ]
    return HostsSeen(
        wanted=told[0] if told else (capacity.desired if capacity else None),
        running=len(capacity.running) if capacity and capacity.running is not None else None,
        ready=len(ready),
    )


def _kinds(kind: type[ModelRocketError]) -> Iterator[type[ModelRocketError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from _kinds(narrower)


_OURS: Final = frozenset(
    kind.code for kind in _kinds(ModelRocketError) if kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR
) - {InferenceFailed.code, NoCapacity.code}
"""Codes of what the platform itself failed in."""
