"""The doctor finds what is wrong, and says what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from modelrocket import __version__, doctor
from modelrocket.cli import main
from modelrocket.doctor import Check
from tests.unit.client.endpoint import API_KEY, answering

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LIMITS = {
    "model_bytes_max": 2_000_000_000,
    "body_bytes_max": 4_400_000,
    "model_file": {"opsets": {"ai.onnx": {"min": 7, "max": 28}}},
}


@pytest.fixture(autouse=True)
def configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELROCKET_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.setenv("MODELROCKET_API_KEY", API_KEY)


class Platform:
    """What the endpoint answers, and its clock."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self.answers: dict[str, Any] = {
            "/healthz": {"status": "ok", "version": "1.2.3"},
            "/v1/models": {"models": [{}, {}], "next": None},
            "/v1/limits": LIMITS,
        }


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    told = Platform()
    answers = {path: lambda path=path: told.answers[path] for path in told.answers}
    with answering(answers, date=lambda: format_datetime(NOW + told.ahead, usegmt=True)) as address:
        monkeypatch.setenv("MODELROCKET_ENDPOINT", address)
        yield told


def found() -> dict[str, Check]:
    return {check.name: check for check in doctor.checks(lambda: NOW)}


def broken() -> set[str]:
    return {check.name for check in found().values() if check.state == "broken"}


def test_where_nothing_is_wrong_everything_is_told(platform: Platform) -> None:
    checks = found()
    assert {check.state for check in checks.values()} <= {"fine", "missing"}
    assert checks["modelrocket"].told == __version__
    assert "loads and runs a model" in checks["onnxruntime"].told
    assert "version 1.2.3" in checks["endpoint"].told
    assert checks["clock"].told == "within 1 s of the endpoint's"
    assert checks["API key"].told == "mr_acc… from MODELROCKET_API_KEY works, 2 models listed"
    assert checks["limits"].told == "models of 2.0 GB at most, opsets 7 to 28, requests of 4.4 MB at most"
    assert "scikit-learn" in checks["sklearn"].told
    assert all(check.remedy for check in checks.values() if check.state != "fine")


@pytest.mark.parametrize(("ahead", "says"), [(400, "behind the"), (-400, "ahead of the")])
def test_a_clock_that_is_off_is_broken(platform: Platform, ahead: int, says: str) -> None:
    platform.ahead = timedelta(seconds=ahead)
    clock = found()["clock"]
    assert (clock.state, says in clock.told) == ("broken", True), clock


def test_a_key_that_does_not_work_is_broken(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELROCKET_API_KEY", "mr_wrong_key")
    checks = found()
    assert checks["API key"].state == "broken"
    assert "modelrocket login http://127.0.0.1" in str(checks["API key"].remedy)
    assert "mr_wrong_key" not in repr(checks)


def test_something_else_at_the_endpoint_is_broken(platform: Platform) -> None:
    platform.answers["/healthz"] = ["hello"]
    assert broken() == {"endpoint"}
    platform.answers["/healthz"] = {"version": "2"}
    platform.answers["/v1/limits"] = {}
    assert broken() == {"limits"}


def test_an_endpoint_that_is_away_or_unknown_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELROCKET_ENDPOINT", "http://127.0.0.1:1")
    assert broken() == {"endpoint"}
    monkeypatch.delenv("MODELROCKET_ENDPOINT")
    assert broken() == {"endpoint"}


def test_too_little_room_for_temporary_files_is_broken(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "FREE_BYTES_MIN", 10**18)
    assert broken() == {"temporary files"}


@pytest.mark.parametrize(
    ("requirements", "state", "says", "remedy"),
    [
        (["numpy>=1.0; extra == 'some'"], "fine", "numpy ", None),
        (["numpy<99,>=1.0 ; extra == 'some'"], "fine", "numpy ", None),
        (
            ["numpy>=999.1; extra == 'some'"],
            "missing",
            "not there: numpy 999.1",
            'pip install "modelrocket[some]"',
        ),
        (
            ["numpy; extra == 'some'", "no-such-thing>=2; python_version > '3' and extra == 'some'"],
            "missing",
            "not there: no-such-thing 2",
            'pip install "modelrocket[some]"',
        ),
    ],
)
def test_what_a_framework_lacks_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, requirements: list[str], state: str, says: str, remedy: str | None
) -> None:
    monkeypatch.delenv("MODELROCKET_ENDPOINT", raising=False)
    monkeypatch.setattr("importlib.metadata.requires", lambda _: [*requirements, "httpx>=0.27"])
    check = found()["some"]
    assert (check.state, says in check.told) == (state, True), check
    assert remedy is None or remedy in str(check.remedy)


def test_the_exit_code_says_whether_something_is_broken(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    platform.ahead = datetime.now(UTC) - NOW
    assert main(["doctor"]) == 0
    assert "✗" not in capsys.readouterr().out
    platform.ahead += timedelta(hours=1)
    assert main(["doctor", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in told if check["state"] == "broken"] == ["clock"]
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "✗  clock" in shown
    assert "→ set this machine's clock" in shown
