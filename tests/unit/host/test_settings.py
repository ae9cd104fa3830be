"""Settings: everything wrong is named at once, and no secret is repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from chalicelib.contract.limiting import AccountLimits
from host_container.providers import Provider
from host_container.settings import InvalidSettings, Isolation, Settings

GOOD = {
    "MODELROCKET_HOST_ID": "host-1",
    "MODELROCKET_HOST_ADDRESS": "127.0.0.1",
    "MODELROCKET_HOST_PORT": "9001",
    "MODELROCKET_REDIS_URL": "redis://host:secret@127.0.0.1:6379/0",
    "MODELROCKET_S3_BUCKET": "models",
    "MODELROCKET_DISPATCH_KEY": "0f" * 32,
    "MODELROCKET_CACHE_DIR": "/var/cache/host",
}


def test_defaults_are_two_gib_of_memory_and_five_times_that_on_disk() -> None:
    settings = Settings.from_env(GOOD)
    assert settings == Settings(
        host_id="host-1",
        address="127.0.0.1",
        port=9001,
        redis_url="redis://host:secret@127.0.0.1:6379/0",
        s3_bucket="models",
        s3_endpoint_url=None,
        dispatch_key=bytes.fromhex("0f" * 32),
        cache_dir=Path("/var/cache/host"),
        memory_bytes_max=2 * 2**30,
        disk_bytes_max=10 * 2**30,
        worker_memory_bytes_max=4 * 2**30 + 512 * 2**20,
        isolation=Isolation.TENANT,
        sandbox_required=True,
        provider=None,
        gpu_memory_bytes_max=None,
    )


def test_other_hosts_are_near_unless_it_is_said_where() -> None:
    assert str(Settings.from_env(GOOD | {"MODELROCKET_HOST_ADDRESS": "10.1.2.3"}).neighbours) == "10.1.0.0/16"
    told = Settings.from_env(GOOD | {"MODELROCKET_HOST_NETWORK": "10.0.0.0/8"})
    assert str(told.neighbours) == "10.0.0.0/8"


def test_an_accounts_limits_are_those_of_the_gateways() -> None:
    told = {"MODELROCKET_ACCOUNT_REQUESTS_PER_SECOND": "50", "MODELROCKET_ACCOUNT_CONCURRENCY": "7"}
    assert Settings.from_env(GOOD | told).account == AccountLimits.of(50, 7)


def test_the_disk_follows_the_memory() -> None:
    settings = Settings.from_env(GOOD | {"MODELROCKET_MEMORY_BYTES_MAX": "1000"})
    assert (settings.memory_bytes_max, settings.disk_bytes_max) == (1000, 5000)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_env({})
    assert len(caught.value.problems) == 7


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("HOST_ID", "a/b", id="a host id is a plain word"),
        pytest.param("HOST_ADDRESS", "example.org", id="an address is no name"),
        pytest.param("HOST_PORT", "70000", id="a port fits 16 bits"),
        pytest.param("HOST_NETWORK", "10.0.0.1/8", id="a network has no host bits"),
        pytest.param("ACCOUNT_REQUESTS_PER_SECOND", "nan", id="a rate is a number"),
        pytest.param("ACCOUNT_CONCURRENCY", "0", id="a cap is above 0"),
        pytest.param("HOST_SLOTS", "0.001", id="a host takes something"),
        pytest.param("HOST_SLOTS", "inf", id="slots are a number"),
        pytest.param("HOST_PORT", "http", id="a port is a number"),
        pytest.param("REDIS_URL", "http://x", id="redis speaks redis"),
        pytest.param("S3_ENDPOINT_URL", "s3://x", id="S3 speaks HTTP"),
        pytest.param("DISPATCH_KEY", "secret", id="a key is 64 hexadecimal characters"),
        pytest.param("MEMORY_BYTES_MAX", "0", id="no memory is too little"),
        pytest.param("DISK_BYTES_MAX", "2GB", id="bytes are a number"),
        pytest.param("PROVIDER", "rocm", id="a provider that is known"),
        pytest.param("GPU_MEMORY_BYTES_MAX", "0", id="no memory of a GPU is too little"),
    ],
)
def test_a_wrong_value_is_named_and_not_repeated(name: str, value: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_env(GOOD | {f"MODELROCKET_{name}": value})
    (problem,) = caught.value.problems
    assert problem.startswith(f"MODELROCKET_{name} ")
    assert value not in problem.removeprefix(f"MODELROCKET_{name}") or value == "0"


def test_secrets_are_not_shown() -> None:
    shown = repr(Settings.from_env(GOOD))
    assert "secret" not in shown
    assert "\\x0f" not in shown


def test_isolation_and_sandbox_are_chosen_by_name() -> None:
    settings = Settings.from_env(
        GOOD | {"MODELROCKET_ISOLATION": "model", "MODELROCKET_SANDBOX": "preferred"}
    )
    assert (settings.isolation, settings.sandbox_required) == (Isolation.MODEL, False)
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_env(GOOD | {"MODELROCKET_ISOLATION": "none", "MODELROCKET_SANDBOX": "off"})
    assert len(caught.value.problems) == 2


def test_a_provider_is_chosen_by_name_and_none_by_auto() -> None:
    wanted = {"MODELROCKET_PROVIDER": "cuda", "MODELROCKET_GPU_MEMORY_BYTES_MAX": "4096"}
    settings = Settings.from_env(GOOD | wanted)
    assert (settings.provider, settings.gpu_memory_bytes_max) == (Provider.CUDA, 4096)
    assert Settings.from_env(GOOD | {"MODELROCKET_PROVIDER": "auto"}).provider is None
