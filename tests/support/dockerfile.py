"""A Dockerfile as it is written, and the tree that its COPY lines make of the repository."""

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
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
COMPILERS: Final = re.compile(r"\b(apt-get|apk|gcc|g\+\+|build-essential|make|clang)\b")
PINNED: Final = re.compile(r"[a-z]+:\d+\.\d+\.\d+-[a-z-]+@sha256:[0-9a-f]{64}")
_LOADED: Final = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps({name: getattr(found, "__file__", None) for name, found in sys.modules.items()}))
"""


@dataclass(frozen=True, slots=True)
class Copy:
    """`stage`: empty for the build's context. `target` ends with a slash where it is a folder to fill."""

    stage: str
    sources: tuple[str, ...]
    target: str


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

    def copies(self) -> list[Copy]:
        found = []
        for rest in self.all("COPY"):
            words = shlex.split(rest)
            stage = "".join(word.removeprefix("--from=") for word in words if word.startswith("--"))
            *sources, target = (word for word in words if not word.startswith("--"))
            found.append(Copy(stage, tuple(sources), target))
        return found

    def environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for rest in self.all("ENV") for pair in shlex.split(rest))


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """`arguments`: those before the first stage, with their defaults."""

    arguments: dict[str, str]
    stages: tuple[Stage, ...]

    def sent(self) -> list[str]:
        """What is copied from the build's context."""
        copies = [copy for stage in self.stages for copy in stage.copies() if not copy.stage]
        return [source for copy in copies for source in copy.sources]


def read(path: Path) -> Dockerfile:
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    steps = [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]
    starts = [number for number, (word, _) in enumerate(steps) if word == "FROM"]
    arguments = dict(rest.split("=", 1) for word, rest in steps[: starts[0]] if word == "ARG")
    stages = []
    for start, end in zip(starts, [*starts[1:], len(steps)], strict=True):
        base, _, name = steps[start][1].partition(" AS ")
        stages.append(Stage(base, name, tuple(steps[start + 1 : end])))
    return Dockerfile(arguments, tuple(stages))


def kept(ignore_file: Path) -> set[str]:
    """What a file that ignores everything lets through."""
    lines = ignore_file.read_text().splitlines()
    assert "*" in lines
    return {line[1:] for line in lines if line.startswith("!")}


def tree(stage: Stage, root: Path) -> Path:
    """What the stage copies from the build's context, under `root`."""
    hidden = shutil.ignore_patterns("__pycache__", "*.pyc")
    for copy in stage.copies():
        for source in copy.sources if not copy.stage else ():
            target = root / copy.target.lstrip("/")
            if copy.target.endswith("/"):
                target /= Path(source).name
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, target, ignore=hidden, dirs_exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, target)
    return root


def run(app: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in the tree, which sees nothing of the repository."""
    told = {"PYTHONPATH": str(app), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=app, env=told, capture_output=True, text=True, check=False, timeout=60)


def needs(app: Path, modules: list[str]) -> set[str]:
    """The distributions that the tree's code names where these are imported. Its own comes from itself."""
    done = run(app, "-c", _LOADED, *modules)
    assert done.returncode == 0, done.stderr
    files: dict[str, str | None] = json.loads(done.stdout)
    packages = {path.stem for path in app.iterdir()}
    ours = [Path(file) for name, file in files.items() if file and name.split(".")[0] in packages]
    assert ours and all(path.is_relative_to(app) for path in ours)
    named = {name for path in ours for name in _imported(path)} & files.keys()
    installed = importlib.metadata.packages_distributions()
    return {normal(installed[name][0]) for name in named - sys.stdlib_module_names - packages}


def locked(requirements: str) -> set[str]:
    """The distributions of a file of `requirements`, each of them with its hashes."""
    text = (ROOT / requirements).read_text()
    blocks = re.split(r"\n(?=\S)", text.replace("\\\n", " "))
    pinned = [block for block in blocks if "==" in block.split("--hash")[0]]
    assert pinned and all("--hash=sha256:" in block for block in pinned), requirements
    return {normal(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, flags=re.MULTILINE)}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imported(path: Path) -> Iterator[str]:
    """The first part of each name that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]
