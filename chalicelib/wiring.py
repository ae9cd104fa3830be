"""The one place where the control plane is put together."""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from chalicelib.accounts import Accounts
from chalicelib.adapters.capacity import capacity
from chalicelib.adapters.hosts import HttpHostCalls
from chalicelib.adapters.mongo import MongoStore
from chalicelib.adapters.passwords import Argon2Passwords
from chalicelib.adapters.passwords import Clock as PasswordClock
from chalicelib.adapters.s3 import S3Objects
from chalicelib.adapters.secrets import revealed
from chalicelib.answers import Answers
from chalicelib.arrivals import Arrivals
from chalicelib.audit import Audit
from chalicelib.auth import Auth
from chalicelib.contract import limits
from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.hotstate.admission import Admissions
from chalicelib.costs import Costs
from chalicelib.deletion import Deletion
from chalicelib.explaining import Explaining
from chalicelib.fleet import Fleet
from chalicelib.founding import Founding
from chalicelib.gauges import Gauges
from chalicelib.guards import RouteGuards
from chalicelib.guessing import Guessing
from chalicelib.idempotency import Attempts
from chalicelib.inventory import Inventory
from chalicelib.keys import Keys
from chalicelib.metrics import MetricsReader
from chalicelib.models import Models
from chalicelib.operators import Operators
from chalicelib.overview import Overview
from chalicelib.payloads import Origin, Payloads
from chalicelib.quotas import Quotas
from chalicelib.reconciler import Deciding, Loop, Reconciler, UseCases
from chalicelib.routing import Clocks, Dispatcher, Dispatching, Lookups, Router, Transfers
from chalicelib.sessions import Sessions
from chalicelib.settings import GaugesKind, RecordSettings, Settings
from chalicelib.site import Site
from chalicelib.traffic import Traffic
from chalicelib.uploads import Uploads
from chalicelib.usage import Metering

_REDIS_SECONDS_MAX: Final = 1.0
_INDEX_MS_MAX: Final = 50_000
"""An index is made in the time that its documents take. Setup has a minute in all."""
_PAUSE_SECONDS_MIN: Final = 0.5
"""Between two passes of the coordinator, however often it is woken."""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Every use case, ready to call."""

    settings: Settings
    store: MongoStore
    hot: HotState
    objects: S3Objects
    auth: Auth
    guards: RouteGuards
    sessions: Sessions
    accounts: Accounts
    operators: Operators
    keys: Keys
    site: Site
    explaining: Explaining
    uploads: Uploads
    models: Models
    overview: Overview
    quotas: Quotas
    traffic: Traffic
    deletion: Deletion
    metering: Metering
    metrics: MetricsReader
    costs: Costs
    audit: Audit
    router: Router
    payloads: Payloads
    answers: Answers
    fleet: Fleet
    inventory: Inventory
    reconciler: Reconciler
    gauges: Gauges


@lru_cache(maxsize=1)
def control_plane() -> ControlPlane:
    """This process's own, from its environment. No connection is made before first use."""
    return build(os.environ)


def build(environ: Mapping[str, str]) -> ControlPlane:
    """A variable may name a secret that holds its value. Raises InvalidSettings, DependencyFailed."""
    settings = Settings.from_env(revealed(environ))
    store = MongoStore(settings.mongo_url, database=settings.mongo_database)
    hot = HotState.connect(settings.redis_url, timeout_seconds=_REDIS_SECONDS_MAX)
    objects = S3Objects(
        settings.s3_bucket, endpoint_url=settings.s3_endpoint_url, public_url=settings.s3_public_url
    )
    audit = Audit(store=store, late=hot, now=_now, monotonic=time.monotonic, new_id=new_id)
    metering = Metering(store=store, hot=hot, now=_now)
    metrics = MetricsReader(store=store, hot=hot, now=_now)
    traffic = Traffic(
        store=store, hot=hot, audit=audit, now=_now, replicas_per_model=limits.REPLICAS_PER_MODEL
    )
    arrivals = Arrivals(store=store, objects=objects, part_bytes=settings.upload_part_bytes)
    quotas = Quotas(store=store, allowed=settings.quotas)
    uploads = Uploads(
        store=store,
        arrivals=arrivals,
        hot=hot,
        traffic=traffic,
        quotas=quotas,
        now=_now,
        new_id=new_id,
    )
    deletion = Deletion(
        store=store,
        objects=objects,
        hot=hot,
        audit=audit,
        now=_now,
        retention_seconds=settings.retention_seconds,
    )
    payloads = Payloads(objects, Origin(settings.dispatch_key, time.time, os.urandom))
    router = _router(settings, store, hot, payloads)
    auth = Auth(store=store, now=_now, monotonic=time.monotonic)
    attempts = Attempts(store=store, secret=settings.dispatch_key, now=_now)
    sessions = Sessions(store=store, now=_now, monotonic=time.monotonic, new_id=new_id)
    passwords = Argon2Passwords(settings.password_cost, PasswordClock(time.monotonic, time.sleep))
    operators = Operators(
        store=store, hot=hot, sessions=sessions, passwords=passwords, now=_now, new_id=new_id
    )
    keys = Keys(store=store, hot=hot, auth=auth, now=_now, new_id=new_id)
    accounts = Accounts(
        store=store,
        sessions=sessions,
        passwords=passwords,
        guessing=Guessing(hot=hot, monotonic=time.monotonic),
        sign_up=settings.sign_up,
        now=_now,
        new_id=new_id,
    )
    return ControlPlane(
        settings=settings,
        store=store,
        hot=hot,
        objects=objects,
        auth=auth,
        guards=RouteGuards(
            auth, sessions, attempts, audit, settings.public_url, time.monotonic, settings.edge_key
        ),
        sessions=sessions,
        accounts=accounts,
        operators=operators,
        keys=keys,
        site=Site(store=store, keys=keys, accounts=accounts, monotonic=time.monotonic),
        explaining=Explaining(store=store, hot=hot, account_rate=settings.account_limits.rate, now=_now),
        uploads=uploads,
        models=Models(store=store, quotas=quotas),
        overview=Overview(store=store, hot=hot),
        quotas=quotas,
        traffic=traffic,
        deletion=deletion,
        metering=metering,
        metrics=metrics,
        costs=Costs(store=store, metrics=metrics, prices=settings.prices, now=_now),
        audit=audit,
        router=router,
        payloads=payloads,
        answers=Answers(hot=hot, router=router, payloads=payloads, new_id=new_id),
        fleet=Fleet(store=store, hot=hot),
        inventory=Inventory(store=store, hot=hot),
        reconciler=Reconciler(
            store=store,
            hot=hot,
            cases=UseCases(
                uploads=uploads,
                traffic=traffic,
                deletion=deletion,
                operators=operators,
                metering=metering,
                audit=audit,
                payloads=payloads,
            ),
            deciding=Deciding(
                holder=new_id(),
                policy=settings.policy,
                capacity=capacity(settings, hot, clock=time.monotonic),
            ),
            loop=Loop(
                tick_seconds=settings.tick_seconds,
                loop_seconds=settings.loop_seconds,
                monotonic=time.monotonic,
                wait=lambda seconds: _wait(hot, seconds),
            ),
        ),
        gauges=Gauges(
            hot=hot, clock=time.time, write=print if settings.gauges is GaugesKind.CLOUDWATCH else None
        ),
    )


@dataclass(frozen=True, slots=True)
class Records:
    """What a deployment is set up with, before anything else of it is there."""

    store: MongoStore
    founding: Founding


def build_records(environ: Mapping[str, str]) -> Records:
    """As `build`, of the records alone. Raises InvalidSettings, DependencyFailed."""
    settings = RecordSettings.from_env(revealed(environ))
    store = MongoStore(settings.mongo_url, database=settings.mongo_database, silence_ms=_INDEX_MS_MAX)
    sessions = Sessions(store=store, now=_now, monotonic=time.monotonic, new_id=new_id)
    return Records(store, Founding(store=store, sessions=sessions, now=_now, new_id=new_id))


def _router(settings: Settings, store: MongoStore, hot: HotState, payloads: Payloads) -> Router:
    admissions = Admissions(settings.redis_url, account=settings.account_limits, clock=time.monotonic)
    return Router(
        lookups=Lookups(
            store=store,
            hot=hot,
            admissions=admissions,
            account=settings.account_limits,
            clock=time.monotonic,
        ),
        dispatcher=Dispatcher(
            hosts=HttpHostCalls(time.monotonic),
            admissions=admissions,
            hot=hot,
            clocks=Clocks(monotonic=time.monotonic, unix=time.time),
            dispatching=Dispatching(key=settings.dispatch_key, network=settings.host_network),
            generator=random.Random(),
        ),
        admissions=admissions,
        transfers=Transfers(payloads),
        monotonic=time.monotonic,
    )


def _wait(hot: HotState, seconds: float) -> None:
    """Until somebody wakes the coordinator, but never for less than its least pause."""
    if seconds <= _PAUSE_SECONDS_MIN:
        time.sleep(seconds)
        return
    time.sleep(_PAUSE_SECONDS_MIN)
    try:
        hot.wait_for_wake(seconds - _PAUSE_SECONDS_MIN)
    except DependencyFailed:
        time.sleep(seconds - _PAUSE_SECONDS_MIN)


def new_id() -> str:
    return str(uuid.uuid4())


def new_request_id() -> str:
    """As random as a UUID, and made in a sixth of the time: every request gets one."""
    return os.urandom(16).hex()


def _now() -> datetime:
    """Whole milliseconds: that is what MongoDB keeps."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
