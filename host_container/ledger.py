"""Which versions may not be loaded: those that ended their workers, and those that were deleted.

One misbehaviour may be the caller's fault or the machine's, so it costs the version
the company of its tenant's other models; the second within the window costs it the
service. A host that was killed in the middle of a load blames the version as well, when it is back. What was
deleted is gone for good. Owned by the event loop.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.errors import InvalidModel, NotFound
from chalicelib.contract.messages import VersionRecord
from host_container.marks import Marks
from host_container.settings import Isolation

_SHARED_KEY: Final = "host"
_DROPPED_MAX: Final = 65_536
"""Nobody is sent any more to what was deleted before so many others."""


class Ledger:
    """Remembers crashes for as long as they count."""

    def __init__(self, isolation: Isolation, marks: Marks) -> None:
        self._isolation = isolation
        self._marks = marks
        self._crashes: dict[str, list[float]] = {}
        self._dropped: OrderedDict[str, None] = OrderedDict()

    def recall(self, *, now: float) -> frozenset[str]:
        """At the start: blame what was being loaded when the process before was killed. What that is."""
        for version_id, ages in self._marks.left().items():
            for age in ages:
                self.blame(version_id, now=now - age)
        return frozenset(self._crashes)

    def loading(self, version_id: str) -> AbstractContextManager[None]:
        """It is to blame if this host is killed before the block ends."""
        return self._marks.loading(version_id)

    def close(self) -> None:
        """The host ends in order."""
        self._marks.clear()

    def suspected(self, version_id: str) -> bool:
        return version_id in self._crashes

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
        if self.suspected(record.version_id):
            return f"version {record.version_id}"
        if self._isolation is Isolation.MODEL:
            return f"model {record.model_id}"
        return f"tenant {record.tenant}" if self._isolation is Isolation.TENANT else _SHARED_KEY
