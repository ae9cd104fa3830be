"""The stores in memory do as the real ones do: the same commands, drawn by a seed, get the same answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import msgspec
import pytest

from chalicelib.contract import limits
from chalicelib.contract.errors import StaleEpoch
from chalicelib.contract.hotstate import CapacityStatus, Demand, HotState
from chalicelib.contract.messages import HostLoad, Replica, ReplicaState, VersionLoad
from chalicelib.ports import CoordinatorStore
from chalicelib.records import Decision
from infra.local.embedded import EmbeddedServers
from tests.simulation.memory import KeptHotState, KeptStore
from tests.support.coordinating import beating, pass_lease, silence
from tests.support.people import fresh_store

HOSTS: Final = ("a", "b", "c")
MODELS: Final = ("m1", "m2")
HOLDERS: Final = ("one", "other")
EPOCHS: Final = 4
COMMANDS: Final = 1_000
DECISIONS: Final = 80
NOW: Final = 1_000_000.0
Command = Callable[[Any], object]


def reached(chance: random.Random) -> Command:
    """One of the commands that coordinators give."""
    host_id, model_id, holder = chance.choice(HOSTS), chance.choice(MODELS), chance.choice(HOLDERS)
    epoch, number = chance.randint(1, EPOCHS), chance.randint(1, 3)
    versions = [f"{one}/v1" for one in MODELS if chance.random() < 0.5]
    gone = [(f"{model_id}/v1", one) for one in HOSTS]
    commands: tuple[Command, ...] = (
        lambda hot: hot.take_lease(holder),
        lambda hot: hot.release_lease(holder),
        lambda hot: hot.raise_epoch(epoch, holder=holder),
        lambda hot: hot.assign(host_id, versions, epoch=epoch),
        lambda hot: hot.forget_silent_host(host_id, silent_seconds=15.0, epoch=epoch),
        lambda hot: hot.drop_replicas_of_gone(model_id, gone, epoch=epoch),
        lambda hot: hot.put_memory(b"%d" % number, epoch=epoch),
        lambda hot: hot.publish_capacity(number, versions, epoch=epoch),
    )
    return chance.choice(commands)


def told(chance: random.Random) -> Command:
    """One of those that hosts, gateways and providers give."""
    host_id, model_id, number = chance.choice(HOSTS), chance.choice(MODELS), chance.randint(1, 3)
    load = HostLoad(2.0, {f"{model_id}/v1": VersionLoad(number, 1.5, 1.0)})
    replica = Replica(host_id, f"boot-{host_id}", ReplicaState.READY)
    commands: tuple[Command, ...] = (
        lambda hot: hot.beat(beating(host_id, in_flight=number), load, number=number),
        lambda hot: hot.beat(beating(host_id)),
        lambda hot: hot.forget_host(host_id),
        lambda hot: hot.count_unmet(model_id),
        lambda hot: hot.put_replica(model_id, f"{model_id}v1", replica),
        lambda hot: hot.put_capacity_status(CapacityStatus(running=(host_id,), ending=HOSTS[:number])),
    )
    return chance.choice(commands)


def next_epoch(above: int, store: CoordinatorStore) -> object:
    return store.next_epoch("me", above=above)


def record(decision: Decision, store: CoordinatorStore) -> None:
    store.record_decision(decision)


def answer(store: Any, command: Command) -> object:
    try:
        return command(store)
    except StaleEpoch:
        return StaleEpoch


def seen(hot: Any) -> tuple[object, ...]:
    """All that can be read, without times: the clocks are not the same."""
    demand: Demand = hot.demand_since(0.0)
    return (
        hot.assignments(HOSTS),
        hot.memory(),
        hot.capacity_wish(),
        hot.capacity_status(),
        sorted((msgspec.structs.replace(beat, at=0.0) for beat in hot.hosts()[1]), key=str),
        {model_id: sorted(found, key=str) for model_id, found in hot.replicas_of(MODELS).items()},
        sorted(((one.host_id, one.boot_id, one.beat, one.load) for one in demand.samples), key=str),
        demand.unmet,
    )


@pytest.mark.parametrize("seed", range(3))
def test_t1b_the_hot_state_in_memory_does_as_the_real_one(
    seed: int, hot: HotState, raw_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        limits, "COORDINATOR_LEASE_SECONDS", 3600.0
    )  # nothing runs out but where it is told to
    chance, kept = random.Random(seed), KeptHotState(lambda: NOW)
    stale = 0
    for number in range(COMMANDS // 3):
        kind = chance.random()
        if kind < 0.02:
            kept.flush()
            raw_redis.flushall()
        elif kind < 0.06:
            kept.run_out()
            if raw_redis.exists("mr:coordinator"):
                pass_lease(raw_redis)
        elif kind < 0.1 and kept.hosts()[1]:
            silent = chance.choice(kept.hosts()[1]).host_id
            kept.fall_silent(silent, seconds=60.0)
            silence(raw_redis, silent)
        else:
            command = reached(chance) if chance.random() < 0.7 else told(chance)
            real = answer(hot, command)
            assert answer(kept, command) == real, f"command {number}"
            stale += real is StaleEpoch
        assert seen(kept) == seen(hot), f"after command {number}"
    assert 0.1 < stale / (COMMANDS // 3) < 0.6, "both were tried"


def test_t1b_the_truth_in_memory_does_as_the_real_one(servers: EmbeddedServers) -> None:
    chance, kept, real = random.Random(1), KeptStore(), fresh_store(servers)

    for number in range(DECISIONS):
        standing, epoch_above = kept.standing(), chance.choice([0, 0, kept.standing().epoch + 3])
        made = Decision(
            id=standing.decisions + chance.choice([0, 1, 1, 2]),
            epoch=standing.epoch - chance.choice([0, 0, 1]),
            at=datetime.now(UTC).replace(microsecond=0),
            changed=False,
            actions=(),
            reasons=(),
            whole=False,
            policy=None,
            entry=b"",
        )
        command = partial(next_epoch, epoch_above) if chance.random() < 0.2 else partial(record, made)
        assert answer(kept, command) == answer(real, command), f"command {number}"
        assert kept.standing() == real.standing()
    assert kept.standing().decisions > DECISIONS / 5, "both were tried"
