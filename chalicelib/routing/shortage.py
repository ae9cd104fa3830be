"""A request that finds no host: the coordinator hears of it, and its caller when to come back."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from chalicelib.contract.errors import DependencyFailed, NoCapacity
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import VersionRecord

NO_HOST_SECONDS: Final = 2.0
"""When to come back where nobody starts hosts, or nobody can be asked."""


class Shortage:
    """Safe to use from many threads."""

    def __init__(self, hot: HotState) -> None:
        self._hot = hot

    def met(self, version: VersionRecord) -> NoCapacity:
        """By a request for this version: it counts as demand, and wakes the coordinator."""
        seconds = NO_HOST_SECONDS
        with suppress(DependencyFailed):
            self._hot.count_unmet(version.model_id)
            outlook = self._hot.outlook()
            if outlook is not None:
                seconds = outlook.seconds + _load_seconds(version)
        return no_capacity(seconds)


def no_capacity(seconds: float) -> NoCapacity:
    return NoCapacity("No host is ready to run models right now. Try again shortly.", retry_after=seconds)


def _load_seconds(version: VersionRecord) -> float:
    """On a host that has never seen it."""
    return max(version.passport.load_cold_ms, version.passport.load_ms) / 1000
