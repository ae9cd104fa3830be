"""What the command line does before it asks anything, and around it: usage, exit codes, JSON, log-in."""

from __future__ import annotations

import io
import json
import pickle
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from modelrocket import __version__, printing
from modelrocket.cli import command_line, main, plain
from modelrocket.commands import COMMANDS
from tests.unit.client.endpoint import API_KEY, answering

NAMES = tuple(command.name for command in COMMANDS)


@pytest.fixture(autouse=True)
def configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    monkeypatch.setenv("MODELROCKET_CONFIG", str(path))
    for name in ("MODELROCKET_ENDPOINT", "MODELROCKET_API_KEY", "MODELROCKET_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.fixture
def endpoint() -> Iterator[str]:
    with answering({"/v1/models": lambda: {"models": [], "next": None}}) as address:
        yield address


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
        ("traffic digits --clear --requests-min 2", "leave the others out"),
        ("traffic digits --requests-min 2", "takes --version"),
        ("traffic digits --version 2 --requests-min 2", "say --percent or --mirror"),
        ("traffic digits --version 2 --percent 5 --requests-min 0", "whole number from 1"),
        ("traffic digits --version 2 --percent 5 --latency-ratio-max nan", "a number from 0"),
        ("delete digits", "--yes"),
        ("launch digits", "launch"),
        ("login http://one", "--api-key-stdin"),
        ("upload", "FILE"),
        ("upload nothing.onnx", "no file nothing.onnx"),
        ("upload model.docx", "not read from .docx"),
        ("upload model.pkl", "say --trust"),
        ("upload model.onnx --input-shape 0,4", "the shape of a batch"),
        ("upload model.onnx --input-shape ''", "the shape of a batch"),
        ("upload model.onnx --quantize int4", "int8"),
        ("upload model.onnx --accept-loss", "--quantize"),
        ("predict digits", "--input"),
        ("predict digits --input [[1]] --file rows.csv", "not allowed with"),
        ("predict digits --file - --token-stdin", "either the rows or the token"),
        ("completion tcsh", "bash"),
        ("keys create ci", "--scope"),
        ("keys create ci --scope root", "models:write"),
        ("keys create ci --model digits --scope keys", "leave --scope out"),
        ("keys create ci --scope infer --expires-in 0", "days from 1, or never"),
        ("keys rotate ci --overlap 8d", "0 to 7d"),
        ("keys rotate ci --overlap soon", "0 to 7d"),
        ("keys revoke ci", "--yes"),
        ("keys explain ci --key-stdin", "standard input"),
    ],
)
def test_wrong_usage_is_2_and_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("model.docx", "model.pkl", "model.onnx"):
        Path(name).touch()
    assert exit_code(*shlex.split(line)) == 2
    shown = capsys.readouterr()
    assert (shown.out, says in shown.err) == ("", True), shown.err


def test_half_a_command_shows_what_completes_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("token") == 2
    assert "create" in capsys.readouterr().out


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code() == 2
    shown = capsys.readouterr().out
    for command in (*NAMES, "logs", "exit codes"):
        assert command.partition(" ")[0] in shown


@pytest.mark.parametrize("command", NAMES)
def test_every_command_explains_itself_with_lines_that_it_takes(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert exit_code(*command.split(), "--help") == 0
    shown = capsys.readouterr().out
    assert "--json" in shown
    assert f"usage: modelrocket {command}" in shown
    _, _, examples = shown.partition("examples:")
    lines = [line.strip() for line in examples.strip().splitlines()]
    assert lines
    for line in lines:
        _, _, words = line.partition("modelrocket ")
        typed = shlex.split(words.partition(" | ")[0].partition(" < ")[0].partition(" > ")[0], comments=True)
        parsed = command_line().parse_args([word.rstrip(")") for word in typed])
        assert parsed.command.name == command


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--version") == 0
    assert capsys.readouterr().out == f"modelrocket {__version__}\n"


def test_an_endpoint_that_nobody_named_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("models") == 2
    assert "MODELROCKET_ENDPOINT" in capsys.readouterr().err


class Noisy:
    """Prints when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("noise",)


def test_with_json_only_json_goes_to_standard_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELROCKET_ENDPOINT", "http://127.0.0.1:1")
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Noisy()))
    assert exit_code("upload", str(path), "--trust", "--json") == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.startswith("noise\n")) == ("", True), shown


def typing(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_logging_in_keeps_a_key_that_works_and_makes_its_endpoint_the_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, configuration: Path, endpoint: str
) -> None:
    before = {"default_endpoint": "http://other", "api_keys": {"http://other": "kept"}}
    configuration.write_text(json.dumps(before))
    typing(monkeypatch, f"{API_KEY}\n")
    assert exit_code("login", f"{endpoint}/", "--api-key-stdin") == 0
    shown = capsys.readouterr()
    assert str(configuration) in shown.out
    assert API_KEY not in shown.out + shown.err
    keys = {"http://other": "kept", endpoint: API_KEY}
    assert json.loads(configuration.read_text()) == {"default_endpoint": endpoint, "api_keys": keys}
    assert configuration.stat().st_mode & 0o777 == 0o600
    assert exit_code("models") == 0

    assert exit_code("logout") == 0
    assert json.loads(configuration.read_text())["api_keys"] == {"http://other": "kept"}
    assert exit_code("logout") == 0
    assert "No API key" in capsys.readouterr().out
    assert exit_code("models") == 2


@pytest.mark.parametrize(("typed", "code"), [("mr_wrong\n", 1), ("\n", 2)])
def test_a_key_that_does_not_work_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, configuration: Path, endpoint: str, typed: str, code: int
) -> None:
    typing(monkeypatch, typed)
    assert exit_code("login", endpoint, "--api-key-stdin") == code
    assert not configuration.exists()


def test_logging_in_says_what_goes_before_the_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("MODELROCKET_API_KEY", "mr_another")
    typing(monkeypatch, API_KEY)
    assert exit_code("login", endpoint, "--api-key-stdin", "--json") == 0
    assert json.loads(capsys.readouterr().out)["overridden_by"] == ["MODELROCKET_API_KEY"]


@pytest.mark.parametrize(
    ("outputs", "shown"),
    [
        (np.array([7, 8]), ["row  answer", "1    7", "2    8"]),
        (
            {"label": np.array(["a", "b"], object), "p": np.array([[0.25, 0.75], [1, 0]], np.float32)},
            ["row  label  p", "1    a      [0.25, 0.75]", "2    b      [1, 0]"],
        ),
        (np.float32(0.5) * np.ones(()), ["row  answer", "1    0.5"]),
        (np.zeros((1, 9)), ["row  answer", "1    [0, 0, 0, 0, 0, 0, 0, 0, … 9 in all]"]),
        (np.array(["\x1b[2J"], object), ["row  answer", "1    �[2J"]),
    ],
)
def test_an_answer_is_shown_row_by_row(outputs: Any, shown: list[str]) -> None:
    assert [line.rstrip() for line in rendered(printing.answer(outputs))] == shown


def test_of_many_rows_the_first_are_shown() -> None:
    lines = rendered(printing.answer(np.arange(250)))
    assert (len(lines), lines[-1].rstrip()) == (102, "and 150 more rows: --json gives all")


def rendered(shown: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as captured:
        console.print(shown)
    return captured.get().splitlines()


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
