"""Where ECS has put this host: its name and its address, which nobody knows before its task starts.

A task in a network of its own (`awsvpc`) asks the endpoint that ECS's agent gives to every container.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from host_container.settings import PREFIX

_ENDPOINT: Final = "ECS_CONTAINER_METADATA_URI_V4"
_SECONDS: Final = 2.0
_TRIES: Final = 3


class NotPlaced(Exception):
    """ECS runs this host and does not say where; the message says what is missing."""


class _Labels(msgspec.Struct, frozen=True):
    task_arn: str = msgspec.field(name="com.amazonaws.ecs.task-arn")


class _Network(msgspec.Struct, frozen=True, rename="pascal"):
    network_mode: str
    addresses: tuple[str, ...] = msgspec.field(name="IPv4Addresses", default=())


class _Container(msgspec.Struct, frozen=True, rename="pascal"):
    """As ECS describes it, in version 4 of its metadata."""

    labels: _Labels
    networks: tuple[_Network, ...]


def placed(environ: Mapping[str, str]) -> Mapping[str, str]:
    """`environ`, and in a task of ECS's the host's id and address; what it says itself stays.

    Raises NotPlaced.
    """
    endpoint = environ.get(_ENDPOINT)
    told = {name: value for name, value in environ.items() if value}
    if not endpoint or {PREFIX + "HOST_ID", PREFIX + "HOST_ADDRESS"} <= told.keys():
        return environ
    container = _described(endpoint)
    own = [network for network in container.networks if network.network_mode == "awsvpc"]
    if not own or not own[0].addresses:
        raise NotPlaced("This task has no address of its own: run it in the network mode awsvpc.")
    found = {
        PREFIX + "HOST_ID": container.labels.task_arn.rpartition("/")[2],
        PREFIX + "HOST_ADDRESS": own[0].addresses[0],
    }
    return found | told


def _described(endpoint: str) -> _Container:
    problem: Exception | None = None
    for _ in range(_TRIES):
        try:
            return msgspec.json.decode(_asked(endpoint), type=_Container)
        except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
            problem = error
    raise NotPlaced(f"ECS's agent does not say which task this is: {problem}") from problem


def _asked(endpoint: str) -> bytes:
    url = urlsplit(endpoint)
    connection = http.client.HTTPConnection(url.netloc, timeout=_SECONDS)
    try:
        connection.request("GET", url.path)
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise http.client.HTTPException(f"status {response.status}")
        return response.read()
    finally:
        connection.close()
