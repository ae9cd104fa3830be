"""The image of a host, as far as it shows without building it: what is in it, who runs it, what it needs."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from host_container.__main__ import EX_CONFIG

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "host_container"
REQUIREMENTS = ("host", "host-gpu")
COMPILERS = re.compile(r"\b(apt-get|apk|gcc|g\+\+|build-essential|make|clang)\b")
LOADED = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps({name: getattr(found, "__file__", None) for name, found in sys.modules.items()}))
"""
OURS = ("chalicelib", "host_container", "modelrocket")


@dataclass(frozen=True, slots=True)
class Stage:
    """One `FROM` and what follows. `name`: empty where nothing is copied from it."""

    base: str
    name: str
    steps: tuple[tuple[str, str], ...]

    def all(self, instruction: str) -> list[str]:
        return [rest for word, rest in self.steps if word == instruction]

    def last(self, instruction: str) -> str:
        return self.all(instruction)[-1]

    def copies(self) -> list[tuple[str, str, str]]:
        """Where from (empty: the build's context), what, and to where."""
        found = []
        for rest in self.all("COPY"):
            *flags, source, target = shlex.split(rest)
            stage = "".join(flag.removeprefix("--from=") for flag in flags)
            found.append((stage, source, target))
        return found


def parsed() -> tuple[dict[str, str], tuple[Stage, ...]]:
    """The arguments before the first stage, and the stages."""
    text = re.sub(r"^\s*#.*\n", "", (FOLDER / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    steps = [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]
    starts = [number for number, (word, _) in enumerate(steps) if word == "FROM"]
    arguments = dict(rest.split("=", 1) for word, rest in steps[: starts[0]] if word == "ARG")
    stages = []
    for start, end in zip(starts, [*starts[1:], len(steps)], strict=True):
        base, _, name = steps[start][1].partition(" AS ")
        stages.append(Stage(base, name, tuple(steps[start + 1 : end])))
    return arguments, tuple(stages)


ARGUMENTS, STAGES = parsed()
BUILD, FINAL = STAGES


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in FINAL.all("ENV") for pair in shlex.split(rest))


def test_both_stages_are_the_same_system_by_a_tag_that_says_which() -> None:
    assert {stage.base for stage in STAGES} == {"$PYTHON"}
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", ARGUMENTS["PYTHON"])


def test_whatever_is_copied_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = [source for stage, source, _ in BUILD.copies() if not stage]
    assert all((ROOT / source).exists() for source in copied)
    assert set(copied) == kept
    assert {(stage, source) for stage, source, _ in FINAL.copies()} == {
        ("build", "/opt/host"),
        ("build", "/app"),
    }


def test_everything_it_installs_is_locked_by_its_hash_and_comes_compiled() -> None:
    (install,) = [run for run in BUILD.all("RUN") if " install " in run]
    assert "--require-hashes" in install and "--only-binary=:all:" in install
    assert "/requirements/$PROVIDER.txt" in install
    targets = {target: source for _, source, target in BUILD.copies()}
    locked = [targets[f"/requirements/{provider}.txt"] for provider in ("cpu", "cuda")]
    assert locked == [f"requirements/{name}.txt" for name in REQUIREMENTS]
    for path in locked:
        blocks = re.split(r"\n(?=\S)", (ROOT / path).read_text().replace("\\\n", " "))
        pinned = [block for block in blocks if "==" in block.split("--hash")[0]]
        assert pinned and all("--hash=sha256:" in block for block in pinned), path


def test_what_runs_has_no_compiler_no_pip_and_is_not_root() -> None:
    runs = " ".join(FINAL.all("RUN"))
    assert COMPILERS.search(runs) is None
    assert "pip uninstall" in runs and "install -r" not in runs
    user, _, group = FINAL.last("USER").partition(":")
    assert int(user) > 0 and int(group) > 0
    assert f"useradd --uid {user} --gid {group}" in runs
    order = [word for word, _ in FINAL.steps]
    assert order.index("USER") > max(number for number, word in enumerate(order) if word in ("COPY", "RUN"))


def test_it_writes_only_where_its_user_may() -> None:
    cache = environment()["MODELROCKET_CACHE_DIR"]
    assert FINAL.last("VOLUME") == cache
    assert f"-o modelrocket -g modelrocket {cache}" in " ".join(FINAL.all("RUN"))
    assert environment()["PYTHONDONTWRITEBYTECODE"] == "1"
    assert environment()["ORT_DISABLE_TELEMETRY"] == "1"


def test_it_is_stopped_and_asked_as_the_host_expects() -> None:
    assert FINAL.last("STOPSIGNAL") == "SIGTERM"
    assert json.loads(FINAL.last("ENTRYPOINT")) == ["python", "-m", "host_container"]
    check = json.loads(FINAL.last("HEALTHCHECK").partition("CMD ")[2])
    assert check == ["python", "-m", "host_container.healthcheck"]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same tree as in the image."""
    root = tmp_path_factory.mktemp("image")
    for _, source, target in BUILD.copies():
        if (ROOT / source).is_dir():
            hidden = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(ROOT / source, root / target.lstrip("/"), ignore=hidden)
        else:
            (root / target.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, root / target.lstrip("/"))
    return root / FINAL.last("WORKDIR").lstrip("/")


def run(app: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    told = {"PYTHONPATH": str(app), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=app, env=told, capture_output=True, text=True, check=False, timeout=60)


def test_the_host_in_it_starts_and_says_what_it_was_not_told(app: Path) -> None:
    entry = json.loads(FINAL.last("ENTRYPOINT"))[1:]
    done = run(app, *entry)
    assert (done.returncode, done.stdout) == (EX_CONFIG, "")
    assert "MODELROCKET_HOST_ID is not set" in done.stderr
    check = json.loads(FINAL.last("HEALTHCHECK").partition("CMD ")[2])[1:]
    assert run(app, *check).returncode == 1


def test_all_that_a_host_imports_is_in_it(app: Path) -> None:
    """Its own code from its own tree, and of others' only what is locked for it."""
    modules = [f"host_container.{path.stem}" for path in sorted(app.glob("host_container/*.py"))]
    done = run(app, "-c", LOADED, *modules)
    assert done.returncode == 0, done.stderr
    files: dict[str, str | None] = json.loads(done.stdout)
    ours = [Path(file) for name, file in files.items() if file and name.split(".")[0] in OURS]
    assert all(path.is_relative_to(app) for path in ours)
    named = {name for path in ours for name in imported(path)} & files.keys()
    foreign = named - sys.stdlib_module_names - {*OURS}
    installed = importlib.metadata.packages_distributions()
    needed = {normal(installed[name][0]) for name in foreign}
    assert {"boto3", "numpy", "onnx", "onnxruntime", "redis", "uvloop"} <= needed
    for requirements in REQUIREMENTS:
        text = (ROOT / "requirements" / f"{requirements}.txt").read_text()
        locked = {normal(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, flags=re.MULTILINE)}
        same = {"onnxruntime": "onnxruntime-gpu"} if requirements == "host-gpu" else {}
        assert {same.get(name, name) for name in needed} <= locked, requirements


def imported(path: Path) -> Iterator[str]:
    """The first part of each name that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
