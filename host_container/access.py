"""Who may run what at the host's own door, and how often: asked of the hot state, remembered for a moment.

A decision is reused for `TOKEN_CACHE_SECONDS`, which is the promise on revocation, and asked for anew at
half of that, so that a busy caller never waits for it. Only permissions are remembered: refusals are not, so
a new token is good at once.

Permits to run requests come with the decision, in blocks of what was used lately, from the limits that
gateways take single ones from: whatever runs here has been counted, and a denied block is a 429. They are
good for as long as the decision.

While the hot state is away, what is remembered serves for `OUTAGE_CACHE_SECONDS`, at `OUTAGE_RATE_SHARE` of
the rate; what is not is unavailable, never unauthenticated.

Owned by the event loop. One thread asks the hot state; whatever is wanted while it asks is its next
question, so that callers with a thousand tokens that nobody knows cost little more than one.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Protocol

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, ModelRocketError, Overloaded
from chalicelib.contract.hotstate import Asker, CredentialView, Wish
from chalicelib.contract.hotstate.admission import CONCURRENCY, Limited, Refusal, too_many
from chalicelib.contract.inference import NO_MODEL, authorised
from chalicelib.contract.limiting import AccountLimits, LocalRates, Rate
from chalicelib.contract.messages import ModelRecord, TokenRecord
from host_container.running import Running, Runnings

_QUESTION_MAX: Final = 64
"""Permissions asked for in one round trip."""
_RETRY_SECONDS: Final = 1.0
"""While the hot state is away it is not asked more often about one permission."""
_RENEWAL: Final = ""
_BLOCK_SECONDS: Final = 0.1
"""A block is what was needed in this time."""
_BLOCKS_IN_A_BURST: Final = 10
_LOCAL_RATES_MAX: Final = 16_384

Key = tuple[str, str]
"""SHA-256 of a credential, and a model's id."""


@dataclass(frozen=True, slots=True)
class Permitted:
    """A credential, and a model that it may run, which has an active version.

    Attributes:
        running: what its account has under way; whoever runs a request counts it there.
        quarantined: ids of the model's versions that no host may run now.
    """

    model: ModelRecord
    token: TokenRecord
    running: Running = field(compare=False)
    quarantined: frozenset[str] = frozenset()


Found = Permitted | ModelRocketError
"""What is permitted; or why not: Unauthenticated, NotFound, PermissionDenied, Conflict, RateLimited,
DependencyFailed where that cannot be found out."""
Then = Callable[[Found], None]


class Credentials(Protocol):
    """What is asked: the hot state."""

    def credentials(self, wanted: Sequence[Wish], *, asker: Asker) -> list[CredentialView]: ...


@dataclass(slots=True)
class _Permission:
    """Times are on the monotonic clock: asked, good until, and to be asked for again from.

    Attributes:
        left: permits; more are asked for when there are `low` or fewer.
        used, since: permits since then; `needed`: in `_BLOCK_SECONDS` of the time before that.
        away: nobody can count permits now but this host.
        limited, limited_until, least: what was in the way of so many permits, and for how long it is.
    """

    permitted: Permitted
    asked: float
    until: float
    renew: float
    left: int = 0
    low: int = 0
    used: int = 0
    since: float = 0.0
    needed: float = 0.0
    away: bool = False
    limited: Limited | None = None
    limited_until: float = 0.0
    least: int = 1


@dataclass(frozen=True, slots=True)
class _Waiter:
    cost: int
    then: Then


@dataclass(slots=True)
class _Asked:
    """Who waits for an answer; `caller` is who asked first. `block`: permits beside those for who waits."""

    caller: str
    waiting: list[_Waiter] = field(default_factory=list)
    block: int = 0


class Access:
    """Permissions of this host's callers. `door` is this process's own name."""

    def __init__(
        self, credentials: Credentials, *, door: str, account: AccountLimits, clock: Callable[[], float]
    ) -> None:
        self._credentials = credentials
        self._door = door
        self._account = account
        self._clock = clock
        self._permissions: dict[Key, _Permission] = {}
        self._asking: dict[Key, _Asked] = {}
        self._askers: Counter[str] = Counter()
        self._wanted: list[Key] = []
        self._runnings = Runnings()
        self._local = LocalRates(entries_max=_LOCAL_RATES_MAX)
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="access")

    def admitted(self, sha256: str, model_id: str, *, cost: int) -> Permitted | None:
        """What is permitted, if that was found out just now and there are permits. Raises RateLimited."""
        key = (sha256, model_id)
        one = self._permissions.get(key)
        if one is None:
            return None
        now = self._clock()
        if now >= one.renew:
            self._renew(key)
        if now >= one.until:
            return None
        left = one.left - cost
        if left < 0:
            return self._short(one, cost, now)
        self._check_cap(one.permitted.running)
        one.left = left
        one.used += cost
        if left <= one.low:
            self._renew(key)
        return one.permitted

    def known(self, sha256: str, model_id: str) -> Permitted | None:
        """What is permitted, if that was found out just now."""
        one = self._permissions.get((sha256, model_id))
        return one.permitted if one is not None and self._clock() < one.until else None

    def begin(self, permitted: Permitted) -> Running:
        """One more is under way, where whoever gets it takes it back. Raises RateLimited."""
        self._check_cap(permitted.running)
        permitted.running.here += 1
        return permitted.running

    def find(self, sha256: str, model_id: str, then: Then, *, caller: str, cost: int) -> None:
        """`then` hears, later; one look-up however many wait for it. Raises Overloaded."""
        key = (sha256, model_id)
        asked = self._asking.get(key)
        if asked is None:
            if self._askers[caller] >= limits.CALLER_LOOKUPS_MAX or len(self._asking) >= limits.LOOKUPS_MAX:
                raise Overloaded("This host checks more tokens than it can at once. Try again shortly.")
            asked = self._ask(key, caller)
        asked.waiting.append(_Waiter(cost, then))

    def sweep(self) -> None:
        """Tells what is under way; call it every now and then."""
        if self._runnings.news(self._clock()):
            self._go_on()

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    # Asking.

    def _renew(self, key: Key) -> None:
        if key not in self._asking:
            self._ask(key, _RENEWAL)

    def _ask(self, key: Key, caller: str) -> _Asked:
        asked = self._asking[key] = _Asked(caller)
        self._askers[caller] += 1
        self._wanted.append(key)
        self._go_on()
        return asked

    def _go_on(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._look_up())

    async def _look_up(self) -> None:
        """Question after question, until nothing is wanted any more."""
        while True:
            question, self._wanted = self._wanted[:_QUESTION_MAX], self._wanted[_QUESTION_MAX:]
            began, untold = self._clock(), dict.fromkeys(question)
            try:
                wishes = [self._wish(key, began) for key in question]
                views = await self._views(wishes, began)
                for wish, view in zip(wishes, views, strict=True):
                    found = self._found(wish, view, began)
                    del untold[wish[:2]]
                    self._tell(wish, found)
            finally:
                for key in untold:  # a defect of ours must not keep it from being asked again
                    self._refuse(key, _unknown())
            if not self._wanted:
                break
        self._askers += Counter()  # drops those that count nothing

    def _wish(self, key: Key, now: float) -> Wish:
        """With permits for all who wait, and for what will have come until the next ones are there."""
        asked, one = self._asking[key], self._permissions.get(key)
        costs = [waiter.cost for waiter in asked.waiting if waiter.cost]
        if one is None:
            asked.block = 1 if costs else 0
        elif costs or one.left <= one.low:
            asked.block = self._block(one, now)
        return Wish(*key, permits=sum(costs) + asked.block, least=costs[0] if costs else 1)

    def _block(self, one: _Permission, now: float) -> int:
        token, burst = one.permitted.token, self._account.rate.burst
        if token.requests_per_second:
            burst = min(burst, Rate.of(token.requests_per_second).burst)
        elapsed = now - one.since
        if elapsed >= _BLOCK_SECONDS:
            one.needed, one.used, one.since = one.used * _BLOCK_SECONDS / elapsed, 0, now
        needed = max(one.used, math.ceil(one.needed))
        return max(1, min(needed, int(burst / _BLOCKS_IN_A_BURST)))

    async def _views(self, wishes: Sequence[Wish], now: float) -> Sequence[CredentialView | None]:
        """None for all while the hot state is away."""
        loop = asyncio.get_running_loop()
        news = self._runnings.news(now)
        asker = Asker(self._door, self._account, news)
        try:
            views = await loop.run_in_executor(
                self._thread, lambda: self._credentials.credentials(wishes, asker=asker)
            )
        except DependencyFailed:
            return [None] * len(wishes)
        self._runnings.tell(news, now=now)
        return views

    # What came of it.

    def _tell(self, wish: Wish, found: _Permission | ModelRocketError) -> None:
        key = wish[:2]
        if isinstance(found, ModelRocketError):
            self._refuse(key, found)
            return
        asked = self._close(key)
        again = [waiter for waiter in asked.waiting if not self._settle(found, waiter)]
        if again:
            asking = self._asking.get(key) or self._ask(key, asked.caller)
            asking.waiting += again
        elif found.used and found.left <= found.low and found.limited is None:
            self._renew(key)

    def _refuse(self, key: Key, error: ModelRocketError) -> None:
        for waiter in self._close(key).waiting:
            waiter.then(error)

    def _close(self, key: Key) -> _Asked:
        asked = self._asking.pop(key)
        self._askers[asked.caller] -= 1
        return asked

    def _settle(self, one: _Permission, waiter: _Waiter) -> bool:
        """Whether it has been told; False where more permits have to be asked for."""
        if not waiter.cost:
            waiter.then(one.permitted)
            return True
        try:
            if one.left < waiter.cost:
                if self._short(one, waiter.cost, self._clock()) is None:
                    return False
            else:
                self._check_cap(one.permitted.running)
                one.left -= waiter.cost
                one.used += waiter.cost
        except ModelRocketError as error:
            waiter.then(error.with_traceback(None))
        else:
            waiter.then(one.permitted)
        return True

    def _check_cap(self, running: Running) -> None:
        if running.here + running.elsewhere >= self._account.concurrency_max:
            raise too_many(CONCURRENCY)

    def _short(self, one: _Permission, cost: int, now: float) -> Permitted | None:
        """Without enough permits: None where more can be asked for. Raises RateLimited."""
        if one.away:
            self._count_here(one.permitted.token, cost, now)
            return one.permitted
        if one.limited is not None and cost >= one.least and now < one.limited_until:
            raise too_many(Limited(one.limited.limit, one.limited_until - now))
        return None

    def _count_here(self, token: TokenRecord, cost: int, now: float) -> None:
        """By this process alone, which lets a share of the rate through. Raises RateLimited."""
        share = limits.OUTAGE_RATE_SHARE
        wanted = [(f"account {token.tenant}", self._account.rate.share(share))]
        if token.requests_per_second:
            wanted.append((f"key {token.token_id}", Rate.of(token.requests_per_second).share(share)))
        refused = self._local.take(wanted, cost=cost, now=now)
        if refused is not None:
            name, wait = refused
            raise too_many(Limited(Refusal.ACCOUNT if name == wanted[0][0] else Refusal.KEY, wait))

    def _found(self, wish: Wish, view: CredentialView | None, began: float) -> _Permission | ModelRocketError:
        key = wish[:2]
        try:
            permitted = self._permitted(view, model_id=wish.model_id)
        except DependencyFailed:
            return self._extended(key)
        except ModelRocketError as error:
            self._permissions.pop(key, None)
            return error.with_traceback(None)  # which would hold it, and be held by it, until it is collected
        assert view is not None
        return self._granted(wish, view, permitted, began)

    def _granted(self, wish: Wish, view: CredentialView, permitted: Permitted, began: float) -> _Permission:
        """Remembered, with what was left of before."""
        now, block = self._clock(), self._asking[wish[:2]].block
        one = _Permission(
            permitted,
            asked=began,
            until=began + limits.TOKEN_CACHE_SECONDS,
            renew=began + limits.TOKEN_CACHE_SECONDS / 2,
            left=view.granted,
            low=block // 2,
            since=began,
            away=not view.counted,
            least=wish.least,
        )
        if view.limited is not None:
            one.limited, one.limited_until = view.limited, now + view.limited.wait_seconds
        before = self._permissions.get(wish[:2])
        if before is not None and now < before.until:
            one.left += before.left
            one.used, one.since, one.needed = before.used, before.since, before.needed
            if not block:
                one.low = before.low
        self._remember(wish[:2], one)
        return one

    def _extended(self, key: Key) -> _Permission | ModelRocketError:
        """What is remembered, a little longer, while nobody can be asked."""
        known, now = self._permissions.get(key), self._clock()
        if known is None or now >= known.asked + limits.OUTAGE_CACHE_SECONDS:
            self._permissions.pop(key, None)
            return _unknown()
        known.renew = now + _RETRY_SECONDS
        known.until = min(known.renew + limits.TOKEN_CACHE_SECONDS, known.asked + limits.OUTAGE_CACHE_SECONDS)
        known.away, known.low = True, -1
        known.permitted.running.elsewhere = 0
        return known

    def _remember(self, key: Key, permission: _Permission) -> None:
        """What is in use is renewed and so moves to the end; the front is what nobody uses."""
        self._permissions.pop(key, None)
        self._permissions[key] = permission
        if len(self._permissions) > limits.PERMISSIONS_MAX:
            del self._permissions[next(iter(self._permissions))]

    def _permitted(self, view: CredentialView | None, *, model_id: str) -> Permitted:
        """What is missing exists nowhere only if all there is has been written since the last flush.

        Raises as `Found` says. What has no permits is told so first, as by a gateway.
        """
        complete = (
            view is not None and view.token is not None and (view.model is not None or model_id == NO_MODEL)
        )
        if view is None or not (complete or view.projected):
            raise _unknown()
        try:
            model = authorised(view.token, view.model, now=view.now)
        except ModelRocketError:
            if view.limited is not None:
                raise too_many(view.limited) from None
            raise
        assert view.token is not None
        running = self._runnings.of(view.token.tenant)
        running.elsewhere = max(0, view.running - running.told)
        return Permitted(model, view.token, running, view.quarantined)


def _unknown() -> DependencyFailed:
    return DependencyFailed("This token cannot be checked right now. Try again shortly.")
