"""The image of the gateway and the coordinator, as far as it shows without building it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.local.site import BUILT
from tests.compose.composed import raw
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

FILE = read(ROOT / "infra" / "compose" / "Dockerfile")
SITE, BUILD, FINAL = FILE.stages
LOCKED = "requirements/compose.txt"
IGNORED = ROOT / "infra" / "compose" / "Dockerfile.dockerignore"


def modules() -> set[str]:
    """What the services run in it, themselves and as their health checks."""
    found = set()
    for service in raw()["services"].values():
        if service["image"] == "modelrocket-platform":
            check = service.get("healthcheck", {}).get("test", [])
            found |= {service["command"][0], *check[3:4]}
    return found


def test_its_stages_are_by_tags_that_say_which_and_by_digest() -> None:
    assert [stage.base for stage in FILE.stages] == ["$NODE", "$PYTHON", "$PYTHON"]
    assert all(PINNED.fullmatch(default) for default in FILE.arguments.values())
    host = read(ROOT / "host_container" / "Dockerfile")
    assert FILE.arguments["PYTHON"] == host.arguments["PYTHON"]


def test_whatever_is_copied_is_there_and_not_ignored() -> None:
    let_through = kept(IGNORED)
    for source in FILE.sent():
        assert (ROOT / source).exists(), source
        assert let_through & {source, *map(str, Path(source).parents)}, source
    assert let_through <= set(FILE.sent())
    ignored = IGNORED.read_text().splitlines()
    assert {"frontend/dist", "frontend/node_modules"} <= set(ignored)


def test_the_site_is_where_the_gateway_looks_for_it() -> None:
    built = f"/app/{BUILT.relative_to(ROOT)}"
    assert Copy("site", ("/site/frontend/dist",), built) in FINAL.copies()


def test_everything_it_installs_is_locked_by_its_hash_and_comes_compiled() -> None:
    (install,) = [run for run in BUILD.all("RUN") if " install " in run]
    assert "--require-hashes" in install and "--only-binary=:all:" in install
    assert "npm ci" in " ".join(SITE.all("RUN"))
    assert locked(LOCKED)


def test_what_runs_has_no_compiler_no_pip_and_is_not_root() -> None:
    runs = " ".join(FINAL.all("RUN"))
    assert COMPILERS.search(runs) is None
    assert "pip uninstall" in runs
    user, _, group = FINAL.last("USER").partition(":")
    assert int(user) > 0 and f"useradd --uid {user} --gid {group}" in runs
    users = raw()["services"]["redis-users"]
    folder = users["volumes"][0].partition(":")[2]
    assert f"-o modelrocket -g modelrocket {folder}" in runs
    assert users["command"][1] == f"{folder}/users.acl"
    assert users["command"][1] in raw()["services"]["valkey"]["command"]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same tree as in the image."""
    return tree(BUILD, tmp_path_factory.mktemp("image")) / FINAL.last("WORKDIR").lstrip("/")


def test_what_services_run_is_in_it_with_all_that_it_imports(app: Path) -> None:
    """Their own code from the image's tree, and of others' only what is locked for it."""
    assert json.loads(FINAL.last("ENTRYPOINT")) == ["python", "-m"]
    needed = needs(app, sorted({"app", "infra.compose.account", *modules()}))
    assert {"chalice", "pymongo", "redis", "botocore"} <= needed
    assert needed | {"granian"} <= locked(LOCKED)


@pytest.mark.parametrize("module", ["chalicelib.bootstrap", "infra.compose.stores"])
def test_what_runs_once_says_what_it_was_not_told(app: Path, module: str) -> None:
    done = run(app, "-m", module)
    assert done.returncode == 2
    assert "MODELROCKET_MONGO_URL" in done.stderr
