"""What a real host finds out about a version, and what the control plane then tells of it."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

from chalicelib import views
from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import InvalidRequest
from chalicelib.contract.messages import PrepareStage
from chalicelib.records import Version, VersionState
from chalicelib.wiring import ControlPlane
from infra.local.embedded import EmbeddedServers
from tests.support import onnx_models
from tests.support.hosts import HostProcess, running_host
from tests.support.onnx_models import dense
from tests.support.uploads import announce, send, uploaded
from tests.support.waiting import wait_for

STAGES = (
    PrepareStage.DOWNLOADING,
    PrepareStage.VALIDATING,
    PrepareStage.OPTIMISING,
    PrepareStage.MEASURING,
)


def settled(plane: ControlPlane, who: Principal, version: Version) -> Version:
    """Once it is ready or has failed."""

    def look() -> Version | None:
        now = plane.uploads.status(who, version.model_id, version.number).version
        return now if now.state in (VersionState.READY, VersionState.FAILED) else None

    return wait_for(look, what="the version to be prepared")


def reported(plane: ControlPlane, who: Principal, version: Version) -> dict[str, Any]:
    """As it goes out."""
    report = views.report(settled(plane, who, version))
    told: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(report))
    return told


def stages_until_done(plane: ControlPlane, version: Version) -> list[PrepareStage]:
    """Each stage that was to be seen, once."""
    seen: list[PrepareStage] = []
    while not plane.hot.results(count=1):
        stage = plane.hot.stage(version.id)
        if stage is not None and stage not in seen:
            seen.append(stage)
    return seen


def test_a_version_is_optimised_measured_and_certified_before_it_is_ready(
    plane: ControlPlane, alice: Principal, host: HostProcess
) -> None:
    version = uploaded(plane, alice, dense())
    stages = stages_until_done(plane, version)
    assert stages == [PrepareStage.QUEUED, *STAGES][-len(stages) :]
    assert {PrepareStage.OPTIMISING, PrepareStage.MEASURING} <= set(stages)
    report = reported(plane, alice, version)
    passport, optimisation = report["passport"], report["optimisation"]
    assert (report["state"], report["reason"], report["refusal"]) == ("ready", None, None)
    assert [given["name"] for given in report["signature"]["inputs"]] == ["x"]
    assert report["hashes"] == {"model": version.sha256}
    assert report["findings"]["weight_bytes"] > 8 * limits.MIB
    assert report["certificate"]["batchable"], report["certificate"]
    assert optimisation["reason"] is None
    assert 0 < optimisation["load_ms"] < optimisation["uploaded_load_ms"]
    assert optimisation["largest_difference"] <= optimisation["relative_tolerance"]
    assert passport["prepared"] and passport["bytes_mapped"] >= 8 * limits.MIB
    assert passport["load_ms"] > 0 and passport["load_cold_ms"] > 0
    assert [cost["rows"] for cost in passport["batches"]] == [1, 2, 4, 8, 16, 32, 64]
    assert passport["provider"] == "CPUExecutionProvider"
    assert report["prepared_by"]["onnxruntime"] in report["prepared_by"]["host_class"]
    [loaded] = host.events("loaded")
    assert (loaded["prepared"], loaded["batch_size_max"]) == (True, passport["batch_size_best"])


def test_the_memory_that_a_host_then_sees_is_what_the_passport_says(
    plane: ControlPlane, alice: Principal, host: HostProcess
) -> None:
    """A forest: parsing it takes three times the memory that is left in use."""
    digits = load_digits()
    rows = digits.data.astype(np.float32)
    forest = RandomForestClassifier(30, random_state=0).fit(rows, digits.target)
    converted = to_onnx(forest, rows[:1], options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3})
    passport = reported(plane, alice, uploaded(plane, alice, converted.SerializeToString()))["passport"]
    [loaded] = host.events("loaded")
    assert passport["bytes_anonymous"] > limits.MIB
    assert passport["bytes_anonymous"] == pytest.approx(loaded["bytes_anonymous"], rel=0.1)


def test_a_model_that_fits_only_with_its_weights_mapped_is_ready(
    plane: ControlPlane, alice: Principal, servers: EmbeddedServers, tmp_path: Path
) -> None:
    """Rearranged for this processor they would take twice the memory, and more than there is."""
    content, memory = dense(), 12 * limits.MIB
    with running_host(servers, tmp_path, environ={"MODELROCKET_MEMORY_BYTES_MAX": str(memory)}) as host:
        report = reported(plane, alice, uploaded(plane, alice, content))
        passport = report["passport"]
        if not passport["bytes_prepacked"]:
            pytest.skip("on this processor rearranged weights do not pay")
        assert report["state"] == "ready"
        assert passport["memory_bytes"] > memory > len(content)
        [loaded] = host.events("loaded")
        assert loaded["prepared"]
        assert host.events("not_warmed") == host.events("prepacked") == []


def test_a_file_that_loads_at_once_is_served_as_it_is_and_the_report_says_why(
    plane: ControlPlane, alice: Principal, host: HostProcess
) -> None:
    def undisturbed() -> tuple[Version, dict[str, Any]] | None:
        """One whose load had the processor to itself: some milliseconds decide."""
        version = uploaded(plane, alice, onnx_models.marked(1))
        report = reported(plane, alice, version)
        return (version, report) if "nothing to gain" in str(report["optimisation"]["reason"]) else None

    version, report = wait_for(undisturbed, what="a file to load at once")
    assert not report["passport"]["prepared"]
    assert version.id not in {event["version"] for event in host.events("form_built")}


def test_rows_that_depend_on_each_other_come_with_the_counterexample(
    plane: ControlPlane, alice: Principal, host: HostProcess
) -> None:
    report = reported(plane, alice, uploaded(plane, alice, onnx_models.centred()))
    found = report["certificate"]["counterexample"]
    assert (report["state"], report["certificate"]["batchable"]) == ("ready", False)
    assert (found["output"], found["trial"]) == ("y", "2 rows together")
    assert found["expected"] != found["got"]
    assert [event["batch_size_max"] for event in host.events("loaded")] == [1]


@pytest.mark.usefixtures("host")
def test_a_file_that_is_refused_says_so_in_its_report(plane: ControlPlane, alice: Principal) -> None:
    report = reported(plane, alice, uploaded(plane, alice, onnx_models.external_data()))
    assert (report["state"], report["refusal"]) == ("failed", "external_data")
    assert report["reason"]
    assert (report["passport"], report["certificate"]) == (None, None)
    assert report["prepared_by"]["onnxruntime"]


def test_a_receipt_is_kept_as_the_client_gave_it(plane: ControlPlane, alice: Principal) -> None:
    receipt = {"compared": {"rows": 8, "largest.difference": 1e-7}, "$odd": ["grün", None]}
    data = onnx_models.marked(1)
    announced = msgspec.structs.replace(announce(data), receipt=msgspec.Raw(msgspec.json.encode(receipt)))
    begun = plane.uploads.begin(alice, announced)
    assert views.report(plane.models.version(alice, begun.model.id, 1)).receipt == receipt
    assert [reply.status_code for reply in send(begun, data)] == [200]


def test_a_version_that_an_earlier_release_prepared_has_no_example(
    plane: ControlPlane, alice: Principal
) -> None:
    version = uploaded(plane, alice, onnx_models.marked(1))
    report = views.report(
        msgspec.structs.replace(version, preparation='{"onnxruntime": "1.20", "host_class": "x"}')
    )
    assert (report.prepared_by, report.example, report.sizes) == (views.PreparedBy("1.20", "x"), None, {})


@pytest.mark.parametrize(
    "receipt",
    [
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"a": "' + b"x" * limits.RECEIPT_BYTES_MAX + b'"}', id="too large"),
        pytest.param(b'{"a": "\xff"}', id="not UTF-8"),
    ],
)
def test_a_receipt_is_a_bounded_object(plane: ControlPlane, alice: Principal, receipt: bytes) -> None:
    announced = msgspec.structs.replace(announce(b"x"), receipt=msgspec.Raw(receipt))
    with pytest.raises(InvalidRequest, match="receipt"):
        plane.uploads.begin(alice, announced)


def test_whatever_it_is_killed_at_another_host_makes_the_version_ready_once(
    plane: ControlPlane, alice: Principal, servers: EmbeddedServers, tmp_path: Path
) -> None:
    """One host after the other is killed, each at another stage of another version; the last takes all."""
    versions = [killed_at(stage, plane, alice, servers, tmp_path / stage) for stage in STAGES]
    assert plane.uploads.settle() == 0, "a host that was killed had finished before"
    results: list[str] = []
    with running_host(servers, tmp_path) as host:
        while len(results) < len(versions):
            found = wait_for(lambda: plane.hot.results(count=10), what="an orphan to be prepared")
            results += [result.version_id for _, result in found if result is not None]
            assert plane.uploads.settle() == len(found)
        assert sorted(event["version"] for event in host.events("loaded")) == sorted(
            version.id for version in versions
        )
    assert sorted(results) == sorted(version.id for version in versions)
    for version in versions:
        assert settled(plane, alice, version).state is VersionState.READY


def killed_at(
    stage: PrepareStage, plane: ControlPlane, alice: Principal, servers: EmbeddedServers, folder: Path
) -> Version:
    """A version whose host was killed at this stage, and is preparing still."""
    folder.mkdir()
    with ExitStack() as running:
        host = running.enter_context(running_host(servers, folder))
        version = uploaded(plane, alice, dense(), name=stage)
        while plane.hot.stage(version.id) is not stage:
            assert not plane.hot.results(count=1), f"{stage} was never seen"
        host.process.send_signal(signal.SIGKILL)
        host.process.wait()
    assert plane.hot.stage(version.id) is stage
    return version
