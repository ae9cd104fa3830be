"""Commands of the guide to deploying and of the runbook: that they are commands, and of what is there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import botocore.session
import jmespath  # type: ignore[import-untyped]
import pytest
from botocore import xform_name
from chalice.app import CloudWatchEvent
from chalice.cli import cli as chalice

from infra.aws.arguments import parse
from modelrocket import cli
from tests.aws.templates import World

ROOT: Final = Path(__file__).resolve().parents[2]
TEXT: Final = (ROOT / "docs" / "operations.md").read_text()
BOTH: Final = {"operations.md": TEXT, "deploy.md": (ROOT / "docs" / "deploy.md").read_text()}
BLOCKS: Final = [
    block
    for text in BOTH.values()
    for block in re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
]
INLINE: Final = [
    code
    for text in BOTH.values()
    for code in re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
]
GLOBAL: Final = {"--query", "--output", "--region", "--cli-binary-format", "--max-items"}
"""Options of every command of AWS's."""
OWN: Final[Mapping[tuple[str, str], set[str]]] = {
    ("logs", "tail"): {"--since", "--follow"},
    ("s3", "sync"): set(),
    ("sso", "login"): set(),
}
"""Commands that are the command line's alone, and their options."""
RESOURCE: Final = re.compile(r"\$\(of (\w+) \"?([\w$]+)\"? (AWS(?:::\w+)+)\)")


def commands() -> Iterator[list[str]]:
    """Each command of AWS's, as words; what the shell would put in is left as it is."""
    for code in (*BLOCKS, *(one for one in INLINE if one.startswith("aws "))):
        joined = code.replace("\\\n", " ")
        for begun in re.finditer(r"(?:^|[\s(])aws (?=[a-z0-9-]+ [a-z])", joined):
            lexer = shlex.shlex(_until_closed(joined[begun.end() :]), posix=True, punctuation_chars=";|<>&")
            lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, "#"
            words: list[str] = []
            for word in lexer:
                if word[0] in ";|<>&\n":
                    break
                words.append(word)
            yield words


def _until_closed(code: str) -> str:
    """What belongs to a command, of code that begins with it: up to the end of its line, or of its `$(…)`."""
    depth, quote = 0, ""
    for place, character in enumerate(code):
        if quote:
            quote = "" if character == quote and code[place - 1] != "\\" else quote
        elif character in "'\"":
            quote = character
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        if depth < 0 or (character == "\n" and not quote and not depth):
            return code[:place]
    return code


FOUND: Final = list(commands())


def test_all_of_it_is_read() -> None:
    assert len(BLOCKS) > 25
    assert len(FOUND) > 50


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_is_a_shells(number: int) -> None:
    done = subprocess.run(["bash", "-n"], input=BLOCKS[number], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", FOUND, ids=lambda words: " ".join(words[:2]))
def test_a_command_of_awss_is_one_and_has_these_options(words: list[str]) -> None:
    service, name, *rest = words
    options = {word for word in rest if re.fullmatch(r"--[a-z][a-z0-9-]*", word)}
    known = OWN[service, name] if (service, name) in OWN else _options(service, name)
    assert options <= known | GLOBAL
    for asked in (words[place + 1] for place, word in enumerate(words) if word == "--query"):
        jmespath.compile(asked)


def _options(service: str, name: str) -> set[str]:
    model = botocore.session.get_session().get_service_model({"s3api": "s3"}.get(service, service))
    operations = {xform_name(one, "-"): one for one in model.operation_names}
    assert name in operations
    shape = model.operation_model(operations[name]).input_shape
    return {f"--{xform_name(member, '-')}" for member in shape.members} if shape else set()


@pytest.mark.parametrize(("stack", "beginning", "kind"), sorted(set(RESOURCE.findall(TEXT))))
def test_what_a_command_looks_up_is_there_once(
    worlds: Mapping[str, World], stack: str, beginning: str, kind: str
) -> None:
    for one in _spelt_out(beginning):
        for name, world in worlds.items():
            resources: Mapping[str, Any] = world.templates[stack]["Resources"]
            found = [id_ for id_, it in resources.items() if id_.startswith(one) and it["Type"] == kind]
            ours = name != "standard" or not one.startswith("Mongo")
            assert len(found) == (1 if ours else 0), (one, found)


def _spelt_out(beginning: str) -> list[str]:
    """As the loops around it have it."""
    if beginning == "$id":
        return ["Inference", "Management", "Coordinator"]
    return [beginning.replace("$ROLE", role) for role in ("gateway", "coordinator", "host")]


def test_the_events_that_start_the_coordinator_by_hand_are_ones() -> None:
    (payload,) = [words[words.index("--payload") + 1] for words in FOUND if "--payload" in words]
    assert CloudWatchEvent(json.loads(payload), None).detail_type == "Scheduled Event"


def test_roles_of_redis_are_users_by_these_names(world: World) -> None:
    ids = {one["Properties"]["UserId"] for one in world.of("AWS::ElastiCache::User").values()}
    assert {f"modelrocket-data-{role}" for role in ("gateway", "coordinator", "host")} <= ids


def of_program(name: str) -> list[str]:
    """Whole commands of what is not AWS's, as they are written."""
    begun = re.compile(rf"^(?:\.venv/bin/)?({re.escape(name)}(?: .*)?)$", re.MULTILINE)
    return sorted({found.strip() for code in (*BLOCKS, *INLINE) for found in begun.findall(code)})


@pytest.mark.parametrize("command", of_program("modelrocket"))
def test_a_command_of_ours_is_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether it is understood is found out before anything is asked."""
    words = shlex.split(command, comments=True)[1:]
    with pytest.raises(SystemExit) as ended:
        cli.main([*words[:1], "--help"])
    assert ended.value.code == 0
    assert {word for word in words if word.startswith("--")} <= set(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", of_program("make"))
def test_make_knows_what_it_is_told(command: str) -> None:
    """And what it tells the deployment in turn is understood there."""
    done = subprocess.run(
        [*shlex.split(command, comments=True), "--dry-run"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for told in re.findall(r" -m infra\.aws ((?:deploy|destroy)\b.*)", done.stdout):
        parse(shlex.split(told))


@pytest.mark.parametrize("command", of_program("python -m infra.aws"))
def test_a_command_about_the_deployment_is_one(command: str) -> None:
    words = shlex.split(command, comments=True)[3:]
    if "--help" not in words:
        parse(words)
        return
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 0


@pytest.mark.parametrize("command", of_program("chalice"))
def test_a_command_of_chalices_is_one(command: str) -> None:
    """Its own parser reads it."""
    program, *words = shlex.split(command, comments=True)
    project, folder, name, *rest = words
    chalice.make_context(program, [project, folder, name])
    chalice.commands[name].make_context(name, rest)


def test_paths_of_the_api_are_there() -> None:
    described = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
    known = {re.sub(r"\{\w+\}", "{id}", path) for path in described}
    for text in BOTH.values():
        named = set(re.findall(r"/v1/[a-z{}_/-]*[a-z}]", text))
        assert named and named <= known


@pytest.mark.parametrize("name", BOTH)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", BOTH[name]):
        path, _, anchor = target.partition("#")
        there = ROOT / "docs" / (path or name)
        assert there.is_file(), target
        assert not anchor or anchor in _anchors(there.read_text()), target


def _anchors(text: str) -> set[str]:
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
