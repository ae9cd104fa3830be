"""What was used, and what was done."""

from __future__ import annotations

from chalicelib import metricviews, usageviews
from chalicelib.api import Routes
from chalicelib.auth import Principal
from chalicelib.contract.messages import Scope
from chalicelib.usage import Grain, Question
from chalicelib.wiring import control_plane as plane

route = Routes()


@route("GET", "/v1/usage", scope=Scope.MODELS_READ)
def get_usage(  # noqa: PLR0913 - the query's own
    principal: Principal,
    *,
    by: Grain = Grain.DAY,
    from_: str = "",
    to: str = "",
    model: str = "",
    key: str = "",
    account: str = "",
    after: str = "",
) -> usageviews.UsagePage:
    """Usage by the minute, hour or day; `from` and `to` are days or times. Operators may name an account."""
    asked_for = Question(
        by=by, since=from_, until=to, model_id=model, token_id=key, account=account, after=after
    )
    return usageviews.usage_page(plane().metering.page(principal, asked_for))


@route("GET", "/v1/usage/cost", scope=Scope.MODELS_READ)
def get_cost(principal: Principal, *, from_: str = "", to: str = "", account: str = "") -> metricviews.Costs:
    """What each model is estimated to cost. Operators may name an account."""
    return metricviews.costs(plane().costs.estimate(principal, since=from_, until=to, account=account))


@route("GET", "/v1/metrics", scope=Scope.MODELS_READ)
def get_metrics(  # noqa: PLR0913 - the query's own
    principal: Principal,
    *,
    by: Grain = Grain.MINUTE,
    from_: str = "",
    to: str = "",
    model: str = "",
    key: str = "",
    account: str = "",
) -> metricviews.Metrics:
    """Requests, errors and latencies by the minute, hour or day, up to now; `account` is for operators."""
    asked_for = Question(by=by, since=from_, until=to, model_id=model, token_id=key, account=account)
    return metricviews.metrics(plane().metrics.read(principal, asked_for))


@route("GET", "/v1/models/{model_id}/metrics", scope=Scope.MODELS_READ)
def get_model_metrics(
    principal: Principal,
    model_id: str,
    *,
    by: Grain = Grain.MINUTE,
    from_: str = "",
    to: str = "",
    key: str = "",
) -> metricviews.Metrics:
    """As GET /v1/metrics, of one model."""
    asked_for = Question(by=by, since=from_, until=to, model_id=model_id, token_id=key)
    return metricviews.metrics(plane().metrics.of_model(principal, asked_for))


@route("GET", "/v1/audit", scope=Scope.KEYS)
def get_audit(
    principal: Principal, after: int = 0, action: str = "", object: str = "", account: str = ""
) -> usageviews.AuditPage:
    """Who did what to an account, newest first. Of another account, or of the `platform`, for operators."""
    page = plane().audit.page(principal, after=after, action=action, object_id=object, account=account)
    return usageviews.audit_page(page)


@route("GET", "/v1/audit/verified", scope=Scope.KEYS)
def verify_audit(principal: Principal, after: int = 0, account: str = "") -> usageviews.AuditVerified:
    """Whether the entries behind `after` are as they were written, as many as one call can tell."""
    return usageviews.audit_verified(plane().audit.verify(principal, after=after, account=account))
