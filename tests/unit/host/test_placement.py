"""A host in a task of ECS's learns who and where it is, and so does what asks for its health."""

from __future__ import annotations

import pytest

from host_container.healthcheck import healthy
from host_container.placement import NotPlaced, placed
from tests.support.ecs_agent import OWN, TASK_ID, answering, container, endpoint


def task(port: int) -> dict[str, str]:
    return endpoint(port) | {"MODELROCKET_HOST_PORT": "8080"}


def test_its_id_is_its_tasks_and_its_address_the_tasks_own() -> None:
    with answering(container()) as port:
        found = placed(task(port))
    assert found == task(port) | {
        "MODELROCKET_HOST_ID": TASK_ID,
        "MODELROCKET_HOST_ADDRESS": "10.60.17.4",
    }


def test_elsewhere_nothing_is_asked_and_nothing_is_added() -> None:
    assert placed({"MODELROCKET_HOST_PORT": "8080"}) == {"MODELROCKET_HOST_PORT": "8080"}


def test_what_it_was_told_stays() -> None:
    with answering(container()) as port:
        found = placed(task(port) | {"MODELROCKET_HOST_ID": "mine"})
    assert (found["MODELROCKET_HOST_ID"], found["MODELROCKET_HOST_ADDRESS"]) == ("mine", "10.60.17.4")


@pytest.mark.parametrize(
    "networks", [[], [{"NetworkMode": "host"}], [{"NetworkMode": "awsvpc", "IPv4Addresses": []}]]
)
def test_a_task_without_an_address_of_its_own_is_told_what_to_do(networks: list[object]) -> None:
    with answering(container(Networks=networks)) as port, pytest.raises(NotPlaced, match="awsvpc"):
        placed(task(port))


@pytest.mark.parametrize(
    ("answer", "status"), [(container(), 500), ({"Networks": [OWN]}, 200), (["nonsense"], 200)]
)
def test_an_agent_that_does_not_say_is_not_guessed_for(answer: object, status: int) -> None:
    with answering(answer, status) as port, pytest.raises(NotPlaced, match="which task this is"):
        placed(task(port))


def test_an_agent_that_is_away_is_not_waited_for() -> None:
    with answering({}) as port:
        pass
    with pytest.raises(NotPlaced, match="which task this is"):
        placed(task(port))


@pytest.mark.parametrize(("status", "expected"), [(200, True), (503, False)])
def test_a_host_is_healthy_where_it_says_so(status: int, expected: bool) -> None:
    with answering({}, status) as host, answering(container(Networks=[OWN | here()])) as agent:
        assert healthy(task(agent) | {"MODELROCKET_HOST_PORT": str(host)}) is expected


def test_a_host_that_is_not_there_is_not_healthy() -> None:
    with answering({}) as gone:
        pass
    environ = {"MODELROCKET_HOST_ID": "a", "MODELROCKET_HOST_ADDRESS": "127.0.0.1"}
    assert not healthy(environ | {"MODELROCKET_HOST_PORT": str(gone)})
    assert not healthy({})


def here() -> dict[str, list[str]]:
    return {"IPv4Addresses": ["127.0.0.1"]}
