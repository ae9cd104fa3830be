"""How metrics and costs look as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from chalicelib import metrics as reading
from chalicelib.contract.latency import Percentiles, Phase, latencies
from chalicelib.contract.metering import Measures
from chalicelib.costs import Cost, Estimate
from chalicelib.prices import Prices
from chalicelib.usage import Grain
from chalicelib.usageviews import Sums, sums

_DIGITS: Final = 6


class Latency(msgspec.Struct, frozen=True):
    """Where the time of answered requests went; null where there were none.

    Attributes:
        total: from when a request was read to its answer.
        queue: waiting on the host for a place to run.
        batch: waiting for the run, with the requests that share it.
        load: of cold starts alone: waiting for the model to be loaded.
        run: in the model.
    """

    total: Percentiles | None = None
    queue: Percentiles | None = None
    batch: Percentiles | None = None
    load: Percentiles | None = None
    run: Percentiles | None = None


class Measured(msgspec.Struct, frozen=True):
    """What was measured of requests.

    Attributes:
        codes: how many ended with which error, also of those that no host was asked to run.
    """

    sums: Sums
    codes: dict[str, int]
    latency: Latency


class MetricsPoint(msgspec.Struct, frozen=True):
    """The minute, hour or day that began at `at`."""

    at: datetime
    measured: Measured


class ModelMeasured(msgspec.Struct, frozen=True):
    """One model. `model_id` is empty for requests that were refused before it was clear which they meant."""

    model_id: str
    measured: Measured


class KeyMeasured(msgspec.Struct, frozen=True):
    """One API key or model token."""

    key_id: str
    measured: Measured


class Metrics(msgspec.Struct, frozen=True):
    """From `since` to before `until`, what is under way included: all together, and by time, model and key.

    Attributes:
        points: minutes, hours or days in which something was asked, oldest first.
        models, keys: those with most requests first.
    """

    by: Grain
    since: datetime
    until: datetime
    total: Measured
    points: list[MetricsPoint]
    models: list[ModelMeasured]
    keys: list[KeyMeasured]


class CostParts(msgspec.Struct, frozen=True):
    """What a cost is made of.

    Attributes:
        requests: the API gateway and the function behind it.
        compute: time in the model.
        memory: of hosts, while the model is loaded.
        storage: of the files of versions that are kept.
    """

    requests: float
    compute: float
    memory: float
    storage: float


class CostLine(msgspec.Struct, frozen=True):
    """What one model is estimated to cost."""

    model_id: str
    requests: int
    cost: float
    parts: CostParts


class Costs(msgspec.Struct, frozen=True):
    """An estimate from what was counted, `since` to before `until`, and the prices; no bill.

    Attributes:
        lines: models, the dearest first.
        total: of all lines. Hosts that wait for work belong to nobody, so a fleet costs more.
    """

    currency: str
    since: datetime
    until: datetime
    prices: Prices
    lines: list[CostLine]
    total: float


def metrics(read: reading.Metrics) -> Metrics:
    return Metrics(
        by=read.by,
        since=read.since,
        until=read.until,
        total=_measured(read.total),
        points=[MetricsPoint(at, _measured(one)) for at, one in read.points],
        models=[ModelMeasured(model_id, _measured(one)) for model_id, one in read.models],
        keys=[KeyMeasured(key_id, _measured(one)) for key_id, one in read.keys],
    )


def costs(estimate: Estimate) -> Costs:
    lines = [_line(cost) for cost in estimate.costs]
    return Costs(
        currency=estimate.prices.currency,
        since=estimate.since,
        until=estimate.until,
        prices=estimate.prices,
        lines=lines,
        total=_shown(sum(line.cost for line in lines)),
    )


def _measured(measures: Measures) -> Measured:
    found = latencies(measures.counters)
    return Measured(
        sums(measures.usage),
        dict(sorted(measures.codes.items())),
        Latency(**{phase.value: found.get(phase) for phase in Phase}),
    )


def _line(cost: Cost) -> CostLine:
    parts = {name: _shown(getattr(cost, name)) for name in CostParts.__struct_fields__}
    return CostLine(cost.model_id, cost.asked, _shown(cost.total), CostParts(**parts))


def _shown(amount: float) -> float:
    """Small ones are not nothing."""
    return float(f"{amount:.{_DIGITS}g}")
