"""A log-in for the account that the bootstrap of the containers made."""

from __future__ import annotations

import io

import pytest

from chalicelib.accounts import LogIn
from chalicelib.bootstrap import ACCOUNT
from chalicelib.contract.tokens import new_token
from chalicelib.records import Role
from chalicelib.wiring import ControlPlane
from infra.compose.account import main
from infra.local.embedded import EmbeddedServers
from tests.support.people import HERE, PASSWORD


@pytest.fixture
def told(servers: EmbeddedServers, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a container beside the plane."""
    environ = servers.connections.control_plane("coordinator") | {
        "MODELROCKET_MONGO_URL": plane.settings.mongo_url,
        "MODELROCKET_MONGO_DATABASE": plane.settings.mongo_database,
        "MODELROCKET_DISPATCH_KEY": plane.settings.dispatch_key.hex(),
        "MODELROCKET_PUBLIC_URL": plane.settings.public_url,
        "MODELROCKET_HOST_NETWORK": str(plane.settings.host_network),
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return environ


def test_who_is_given_a_log_in_is_the_operator(
    told: dict[str, str], plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.keys.ensure_api_key(ACCOUNT, new_token(), role=Role.OPERATOR)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    assert main("you@example.org", told) == 0
    assert plane.accounts.log_in(LogIn("you@example.org", PASSWORD), HERE).account.role is Role.OPERATOR


def test_what_is_wrong_is_said(
    told: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert main("you@example.org", told) == 1
    assert "password" in capsys.readouterr().err
