"""Whose turn it is to coordinate: a lease in the hot state, and an epoch that the truth gives out.

The lease keeps two coordinators from working at once; the epoch keeps one that does not know yet that its
lease is over from changing anything.
"""

from __future__ import annotations

import logging

from chalicelib.contract.errors import StaleEpoch
from chalicelib.contract.hotstate import HotState
from chalicelib.ports import Store

log = logging.getLogger(__name__)


class Tenure:
    """One coordinator's. `holder` names it, and nobody else."""

    def __init__(self, *, store: Store, hot: HotState, holder: str) -> None:
        self._store = store
        self._hot = hot
        self._holder = holder
        self.mine = False
        """Whether the lease was this one's when it last looked."""
        self.epoch = 0
        self.decisions = 0
        """The number of the last decision of all."""

    def begin(self) -> bool:
        """Before every tick. False while it is another's turn. Raises StaleEpoch, DependencyFailed."""
        lease = self._hot.take_lease(self._holder)
        self.mine = lease.mine
        if not lease.mine:
            log.info("another coordinator has the lease", extra={"holder": lease.holder})
            return False
        standing = self._store.standing()
        epoch = self.epoch
        if not epoch or standing.epoch != epoch or lease.epoch > epoch:
            epoch = self._store.next_epoch(self._holder, above=lease.epoch)
        self._hot.raise_epoch(epoch, holder=self._holder)
        self.epoch, self.decisions = epoch, standing.decisions
        return True

    def keep(self) -> None:
        """Again and again during a tick that may take longer than the lease. Raises StaleEpoch."""
        if not self._hot.take_lease(self._holder).mine:
            raise StaleEpoch("another coordinator has taken over")

    def confirm(self) -> None:
        """Before what carries no epoch. Raises StaleEpoch."""
        self.keep()
        if self._store.standing().epoch != self.epoch:
            raise StaleEpoch("another coordinator has taken over")

    def end(self) -> None:
        """The next one may begin at once."""
        self._hot.release_lease(self._holder)
