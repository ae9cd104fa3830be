"""Which versions may not be loaded: those that ended their workers, and those that were deleted.

One misbehaviour may be the caller's fault or the machine's, so it costs the version
the company of its tenant's other models; the second within the window costs it the
service. What was deleted is gone for good. Bookkeeping only, owned by the event loop.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.errors import InvalidModel, NotFound
from chalicelib.contract.messages import VersionRecord
from host_container.settings import Isolation

_SHARED_KEY: Final = "host"
_DROPPED_MAX: Final = 65_536
"""Nobody is sent any more to what was deleted before so many others."""


class Ledger:
    """Remembers crashes for as long as they count."""

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation
        self._crashes: dict[str, list[float]] = {}
        self._dropped: OrderedDict[str, None] = OrderedDict()

    def blame(self, version_id: str, *, now: float) -> None:
        """It was running when its worker ended."""
        recent = [at for at in self._crashes.get(version_id, ()) if now - at < limits.CRASH_WINDOW_SECONDS]
        self._crashes[version_id] = [*recent, now]

    def quarantined(self, version_id: str, *, now: float) -> bool:
        crashes = self._crashes.get(version_id, ())
        return len(crashes) >= limits.CRASHES_MAX and now - crashes[-1] < limits.QUARANTINE_SECONDS

    def all_quarantined(self, *, now: float) -> frozenset[str]:
        return frozenset(one for one in self._crashes if self.quarantined(one, now=now))

    def drop(self, version_ids: Iterable[str]) -> frozenset[str]:
        """They were deleted. Those of them that were not known to be."""
        new = frozenset(version_ids).difference(self._dropped)
        self._dropped.update(dict.fromkeys(new))
        while len(self._dropped) > _DROPPED_MAX:
            self._dropped.popitem(last=False)
        return new

    def check_there(self, version_id: str) -> None:
        """Raises NotFound for one that was deleted."""
        if version_id in self._dropped:
            raise NotFound("There is no such model.")

    def check(self, version_id: str, *, now: float) -> None:
        """Raises NotFound for one that was deleted, InvalidModel while it is in quarantine."""
        self.check_there(version_id)
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
