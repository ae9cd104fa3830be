"""What is seen of many models in one round trip: where they are loaded, and how preparations stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import redis

from chalicelib.contract.hotstate import keys
from chalicelib.contract.hotstate.connected import Connected, translated
from chalicelib.contract.hotstate.fleet import read_heartbeat, read_quarantines, read_replicas
from chalicelib.contract.hotstate.jobs import read_stage
from chalicelib.contract.messages import Heartbeat, PrepareStage, Replica


@dataclass(frozen=True, slots=True)
class Glance:
    """Of the models and versions that were asked for.

    Attributes:
        now: the server's time, by which the heartbeats' `at` is told.
        replicas: by model id, pairs of version id and replica.
        quarantined: ids of the models' versions that no host may run now.
        stages: by version id, of those that are being prepared.
    """

    now: float
    hosts: tuple[Heartbeat, ...]
    replicas: dict[str, tuple[tuple[str, Replica], ...]]
    quarantined: frozenset[str]
    stages: dict[str, PrepareStage]


class Glances(Connected):
    """One look at what several parts of the hot state say."""

    def glance(self, *, model_ids: Sequence[str], version_ids: Sequence[str]) -> Glance:
        """Replicas of these models, and stages of these versions."""
        with translated(), self._redis.pipeline(transaction=False) as pipe:
            pipe.time().hgetall(keys.HOSTS)
            for model_id in model_ids:
                pipe.hgetall(keys.replicas(model_id))
            for version_id in version_ids:
                pipe.get(keys.job(version_id))
            time, beats, *found = pipe.execute(raise_on_error=False)
            if isinstance(time, redis.RedisError):  # there is nothing wrong under one key, but with all of it
                raise time
        now = time[0] + time[1] / 1e6
        told = (read_heartbeat(raw) for raw in _entries(beats).values())
        by_model = [_entries(raw).items() for raw in found[: len(model_ids)]]
        replicas = (tuple(read_replicas(entries)) for entries in by_model)
        quarantines = (one for entries in by_model for one in read_quarantines(entries))
        stages = (read_stage(raw) for raw in found[len(model_ids) :])
        return Glance(
            now=now,
            hosts=tuple(beat for beat in told if beat is not None),
            replicas=dict(zip(model_ids, replicas, strict=True)),
            quarantined=frozenset(version_id for version_id, until in quarantines if now < until),
            stages={
                version_id: stage
                for version_id, stage in zip(version_ids, stages, strict=True)
                if stage is not None
            },
        )


def _entries(raw: object) -> dict[bytes, bytes]:
    """None where there is something else under that key."""
    return raw if isinstance(raw, dict) else {}
