"""`python -m infra.local` when it cannot start: a message, no traceback, nothing left."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.home import locked_home
from infra.local.ports import free_port
from tests.support.processes import processes_mentioning
from tests.support.stack import REPOSITORY
from tests.support.waiting import DEADLINE_SECONDS


def up(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra.local", "up", *arguments],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "ROCKET_HOME": str(home),
            "ROCKET_PORT": str(free_port(random.Random())),
            "MODELROCKET_CONFIG": str(home / "client.json"),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def test_a_taken_port_says_who_has_it_and_how_to_choose_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        result = up(tmp_path, ROCKET_PORT=str(port))

    assert result.returncode == 2
    assert f"Port {port} is taken by" in result.stderr and f"pid {os.getpid()}" in result.stderr
    assert "ROCKET_PORT=5000 make up" in result.stderr
    assert "Traceback" not in result.stderr
    assert not processes_mentioning(str(tmp_path))


def test_two_stacks_cannot_share_a_home(tmp_path: Path) -> None:
    with locked_home(tmp_path):
        result = up(tmp_path)

    assert result.returncode == 2
    assert f"pid {os.getpid()}" in result.stderr and "ROCKET_HOME" in result.stderr
    assert "Traceback" not in result.stderr


def test_every_wrong_setting_is_named_at_once(tmp_path: Path) -> None:
    result = up(
        tmp_path,
        ROCKET_PORT="http",
        ROCKET_HOSTS="3-1",
        MODELROCKET_POLICY="[]",
        MODELROCKET_S3_ENDPOINT_URL="http://127.0.0.1:9",
        AWS_ACCESS_KEY_ID="",
        AWS_SECRET_ACCESS_KEY="",
    )

    assert result.returncode == 2
    for name in (
        "ROCKET_PORT",
        "ROCKET_HOSTS",
        "MODELROCKET_POLICY",
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ):
        assert name in result.stderr
    assert "Traceback" not in result.stderr


def test_damaged_credentials_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text("{}")

    result = up(tmp_path)

    assert result.returncode == 2
    assert "credentials.json" in result.stderr
    assert (tmp_path / "credentials.json").read_text() == "{}"


def test_once_needs_a_demo(tmp_path: Path) -> None:
    result = up(tmp_path, "--once")

    assert result.returncode == 2
    assert "--once needs --demo" in result.stderr


@pytest.mark.stack
def test_an_unreachable_server_of_the_users_own_is_named(tmp_path: Path) -> None:
    nobody = free_port(random.Random())

    result = up(
        tmp_path,
        MODELROCKET_REDIS_URL=f"redis://127.0.0.1:{nobody}/0",
        MODELROCKET_MONGO_URL=f"mongodb://127.0.0.1:{nobody}/",
    )

    assert result.returncode == 1
    assert "the server at MODELROCKET_REDIS_URL did not answer" in result.stderr
    assert "Traceback" not in result.stderr
    assert not processes_mentioning(str(tmp_path))
