"""Hosts as tasks of an ECS service: the count is set, and only hosts that may go do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import msgspec
import pytest
from moto import mock_aws

from chalicelib.adapters.capacity_ecs import EcsCapacity, ecs_client
from chalicelib.contract.errors import DependencyFailed, StaleEpoch
from chalicelib.contract.hotstate import CapacityWish, HotState
from chalicelib.contract.messages import Heartbeat, HostState
from chalicelib.coordinator.state import CapacityView
from tests.support.coordinating import take_over
from tests.support.ecs import EcsServer, EcsService, running_ecs

EPOCH = 4
HOST = Heartbeat("", "boot", "10.0.0.1", 1, HostState.READY, 1, 0, 0, 0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        yield


@pytest.fixture(scope="module")
def server(environment: None) -> Iterator[EcsServer]:
    with running_ecs() as running:
        yield running


@pytest.fixture(scope="module")
def client(server: EcsServer) -> Any:
    return ecs_client(endpoint_url=server.url)


@pytest.fixture
def ecs(server: EcsServer) -> EcsService:
    server.service = EcsService()
    return server.service


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def capacity(ecs: EcsService, client: Any, hot: HotState, clock: Clock) -> EcsCapacity:
    take_over(hot, epoch=EPOCH)
    return EcsCapacity(client, cluster="rocket", service="hosts", hot=hot, clock=clock)


def register(hot: HotState, *host_ids: str) -> None:
    for host_id in host_ids:
        hot.beat(msgspec.structs.replace(HOST, host_id=host_id))


def run(ecs: EcsService, hot: HotState, hosts: int) -> list[str]:
    """So many tasks, each a host that has registered; the oldest first."""
    ecs.desired = hosts
    ecs.settle()
    register(hot, *ecs.tasks)
    return list(ecs.tasks)


def test_the_count_is_set_and_a_second_time_nothing_is_called(
    ecs: EcsService, capacity: EcsCapacity, hot: HotState
) -> None:
    for _ in range(2):
        capacity.set(4, ending=(), epoch=EPOCH)
    assert (ecs.desired, ecs.calls) == (4, ["UpdateService"])
    ecs.settle()
    assert capacity.status() == CapacityView(4, tuple(sorted(ecs.tasks)))
    assert hot.capacity_wish() == CapacityWish(4, (), EPOCH)


def test_of_many_tasks_those_that_may_go_do(ecs: EcsService, capacity: EcsCapacity, hot: HotState) -> None:
    tasks = run(ecs, hot, 14)
    going = [tasks[5], tasks[9]]
    ecs.protected.add(tasks[9])  # of an earlier time

    capacity.set(12, ending=going, epoch=EPOCH)
    view = capacity.status()
    ecs.settle()

    assert sorted(ecs.stopped) == sorted(going)
    assert view == CapacityView(12, tuple(one for one in tasks if one not in going), tuple(sorted(going)))
    assert capacity.status() == CapacityView(12, tuple(one for one in tasks if one not in going))


def test_a_host_that_is_not_named_does_not_go(ecs: EcsService, capacity: EcsCapacity, hot: HotState) -> None:
    tasks = run(ecs, hot, 3)
    capacity.set(1, ending=tasks[2:], epoch=EPOCH)
    ecs.settle()
    assert (ecs.tasks, ecs.desired) == (tasks[:2], 2)  # protection is over some day


def test_tasks_that_never_became_hosts_do_not_stay(
    ecs: EcsService, capacity: EcsCapacity, hot: HotState
) -> None:
    first = run(ecs, hot, 1)
    ecs.desired = 3
    ecs.settle()
    capacity.set(1, ending=(), epoch=EPOCH)
    ecs.settle()
    assert ecs.tasks == first


def test_for_a_host_that_goes_while_as_many_are_wished_another_comes(
    ecs: EcsService, capacity: EcsCapacity, hot: HotState
) -> None:
    tasks = run(ecs, hot, 2)
    capacity.set(2, ending=tasks[1:], epoch=EPOCH)
    ecs.settle()
    assert ecs.stopped == tasks[1:]
    assert (len(ecs.tasks), ecs.tasks[0]) == (2, tasks[0])


def test_the_count_is_not_lowered_while_a_host_that_stays_cannot_be_protected(
    ecs: EcsService, capacity: EcsCapacity, hot: HotState
) -> None:
    tasks = run(ecs, hot, 2)
    ecs.unprotectable = {tasks[0]}
    with pytest.raises(DependencyFailed):
        capacity.set(1, ending=tasks[1:], epoch=EPOCH)
    assert ecs.desired == 2


def test_s8_a_coordinator_that_was_replaced_tells_ecs_nothing(ecs: EcsService, capacity: EcsCapacity) -> None:
    with pytest.raises(StaleEpoch):
        capacity.set(9, ending=(), epoch=EPOCH - 1)
    assert (ecs.desired, ecs.calls) == (0, [])


def test_f51_what_ecs_accepts_and_does_not_start_is_not_asked_for_again(
    ecs: EcsService, capacity: EcsCapacity
) -> None:
    ecs.starts = False
    for _ in range(3):
        capacity.set(2, ending=(), epoch=EPOCH)
        ecs.settle()
        assert capacity.status() == CapacityView(2, ())  # it shows that they are missing
    assert (ecs.desired, ecs.calls) == (2, ["UpdateService"])


def test_f51_a_service_that_throttles_is_left_alone_for_longer_and_longer(
    ecs: EcsService, capacity: EcsCapacity, clock: Clock
) -> None:
    ecs.throttled = True
    for seconds in (10, 20, 40, 80, 160, 160):
        before = ecs.refused
        assert capacity.status() is None
        assert ecs.refused > before
        asked = ecs.refused
        clock.now += seconds - 1
        assert capacity.status() is None
        with pytest.raises(DependencyFailed):
            capacity.set(3, ending=(), epoch=EPOCH)
        assert ecs.refused == asked
        clock.now += 1

    ecs.throttled = False
    capacity.set(3, ending=(), epoch=EPOCH)
    assert ecs.desired == 3
    ecs.throttled = True
    assert capacity.status() is None
    clock.now += 10
    ecs.throttled = False
    assert capacity.status() == CapacityView(3, ())


def test_moto_takes_it_for_the_real_thing(hot: HotState, clock: Clock) -> None:
    take_over(hot, epoch=EPOCH)
    with mock_aws():
        raw = boto3.client("ecs")
        raw.create_cluster(clusterName="rocket")
        raw.register_task_definition(
            family="host", containerDefinitions=[{"name": "host", "image": "host", "memory": 1}]
        )
        capacity = EcsCapacity(ecs_client(), cluster="rocket", service="hosts", hot=hot, clock=clock)
        assert capacity.status() is None  # there is no such service
        raw.create_service(cluster="rocket", serviceName="hosts", taskDefinition="host", desiredCount=2)
        clock.now += 10

        assert capacity.status() == CapacityView(2, ())
        for count in (5, 5, 1):
            capacity.set(count, ending=(), epoch=EPOCH)
            assert capacity.status() == CapacityView(count, ())
