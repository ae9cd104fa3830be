"""How often somebody may guess a password, or sign up, before waiting.

Counted in the hot state for all gateways together; while that is away, by each process for itself and at a
share of the rates. What turns out to be no guess does not count.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, RateLimited
from chalicelib.contract.hotstate import HotState, LogInTry
from chalicelib.contract.limiting import LocalRates, Rate

_MINUTE: Final = 60
_PAIR: Final = Rate(limits.LOG_INS_PER_MINUTE / _MINUTE, limits.LOG_INS_AT_ONCE)
_ADDRESS: Final = Rate(limits.ADDRESS_LOG_INS_PER_MINUTE / _MINUTE, limits.ADDRESS_LOG_INS_PER_MINUTE)
_STRANGERS: Final = Rate(limits.STRANGER_LOG_INS_PER_MINUTE / _MINUTE, limits.STRANGER_LOG_INS_PER_MINUTE)
_SIGN_UPS: Final = Rate(limits.SIGN_UPS_PER_MINUTE / _MINUTE, limits.SIGN_UPS_AT_ONCE)
_IPV6_NETWORK_BITS: Final = 64
"""One subscriber has at least so many addresses that share the first bits."""


class Guessing:
    """Safe to use from many threads. `monotonic` in seconds."""

    def __init__(self, *, hot: HotState, monotonic: Callable[[], float]) -> None:
        self._hot = hot
        self._monotonic = monotonic
        self._local = LocalRates(entries_max=limits.LOG_IN_RATES_MAX)

    def take(self, tried: LogInTry) -> None:
        """One try. Raises RateLimited, which says when the next one is let through."""
        try:
            wait = self._hot.try_log_in(tried)
        except DependencyFailed:
            wait = self._take_here(tried)
        if wait > 0:
            raise RateLimited("Too many tries. Wait before the next one.", retry_after=wait)

    def no_guess(self, tried: LogInTry) -> None:
        with suppress(DependencyFailed):  # it counts, then
            self._hot.no_guess(tried)

    def logged_in(self, tried: LogInTry) -> None:
        with suppress(DependencyFailed):
            self._hot.logged_in(tried)

    def _take_here(self, tried: LogInTry) -> float:
        wanted = [(name, rate.share(limits.OUTAGE_RATE_SHARE)) for name, rate in tried.limits]
        refused = self._local.take(wanted, cost=1, now=self._monotonic())
        return refused[1] if refused else 0.0


def log_in_try(email: str, address: str) -> LogInTry:
    """Of a password of this account, from this address. The hot state learns no e-mail address."""
    account, source = hashlib.sha256(email.encode()).hexdigest(), _source(address)
    pair = f"{account}:{source}"
    return LogInTry(
        who=pair,
        everybody=((f"pair:{pair}", _PAIR), (f"address:{source}", _ADDRESS)),
        strangers=((f"account:{account}", _STRANGERS),),
    )


def sign_up_try(address: str) -> LogInTry:
    """Of an account that is to be made from this address."""
    source = _source(address)
    return LogInTry(who=source, everybody=((f"sign-up:{source}", _SIGN_UPS),))


def _source(address: str) -> str:
    """What counts as one address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_NETWORK_BITS), strict=False).network_address)
    return str(found)
