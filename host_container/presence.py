"""Who this process is to the rest of the platform, and the state it is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.contract import limits
from chalicelib.contract.messages import HostState


@dataclass(frozen=True, slots=True)
class Address:
    """Where gateways find this host, and what it is called."""

    host_id: str
    ip: str
    port: int


class Presence:
    """One per process. `boot_id` names it; callers that mean another process are refused.

    A process that was stopped and continues has been given up meanwhile, so it
    comes back under a new name. `alive` must be called before anything is
    accepted, and at least every few seconds.
    """

    def __init__(self, address: Address, *, new_id: Callable[[], str], now: float) -> None:
        self.address = address
        self.state = HostState.LAUNCHING
        self.lagging = False
        """The event loop does not come round in time, as `watchdog` sees it."""
        self._new_id = new_id
        self._alive_at = now
        self.boot_id = new_id()

    @property
    def ready(self) -> bool:
        """Whether to be sent work."""
        return self.state is HostState.READY and not self.lagging

    @property
    def status(self) -> str:
        """Why it is not ready, or that it is."""
        return "lagging" if self.lagging and self.state is HostState.READY else str(self.state)

    def alive(self, now: float) -> str:
        """The boot id that is good at this moment of the monotonic clock."""
        if now - self._alive_at > limits.HOST_STOPPED_SECONDS:
            self.boot_id = self._new_id()
        self._alive_at = now
        return self.boot_id
