"""The runbook's commands: that they are commands, and of what is there."""

from __future__ import annotations

import json
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

from modelrocket import cli
from tests.aws.templates import World

ROOT = Path(__file__).resolve().parents[2]
TEXT: Final = (ROOT / "docs" / "operations.md").read_text()
BLOCKS: Final = re.findall(r"^```sh\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
PROSE: Final = re.sub(r"^```.*?^```", "", TEXT, flags=re.MULTILINE | re.DOTALL)
INLINE: Final = re.findall(r"`([^`\n]+)`", PROSE)
GLOBAL: Final = {"--query", "--output", "--cli-binary-format", "--max-items"}
"""Options of every command of AWS's."""
OWN: Final = {("logs", "tail"): {"--since", "--follow"}}
"""Commands that are the command line's alone, and their options."""
RESOURCE: Final = re.compile(r"\$\(of (\w+) \"?([\w$]+)\"? (AWS(?:::\w+)+)\)")


def commands() -> Iterator[list[str]]:
    """Each command of AWS's, as words; what the shell would put in is left as it is."""
    for code in (*BLOCKS, *(one for one in INLINE if one.startswith("aws "))):
        joined = code.replace("\\\n", " ")
        for begun in re.finditer(r"(?:^|[\s(])aws (?=[a-z0-9]+ [a-z])", joined):
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
    known = OWN.get((service, name)) or _options(service, name)
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


@pytest.mark.parametrize(
    "command",
    sorted(
        {one for one in INLINE if one.startswith("modelrocket ")}
        | {line.strip() for block in BLOCKS for line in re.findall(r"^modelrocket .*$", block, re.MULTILINE)}
    ),
)
def test_a_command_of_ours_is_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether it is understood is found out before anything is asked."""
    words = shlex.split(command)[1:]
    with pytest.raises(SystemExit) as ended:
        cli.main([*words[:1], "--help"])
    assert ended.value.code == 0
    assert {word for word in words if word.startswith("--")} <= set(capsys.readouterr().out.split())


def test_paths_of_the_api_are_there() -> None:
    described = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
    named = set(re.findall(r"/v1/[a-z{}_/-]*[a-z}]", TEXT))
    known = {re.sub(r"\{\w+\}", "{id}", path) for path in described}
    assert named and named <= known


def test_links_lead_somewhere() -> None:
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", TEXT, flags=re.MULTILINE | re.DOTALL), re.M
    )
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        path, _, anchor = target.partition("#")
        assert not path or (ROOT / "docs" / path).is_file(), target
        assert path or anchor in anchors, target
