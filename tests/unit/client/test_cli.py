"""What the command line does before it asks anything: usage, exit codes, JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from modelrocket import __version__
from modelrocket.cli import main, plain

COMMANDS = ("models", "versions", "report", "traffic", "activate", "rollback", "delete")


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELROCKET_CONFIG", str(tmp_path / "config.json"))
    for name in ("MODELROCKET_ENDPOINT", "MODELROCKET_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def exit_code(*arguments: str) -> int:
    try:
        return main(arguments)
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        return ended.code


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("activate digits", "VERSION"),
        ("activate digits 0", "numbered 1, 2, 3"),
        ("report digits first", "numbered 1, 2, 3"),
        ("traffic digits --version 2", "--percent and --mirror"),
        ("traffic digits --percent 10", "takes --version"),
        ("traffic digits --version 2 --percent 101", "0 to 100"),
        ("traffic digits --version 2 --mirror -1", "0 to 100"),
        ("traffic digits --clear --version 2", "leave the others out"),
        ("delete digits", "--yes"),
        ("launch digits", "launch"),
    ],
)
def test_wrong_usage_is_2_and_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str], line: str, says: str
) -> None:
    assert exit_code(*line.split()) == 2
    shown = capsys.readouterr()
    assert (shown.out, says in shown.err) == ("", True), shown.err


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code() == 2
    shown = capsys.readouterr().out
    for command in (
        "models",
        "versions",
        "report",
        "traffic",
        "activate",
        "rollback",
        "delete",
        "exit codes",
    ):
        assert command in shown


@pytest.mark.parametrize(
    "command", ["models", "versions", "report", "traffic", "activate", "rollback", "delete"]
)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert exit_code(command, "--help") == 0
    shown = capsys.readouterr().out
    assert "--json" in shown
    assert f"usage: modelrocket {command}" in shown


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"modelrocket {__version__}\n"


def test_an_endpoint_that_nobody_named_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("models") == 2
    assert "MODELROCKET_ENDPOINT" in capsys.readouterr().err


@dataclass(frozen=True)
class Inner:
    number: int
    secret: str = field(default="x", repr=False)


@dataclass(frozen=True)
class Outer:
    inner: tuple[Inner, ...]
    told: dict[str, list[int]]


def test_json_holds_what_is_shown_of_a_value() -> None:
    outer = Outer((Inner(1), Inner(2)), {"a": [1]})
    assert plain([outer]) == [{"inner": [{"number": 1}, {"number": 2}], "told": {"a": [1]}}]
