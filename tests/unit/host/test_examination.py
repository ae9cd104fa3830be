"""What becomes of files nobody has looked at: measured, refused with a reason, or killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec
import onnx
import pytest
from onnx import TensorProto, helper

from chalicelib.contract import limits
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.findings import Findings, Refusal
from chalicelib.contract.messages import Example, ExampleSource, Signature, TensorSignature, encode
from host_container.events import EventLog
from host_container.examination import ExaminationLimits, ExaminationLost, run_examination
from host_container.orders import Doing, Report
from tests.support import onnx_models
from tests.support.onnx_models import data, identity, model, value, weight
from tests.support.processes import descendants

QUICK: Final = ExaminationLimits(seconds_max=60, cpu_seconds_max=4, memory_bytes_max=4 * 2**30)
Begins = Callable[[Doing], None]


def examined(
    folder: Path, content: bytes, *, bounds: ExaminationLimits = QUICK, begins: Begins | None = None
) -> Report:
    path = folder / "model.onnx"
    path.write_bytes(content)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    events = EventLog(nowhere, clock=lambda: 0)
    try:
        return asyncio.run(
            run_examination(path, bounds, begins=begins or (lambda doing: None), events=events)
        )
    finally:
        os.close(nowhere)


def examining() -> set[int]:
    """Our examining processes; the test run may have other children."""
    return {pid for pid in descendants(os.getpid()) if b"host_container.examine" in _command(pid)}


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):  # it has ended already
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def reason(report: Report) -> str:
    assert report.reason is not None and report.refusal is not None
    assert (report.signature, report.findings) == (None, None)
    return report.reason


def test_a_good_file_is_examined_step_by_step(tmp_path: Path) -> None:
    doings: list[Doing] = []
    content = onnx_models.marked(3, padding_bytes=8 * limits.MIB)
    report = examined(tmp_path, content, begins=doings.append)
    assert doings == [Doing.READING, Doing.LOADING, Doing.RUNNING]
    assert report.signature is not None
    assert report.signature.inputs == (TensorSignature("x", "float32", (None, 1)),)
    assert report.signature.outputs == (TensorSignature("y", "float32", (None, 2)),)
    assert report.load_seconds > 0
    assert report.findings is not None
    assert report.findings == Findings(
        bytes=len(content),
        ir_version=8,
        opsets={"ai.onnx": 17, "ai.onnx.ml": 3},
        operators={"ai.onnx": {"Mul": 1, "ReduceSum": 1, "Add": 2, "Concat": 1}},
        nodes=5,
        depth=0,
        weights=3,
        weight_bytes=report.findings.weight_bytes,
        inputs=1,
        outputs=1,
        metadata_bytes=0,
    )
    assert 8 * limits.MIB < report.findings.weight_bytes < len(content)


def test_operators_inside_others_are_found_too(tmp_path: Path) -> None:
    found = examined(tmp_path, onnx_models.slow(10)).findings
    assert found is not None
    assert (found.operators, found.nodes, found.depth) == ({"ai.onnx": {"Loop": 1, "Identity": 2}}, 3, 1)


@pytest.mark.parametrize("dtype", ["bfloat16", "string", "bool"])
def test_inputs_of_unusual_dtypes_are_generated_too(tmp_path: Path, dtype: str) -> None:
    assert examined(tmp_path, identity(dtype, (None, 2))).signature is not None


def test_free_sizes_that_may_not_be_one_are_found(tmp_path: Path) -> None:
    """A convolution over an image of any size does not run on one of 1 x 1."""
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    shapes = [value("x", ["n", 1, "h", "w"]), value("y", ["n", 1, None, None])]
    content = data(model([node], shapes[:1], shapes[1:], [weight("w", [[[[0.0] * 5] * 5]])]))
    assert examined(tmp_path, content).signature is not None


def test_inputs_that_share_a_symbol_get_the_same_size(tmp_path: Path) -> None:
    assert examined(tmp_path, onnx_models.two_inputs()).signature is not None


def with_opset(version: int, domain: str = "") -> bytes:
    proto = onnx.load_from_string(identity("float32"))
    proto.opset_import.add(domain=domain, version=version)
    if not domain:
        proto.opset_import[0].version = version
    return data(proto)


def changed(change: Callable[[onnx.ModelProto], Any]) -> bytes:
    proto = onnx.load_from_string(identity("float32"))
    change(proto)
    return data(proto)


def with_node(*, op_type: str, domain: str = "") -> bytes:
    node = onnx.NodeProto(op_type=op_type, domain=domain)
    return changed(lambda proto: proto.graph.node[0].MergeFrom(node))


def without_shape(proto: onnx.ModelProto) -> None:
    proto.graph.input[0].type.tensor_type.ClearField("shape")


def with_function(proto: onnx.ModelProto) -> None:
    node = helper.make_node("Identity", ["a"], ["b"])
    opsets = [helper.make_opsetid("", 17)]
    proto.functions.append(helper.make_function("mine", "Mine", ["a"], ["b"], [node], opsets))


def many_nodes() -> bytes:
    count = limits.GRAPH_NODES_MAX + 1
    nodes = [helper.make_node("Identity", [f"v{i}"], [f"v{i + 1}"]) for i in range(count)]
    return data(model(nodes, [value("v0", [1])], [value(f"v{count}", [1])]))


REFUSED = [
    pytest.param(b"", "it is empty", id="empty"),
    pytest.param(b"plain text, no model\n" * 9, "not an ONNX file", id="text"),
    pytest.param(os.urandom(5000), "not an ONNX file", id="noise"),
    pytest.param(identity("float32")[:60], "not an ONNX file, or it was cut short", id="truncated"),
    pytest.param(b"\x80\x04\x95 pickle", "looks like a Python pickle: export", id="pickle"),
    pytest.param(b"PK\x03\x04 zip", "looks like a zip archive", id="PyTorch file"),
    pytest.param(b'{"model": 1}', "looks like JSON", id="JSON"),
    pytest.param(with_opset(29), r"needs opset 29 of ai.onnx.*takes 7 to 28.*target_opset=28", id="opset"),
    pytest.param(with_opset(6, "ai.onnx.ml"), "needs opset 6 of ai.onnx.ml", id="ML opset"),
    pytest.param(changed(lambda proto: setattr(proto, "ir_version", 99)), "IR version 99", id="IR"),
    pytest.param(with_node(domain="evil", op_type="Run"), '"Run" is of the domain "evil"', id="domain"),
    pytest.param(with_node(op_type="Nonsense"), "Nonsense", id="unknown operator"),
    pytest.param(onnx_models.external_data(), "external data", id="external data"),
    pytest.param(changed(with_function), "Inline them", id="functions"),
    pytest.param(changed(lambda proto: proto.training_info.add()), "training information", id="training"),
    pytest.param(changed(without_shape), '"x" has no shape', id="unknown rank"),
    pytest.param(onnx_models.zip_map(), "ZipMap.*'zipmap': False", id="ZipMap"),
    pytest.param(many_nodes(), "more than 20000 operators", id="too many operators"),
    pytest.param(onnx_models.nested(60), "nested more than 32 deep", id="nested too deep"),
    pytest.param(onnx_models.rows_baked_in(), "1 row but not with 2.*dynamic batch", id="rows baked in"),
]


@pytest.mark.parametrize(("content", "says"), REFUSED)
def test_a_bad_file_is_refused_with_a_reason(tmp_path: Path, content: bytes, says: str) -> None:
    report = examined(tmp_path, content)
    assert_matches(reason(report), says)
    assert str(tmp_path) not in reason(report)


def assert_matches(text: str, pattern: str) -> None:
    with pytest.raises(ValueError, match=pattern):
        raise ValueError(text)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(
            onnx_models.folding_bomb(), "2 s of CPU time while loading it", id="f66 constant folding"
        ),
        pytest.param(onnx_models.endless(), "2 s of CPU time while running it", id="f65 endless loop"),
        pytest.param(onnx_models.memory_bomb(), "more than 4 GiB of memory", id="f68 memory"),
    ],
)
def test_a_hostile_file_is_stopped_with_a_reason(tmp_path: Path, content: bytes, says: str) -> None:
    assert says in reason(examined(tmp_path, content, bounds=replace(QUICK, cpu_seconds_max=2)))


def test_a_process_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    bounds = ExaminationLimits(seconds_max=2, cpu_seconds_max=60, memory_bytes_max=4 * 2**30)
    report = examined(tmp_path, onnx_models.endless(), bounds=bounds)
    assert reason(report).startswith("Stopped after 2 s")
    assert report.refusal is Refusal.WALL_TIME
    assert examining() == set()


def test_a_process_killed_from_outside_is_no_verdict_on_the_model(tmp_path: Path) -> None:
    def kill(doing: Doing) -> None:
        if doing is Doing.RUNNING:
            for pid in examining():
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(ExaminationLost, match="generated input"):
        examined(tmp_path, onnx_models.endless(), begins=kill)


def test_a_crash_is_the_models(tmp_path: Path) -> None:
    def crash(doing: Doing) -> None:
        if doing is Doing.RUNNING:
            for pid in examining():
                os.kill(pid, signal.SIGSEGV)

    report = examined(tmp_path, onnx_models.endless(), begins=crash)
    assert reason(report) == "It crashed the process (SIGSEGV) while running it on a generated input."
    assert report.refusal is Refusal.CRASH


def test_a_host_that_cannot_close_the_process_in_blames_no_model(tmp_path: Path) -> None:
    """There is no such file that it could be left to read."""
    path = tmp_path / "gone.onnx"
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        with pytest.raises(Unavailable, match="cannot close in"):
            asyncio.run(
                run_examination(
                    path, QUICK, begins=lambda doing: None, events=EventLog(nowhere, clock=lambda: 0)
                )
            )
    finally:
        os.close(nowhere)


def test_the_process_sees_none_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, program = tmp_path / "seen", tmp_path / "python"
    program.write_text(f'#!/bin/sh\nenv > "{seen}"\nexec "{sys.executable}" "$@"\n')
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert examined(tmp_path, identity("float32")).reason is None
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    assert "ORT_DISABLE_TELEMETRY" in names
    assert not [name for name in names if name.startswith(("AWS_", "MODELROCKET_"))]


def test_weights_that_are_inputs_too_are_no_inputs(tmp_path: Path) -> None:
    """Old exporters list every weight among the inputs."""
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    inputs = [value("x", [None]), helper.make_tensor_value_info("w", TensorProto.FLOAT, [1])]
    report = examined(tmp_path, data(model(nodes, inputs, [value("y", [None])], [weight("w", [1])])))
    assert report.signature is not None
    assert [given.name for given in report.signature.inputs] == ["x"]


def test_a_file_that_takes_too_long_to_load_is_refused_for_that(tmp_path: Path) -> None:
    """Within its processor time, but longer than whoever waits for a cold model would."""
    content = onnx_models.folding_bomb(size=1000, length=2)
    report = examined(tmp_path, content, bounds=replace(QUICK, load_seconds_max=0.01))
    assert_matches(reason(report), r"takes 0\.\d+ s to load; 0\.01 s are allowed\. Simplify the model")
    assert report.refusal is Refusal.SLOW_TO_LOAD
    assert examined(tmp_path, content).reason is None


SIGNED: Final = Report(
    signature=Signature((TensorSignature("x", "float32", (None, 2)),), ()),
    example=Example({"x": [[0.5, None]]}, ExampleSource.SAMPLE),
    sizes={"x": (1, 2)},
)


def told_by(folder: Path, line: bytes, monkeypatch: pytest.MonkeyPatch) -> Report:
    """What is made of it when a process that a model has taken over says this."""
    said, program = folder / "said", folder / "python"
    said.write_bytes(line + b"\n")
    program.write_text(f'#!/bin/sh\nexec cat "{said}"\n')
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    return examined(folder, identity("float32"))


@pytest.mark.parametrize(
    ("inputs", "shown"),
    [
        pytest.param({"x": [[0.5, None]]}, True, id="fits"),
        pytest.param({"y": [[0.5, 1.5]]}, False, id="another name"),
        pytest.param({}, False, id="no name"),
        pytest.param({"x": [0.5]}, False, id="too flat"),
        pytest.param({"x": [[[0.5]]]}, False, id="too deep"),
        pytest.param({"x": [[{}]]}, False, id="objects"),
        pytest.param({"x": [["a" * limits.EXAMPLE_BYTES_MAX]]}, False, id="too large"),
    ],
)
def test_an_example_that_does_not_fit_the_signature_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: dict[str, Any], shown: bool
) -> None:
    said = msgspec.structs.replace(SIGNED, example=Example(inputs, ExampleSource.SAMPLE))
    report = told_by(tmp_path, encode(said), monkeypatch)
    assert report == (said if shown else msgspec.structs.replace(said, example=None))


def test_sizes_that_do_not_fit_the_signature_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = msgspec.structs.replace(SIGNED, sizes={"x": (1, 2, 3)})
    report = told_by(tmp_path, encode(said), monkeypatch)
    assert (report.example, report.sizes) == (None, {})


def test_an_example_without_a_bottom_is_none_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    line = encode(SIGNED).replace(b"[[0.5,null]]", deep)
    with pytest.raises(ExaminationLost):
        told_by(tmp_path, line, monkeypatch)
