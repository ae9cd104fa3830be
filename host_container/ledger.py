"""Which versions ended their workers, and what follows: a worker of its own, then quarantine.

One misbehaviour may be the caller's fault or the machine's, so it costs the version
the company of its tenant's other models; the second within the window costs it the
service. Bookkeeping only, owned by the event loop.
"""

from __future__ import annotations

from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.errors import InvalidModel
from chalicelib.contract.messages import VersionRecord
from host_container.settings import Isolation

_SHARED_KEY: Final = "host"


class Ledger:
    """Remembers crashes for as long as they count."""

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation
        self._crashes: dict[str, list[float]] = {}

    def blame(self, version_id: str, *, now: float) -> None:
        """It was running when its worker ended."""
        recent = [at for at in self._crashes.get(version_id, ()) if now - at < limits.CRASH_WINDOW_SECONDS]
        self._crashes[version_id] = [*recent, now]

    def quarantined(self, version_id: str, *, now: float) -> bool:
        crashes = self._crashes.get(version_id, ())
        return len(crashes) >= limits.CRASHES_MAX and now - crashes[-1] < limits.QUARANTINE_SECONDS

    def check(self, version_id: str, *, now: float) -> None:
        """Raises InvalidModel while the version is in quarantine."""
        if self.quarantined(version_id, now=now):
            minutes = limits.QUARANTINE_SECONDS / 60
            raise InvalidModel(
                f"This version is quarantined for {minutes:.0f} minutes: it ended its process "
                f"{limits.CRASHES_MAX} times. Upload a version that does not, or ask with other inputs later."
            )

    def worker_key(self, record: VersionRecord) -> str:
        """Whose worker it is loaded into."""
        if record.version_id in self._crashes:
            return f"version {record.version_id}"
        if self._isolation is Isolation.MODEL:
            return f"model {record.model_id}"
        return f"tenant {record.tenant}" if self._isolation is Isolation.TENANT else _SHARED_KEY
