"""Shells complete commands, options, choices and files with the scripts that the command line prints."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from modelrocket.cli import main
from tests.support.programs import needed

BASH = """
source "$1"
shift
complete -p modelrocket | grep -q -- '-F _shtab_modelrocket' || exit 1
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_shtab_modelrocket
printf '%s\\n' "${COMPREPLY[@]}"
"""
"""What bash itself does on a tab: the words so far, the last of them begun, and the registered function."""


ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1='> '; fpath=(\$PWD \$fpath)"
zpty -w shell "autoload -U compinit; compinit -u -D; print READY"
zpty -r shell ready '*READY*READY*'
zpty -w -n shell "modelrocket upl"$'\t'"--quant"$'\t'"i"$'\t'
zpty -r shell completed '*int8*'
print -r -- "$completed"
"""
"""A person at a zsh who types the beginnings, each followed by a tab; the first READY is what was typed.

No line is so long that it would be wrapped in the middle of what is waited for.
"""


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / f"completion.{request.param}"
    assert main(["completion", request.param]) == 0
    path.write_text(capsys.readouterr().out)
    return path


@pytest.mark.parametrize("script", ["bash"], indirect=True)
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["up"], {"upload"}),
        (["to"], {"token"}),
        (["token", ""], {"create"}),
        (["keys", "r"], {"rotate", "revoke"}),
        (["keys", "create", "ci", "--scope", "models"], {"models:read", "models:write"}),
        (["keys", "rotate", "ci", "--o"], {"--overlap"}),
        (["lo"], {"login", "logout", "logs"}),
        (["logs", "--f"], {"--follow"}),
        (["traffic", "digits", "--drift"], {"--drift-percent-max", "--drift-tolerance"}),
        (["upload", "--quantize", ""], {"int8"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
        (["upload", "mod"], {"model.onnx"}),
        (["upload", "--sample", "ro"], {"rows.csv"}),
        (["predict", "digits", "--file", "ro"], {"rows.csv"}),
    ],
)
def test_bash_completes(tmp_path: Path, script: Path, typed: list[str], offered: set[str]) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for name in ("model.onnx", "rows.csv"):
        (files / name).touch()
    command = [needed("bash"), "--norc", "-c", BASH, "bash", str(script), "modelrocket", *typed]
    done = subprocess.run(command, cwd=files, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == offered
    assert done.stderr == ""


@pytest.mark.parametrize("script", ["fish"], indirect=True)
def test_fish_completes_with_what_each_command_does(script: Path) -> None:
    asked = f"source {script}; complete -C 'modelrocket log'; complete -C 'modelrocket upload --quant'"
    done = subprocess.run(
        [needed("fish"), "--no-config", "-c", asked], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "login\tkeep an endpoint and its API key",
        "logout\tforget an endpoint's API key",
        "logs\tshow what happened to a model",
        "--quantize\tstore weights as int8, and show what that costs",
    ]


@pytest.mark.parametrize("script", ["zsh"], indirect=True)
def test_zsh_completes_what_is_typed(tmp_path: Path, script: Path) -> None:
    functions = tmp_path / "functions"
    functions.mkdir()
    script.rename(functions / "_modelrocket")
    typing = [needed("zsh"), "-f", "-c", ZSH]
    done = subprocess.run(typing, cwd=functions, capture_output=True, text=True, check=True, timeout=60)
    assert "upload" in done.stdout
    assert "--quantize" in done.stdout
