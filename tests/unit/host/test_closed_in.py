"""The processes that examine, build and measure are closed in: tried out from inside them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import pytest

from host_container import sandbox
from host_container.examination import ExaminationLimits
from host_container.orders import NOT_CLOSED_IN
from tests.support import onnx_models
from tests.support.enclosure_probes import DENIED, World
from tests.support.examined import Probing, building, examining, measuring

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or bool(sandbox.missing_protections()), reason="Landlock and seccomp are missing"
)

REFUSALS: Final = {"EPERM", "EACCES"}
OTHER_REFUSALS: Final = {"fork_by_clone3": {"ENOSYS"}, "read_stray_descriptor": {"EBADF"}}
OWN_FOLDER: Final = {"write_own", "create_own"}
"""What a builder may do in its one folder, besides reading."""


@pytest.fixture(scope="module")
def examiner(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Its own folder is that of the file; what lies beside the file is another's."""
    folder = lay_out(tmp_path_factory.mktemp("model"))
    return examining(folder / "model.onnx", probing(folder, sibling=folder / "weights"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    root = tmp_path_factory.mktemp("builder")
    model, folder = lay_out(root), lay_out(root / "form")
    return building(model / "model.onnx", folder, probing(folder, sibling=model / "weights"))


@pytest.fixture(scope="module")
def measurer(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    folder = lay_out(tmp_path_factory.mktemp("measured"))
    (folder / "beside").write_bytes(b"its own")
    return measuring(folder / "model.onnx", folder / "beside", probing(folder, sibling=folder / "weights"))


def lay_out(folder: Path) -> Path:
    """What the probes try their hands at."""
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(onnx_models.identity("float32"))
    for name in ("weights", "to-unlink", "to-rename"):
        (folder / name).write_bytes(b"somebody else's")
    (folder / "way-out").symlink_to("/etc/passwd")
    return folder


def probing(folder: Path, *, sibling: Path) -> Probing:
    world = World(str(folder), str(sibling), os.getpid(), os.getppid(), stray=-1)
    return Probing(world, (*DENIED, "see_environment"))


@pytest.mark.parametrize("name", DENIED)
def test_a_process_that_examines_can_do_nothing_else(examiner: Mapping[str, str], name: str) -> None:
    assert examiner[name] in OTHER_REFUSALS.get(name, REFUSALS)


@pytest.mark.parametrize("name", DENIED)
def test_a_process_that_measures_can_do_nothing_else(measurer: Mapping[str, str], name: str) -> None:
    assert measurer[name] in OTHER_REFUSALS.get(name, REFUSALS)


@pytest.mark.parametrize("name", sorted(DENIED.keys() - OWN_FOLDER))
def test_a_process_that_builds_can_do_nothing_else(built: Mapping[str, str], name: str) -> None:
    assert built[name] in OTHER_REFUSALS.get(name, REFUSALS)


@pytest.mark.parametrize("name", sorted(OWN_FOLDER))
def test_a_process_that_builds_writes_in_its_folder(built: Mapping[str, str], name: str) -> None:
    assert built[name] == "ok"


def test_none_sees_the_environment(
    examiner: Mapping[str, str], built: Mapping[str, str], measurer: Mapping[str, str]
) -> None:
    assert {one["see_environment"] for one in (examiner, built, measurer)} == {"ORT_DISABLE_TELEMETRY"}


def test_where_it_cannot_be_closed_in_nothing_is_examined(tmp_path: Path) -> None:
    asked = msgspec.structs.replace(probing(lay_out(tmp_path), sibling=tmp_path), without_landlock=True)
    with pytest.raises(subprocess.CalledProcessError) as ended:
        examining(tmp_path / "model.onnx", asked)
    assert (ended.value.returncode, ended.value.stdout) == (NOT_CLOSED_IN, b"")
    assert ExaminationLimits().sandbox_required


def test_where_it_is_not_required_the_other_layers_hold(tmp_path: Path) -> None:
    asked = msgspec.structs.replace(
        probing(lay_out(tmp_path), sibling=tmp_path),
        probes=("socket_inet", "spawn", "write_own", "read_sibling_by_dots", "read_passwd"),
        without_landlock=True,
        required=False,
    )
    seen = examining(tmp_path / "model.onnx", asked)
    assert seen.pop("read_passwd") == "ok"
    assert set(seen.values()) == {"EPERM"}
