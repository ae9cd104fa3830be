"""The image of a host, as far as it shows without building it: what is in it, who runs it, what it needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from host_container.__main__ import EX_CONFIG
from tests.support.dockerfile import (
    COMPILERS,
    PINNED,
    ROOT,
    Copy,
    kept,
    locked,
    needs,
    read,
    run,
    tree,
)

REQUIREMENTS = {"cpu": "requirements/host.txt", "cuda": "requirements/host-gpu.txt"}
FILE = read(ROOT / "host_container" / "Dockerfile")
BUILD, FINAL = FILE.stages


def test_both_stages_are_the_same_system_by_a_tag_that_says_which_and_a_digest() -> None:
    assert {stage.base for stage in FILE.stages} == {"$PYTHON"}
    assert PINNED.fullmatch(FILE.arguments["PYTHON"])


def test_whatever_is_copied_is_there_and_not_ignored() -> None:
    assert all((ROOT / source).exists() for source in FILE.sent())
    assert set(FILE.sent()) == kept(ROOT / ".dockerignore")
    assert set(FINAL.copies()) == {
        Copy("build", ("/opt/host",), "/opt/host"),
        Copy("build", ("/app",), "/app"),
    }


def test_everything_it_installs_is_locked_by_its_hash_and_comes_compiled() -> None:
    (install,) = [run for run in BUILD.all("RUN") if " install " in run]
    assert "--require-hashes" in install and "--only-binary=:all:" in install
    assert "/requirements/$PROVIDER.txt" in install
    targets = {copy.target: copy.sources for copy in BUILD.copies()}
    for provider, path in REQUIREMENTS.items():
        assert targets[f"/requirements/{provider}.txt"] == (path,)
        assert locked(path)


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
    cache = FINAL.environment()["MODELROCKET_CACHE_DIR"]
    assert FINAL.last("VOLUME") == cache
    assert f"-o modelrocket -g modelrocket {cache}" in " ".join(FINAL.all("RUN"))
    assert FINAL.environment()["PYTHONDONTWRITEBYTECODE"] == "1"
    assert FINAL.environment()["ORT_DISABLE_TELEMETRY"] == "1"


def test_it_is_stopped_and_asked_as_the_host_expects() -> None:
    assert FINAL.last("STOPSIGNAL") == "SIGTERM"
    assert json.loads(FINAL.last("ENTRYPOINT")) == ["python", "-m", "host_container"]
    check = json.loads(FINAL.last("HEALTHCHECK").partition("CMD ")[2])
    assert check == ["python", "-m", "host_container.healthcheck"]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same tree as in the image."""
    return tree(BUILD, tmp_path_factory.mktemp("image")) / FINAL.last("WORKDIR").lstrip("/")


def test_the_host_in_it_starts_and_says_what_it_was_not_told(app: Path) -> None:
    entry = json.loads(FINAL.last("ENTRYPOINT"))[1:]
    done = run(app, *entry)
    assert (done.returncode, done.stdout) == (EX_CONFIG, "")
    assert "MODELROCKET_HOST_ID is not set" in done.stderr
    check = json.loads(FINAL.last("HEALTHCHECK").partition("CMD ")[2])[1:]
    assert run(app, *check).returncode == 1


def test_all_that_a_host_imports_is_in_it(app: Path) -> None:
    """Its own code from its own tree, and of others' only what is locked for it."""
    needed = needs(app, [f"host_container.{path.stem}" for path in sorted(app.glob("host_container/*.py"))])
    assert {"boto3", "numpy", "onnx", "onnxruntime", "redis", "uvloop"} <= needed
    same = {"onnxruntime": "onnxruntime-gpu"}
    assert needed <= locked(REQUIREMENTS["cpu"])
    assert {same.get(name, name) for name in needed} <= locked(REQUIREMENTS["cuda"])
