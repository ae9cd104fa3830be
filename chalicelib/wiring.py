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

from chalicelib.adapters.hosts import HttpHostCalls
from chalicelib.adapters.mongo import MongoStore
from chalicelib.adapters.s3 import S3Objects
from chalicelib.arrivals import Arrivals
from chalicelib.auth import Auth
from chalicelib.contract import limits
from chalicelib.contract.hotstate import HotState
from chalicelib.coordinator.planner import Policy
from chalicelib.deletion import Deletion
from chalicelib.models import Models
from chalicelib.reconciler import Loop, Reconciler, UseCases
from chalicelib.routing import Clocks, Dispatching, Router
from chalicelib.settings import Settings
from chalicelib.traffic import Traffic
from chalicelib.uploads import Uploads

_REDIS_SECONDS_MAX: Final = 1.0


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Every use case, ready to call."""

    settings: Settings
    store: MongoStore
    hot: HotState
    objects: S3Objects
    auth: Auth
    uploads: Uploads
    models: Models
    traffic: Traffic
    deletion: Deletion
    router: Router
    reconciler: Reconciler


@lru_cache(maxsize=1)
def control_plane() -> ControlPlane:
    """This process's own, from its environment. No connection is made before first use."""
    return build(os.environ)


def build(environ: Mapping[str, str]) -> ControlPlane:
    """Raises InvalidSettings."""
    settings = Settings.from_env(environ)
    store = MongoStore(settings.mongo_url, database=settings.mongo_database)
    hot = HotState.connect(settings.redis_url, timeout_seconds=_REDIS_SECONDS_MAX)
    objects = S3Objects(settings.s3_bucket, endpoint_url=settings.s3_endpoint_url)
    traffic = Traffic(store=store, hot=hot, now=_now, replicas_per_model=limits.REPLICAS_PER_MODEL)
    arrivals = Arrivals(store=store, objects=objects, part_bytes=settings.upload_part_bytes)
    uploads = Uploads(store=store, arrivals=arrivals, hot=hot, traffic=traffic, now=_now, new_id=new_id)
    deletion = Deletion(
        store=store, objects=objects, hot=hot, now=_now, retention_seconds=settings.retention_seconds
    )
    return ControlPlane(
        settings=settings,
        store=store,
        hot=hot,
        objects=objects,
        auth=Auth(store=store, hot=hot, now=_now, new_id=new_id),
        uploads=uploads,
        models=Models(store=store),
        traffic=traffic,
        deletion=deletion,
        router=Router(
            store=store,
            hot=hot,
            hosts=HttpHostCalls(),
            clocks=Clocks(monotonic=time.monotonic, unix=time.time),
            dispatching=Dispatching(key=settings.dispatch_key, network=settings.host_network),
            generator=random.Random(),
        ),
        reconciler=Reconciler(
            store=store,
            hot=hot,
            cases=UseCases(uploads=uploads, traffic=traffic, deletion=deletion),
            policy=Policy(
                replicas_per_model=limits.REPLICAS_PER_MODEL, host_dead_seconds=limits.HOST_DEAD_SECONDS
            ),
            loop=Loop(
                tick_seconds=settings.tick_seconds,
                loop_seconds=settings.loop_seconds,
                monotonic=time.monotonic,
                wait=time.sleep,
            ),
        ),
    )


def new_id() -> str:
    return str(uuid.uuid4())


def _now() -> datetime:
    """Whole milliseconds: that is what MongoDB keeps."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
