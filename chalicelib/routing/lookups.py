"""Who asks, and for what: one round trip to the hot state, which also takes the request from its limits.

What the hot state does not know is read through from the truth, at a bounded rate and once however many ask,
so that a flushed Redis turns no valid token away. While it is away, what was seen within the last minute goes
on being served, at a fraction of the rate; what was not is a 503, never a 401.
"""

from __future__ import annotations

import itertools
import math
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitedTooLong
from contextlib import suppress
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed, ModelRocketError
from chalicelib.contract.hotstate import HotState, keys
from chalicelib.contract.hotstate.admission import (
    Admission,
    Admissions,
    Lease,
    Limited,
    Refusal,
    RouteView,
    too_many,
)
from chalicelib.contract.inference import NO_MODEL, authorised, credential_sha256, model_key, valid
from chalicelib.contract.limiting import AccountLimits, LocalRates, Rate
from chalicelib.contract.messages import ModelRecord, TokenRecord
from chalicelib.contract.metering import Refused, UsageKey
from chalicelib.ports import Store
from chalicelib.records import routing_record

_LOCAL_RATES_MAX: Final = 16_384
_READ_THROUGH: Final = (("truth", Rate.of(limits.TOKEN_READ_THROUGH_PER_SECOND, seconds=1)),)
_TRUTH_SECONDS_MAX: Final = 5.0
"""How long one request waits for another's reading of the truth."""


class Seen(Struct, frozen=True):
    """A request that may go on: by whom, for which model, and what is known of the hosts.

    `remembered`: the hot state is away, and this is what was seen lately. `lease` is to be released.
    """

    token: TokenRecord
    model: ModelRecord
    view: RouteView
    lease: Lease
    hosts_registered: int
    remembered: bool = False


class _Remembered(Struct, frozen=True):
    admission: Admission
    at: float


class Lookups:
    """Safe to use from many threads. `clock`: monotonic seconds."""

    def __init__(
        self,
        *,
        store: Store,
        hot: HotState,
        admissions: Admissions,
        account: AccountLimits,
        clock: Callable[[], float],
    ) -> None:
        self._truth = _Truth(store, hot, clock)
        self._hot = hot
        self._admissions = admissions
        self._account = account
        self._clock = clock
        self._local = LocalRates(entries_max=_LOCAL_RATES_MAX)
        self._memory = _Memory()
        self._process = secrets.token_hex(6)
        self._numbers = itertools.count()

    def admit(self, plain: str | None, model_id: str, *, cost: int) -> Seen:
        """Raises Unauthenticated, PermissionDenied, NotFound, Conflict, RateLimited, DependencyFailed."""
        sha256, model_id = credential_sha256(plain), model_key(model_id)
        lease_id = f"{self._process}{next(self._numbers):x}"
        try:
            admission = self._admissions.admit(sha256, model_id, lease_id=lease_id, cost=cost)
        except DependencyFailed:
            seen = self._from_memory(sha256, model_id, lease_id=lease_id, cost=cost)
            if seen is not None:
                return seen
            # There is nothing to go by: a moment's stutter is worth another look.
            admission = self._admissions.admit(sha256, model_id, lease_id=lease_id, cost=cost)
        if admission.limited is not None:
            raise self._limited(admission, (sha256, model_id))
        if admission.view.token is None or (admission.view.model is None and model_id != NO_MODEL):
            admission = self._completed(admission, sha256, model_id, lease_id=lease_id, cost=cost)
        try:
            seen = self._seen(admission, lease_id, now=admission.view.now)
        except ModelRocketError:
            self._memory.forget((sha256, model_id))
            raise
        self._memory.keep((sha256, model_id), _Remembered(admission, self._clock()))
        if not admission.counted:
            self._count_here(seen, cost)
        return seen

    def check_again(self, plain: str | None, seen: Seen, *, waited: float) -> None:
        """For a request that waited: raises Unauthenticated where its token was revoked or expired meanwhile.

        While the hot state is away, and where it has forgotten the token, what was seen holds.
        """
        with suppress(DependencyFailed):
            sha256 = credential_sha256(plain)
            token = self._hot.token(sha256)
            if token is None:
                return
            try:
                valid(token, now=seen.view.now + waited)
            except ModelRocketError:
                self._memory.forget((sha256, seen.model.model_id))
                raise

    def _seen(self, admission: Admission, lease_id: str, *, now: float, remembered: bool = False) -> Seen:
        """What is not allowed does not go on running."""
        view = admission.view
        lease = Lease(
            lease_id, view.token.tenant if view.token else "", view.model.model_id if view.model else ""
        )
        try:
            model = authorised(view.token, view.model, now=now)
        except ModelRocketError as error:
            if view.token is not None:
                own = view.model is not None and view.model.tenant == view.token.tenant
                refused = _refused(view.token, lease.model_id if own else "", error)
                self._admissions.release(lease, outcome=refused)
            raise
        assert view.token is not None
        return Seen(view.token, model, view, lease, admission.hosts_registered, remembered)

    def _limited(self, admission: Admission, pair: tuple[str, str]) -> ModelRocketError:
        """Too many requests: counted, under the model's name where it was seen lately to be the caller's."""
        assert admission.limited is not None
        error = too_many(admission.limited)
        known = self._memory.recall(pair)
        if admission.view.token is not None:
            self._admissions.refuse(_refused(admission.view.token, pair[1] if known else "", error))
        return error

    def _completed(
        self, admission: Admission, sha256: str, model_id: str, *, lease_id: str, cost: int
    ) -> Admission:
        """With what the truth knows. Then it is asked for admission again, as one that is known."""
        token = admission.view.token or self._truth.token(sha256, projected=admission.projected)
        if token is None:
            return admission
        model = admission.view.model
        if model is None and model_id != NO_MODEL:
            model = self._truth.model(model_id, projected=admission.projected)
        if model is not None:
            with suppress(DependencyFailed):
                admission = self._admissions.admit(sha256, model_id, lease_id=lease_id, cost=cost)
                if admission.limited is not None:
                    raise self._limited(admission, (sha256, model_id))
        view = admission.view
        return replace(admission, view=replace(view, token=view.token or token, model=view.model or model))

    def _from_memory(self, sha256: str, model_id: str, *, lease_id: str, cost: int) -> Seen | None:
        """None for what was not seen lately."""
        known = self._memory.recall((sha256, model_id))
        age = self._clock() - known.at if known else math.inf
        if known is None or age > limits.OUTAGE_CACHE_SECONDS:
            return None
        now = known.admission.view.now + age
        seen = self._seen(known.admission, lease_id, now=now, remembered=True)
        self._count_here(seen, cost)
        return seen

    def _count_here(self, seen: Seen, cost: int) -> None:
        """By this process alone, which lets a share of the rate through. Raises RateLimited."""
        token, share = seen.token, limits.OUTAGE_RATE_SHARE
        wanted = [(keys.account_rate(token.tenant), self._account.rate.share(share))]
        if token.requests_per_second:
            own = Rate.of(token.requests_per_second).share(share)
            wanted.append((keys.key_rate(token.token_id), own))
        refused = self._local.take(wanted, cost=cost, now=self._clock())
        if refused is not None:
            self._admissions.release(seen.lease)
            name, wait = refused
            raise too_many(Limited(Refusal.ACCOUNT if name == wanted[0][0] else Refusal.KEY, wait))


def _refused(token: TokenRecord, model_id: str, error: ModelRocketError) -> Refused:
    return Refused(UsageKey(token.tenant, token.token_id, model_id, 0), error.code)


class _Memory:
    """What was seen last of pairs of token and model: the latest ones."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Remembered] = {}
        self._lock = threading.Lock()

    def keep(self, pair: tuple[str, str], seen: _Remembered) -> None:
        with self._lock:
            self._seen.pop(pair, None)
            self._seen[pair] = seen
            if len(self._seen) > limits.OUTAGE_VIEWS_MAX:
                del self._seen[next(iter(self._seen))]

    def forget(self, pair: tuple[str, str]) -> None:
        """It is refused now, and so it is when nobody can be asked."""
        with self._lock:
            self._seen.pop(pair, None)

    def recall(self, pair: tuple[str, str]) -> _Remembered | None:
        return self._seen.get(pair)


class _Truth:
    """Reading through: each thing once however many ask for it, and not too many in a second."""

    def __init__(self, store: Store, hot: HotState, clock: Callable[[], float]) -> None:
        self._store = store
        self._hot = hot
        self._clock = clock
        self._lock = threading.Lock()
        self._reading: dict[tuple[str, str], Future[Any]] = {}
        self._budget = LocalRates(entries_max=2)

    def token(self, sha256: str, *, projected: bool) -> TokenRecord | None:
        """`projected`: the hot state has been told of all there are. Raises DependencyFailed."""
        found: TokenRecord | None = self._once(("token", sha256), lambda: self._token(sha256), projected)
        return found

    def model(self, model_id: str, *, projected: bool) -> ModelRecord | None:
        found: ModelRecord | None = self._once(("model", model_id), lambda: self._model(model_id), projected)
        return found

    def _token(self, sha256: str) -> TokenRecord | None:
        token = self._store.token(sha256)
        if token is None:
            return None
        with suppress(DependencyFailed):
            self._hot.put_token(sha256, token.hot())
        return token.hot()

    def _model(self, model_id: str) -> ModelRecord | None:
        model = self._store.any_model(model_id)
        if model is None:
            return None
        versions = self._store.any_versions(model.version_ids) if model.version_ids else ()
        record = routing_record(model, {version.id: version for version in versions})
        with suppress(DependencyFailed):
            self._hot.put_model(record)
        return record

    def _once(self, what: tuple[str, str], read: Callable[[], Any], projected: bool) -> Any:
        with self._lock:
            reading = self._reading.get(what)
            if reading is None and self._budget.take(_READ_THROUGH, cost=1, now=self._clock()) is not None:
                if projected:
                    return None
                raise DependencyFailed("Too many unknown tokens or models at once. Try again shortly.")
            mine = reading is None
            reading = self._reading.setdefault(what, Future()) if reading is None else reading
        if mine:
            self._read(what, read, reading)
        try:
            return reading.result(timeout=_TRUTH_SECONDS_MAX)
        except WaitedTooLong:
            raise DependencyFailed("The platform's database is slow. Try again shortly.") from None

    def _read(self, what: tuple[str, str], read: Callable[[], Any], reading: Future[Any]) -> None:
        try:
            reading.set_result(read())
        except BaseException as error:
            reading.set_exception(error)
            if not isinstance(error, Exception):
                raise
        finally:
            with self._lock:
                del self._reading[what]
