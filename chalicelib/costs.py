"""What models are estimated to cost, from what was counted and the prices.

An hour of a host is paid half by what runs on it and half by what is in its memory: a model pays for its
seconds in one of the host's slots, and for the memory that it has while it is loaded, so that a host whose
slots and memory are all in use is paid exactly once. What nobody uses of it is nobody's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from chalicelib.auth import Principal
from chalicelib.contract.latency import Phase, seconds
from chalicelib.contract.metering import MEMORY, Measures, together
from chalicelib.metrics import MetricsReader
from chalicelib.ports import Store
from chalicelib.prices import Prices
from chalicelib.usage import Grain, Question, whose

_MILLION: Final = 1e6
_SECONDS_AN_HOUR: Final = 3600
_SECONDS_A_MONTH: Final = 730 * _SECONDS_AN_HOUR
_GIB: Final = 2**30
_KIB_A_GIB: Final = 2**20
_HALF: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one model cost, by what for, in the currency of the prices. `asked`: how many requests."""

    model_id: str
    asked: int = 0
    requests: float = 0.0
    compute: float = 0.0
    memory: float = 0.0
    storage: float = 0.0

    @property
    def total(self) -> float:
        return self.requests + self.compute + self.memory + self.storage


@dataclass(frozen=True, slots=True)
class Estimate:
    """Models, the dearest first."""

    since: datetime
    until: datetime
    prices: Prices
    costs: tuple[Cost, ...]


class Costs:
    """The use case of costs."""

    def __init__(
        self, *, store: Store, metrics: MetricsReader, prices: Prices, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._prices = prices
        self._now = now

    def estimate(self, principal: Principal, *, since: str, until: str, account: str) -> Estimate:
        """By whole days. Raises InvalidRequest, PermissionDenied."""
        question = Question(by=Grain.DAY, since=since, until=until, account=account)
        first, last, lines = self._metrics.lines(principal, question)
        measured: dict[str, list[Measures]] = {}
        for line in lines:
            measured.setdefault(line.key.model_id, []).append(line.measures)
        costs = {one: cost_of(one, together(measured[one]), self._prices) for one in measured if one}
        stored = self._store.stored(whose(principal, account), first, min(last, self._now()))
        for model_id, byte_seconds in stored.items():
            storage = byte_seconds / _GIB / _SECONDS_A_MONTH * self._prices.storage_gib_month
            costs[model_id] = replace(costs.get(model_id, Cost(model_id=model_id)), storage=storage)
        dearest = sorted(costs.values(), key=lambda one: (-one.total, one.model_id))
        return Estimate(first, last, self._prices, tuple(dearest))


def cost_of(model_id: str, measures: Measures, prices: Prices) -> Cost:
    """Without its files. A function waits as long as its requests take."""
    asked = measures.usage.requests
    each = (prices.gateway_requests_million + prices.function_requests_million) / _MILLION
    function_gib_seconds = seconds(measures.counters, Phase.TOTAL) * prices.function_gib
    slot_hours = measures.usage.compute_us / _MILLION / _SECONDS_AN_HOUR
    gib_hours = measures.counters.get(MEMORY, 0) / _KIB_A_GIB / _SECONDS_AN_HOUR
    return Cost(
        model_id=model_id,
        asked=asked,
        requests=asked * each + function_gib_seconds * prices.function_gib_second,
        compute=slot_hours * _HALF * prices.host_hour / prices.host_slots,
        memory=gib_hours * _HALF * prices.host_hour / prices.host_gib,
    )
