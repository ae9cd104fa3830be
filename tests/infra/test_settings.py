"""What the person who starts a stack may choose."""

from __future__ import annotations

import json

import pytest

from infra.local.settings import HostRange, InvalidSettings, StackSettings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("2", HostRange(2, 2), id="always as many"),
        pytest.param("1-3", HostRange(1, 3), id="a range"),
        pytest.param("0-3", HostRange(0, 3), id="none while nobody asks"),
        pytest.param("64", HostRange(64, 64), id="the most"),
    ],
)
def test_hosts_are_a_number_or_a_range(text: str, expected: HostRange) -> None:
    assert StackSettings.from_env({"ROCKET_HOSTS": text}).hosts == expected
    assert StackSettings.from_env({"ROCKET_HOSTS": "9"}, hosts=text).hosts == expected


@pytest.mark.parametrize("text", ["0", "0-0", "3-1", "65", "1-65", "-1", "1-", "-", "two", "1-2-3", "٢"])
def test_what_is_no_number_of_hosts_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettings, match="ROCKET_HOSTS must be"):
        StackSettings.from_env({"ROCKET_HOSTS": text})


def test_the_policy_is_the_persons_own_with_the_number_of_hosts() -> None:
    own = {"scaling": {"down_delay_seconds": 60, "hosts_max": 9}, "placement": {"full": 0.8}}
    environ = {"ROCKET_HOSTS": "0-3", "MODELROCKET_POLICY": json.dumps(own)}
    assert StackSettings.from_env(environ).policy == {
        "scaling": {"down_delay_seconds": 60, "hosts_min": 0, "hosts_max": 3},
        "placement": {"full": 0.8},
    }
    assert StackSettings.from_env({}).policy == {"scaling": {"hosts_min": 2, "hosts_max": 2}}


@pytest.mark.parametrize("text", ["no JSON", "[]", "3", '{"scaling": 3}', '{"scaling": {"host_min": 1}}'])
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettings, match="MODELROCKET_POLICY"):
        StackSettings.from_env({"MODELROCKET_POLICY": text})
