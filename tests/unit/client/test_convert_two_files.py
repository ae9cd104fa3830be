"""Models too large for one file, with the limit lowered so that a megabyte is too large."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from modelrocket.convert import Converted, convert, two_files
from modelrocket.convert.two_files import graph_beside
from modelrocket.errors import ConversionError
from modelrocket.payload import WEIGHTS_LOCATION
from modelrocket.runtime import load_mapped

SIZE = 256
ROWS = np.linspace(-1, 1, 3 * SIZE, dtype=np.float32).reshape(3, SIZE)


@pytest.fixture(autouse=True)
def _a_small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_files, "ONE_FILE_BYTES_MAX", 500_000)


def arrays() -> list[np.ndarray[Any, Any]]:
    generator = np.random.default_rng(1)
    return [generator.standard_normal((SIZE, SIZE), dtype=np.float32) / 16 for _ in range(3)]


def model() -> ModelProto:
    """Three layers of 256 KiB, and a small bias."""
    weights = [numpy_helper.from_array(array, f"w{index}") for index, array in enumerate(arrays())]
    bias = numpy_helper.from_array(np.ones(SIZE, np.float32), "bias")
    nodes = [helper.make_node("Add", ["x", "bias"], ["h0"])]
    nodes += [helper.make_node("MatMul", [f"h{i}", f"w{i}"], [f"h{i + 1}"]) for i in range(3)]
    shape = [None, SIZE]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("h3", TensorProto.FLOAT, shape)],
        [bias, *weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def saved(folder: Path, *, size_threshold: int = 0, one: bool = True) -> Path:
    path = folder / "given.onnx"
    location = "given.data" if one else None
    onnx.save(
        model(),
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=one,
        location=location,
        size_threshold=size_threshold,
    )
    return path


def answers(converted: Converted) -> np.ndarray[Any, Any]:
    assert converted.weights
    return load_mapped(graph_beside(converted.weights)).run({"x": ROWS})["h3"]


def expected() -> np.ndarray[Any, Any]:
    first, second, third = arrays()
    return np.asarray((ROWS + 1) @ first @ second @ third)


@pytest.mark.parametrize("form", ["proto", "one file of weights", "a file for each weight"])
def test_a_large_model_becomes_a_graph_and_one_file_of_weights(tmp_path: Path, form: str) -> None:
    given = model() if form == "proto" else saved(tmp_path, one="one" in form)
    before = sorted(path.name for path in tmp_path.iterdir())
    converted = convert(given)
    assert converted.weights
    assert len(converted.model) < 10_000
    content = converted.weights.path.read_bytes()
    assert converted.weights.sha256 == hashlib.sha256(content).hexdigest()
    assert converted.weights.bytes == len(content) == 3 * 4 * SIZE * SIZE
    np.testing.assert_allclose(answers(converted), expected(), rtol=1e-4, atol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    if isinstance(given, ModelProto):
        assert given == model()


def test_the_graph_names_our_file_alone_and_pages_of_it(tmp_path: Path) -> None:
    graph = ModelProto.FromString(convert(saved(tmp_path)).model)
    apart = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}
        for tensor in graph.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
    }
    assert sorted(apart) == ["w0", "w1", "w2"]  # the bias is small, and inside
    assert {told["location"] for told in apart.values()} == {WEIGHTS_LOCATION}
    assert all(int(told["offset"]) % 4096 == 0 for told in apart.values())


def test_the_files_go_with_the_model_and_no_earlier(tmp_path: Path) -> None:
    converted = convert(saved(tmp_path))
    assert converted.weights
    path = converted.weights.path
    assert path.exists()
    del converted
    assert not path.exists()


def test_the_same_model_is_announced_the_same_every_time(tmp_path: Path) -> None:
    path = saved(tmp_path)
    assert convert(path).payload.announcement() == convert(path).payload.announcement()


def test_weights_that_share_their_bytes_are_sent_once(tmp_path: Path) -> None:
    path = saved(tmp_path)
    shared = onnx.load(path, load_external_data=False)
    by_name = {tensor.name: tensor for tensor in shared.graph.initializer}
    del by_name["w1"].external_data[:]
    by_name["w1"].external_data.extend(by_name["w0"].external_data)
    path.write_bytes(shared.SerializeToString())
    converted = convert(path)
    assert converted.weights
    assert converted.weights.bytes == 2 * 4 * SIZE * SIZE


def test_what_fits_goes_as_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_files, "ONE_FILE_BYTES_MAX", 2**31)
    assert convert(saved(tmp_path)).weights is None


@pytest.mark.parametrize("limit", [500_000, 2**31], ids=["two files", "one file"])
@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "inner/../../secret", ""])
def test_weights_elsewhere_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str, limit: int
) -> None:
    monkeypatch.setattr(two_files, "ONE_FILE_BYTES_MAX", limit)
    (tmp_path / "secret").write_bytes(bytes(4 * SIZE * SIZE))
    (tmp_path / "models").mkdir()
    path = pointed(saved(tmp_path / "models"), location)
    with pytest.raises(ConversionError, match="not in its own folder"):
        convert(path)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    path = saved(tmp_path / "models")
    os.replace(path.parent / "given.data", tmp_path / "elsewhere")
    (path.parent / "given.data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConversionError, match="not in its own folder"):
        convert(path)


def test_a_file_of_weights_that_was_cut_short_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path)
    os.truncate(tmp_path / "given.data", 4 * SIZE * SIZE)
    with pytest.raises(ConversionError, match=r"given\.data does not hold the weight"):
        convert(path)


def test_a_full_disk_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path)
    monkeypatch.setattr(two_files, "_SPARE_BYTES", 10**18)
    with pytest.raises(ConversionError, match="GB free"):
        convert(path)


def test_a_large_pytorch_module_is_exported_beside_its_weights() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(*(torch.nn.Linear(SIZE, SIZE) for _ in range(3)))
    converted = convert(module, np.float32, (None, SIZE))
    assert converted.weights
    assert converted.agreement
    assert len(converted.model) < 100_000
    rows = torch.from_numpy(ROWS)
    got = load_mapped(graph_beside(converted.weights)).run({"modelInput": ROWS})["modelOutput"]
    np.testing.assert_allclose(got, module(rows).detach().numpy(), rtol=1e-4, atol=1e-4)


def pointed(path: Path, location: str) -> Path:
    """The same file, one of its weights said to be elsewhere."""
    graph = onnx.load(path, load_external_data=False)
    for entry in graph.graph.initializer[1].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(graph.SerializeToString())
    return path
