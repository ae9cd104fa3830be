"""The conformance table sees what it is for: answers that differ, what never ends, what dies."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import psutil
import pytest
from onnx import ModelProto, TensorProto, helper

from modelrocket.tensors import Array
from tests.matrix import document, harness, results
from tests.matrix.case import Case, Trained
from tests.matrix.results import Family, Outcome, Result
from tests.matrix.trial import difference
from tests.support.waiting import wait_for

ROWS = np.arange(12, dtype=np.float32).reshape(6, 2)


def doubling() -> ModelProto:
    shape = [None, 2]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def case(name: str, answers: Mapping[str, Array], model: object = None) -> Case:
    return Case(
        name,
        "graph",
        lambda: Trained(model or doubling(), None, None, None, {"x": ROWS}, lambda: answers),
    )


def slow(started: Path) -> Trained:
    process = subprocess.Popen(["sleep", "600"])  # what it starts goes with it
    started.write_text(str(process.pid))
    time.sleep(600)
    raise AssertionError


def outcomes(*cases: Case, seconds_max: float = 60.0) -> dict[str, Result]:
    return {found.name: found for found in harness.results(cases, seconds_max=seconds_max)}


def test_a_model_is_judged_by_its_own_answers() -> None:
    off = ROWS * 2
    off[4, 1] += 1
    found = outcomes(
        case("same", {"y": ROWS * 2}),
        case("other", {"y": off}),
        case("reshaped", {"y": (ROWS * 2)[:, :1]}),
        case("renamed", {"z": ROWS * 2}),
        case("no model", {}, model=object()),
        case("no file", {}, model="nowhere.onnx"),
    )
    assert {name: result.outcome for name, result in found.items()} == {
        "same": Outcome.OK,
        "other": Outcome.WRONG,
        "reshaped": Outcome.WRONG,
        "renamed": Outcome.WRONG,
        "no model": Outcome.UNSUPPORTED,
        "no file": Outcome.REFUSED,
    }
    assert "1 of 6 held-out rows differ, first at [4, 1]" in found["other"].reason


def test_labels_may_differ_in_a_tie_alone() -> None:
    chances = np.array([[0.5, 0.5], [0.9, 0.1]])
    expected = {"modelOutput": np.array([0, 0]), "probabilities": chances}
    assert difference(expected, {"modelOutput": np.array([1, 0]), "probabilities": chances}) is None
    told = difference(expected, {"modelOutput": np.array([0, 1]), "probabilities": chances})
    assert told is not None
    assert "1 of 2" in told


def test_what_never_ends_or_dies_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    started = tmp_path / "started"
    found = outcomes(
        Case("slow", "", lambda: slow(started)),
        Case("dead", "", lambda: os._exit(3)),
        Case("unbuilt", "", lambda: Trained(1 / 0, None, None, None, {}, dict)),
        seconds_max=3,
    )
    assert found["slow"].outcome is Outcome.HANG
    assert found["dead"].outcome is Outcome.BROKEN
    assert "exit code 3" in found["dead"].reason
    assert "cannot be built: ZeroDivisionError" in found["unbuilt"].reason
    wait_for(lambda: _gone(int(started.read_text())), what="its process to end")


def _gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_results_are_kept_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    first, again = Result("A", "k", Outcome.WRONG, "a|b"), Result("A", "k", Outcome.OK)
    other = Result("B", "k", Outcome.OK)
    results.write(Family("f", "Some framework", {"f": "1"}, (first, other)))
    merged = results.merged(["A", "B"], Family("f", "Some framework", {"f": "2"}, (again,)))
    assert merged.results == (again, other)
    results.write(merged)
    document.write([results.read("f")])
    written = document.PATH.read_text()
    assert "| [Some framework](#some-framework) | 2 | 0 |" in written
    assert "f 2" in written
