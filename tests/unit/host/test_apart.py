"""A graph with its weights in the file beside it: what is let in is exact, and answers right."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from chalicelib.contract import limits
from chalicelib.contract.findings import Findings, Refusal
from chalicelib.contract.messages import WEIGHTS_LOCATION
from chalicelib.published import model_file_limits
from host_container import onnxfile, prepared
from host_container.events import EventLog
from host_container.examination import ExaminationLimits, run_build, run_examination
from host_container.firewall import Refused
from host_container.session import load, load_mapped
from tests.support.two_files import (
    SIZE,
    WEIGHT_BYTES,
    WEIGHTS,
    Change,
    apart,
    graph,
    lay_out,
    saved_by_onnx,
    second,
)

ROWS = np.arange(2 * SIZE, dtype=np.float32).reshape(2, SIZE)
BOUNDS = ExaminationLimits(sandbox_required=False)
ALIGNMENT = limits.WEIGHTS_ALIGNMENT_BYTES


def check(folder: Path, change: Change = lambda model: None, weights: bytes | None = WEIGHTS) -> Findings:
    return onnxfile.check(lay_out(folder, graph(change), weights))


def test_a_graph_and_its_weights_are_let_in_and_answer_right(tmp_path: Path) -> None:
    found = check(tmp_path)
    assert (found.weights, found.weight_bytes) == (2, len(WEIGHTS))
    assert found.bytes == len(graph()) + len(WEIGHTS)
    np.testing.assert_array_equal(load(tmp_path / "model.onnx").run({"x": ROWS})["y"], ROWS * 6)


def also_inside(model: ModelProto) -> None:
    model.graph.initializer[1].raw_data = bytes(WEIGHT_BYTES)


def not_said_to_be_apart(model: ModelProto) -> None:
    model.graph.initializer[1].data_location = TensorProto.DEFAULT


def said_twice(model: ModelProto) -> None:
    model.graph.initializer[1].external_data.add(key="offset", value="0")


def of_strings(model: ModelProto) -> None:
    model.graph.initializer[1].data_type = TensorProto.STRING


def of_negative_size(model: ModelProto) -> None:
    del model.graph.initializer[1].dims[:]
    model.graph.initializer[1].dims.extend([-SIZE, -SIZE])


def of_no_size(model: ModelProto) -> None:
    model.graph.initializer[1].CopyFrom(apart("second", length=0))
    del model.graph.initializer[1].dims[:]
    model.graph.initializer[1].dims.extend([0, SIZE])


def in_an_operator(model: ModelProto) -> None:
    constant = helper.make_node("Constant", [], ["constant"], value=TensorProto())
    constant.attribute[0].t.CopyFrom(apart("inside"))
    model.graph.node.append(constant)


def in_a_subgraph(model: ModelProto) -> None:
    output = helper.make_tensor_value_info("z", TensorProto.FLOAT, [SIZE, SIZE])
    identity = helper.make_node("Identity", ["inner"], ["z"])
    branch = helper.make_graph([identity], "branch", [], [output], [apart("inner")])
    model.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=branch, else_branch=branch))


def in_a_sparse_one(model: ModelProto) -> None:
    sparse = model.graph.sparse_initializer.add(dims=[SIZE, SIZE])
    sparse.values.CopyFrom(apart("values"))
    sparse.indices.CopyFrom(helper.make_tensor("indices", TensorProto.INT64, [1], [0]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(second(location="../weights.bin"), "a file other than", id="the folder above"),
        pytest.param(second(location="/etc/passwd"), "a file other than", id="an absolute path"),
        pytest.param(second(location="./weights.bin"), "a file other than", id="the same by another name"),
        pytest.param(second(location="weights.bin\0"), "a file other than", id="a name that ends early"),
        pytest.param(second(location="model.onnx"), "a file other than", id="the graph itself"),
        pytest.param(second(location="*/_ORT_MEM_ADDR_/*"), "address in memory", id="an address in memory"),
        pytest.param(second(location=None), "does not say", id="no location"),
        pytest.param(second(offset=None), "does not say", id="no offset"),
        pytest.param(second(length=None), "does not say", id="no length"),
        pytest.param(second(checksum="0" * 40), "does not say", id="something else besides"),
        pytest.param(said_twice, "does not say", id="two offsets"),
        pytest.param(second(offset=-ALIGNMENT), "no whole number", id="a negative offset"),
        pytest.param(second(length=-WEIGHT_BYTES), "no whole number", id="a negative length"),
        pytest.param(second(offset="0x0"), "no whole number", id="hexadecimal"),
        pytest.param(second(offset="\u0660"), "no whole number", id="digits of another script"),
        pytest.param(second(offset=2**64), "no whole number", id="more than 64 bits"),
        pytest.param(second(offset=WEIGHT_BYTES + ALIGNMENT), "ends at byte", id="beyond the end"),
        pytest.param(second(offset=10**14 - 10**14 % ALIGNMENT), "ends at byte", id="far beyond the end"),
        pytest.param(second(offset=ALIGNMENT), "overlap", id="half of another"),
        pytest.param(second(offset=WEIGHT_BYTES - ALIGNMENT), "overlap", id="the end of another"),
        pytest.param(second(offset=WEIGHT_BYTES - 1), "not at a multiple", id="not aligned"),
        pytest.param(second(length=WEIGHT_BYTES - 4), "and that it has", id="too short"),
        pytest.param(second(length=2 * WEIGHT_BYTES), "and that it has", id="too long"),
        pytest.param(also_inside, "in the graph too", id="in the graph too"),
        pytest.param(not_said_to_be_apart, "does not say", id="not said to be apart"),
        pytest.param(of_strings, "type or size", id="strings"),
        pytest.param(of_negative_size, "type or size", id="negative dimensions"),
        pytest.param(of_no_size, "and that it has 0 bytes", id="nothing"),
        pytest.param(in_an_operator, "external data", id="a constant of an operator"),
        pytest.param(in_a_subgraph, "external data", id="a weight of a subgraph"),
        pytest.param(in_a_sparse_one, "external data", id="a part of a sparse weight"),
    ],
)
def test_what_is_not_exact_goes_no_further(tmp_path: Path, change: Change, says: str) -> None:
    with pytest.raises(Refused, match=says) as refused:
        check(tmp_path, change)
    assert refused.value.refusal in {Refusal.EXTERNAL_DATA, Refusal.MEMORY_ADDRESS}
    assert len(refused.value.message) <= limits.REASON_LENGTH_MAX


def test_two_weights_may_be_the_same_bytes(tmp_path: Path) -> None:
    check(tmp_path, second(offset=0))
    np.testing.assert_array_equal(load(tmp_path / "model.onnx").run({"x": ROWS})["y"], ROWS * 4)


def test_without_a_second_file_nothing_may_be_apart(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="external data") as refused:
        check(tmp_path, weights=None)
    assert refused.value.refusal is Refusal.EXTERNAL_DATA


def test_a_cut_file_of_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="ends at byte"):
        check(tmp_path, weights=WEIGHTS[:-1])


def test_the_published_limits_are_those_that_hold(tmp_path: Path) -> None:
    published = model_file_limits().external_data
    check(tmp_path, second(location=published.location, offset=WEIGHT_BYTES))
    spread = bytes(published.alignment_bytes) + WEIGHTS
    check(tmp_path, second(offset=WEIGHT_BYTES + published.alignment_bytes), weights=spread)
    with (tmp_path / published.location).open("wb") as file:
        file.truncate(published.bytes_max + 1)  # a hole: it takes no room
    with pytest.raises(Refused) as refused:
        onnxfile.check(tmp_path / "model.onnx")
    assert refused.value.refusal is Refusal.TOO_LARGE


def test_the_examining_process_reads_both_files(tmp_path: Path) -> None:
    path = lay_out(tmp_path, graph())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    events = EventLog(nowhere, clock=lambda: 0)
    try:
        report = asyncio.run(run_examination(path, BOUNDS, begins=lambda doing: None, events=events))
        (tmp_path / WEIGHTS_LOCATION).write_bytes(WEIGHTS[:-1])
        cut = asyncio.run(run_examination(path, BOUNDS, begins=lambda doing: None, events=events))
    finally:
        os.close(nowhere)
    assert report.reason is None
    assert report.signature
    assert report.signature.inputs[0].shape == (None, SIZE)
    assert cut.refusal is Refusal.EXTERNAL_DATA


def test_its_prepared_form_answers_the_same(tmp_path: Path) -> None:
    wide = 512
    path = two_files_of(tmp_path, np.eye(wide, dtype=np.float32) * 2)
    folder = tmp_path / "form"
    folder.mkdir()
    built = asyncio.run(run_build(path, folder, BOUNDS, bytes_max=10**7))
    assert built.reason is None
    rows = np.ones((2, wide), np.float32)
    np.testing.assert_array_equal(load_mapped(folder / prepared.GRAPH).run({"h0": rows})["h1"], rows * 2)


def test_limits_grow_with_the_weights_beside_a_graph_and_with_nothing_else(tmp_path: Path) -> None:
    path = lay_out(tmp_path, graph())
    grown = BOUNDS.allowing(prepared.uploaded(path))
    assert grown.memory_bytes_max == BOUNDS.memory_bytes_max + 3 * len(WEIGHTS)
    assert grown.seconds_max > BOUNDS.seconds_max
    assert prepared.uploaded(path).load_seconds_max > limits.LOAD_SECONDS_MAX
    (tmp_path / WEIGHTS_LOCATION).unlink()
    assert BOUNDS.allowing(prepared.uploaded(path)) == BOUNDS


def two_files_of(folder: Path, weight: np.ndarray[Any, Any]) -> Path:
    """One layer, as the client writes it."""
    made = saved_by_onnx(folder, layers=1, size=len(weight))
    model = onnx.load(made, load_external_data=False)
    tensor = model.graph.initializer[0]
    del tensor.external_data[:]
    told = {"location": WEIGHTS_LOCATION, "offset": 0, "length": weight.nbytes}
    for key, given in told.items():
        tensor.external_data.add(key=key, value=str(given))
    return lay_out(folder, model.SerializeToString(), weight.tobytes())
