"""What this host tells the hot state of the versions it holds.

Level-triggered: what should stand there is compared with what was last told, and
the difference is written. So a lost write, a flushed hot state and a new boot id
are all the same case.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass

from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import Replica, ReplicaState, VersionRecord
from host_container.presence import Presence


@dataclass(frozen=True, slots=True)
class _Notice:
    model_id: str
    state: ReplicaState
    boot_id: str


class Notices:
    """Owned by the event loop; writes happen in a thread, one after the other."""

    def __init__(self, hot: HotState, presence: Presence) -> None:
        self._hot = hot
        self._presence = presence
        self._wanted: dict[str, tuple[str, ReplicaState]] = {}
        self._told: dict[str, _Notice] = {}
        self._lock = asyncio.Lock()
        self.changed = asyncio.Event()

    def put(self, record: VersionRecord, state: ReplicaState) -> None:
        self._wanted[record.version_id] = (record.model_id, state)
        self.changed.set()

    def drop(self, version_id: str) -> None:
        self._wanted.pop(version_id, None)
        self.changed.set()

    def drop_all(self) -> None:
        self._wanted.clear()

    def forgotten(self) -> None:
        """Everything has to be told again."""
        self._told.clear()

    async def tell(self) -> None:
        """Bring the hot state up to date. Raises DependencyFailed; then the next call does it."""
        async with self._lock:
            self.changed.clear()
            boot_id = self._presence.boot_id
            wanted = {key: _Notice(*value, boot_id) for key, value in self._wanted.items()}
            news = {key: notice for key, notice in wanted.items() if self._told.get(key) != notice}
            gone = {key: notice for key, notice in self._told.items() if key not in wanted}
            if news or gone:
                await asyncio.to_thread(self._write, news, gone)
                self._told = wanted

    def _write(self, news: dict[str, _Notice], gone: dict[str, _Notice]) -> None:
        host_id = self._presence.address.host_id
        if news:
            self._hot.put_replicas(
                (notice.model_id, version_id, Replica(host_id, notice.boot_id, notice.state))
                for version_id, notice in news.items()
            )
        by_model = defaultdict(list)
        for version_id, notice in gone.items():
            by_model[notice.model_id].append((version_id, host_id))
        for model_id, pairs in by_model.items():
            self._hot.drop_replicas(model_id, pairs)
