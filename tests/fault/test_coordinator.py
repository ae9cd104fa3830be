"""Ticks that come twice, late, at once, or to half of their end, over the real stores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import pytest
import redis
from pymongo.collection import Collection

from chalicelib.adapters.capacity_local import LocalCapacity
from chalicelib.auth import Principal
from chalicelib.contract.hotstate.capacity import CapacityStatus
from chalicelib.coordinator.planner import Assign, Policy, SetCapacity
from chalicelib.records import Decision, Version
from chalicelib.wiring import ControlPlane
from chalicelib.world import Remembered
from tests.support.coordinating import beating, coordinator, pass_lease, silence, tell
from tests.support.hosts import ROOT
from tests.support.uploads import deployed

POLICY: Final = msgspec.json.decode(b'{"scaling": {"hosts_min": 3, "hosts_max": 4}}', type=Policy)
WRITES: Final = frozenset(
    ("DEL", "EVALSHA", "HDEL", "HSET", "RPUSH", "SADD", "SET", "SREM", "XACK", "XADD", "XDEL", "ZADD")
)
TRUTH_WRITES: Final = ("insert_one", "update_one", "update_many", "delete_one", "delete_many", "bulk_write")


class Killed(BaseException):
    """The process ends here."""


class Fleet:
    """Two hosts that live, one that died with the only copy of a model in use, and three wanted."""

    def __init__(self, plane: ControlPlane, owner: Principal, raw_redis: Any) -> None:
        self.plane = plane
        self.raw_redis = raw_redis
        self.versions: list[Version] = [
            deployed(plane, owner, b"model bytes %d" % number, name=f"model-{number}") for number in range(3)
        ]
        self.started = 0

    def begin(self) -> None:
        """As after a coordinator that saw all three hosts."""
        self.raw_redis.flushall()
        self.beat()
        self.plane.hot.beat(beating("gone"))
        self.tick()
        pass_lease(self.raw_redis)
        asked = {version.id: (20, 0.5) for version in self.versions}
        self.beat(asked)
        silence(self.raw_redis, "gone")
        self.plane.hot.forget_capacity_wish()
        self.plane.hot.assign("gone", [self.versions[0].id], epoch=self.epoch)
        for host_id in "ab":
            self.plane.hot.assign(host_id, [self.versions[1].id], epoch=self.epoch)

    @property
    def epoch(self) -> int:
        return int(self.raw_redis.hget("mr:coordinator", "epoch"))

    def beat(self, load: dict[str, tuple[int, float]] | None = None) -> None:
        for host_id in "ab":
            self.started += 1
            tell(self.plane.hot, host_id, load or {}, number=self.started)
        self.plane.hot.put_capacity_status(CapacityStatus(running=("a", "b")))

    def tick(self, policy: Policy = POLICY) -> Decision | None:
        """Of a new process."""
        self.started += 1
        capacity = LocalCapacity(self.plane.hot)
        return coordinator(self.plane, f"c{self.started}", capacity=capacity, policy=policy).tick()

    def assigned(self) -> dict[str, tuple[str, ...]]:
        hosts = [host.host_id for host in self.plane.hot.hosts()[1]]
        return self.plane.hot.assignments(hosts)

    def copies(self) -> dict[str, int]:
        """Of each model on hosts that live."""
        held = [versions for host_id, versions in self.assigned().items() if host_id != "gone"]
        return {one.id: sum(one.id in versions for versions in held) for one in self.versions}

    def contents(self) -> dict[bytes, Any]:
        """All that a coordinator writes, without its lease."""
        kept = [key for key in self.raw_redis.keys("*") if key != b"mr:coordinator"]
        return {key: self.raw_redis.dump(key) for key in kept} | {b"epoch": self.epoch}


@pytest.fixture
def fleet(plane: ControlPlane, alice: Principal, raw_redis: Any) -> Fleet:
    fleet = Fleet(plane, alice, raw_redis)
    fleet.begin()
    return fleet


def converged(fleet: Fleet) -> None:
    wish = fleet.plane.hot.capacity_wish()
    assert set(fleet.assigned()) == {"a", "b"}, "the dead host is forgotten"
    assert all(fleet.copies().values()), "every model that is asked for has a copy"
    assert wish is not None and wish.hosts == 3
    assert wish.ending == ()


def test_f02_a_flushed_hot_state_scales_nothing_in(fleet: Fleet) -> None:
    """Hosts come back before they tell of their load, and models before anybody is known to want them."""
    free = msgspec.json.decode(b'{"scaling": {"hosts_min": 0, "hosts_max": 4}}', type=Policy)
    fleet.tick(free)
    fleet.raw_redis.flushall()
    fleet.plane.hot.put_capacity_status(CapacityStatus(running=("a", "b", "c")))
    decisions = [fleet.tick(free)]
    for host_id in "abc":
        fleet.plane.hot.beat(beating(host_id))
    decisions += [fleet.tick(free) for _ in range(3)]
    assert all(decisions)
    wishes = [one for each in decisions if each for one in each.actions if isinstance(one, SetCapacity)]
    assert all(wish.hosts >= 3 and wish.ending == () for wish in wishes), wishes
    assert all(fleet.copies().values())


@pytest.mark.parametrize("stands", ["0", "41", "junk", None])
def test_f03_after_a_failover_the_epoch_of_the_truth_stands_again(fleet: Fleet, stands: str | None) -> None:
    """Redis was put back to an earlier time, or MongoDB was."""
    going_on = coordinator(fleet.plane, "going on")
    assert going_on.tick() is not None
    if stands is None:
        fleet.raw_redis.delete("mr:coordinator")
    else:
        fleet.raw_redis.hset("mr:coordinator", "epoch", stands)
    assert going_on.tick() is not None
    assert fleet.epoch == fleet.plane.store.standing().epoch
    assert fleet.tick() is not None


def test_f47_a_tick_that_comes_twice_does_nothing_the_second_time(fleet: Fleet) -> None:
    first = fleet.tick()
    assert first is not None and {type(one).__name__ for one in first.actions} == {
        "Assign",
        "ForgetHost",
        "SetCapacity",
    }
    converged(fleet)
    before = fleet.assigned()
    second = fleet.tick()
    assert second is not None and [one for one in second.actions if not isinstance(one, SetCapacity)] == []
    assert fleet.assigned() == before
    converged(fleet)


def test_f48_while_one_coordinator_has_the_lease_another_ones_tick_does_nothing(fleet: Fleet) -> None:
    assert fleet.plane.hot.take_lease("somebody else").mine
    before = fleet.contents()
    assert fleet.tick() is None
    assert fleet.contents() == before


@pytest.mark.parametrize("where", ["planned", "recorded"])
def test_f48_a_coordinator_that_was_stopped_past_its_lease_changes_nothing_when_it_goes_on(
    fleet: Fleet, where: str
) -> None:
    with stopped_coordinator(fleet.plane, where) as process:
        pass_lease(fleet.raw_redis)
        fleet.beat()
        fleet.plane.hot.beat(beating("c"))  # the world has moved on: what the stopped one planned is wrong
        assert fleet.tick() is not None
        before, decided = fleet.contents(), fleet.plane.store.standing()
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=60)[0].split() == ["nothing"]
    assert fleet.contents() == before
    assert fleet.plane.store.standing() == decided


@contextmanager
def stopped_coordinator(plane: ControlPlane, where: str) -> Iterator[subprocess.Popen[str]]:
    """Once it has stopped."""
    settings = plane.settings
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MODELROCKET_")},
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "client"))),
        "MODELROCKET_MONGO_URL": settings.mongo_url,
        "MODELROCKET_MONGO_DATABASE": settings.mongo_database,
        "MODELROCKET_REDIS_URL": settings.redis_url,
        "MODELROCKET_S3_BUCKET": settings.s3_bucket,
        "MODELROCKET_S3_ENDPOINT_URL": settings.s3_endpoint_url or "",
        "MODELROCKET_DISPATCH_KEY": settings.dispatch_key.hex(),
        "MODELROCKET_PUBLIC_URL": settings.public_url,
        "MODELROCKET_HOST_NETWORK": str(settings.host_network),
        "AWS_ACCESS_KEY_ID": "unused",
        "AWS_SECRET_ACCESS_KEY": "unused",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-m", "tests.support.stopped_coordinator", where]
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status), status
            yield process
        finally:
            process.kill()


def test_f49_the_first_tick_after_ten_minutes_takes_nothing_away(fleet: Fleet) -> None:
    fleet.tick()
    hot = fleet.plane.hot
    remembered = msgspec.msgpack.decode(zlib.decompress(hot.memory() or b""), type=Remembered)
    old = aged(remembered, seconds=600)
    hot.put_memory(zlib.compress(msgspec.msgpack.encode(old)), epoch=fleet.epoch)
    before = fleet.copies()
    decision = fleet.tick()
    assert decision is not None
    assert all(count >= before[version_id] for version_id, count in fleet.copies().items())
    converged(fleet)


def aged(remembered: Remembered, *, seconds: float) -> Remembered:
    memory = remembered.memory
    models = {
        model_id: msgspec.structs.replace(
            one,
            used_at=one.used_at - seconds,
            used_before=one.used_before - seconds,
            since=one.since - seconds,
        )
        for model_id, one in memory.models.items()
    }
    memory = msgspec.structs.replace(
        memory, at=memory.at - seconds, began_at=memory.began_at - seconds, models=models
    )
    return Remembered(remembered.schema, remembered.demand_at - seconds, memory)


class Deaths:
    """Ends the process before its nth write, and before every one that it tries after that."""

    def __init__(self, patch: pytest.MonkeyPatch, *, at: int) -> None:
        self.left = at
        self._command: Any = redis.Redis.execute_command
        self._pipeline: Any = redis.client.Pipeline.execute
        patch.setattr(redis.Redis, "execute_command", self._commanded())
        patch.setattr(redis.client.Pipeline, "execute", self._piped())
        for name in TRUTH_WRITES:
            patch.setattr(Collection, name, self._written(getattr(Collection, name)))

    def _write(self) -> None:
        self.left -= 1
        if self.left <= 0:
            raise Killed

    def _commanded(self) -> Any:
        def execute(client: Any, *arguments: Any, **options: Any) -> Any:
            if str(arguments[0]).upper() in WRITES:
                self._write()
            return self._command(client, *arguments, **options)

        return execute

    def _piped(self) -> Any:
        def execute(pipeline: Any, *arguments: Any, **options: Any) -> Any:
            if any(str(command[0][0]).upper() in WRITES for command in pipeline.command_stack):
                self._write()
            return self._pipeline(pipeline, *arguments, **options)

        return execute

    def _written(self, method: Any) -> Any:
        def write(collection: Any, *arguments: Any, **options: Any) -> Any:
            self._write()
            return method(collection, *arguments, **options)

        return write


def test_f50_a_tick_that_dies_before_any_of_its_writes_is_made_up_for_by_the_next(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = 0
    while True:
        fleet.begin()
        before = fleet.copies()
        with monkeypatch.context() as patch:
            deaths = Deaths(patch, at=died + 1)
            try:
                fleet.tick()
                break
            except Killed:
                died += 1
        assert deaths.left <= 0
        lost = {one: count for one, count in fleet.copies().items() if count < min(1, before[one])}
        assert lost == {}, f"after write {died} a model had lost its only copy"
        pass_lease(fleet.raw_redis)
        fleet.beat()
        assert fleet.tick() is not None
        converged(fleet)
    assert died > 15, "it is known what a write is"


def test_f54_a_memory_of_another_release_is_none(fleet: Fleet) -> None:
    newer = {"schema": 2, "demand_at": 0.0, "memory": {"x": 1}}
    misfit = {"schema": 1, "demand_at": 0.0, "memory": {"models": []}}
    packed = (zlib.compress(msgspec.msgpack.encode(one)) for one in (newer, misfit))
    for memory in (b"", b"junk", zlib.compress(b"junk"), *packed):
        fleet.raw_redis.set("mr:coordinator:memory", memory)
        fleet.beat()
        assert fleet.tick() is not None
        converged(fleet)


def test_f54_a_memory_that_is_no_text_and_a_heartbeat_of_another_release_are_none(fleet: Fleet) -> None:
    fleet.raw_redis.delete("mr:coordinator:memory")
    fleet.raw_redis.sadd("mr:coordinator:memory", "x")
    fleet.raw_redis.hset("mr:hosts", "strange", b'1.0|{"host_id": 5}')
    decision = fleet.tick()
    assert decision is not None
    assert "strange" not in {one.host_id for one in decision.actions if isinstance(one, Assign)}


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"memory_bytes_max": 10**30}, id="memory"),
        pytest.param({"in_flight": 10**400}, id="requests in flight"),
        pytest.param({"memory_bytes_used": -1}, id="less than nothing"),
    ],
)
def test_f07_a_host_that_says_what_cannot_be_keeps_no_other_from_its_work(
    fleet: Fleet, said: dict[str, int]
) -> None:
    beat = msgspec.json.decode(msgspec.json.encode(beating("absurd"))) | said
    seconds, _ = fleet.raw_redis.time()
    fleet.raw_redis.hset("mr:hosts", "absurd", f"{seconds}.0|{json.dumps(beat)}")
    assert fleet.tick() is not None
    converged(fleet)


@pytest.mark.parametrize("key", ["mr:prepare", "mr:capacity", "mr:capacity:boot"])
def test_f07_a_key_of_another_kind_keeps_no_host_from_its_work(fleet: Fleet, key: str) -> None:
    fleet.raw_redis.delete(key)
    fleet.raw_redis.sadd(key, "x")
    assert fleet.tick() is not None
    converged(fleet)
