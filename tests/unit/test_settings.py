"""The control plane's environment."""

from __future__ import annotations

import pytest

from chalicelib.contract import limits
from chalicelib.prices import Prices
from chalicelib.published import QuotaLimits, published
from chalicelib.settings import (
    AccountQuotas,
    CapacityKind,
    GaugesKind,
    HashCost,
    InvalidSettings,
    Settings,
    SignUpMode,
)

ENVIRON = {
    "MODELROCKET_MONGO_URL": "mongodb://127.0.0.1:1/",
    "MODELROCKET_REDIS_URL": "redis://127.0.0.1:2/0",
    "MODELROCKET_S3_BUCKET": "models",
    "MODELROCKET_DISPATCH_KEY": "00ff",
    "MODELROCKET_PUBLIC_URL": "http://127.0.0.1:5000/",
    "MODELROCKET_HOST_NETWORK": "10.0.0.0/16",
}


def test_a_complete_environment_is_read() -> None:
    settings = Settings.from_env(ENVIRON)
    assert settings.dispatch_key == b"\x00\xff"
    assert settings.public_url == "http://127.0.0.1:5000"
    assert settings.s3_endpoint_url is None
    assert settings.tick_seconds == 10


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(InvalidSettings) as refused:
        Settings.from_env({})
    assert {line.split(":")[0] for line in str(refused.value).splitlines()} == set(ENVIRON)


@pytest.mark.parametrize("given", ["short", "k" * 129, "k" * 31 + " ", "k" * 40 + "\n", "é" * 40])
def test_a_key_that_no_header_holds_or_somebody_guesses_is_refused_and_not_repeated(given: str) -> None:
    with pytest.raises(InvalidSettings, match="MODELROCKET_EDGE_KEY: 32 to 128 letters") as refused:
        Settings.from_env({**ENVIRON, "MODELROCKET_EDGE_KEY": given})
    assert given not in str(refused.value)


def test_cloudfronts_key_may_be_left_out() -> None:
    assert Settings.from_env(ENVIRON).edge_key is None
    assert Settings.from_env({**ENVIRON, "MODELROCKET_EDGE_KEY": "k" * 64}).edge_key == "k" * 64


@pytest.mark.parametrize("given", ["5242879", "0", "-5242880", "many"])
def test_parts_smaller_than_s3_takes_are_refused(given: str) -> None:
    with pytest.raises(InvalidSettings, match="MODELROCKET_UPLOAD_PART_BYTES"):
        Settings.from_env({**ENVIRON, "MODELROCKET_UPLOAD_PART_BYTES": given})
    assert Settings.from_env({**ENVIRON, "MODELROCKET_UPLOAD_PART_BYTES": "5242880"})


def test_quotas_are_as_given_and_published() -> None:
    given = {"ACCOUNT_MODELS": "1", "MODEL_VERSIONS": "2", "ACCOUNT_BYTES": "3", "ACCOUNT_PINNED": "0"}
    environ = {f"MODELROCKET_{name}": text for name, text in given.items()}
    settings = Settings.from_env({**ENVIRON, **environ})
    assert settings.quotas == AccountQuotas(models=1, model_versions=2, bytes=3, pinned=0)
    assert published(settings).quotas == QuotaLimits(1, 2, 3, 0)
    assert Settings.from_env(ENVIRON).quotas.bytes == limits.ACCOUNT_BYTES_MAX


@pytest.mark.parametrize("name", ["ACCOUNT_MODELS", "MODEL_VERSIONS", "ACCOUNT_BYTES", "ACCOUNT_PINNED"])
@pytest.mark.parametrize("given", ["-1", "1.5", "500 GiB", ""])
def test_a_quota_that_is_no_count_is_refused(name: str, given: str) -> None:
    with pytest.raises(InvalidSettings, match=f"MODELROCKET_{name}:"):
        Settings.from_env({**ENVIRON, f"MODELROCKET_{name}": given})


@pytest.mark.parametrize("given", ["", "OPEN", "everyone", "yes"])
def test_who_may_sign_up_is_one_of_three(given: str) -> None:
    assert Settings.from_env(ENVIRON).sign_up is SignUpMode.FIRST
    assert Settings.from_env({**ENVIRON, "MODELROCKET_SIGN_UP": "open"}).sign_up is SignUpMode.OPEN
    with pytest.raises(InvalidSettings, match="MODELROCKET_SIGN_UP: one of open, closed, first"):
        Settings.from_env({**ENVIRON, "MODELROCKET_SIGN_UP": given})


@pytest.mark.parametrize(
    "given",
    [
        "",
        "m=19456",
        "m=64,t=1,p=1",
        "m=19456,t=0,p=1",
        "m=19456,t=2,p=0",
        "m=7168,t=4,p=1",
        "t=2,m=19456,p=1",
    ],
)
def test_a_password_that_is_cheap_to_guess_is_refused(given: str) -> None:
    assert Settings.from_env(ENVIRON).password_cost == HashCost(19_456, 2, 1)
    dearer = Settings.from_env({**ENVIRON, "MODELROCKET_PASSWORD_COST": "m=65536,t=3,p=4"})
    assert dearer.password_cost == HashCost(65_536, 3, 4)
    with pytest.raises(InvalidSettings, match="MODELROCKET_PASSWORD_COST"):
        Settings.from_env({**ENVIRON, "MODELROCKET_PASSWORD_COST": given})


def test_every_problem_is_reported_at_once() -> None:
    broken = {**ENVIRON, "MODELROCKET_DISPATCH_KEY": "xyz", "MODELROCKET_TICK_SECONDS": "soon"}
    del broken["MODELROCKET_MONGO_URL"]
    with pytest.raises(InvalidSettings) as raised:
        Settings.from_env(broken)
    lines = str(raised.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "MODELROCKET_MONGO_URL",
        "MODELROCKET_DISPATCH_KEY",
        "MODELROCKET_TICK_SECONDS",
    ]


def test_nobody_starts_hosts_unless_it_is_said_who_does() -> None:
    assert Settings.from_env(ENVIRON).capacity is CapacityKind.NONE
    assert Settings.from_env({**ENVIRON, "MODELROCKET_CAPACITY": "local"}).capacity is CapacityKind.LOCAL
    with pytest.raises(InvalidSettings, match="MODELROCKET_CAPACITY: one of none, local, ecs expected"):
        Settings.from_env({**ENVIRON, "MODELROCKET_CAPACITY": "kubernetes"})


def test_the_coordinator_tells_nobody_of_itself_unless_it_is_said_where() -> None:
    assert Settings.from_env(ENVIRON).gauges is GaugesKind.NONE
    told = Settings.from_env({**ENVIRON, "MODELROCKET_GAUGES": "cloudwatch"})
    assert told.gauges is GaugesKind.CLOUDWATCH
    with pytest.raises(InvalidSettings, match="MODELROCKET_GAUGES: one of none, cloudwatch expected"):
        Settings.from_env({**ENVIRON, "MODELROCKET_GAUGES": "statsd"})


def test_an_ecs_service_is_named_where_it_starts_hosts() -> None:
    ecs = {**ENVIRON, "MODELROCKET_CAPACITY": "ecs"}
    with pytest.raises(InvalidSettings, match=r"MODELROCKET_ECS_CLUSTER.*\nMODELROCKET_ECS_SERVICE"):
        Settings.from_env(ecs)
    named = {**ecs, "MODELROCKET_ECS_CLUSTER": "rocket", "MODELROCKET_ECS_SERVICE": "hosts"}
    settings = Settings.from_env(named)
    assert (settings.ecs_cluster, settings.ecs_service) == ("rocket", "hosts")


def test_prices_that_make_no_sense_are_refused_and_those_that_are_left_out_are_as_listed() -> None:
    def read(text: str) -> Prices:
        return Settings.from_env({**ENVIRON, "MODELROCKET_PRICES": text}).prices

    assert read('{"currency": "EUR", "host_hour": 0.05}') == Prices(currency="EUR", host_hour=0.05)
    assert Settings.from_env(ENVIRON).prices == Prices()
    for wrong in ("free", "[]", '{"host_hour": -1}', '{"host_slots": 0}', '{"host_hours": 1}'):
        with pytest.raises(InvalidSettings, match="MODELROCKET_PRICES"):
            read(wrong)


def test_a_policy_that_is_misspelt_is_refused() -> None:
    def read(text: str) -> Settings:
        return Settings.from_env({**ENVIRON, "MODELROCKET_POLICY": text})

    assert read('{"scaling": {"hosts_min": 0, "hosts_max": 3}}').policy.scaling.hosts_max == 3
    for wrong in ("3", "no JSON", '{"scaling": {"host_min": 0}}', '{"scaling": {"hosts_max": "many"}}'):
        with pytest.raises(InvalidSettings, match="MODELROCKET_POLICY"):
            read(wrong)
