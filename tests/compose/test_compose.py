"""What the compose file promises, as far as it shows without a container engine."""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from chalicelib.contract import limits
from chalicelib.contract.tokens import is_well_formed
from chalicelib.settings import Settings
from host_container.settings import Settings as HostSettings
from infra.compose.gateway import PORT
from infra.compose.redisusers import ROLES
from infra.compose.variables import PROFILES, PROJECT, Store, made
from infra.local.credentials import load_or_create
from infra.local.servers import PORT_NAMES, Layout
from infra.local.settings import StackSettings
from infra.local.stack import Stack
from tests.compose.composed import FILE, ROOT, composed, raw, strings, used

CHOSEN_WHERE_COMPOSE_RUNS = {"LOCALSTACK_AUTH_TOKEN", "MODELROCKET_SANDBOX", "ROCKET_NETWORK"}
PINNED = re.compile(r"[a-z0-9./-]+:[A-Za-z0-9._-]+@sha256:[0-9a-f]{64}")
CONTROL_PLANE = {"gateway": "gateway", "coordinator": "coordinator", "bootstrap": "coordinator"}
"""Services, and their roles."""
HOSTS = ("host-1", "host-2")
STORES = tuple(Store)
WHERE = {
    *("MODELROCKET_MONGO_URL", "MODELROCKET_REDIS_URL", "MODELROCKET_S3_ENDPOINT_URL"),
    *("MODELROCKET_DISPATCH_KEY", "MODELROCKET_HOST_NETWORK", "MODELROCKET_PUBLIC_URL"),
    *("MODELROCKET_CAPACITY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
}
"""What cannot be as on one machine."""
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|_KEY")
KIBIBYTES = {"m": 2**10, "g": 2**20}
MEBIBYTES_LOGGED = 50
_TO_MEMORY = 0.6
"""Of a host's memory, at most, is for models: a load takes several times what the model keeps."""


class Asked(dict[str, str]):
    """An environment that remembers which variables were looked up."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(variables)
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.names.add(key)
        return super().get(key, default)


def services(store: Store = Store.MINIO) -> dict[str, Any]:
    found: dict[str, Any] = composed(store)["services"]
    return found


def everything() -> dict[str, Any]:
    """Of every profile, as it is written."""
    found: dict[str, Any] = raw()["services"]
    return found


def is_once(service: Mapping[str, Any]) -> bool:
    return bool(service["restart"] == "no")


# The file itself


def test_it_is_a_compose_file() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(check, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("store", STORES)
def test_every_variable_is_in_the_environment_file_and_every_one_in_it_is_used(store: Store) -> None:
    generated = set(made(store)) - {PROFILES, PROJECT}  # those are for Compose itself
    assert {variable.name for variable in used() if variable.operator == "?"} == generated
    assert {variable.name for variable in used() if variable.operator != "?"} == CHOSEN_WHERE_COMPOSE_RUNS
    assert all(variable.operator for variable in used())


def test_nothing_secret_is_written_in_it() -> None:
    for name, service in everything().items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable) or "@" in value:
                assert "${" in value, (name, variable)


def test_the_environment_file_is_for_nobody_else() -> None:
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()
    for ignored in (ROOT / ".dockerignore", ROOT / "infra/compose/Dockerfile.dockerignore"):
        assert "*" in ignored.read_text().splitlines()


def test_images_of_others_are_pinned_and_each_of_ours_is_built_once_and_never_pulled() -> None:
    """Two builds of one tag at once end in 'already exists' where containerd keeps the images."""
    built = {one["image"]: name for name, one in everything().items() if "build" in one}
    for name, service in everything().items():
        if built.get(service["image"]) == name:
            assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
            assert service["pull_policy"] == "build", name
        elif service["image"] in built:
            assert "build" not in service and service["pull_policy"] == "never", name
        else:
            assert PINNED.fullmatch(service["image"]), name


def test_no_log_grows_for_ever() -> None:
    for name, service in everything().items():
        options = service["logging"]["options"]
        assert service["logging"]["driver"] == "json-file", name
        assert int(options["max-size"].removesuffix("m")) * int(options["max-file"]) <= MEBIBYTES_LOGGED, name


# Who waits for whom


def test_whatever_stays_says_whether_it_is_well_and_whatever_ends_is_waited_for() -> None:
    waited = {
        name
        for service in everything().values()
        for name, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }
    assert {name for name, service in everything().items() if is_once(service)} == waited
    for name, service in everything().items():
        assert is_once(service) or service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name


def test_nobody_waits_for_what_cannot_come() -> None:
    for name, service in everything().items():
        for other, how in service.get("depends_on", {}).items():
            found = everything()[other]
            if how["condition"] == "service_healthy":
                assert "healthcheck" in found, (name, other)
            else:
                assert how["condition"] == "service_completed_successfully" and is_once(found)
            assert ("profiles" in found) == (how.get("required") is False), (name, other)


def test_they_can_be_started_one_after_the_other() -> None:
    left = {name: set(service.get("depends_on", {})) for name, service in everything().items()}
    while ready := {name for name, waits in left.items() if not waits}:
        left = {name: waits - ready for name, waits in left.items() if name not in ready}
    assert left == {}


def test_the_product_is_served_by_what_was_prepared() -> None:
    """Its indexes and its first account, and users in Redis with the rights that this version gives them."""
    assert services()["gateway"]["depends_on"].keys() >= {"bootstrap", "valkey"}
    assert services()["coordinator"]["depends_on"].keys() >= {"bootstrap", "valkey"}
    assert services()["bootstrap"]["depends_on"].keys() >= {"stores", "valkey"}
    assert set(services()["valkey"]["depends_on"]) == {"redis-users"}


# Who reaches whom


def listens(store: Store) -> dict[str, int]:
    """Services that others connect to, and where they say that they listen."""
    found = services(store)
    valkey, minio = found["valkey"]["command"], found.get("minio", {}).get("command", [])
    localstack = found.get("localstack", {}).get("environment", {}).get("GATEWAY_LISTEN", "")
    ports = {"mongodb": 27017, "gateway": PORT, "valkey": int(valkey[valkey.index("--port") + 1])}
    if minio:
        ports["minio"] = int(minio[minio.index("--address") + 1].removeprefix(":"))
    if localstack:
        ports["localstack"] = int(localstack.partition(":")[2])
    return ports


def addresses(service: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Host and port of each URL of another service in its environment."""
    for variable, value in service.get("environment", {}).items():
        url = urlsplit(value)
        if url.scheme and url.hostname and "PUBLIC" not in variable:
            assert url.port is not None, variable
            yield url.hostname, url.port


def networks(service: Mapping[str, Any]) -> set[str]:
    return set(service.get("networks", ()))


@pytest.mark.parametrize("store", STORES)
def test_every_address_is_of_a_service_that_listens_there_in_the_same_network(store: Store) -> None:
    found = services(store)
    ports, reached = listens(store), set()
    for name, service in found.items():
        for host, port in addresses(service):
            assert ports[host] == port, (name, host)
            assert networks(service) & networks(found[host]), (name, host)
            reached.add(host)
    assert reached == {"mongodb", "valkey", store}


@pytest.mark.parametrize("store", STORES)
def test_only_the_gateway_and_the_store_are_reached_from_this_machine_and_from_no_other(store: Store) -> None:
    published = {name: one["ports"] for name, one in services(store).items() if "ports" in one}
    assert set(published) == {"gateway", store}
    for name, (port,) in published.items():
        address, outside, inside = port.split(":")
        assert address == "127.0.0.1" and int(inside) == listens(store)[name]
        variable = "MODELROCKET_PUBLIC_URL" if name == "gateway" else "MODELROCKET_S3_PUBLIC_URL"
        for service in CONTROL_PLANE:
            assert services(store)[service]["environment"][variable] == f"http://127.0.0.1:{outside}"


def test_all_else_has_networks_without_a_way_out() -> None:
    outside = {name for name, network in raw()["networks"].items() if not network.get("internal")}
    assert outside == {"door"}
    inside = {name for name, service in everything().items() if not networks(service) & outside}
    assert inside == set(everything()) - {"gateway", *STORES}
    assert {network for service in everything().values() for network in networks(service)} == set(
        raw()["networks"]
    )


def test_a_host_never_sees_mongodb() -> None:
    found = services()
    for name in HOSTS:
        assert not networks(found[name]) & networks(found["mongodb"])
        assert not any("mongo" in text.lower() for text in strings(found[name]["environment"]))


# What each is told


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("name", CONTROL_PLANE)
def test_the_control_plane_takes_its_settings_as_they_are_and_no_others_are_given(
    name: str, store: Store
) -> None:
    told = Asked(services(store)[name]["environment"])
    settings = Settings.from_env(told)
    ours = {variable for variable in told if variable.startswith("MODELROCKET_")}
    assert ours - told.names == ({"MODELROCKET_BOOTSTRAP_KEY"} if name == "bootstrap" else set())
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"} == told.keys() - ours
    assert settings.s3_public_url and settings.s3_endpoint_url != settings.s3_public_url


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_takes_its_settings_as_they_are_and_no_others_are_given(name: str) -> None:
    told = Asked(services()[name]["environment"])
    settings = HostSettings.from_env(told)
    assert {variable for variable in told if variable.startswith("MODELROCKET_")} <= told.names
    assert (settings.host_id, settings.sandbox_required) == (name, True)


def test_hosts_and_the_control_plane_are_told_the_same() -> None:
    gateway = Settings.from_env(services()["gateway"]["environment"])
    for name in HOSTS:
        told = services()[name]["environment"]
        host = HostSettings.from_env(told | {"MODELROCKET_DISPATCH_KEY": gateway.dispatch_key.hex()})
        assert host.account == gateway.account_limits
        assert (host.s3_bucket, host.s3_endpoint_url) == (gateway.s3_bucket, gateway.s3_endpoint_url)
        assert ipaddress.ip_address(host.address) in gateway.host_network == host.neighbours
    (key,) = {everything()[name]["environment"]["MODELROCKET_DISPATCH_KEY"] for name in ("gateway", *HOSTS)}
    assert key.startswith("${ROCKET_DISPATCH_KEY")


def test_what_can_be_is_as_on_one_machine(tmp_path: Path) -> None:
    settings = StackSettings.from_env({})
    layout = Layout(
        home=tmp_path,
        ports=dict.fromkeys(PORT_NAMES, 1),
        credentials=load_or_create(tmp_path),
        external=settings.external,
    )
    stack = Stack(settings=settings, layout=layout, environ={})
    for name, role in CONTROL_PLANE.items():
        local, here = stack.control_plane(role), services()[name]["environment"]
        assert {key: here.get(key) for key in local.keys() - WHERE - {"PYTHONUNBUFFERED"}} == {
            key: local[key] for key in local.keys() - WHERE - {"PYTHONUNBUFFERED"}
        }
    policy = json.loads(services()["coordinator"]["environment"]["MODELROCKET_POLICY"])
    assert policy["scaling"] == {"hosts_min": len(HOSTS), "hosts_max": len(HOSTS)}


def test_each_role_has_a_password_of_its_own_and_the_user_file_has_them_all() -> None:
    given = everything()["redis-users"]["environment"]
    assert set(given) == {f"ROCKET_REDIS_{role.upper()}_PASSWORD" for role in ROLES}
    assert len(set(given.values())) == len(given)
    for name, role in {**CONTROL_PLANE, **dict.fromkeys(HOSTS, "host")}.items():
        written = everything()[name]["environment"]["MODELROCKET_REDIS_URL"]
        password = given[f"ROCKET_REDIS_{role.upper()}_PASSWORD"]
        assert written == f"redis://{role}:{password}@valkey:6379/0"


def test_the_root_of_mongodb_is_known_to_who_makes_the_users() -> None:
    know = {name for name, one in everything().items() if "ROCKET_MONGO_ROOT" in str(one)}
    assert know == {"mongodb", "stores"}


def test_mongodb_is_a_replica_set_and_the_platform_writes_to_it_as_one() -> None:
    command = everything()["mongodb"]["command"]
    name = command[command.index("--replSet") + 1]
    for service in (*CONTROL_PLANE, "stores"):
        url = urlsplit(services()[service]["environment"]["MODELROCKET_MONGO_URL"])
        assert f"replicaSet={name}" in url.query.split("&")
        assert url.username == "control_plane"


def test_the_operators_key_is_one() -> None:
    assert is_well_formed(services()["bootstrap"]["environment"]["MODELROCKET_BOOTSTRAP_KEY"])


# What each may do


def test_what_can_be_closed_is() -> None:
    for name, service in everything().items():
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"] and service["pids_limit"], name
        assert not {"privileged", "cap_add", "devices", "pid", "ipc"} & service.keys(), name
        if name != "localstack":  # which installs what it emulates
            assert service["cap_drop"] == ["ALL"] and service["read_only"] is True, name


@pytest.mark.parametrize("network", ["", "192.168.77"])
def test_hosts_have_addresses_that_nobody_else_is_given(network: str) -> None:
    """In the network that was chosen, all of them: another stack may have the usual one."""
    stack = composed(ROCKET_NETWORK=network)
    (pool,) = stack["networks"]["fleet"]["ipam"]["config"]
    subnet, given = ipaddress.ip_network(pool["subnet"]), ipaddress.ip_network(pool["ip_range"])
    assert str(subnet).startswith(network or "10.")
    found = [stack["services"][name] for name in HOSTS]
    own = [ipaddress.ip_address(one["networks"]["fleet"]["ipv4_address"]) for one in found]
    assert [str(one) for one in own] == [one["environment"]["MODELROCKET_HOST_ADDRESS"] for one in found]
    assert len(set(own)) == len(own)
    assert all(one in subnet and one not in given for one in own)
    for name in (*CONTROL_PLANE, *HOSTS):
        assert stack["services"][name]["environment"]["MODELROCKET_HOST_NETWORK"] == str(subnet)


def test_a_host_has_memory_for_what_it_takes_and_time_to_leave() -> None:
    for name in HOSTS:
        service = services()[name]
        amount = service["mem_limit"]
        settings = HostSettings.from_env(service["environment"])
        assert settings.memory_bytes_max <= _TO_MEMORY * int(amount[:-1]) * KIBIBYTES[amount[-1]] * 2**10
        assert int(service["stop_grace_period"].removesuffix("s")) > limits.DRAIN_SECONDS_MAX + 5


def test_what_is_to_be_kept_is_in_a_volume() -> None:
    mounted = {
        name: [
            one if isinstance(one, str) else f"{one['source']}:{one['target']}" for one in found["volumes"]
        ]
        for name, found in everything().items()
        if "volumes" in found
    }
    kept = {name: one for name, volumes in mounted.items() for one in volumes}
    assert {one.partition(":")[0] for volumes in mounted.values() for one in volumes} == set(raw()["volumes"])
    assert (kept["mongodb"], kept["minio"]) == ("mongodb:/data/db", "minio:/data")
    assert "valkey:/data" in mounted["valkey"]
    for name in HOSTS:
        cache = services()[name]["environment"]["MODELROCKET_CACHE_DIR"]
        assert kept[name] == f"{name}:{cache}"
