"""Hosts that the stack on this machine starts and stops: it follows what stands in the hot state."""

from __future__ import annotations

from collections.abc import Sequence

from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.hotstate import HotState
from chalicelib.coordinator.state import CapacityView


class LocalCapacity:
    """Implements `ports.Capacity`."""

    def __init__(self, hot: HotState) -> None:
        self._hot = hot

    def status(self) -> CapacityView | None:
        try:
            self._hot.watch_boots()
            status, wish = self._hot.capacity_status(), self._hot.capacity_wish()
        except DependencyFailed:
            return None
        if status is None:
            return None
        running = tuple(sorted((*status.running, *status.starting)))
        return CapacityView(
            desired=len(running) if wish is None else wish.hosts, running=running, leaving=status.ending
        )

    def set(self, hosts: int, *, ending: Sequence[str], epoch: int) -> None:
        self._hot.publish_capacity(hosts, ending, epoch=epoch)
