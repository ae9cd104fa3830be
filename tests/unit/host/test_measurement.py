"""Passports: measured on what is served, within bounds, by a process that may be killed."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import pytest
from onnx import helper

from chalicelib.contract import limits
from chalicelib.contract.findings import Refusal
from chalicelib.contract.messages import Certificate, Counterexample, Passport
from host_container import examination, heap, prepared
from host_container.events import EventLog
from host_container.examination import ExaminationLimits, ExaminationLost, run_build, run_measurement
from host_container.orders import Doing, Measured
from host_container.prepared import Built, ModelFiles
from tests.support import onnx_models
from tests.support.onnx_models import data, dense, model, value, weight
from tests.support.processes import descendants

LIMITS: Final = ExaminationLimits(seconds_max=60, cpu_seconds_max=20, memory_bytes_max=2 * 2**30)
ALL_ROWS: Final = [1, 2, 4, 8, 16, 32, 64]


def measured(
    files: ModelFiles,
    *,
    bounds: ExaminationLimits = LIMITS,
    begins: Callable[[Doing], None] = lambda _: None,
) -> Measured:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        events = EventLog(nowhere, clock=lambda: 0)
        return asyncio.run(run_measurement(files, bounds, begins=begins, events=events))
    finally:
        os.close(nowhere)


def uploaded(folder: Path, content: bytes) -> ModelFiles:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return ModelFiles((path,))


def form_of(folder: Path, content: bytes) -> ModelFiles:
    [path] = uploaded(folder, content).paths
    form = folder / "form"
    form.mkdir()
    built = asyncio.run(run_build(path, form, LIMITS, bytes_max=2 * len(content) + limits.MIB))
    assert built.reason is None
    prepared.seal(form, built)
    found = prepared.read(form)
    assert found is not None
    return found


def passport(files: ModelFiles) -> Passport:
    found = measured(files)
    assert found.passport is not None, found.reason
    return found.passport


def test_an_uploaded_file_keeps_its_weights_in_memory_of_its_own(tmp_path: Path) -> None:
    weights = 8 * limits.MIB
    found = passport(uploaded(tmp_path, dense()))
    assert weights < found.bytes_anonymous < 1.2 * weights
    assert (found.prepared, found.bytes_mapped, found.bytes_prepacked) == (False, 0, 0)
    assert found.memory_bytes >= found.bytes_anonymous
    assert [cost.rows for cost in found.batches] == ALL_ROWS
    assert found.run_ms == found.batches[0].run_ms > 0
    assert found.batch_gain > 1
    assert found.batch_size_best in ALL_ROWS


def test_a_form_maps_them(tmp_path: Path) -> None:
    files = form_of(tmp_path, dense())
    found = passport(ModelFiles(files.paths, Built(prepack_gain=1.0)))
    assert found.bytes_mapped == 8 * limits.MIB
    assert found.bytes_anonymous < limits.MIB
    assert found.memory_bytes >= found.bytes_mapped
    assert (found.prepared, found.bytes_prepacked) == (True, 0)


def test_where_prepacking_pays_the_copy_is_counted_too(tmp_path: Path) -> None:
    files = form_of(tmp_path, dense())
    found = passport(ModelFiles(files.paths, Built(prepack_gain=2.0)))
    assert found.prepack_gain == 2
    assert found.bytes_prepacked > 8 * limits.MIB > found.bytes_anonymous
    assert found.memory_bytes >= found.bytes_mapped + found.bytes_prepacked
    assert found.bytes_mapped <= found.memory_bytes_mapped <= found.memory_bytes - 7 * limits.MIB


def test_a_load_that_is_timed_finds_no_pages_of_the_one_before() -> None:
    """A worker has none either. By page faults, where freed memory is kept as in workers."""
    program = """
import resource
from host_container import passport

pages = []

def load():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [b"x" * 65_536 for _ in range(256)]
    pages.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return blocks

for _ in range(3):
    passport._timed_load(load)
print(min(pages))
"""
    environment = {**os.environ, **heap.environment()}
    asked = [sys.executable, "-c", program]
    done = subprocess.run(asked, env=environment, capture_output=True, check=True, timeout=60)
    assert int(done.stdout) > 0.9 * 16 * limits.MIB / resource.getpagesize()


def test_a_run_that_takes_long_is_not_tried_with_more_rows(tmp_path: Path) -> None:
    found = measured(uploaded(tmp_path, onnx_models.slow(6_000_000)))
    assert found.passport is not None and found.certificate is not None, found.reason
    assert found.passport.run_ms > 1_000
    assert [cost.rows for cost in found.passport.batches] == [1]
    assert not found.certificate.batchable
    assert "nobody would gain" in found.certificate.evidence


def test_rows_that_take_much_memory_are_not_tried_until_there_is_none(tmp_path: Path) -> None:
    """20 MiB a row, as the model multiplies it out: none of its runs takes too long."""
    bounds = ExaminationLimits(seconds_max=60, cpu_seconds_max=20, memory_bytes_max=512 * limits.MIB)
    nodes = [
        helper.make_node("Expand", ["x", "wide"], ["y0"]),
        helper.make_node("ReduceSum", ["y0", "axes"], ["y"], keepdims=1),
    ]
    weights = [weight("wide", [1, 5 * limits.MIB], "int64"), weight("axes", [1], "int64")]
    content = data(model(nodes, [value("x", ["n", 1])], [value("y", ["n", 1])], weights))
    found = measured(uploaded(tmp_path, content), bounds=bounds).passport
    assert found is not None
    assert 1 < len(found.batches) < len(ALL_ROWS)
    assert found.batches[-2].memory_bytes <= bounds.memory_bytes_max // 3 < found.batches[-1].memory_bytes


def test_a_fixed_number_of_rows_is_one_size(tmp_path: Path) -> None:
    found = measured(uploaded(tmp_path, onnx_models.identity("float32", (1, 3))))
    assert found.passport is not None and found.certificate is not None
    assert len(found.passport.batches) == found.passport.batch_size_best == 1
    assert not found.certificate.batchable


def test_a_run_that_never_ends_is_the_models_fault(tmp_path: Path) -> None:
    bounds = ExaminationLimits(seconds_max=60, cpu_seconds_max=2, memory_bytes_max=2 * 2**30)
    found = measured(uploaded(tmp_path, onnx_models.endless()), bounds=bounds)
    assert (found.passport, found.refusal) == (None, Refusal.CPU_TIME)
    assert found.reason == "Stopped after 2 s of CPU time while measuring it."


def test_a_process_killed_from_outside_is_no_verdict_on_the_model(tmp_path: Path) -> None:
    def kill(_doing: Doing) -> None:
        for pid in descendants(os.getpid()):
            if b"host_container.measure" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(ExaminationLost, match="measuring it"):
        measured(uploaded(tmp_path, onnx_models.endless()), begins=kill)


def test_what_a_hijacked_process_says_at_length_is_cut() -> None:
    long = "x\n" * 100_000
    found = Counterexample(long, long, 1, 0, (long,) * 1000, (long,) * 1000)
    short = examination._short(Certificate(False, long, found))
    assert len(msgspec.json.encode(short)) < 4_000
    assert b"\\n" not in msgspec.json.encode(short)
