"""What a report shows of a model's inputs is a row that it has run on, as JSON and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, load_from_string

from chalicelib.contract import limits
from chalicelib.contract.messages import Example, ExampleSource
from host_container.examples import Shown, shown
from host_container.generated import EXAMPLE_KEY, first_run
from host_container.session import Session
from modelrocket.tensors import TensorSpec, decode
from tests.support import onnx_models
from tests.support.onnx_models import Dimensions, data, identity, model, value, weight
from tests.unit.host.test_generated import GOOD, choosy, session_of

SAMPLE, ZEROS = ExampleSource.SAMPLE, ExampleSource.ZEROS


def loaded(folder: Path, content: bytes, told: Any = None) -> Session:
    made = load_from_string(content)
    if told is not None:
        helper.set_model_props(made, {EXAMPLE_KEY: json.dumps(told)})
    return session_of(folder, made)


def seen(session: Session) -> Shown:
    """Also as it goes out and comes back in a request: the model runs on it."""
    told = shown(session, free=first_run(session).free)
    if told.example is not None:
        again = json.loads(json.dumps(told.example.inputs))
        feeds = {
            given.name: decode(again[given.name], TensorSpec(given.name, given.dtype, given.shape))
            for given in session.signature.inputs
        }
        session.run(feeds)
        assert {name: array.shape for name, array in feeds.items()} == told.sizes
    return told


def test_without_an_example_it_is_one_row_of_zeros(tmp_path: Path) -> None:
    found = seen(loaded(tmp_path, onnx_models.two_inputs()))
    assert found == Shown(Example({"a": [[0, 0]], "b": [[0, 0]]}, ZEROS), {"a": (1, 2), "b": (1, 2)})


def test_it_is_the_first_row_of_the_models_own_example(tmp_path: Path) -> None:
    found = seen(session_of(tmp_path, choosy(json.dumps({"inputs": GOOD}))))
    own = {"size": [["small"]], "count": [[3]], "x": [[0.5, None]]}
    assert found == Shown(Example(own, SAMPLE), {"size": (1, 1), "count": (1, 1), "x": (1, 2)})


def test_none_of_it_where_its_owner_wanted_no_values_to_go_along(tmp_path: Path) -> None:
    found = seen(
        loaded(tmp_path, identity("float32", ["n", 2]), {"inputs": {"x": [[1, 2]]}, "made_up": True})
    )
    assert found.example == Example({"x": [[0, 0]]}, ZEROS)


def test_where_rows_are_fixed_it_has_all_of_them(tmp_path: Path) -> None:
    found = seen(loaded(tmp_path, identity("float32", [2, 1]), {"inputs": {"x": [[1], [2]]}}))
    assert found == Shown(Example({"x": [[1], [2]]}, SAMPLE), {"x": (2, 1)})


def test_an_example_that_it_does_not_run_on_is_not_shown(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["y"]),
    ]
    made = model(nodes, [value("x", [None])], [value("y", [None])], [weight("table", [10, 11, 12, 13])])
    assert seen(loaded(tmp_path, data(made), {"inputs": {"x": [3]}})).example == Example({"x": [3]}, SAMPLE)
    assert seen(loaded(tmp_path, data(made), {"inputs": {"x": [9]}})).example == Example({"x": [0]}, ZEROS)


@pytest.mark.parametrize("told", ["NaN", "Infinity", "-Infinity", "1e999", "null"])
def test_what_is_no_number_is_null_and_what_it_ran_on(tmp_path: Path, told: str) -> None:
    made = load_from_string(identity("float32", ["n", 2]))
    helper.set_model_props(made, {EXAMPLE_KEY: f'{{"inputs": {{"x": [[{told}, 0.1]]}}}}'})
    assert seen(session_of(tmp_path, made)).example == Example({"x": [[None, 0.1]]}, SAMPLE)


@pytest.mark.parametrize("dtype", sorted(onnx_models.DTYPES))
@pytest.mark.parametrize("shape", [(None, 2), (3,), ()])
def test_every_dtype_comes_back_as_it_was(tmp_path: Path, dtype: str, shape: Dimensions) -> None:
    found = seen(loaded(tmp_path, identity(dtype, shape)))
    assert found.example is not None
    nothing = {"string": "", "bool": False}.get(dtype, 0)
    assert np.unique(np.array(found.example.inputs["x"])).tolist() == [nothing]


def test_sizes_that_may_be_any_are_those_that_worked(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    shapes = [value("x", ["n", 1, "h", "w"]), value("y", ["n", 1, None, None])]
    content = data(model([node], shapes[:1], shapes[1:], [weight("w", [[[[0.0] * 5] * 5]])]))
    assert seen(loaded(tmp_path, content)).sizes == {"x": (1, 1, 8, 8)}


def test_one_that_is_too_large_is_left_out_and_its_sizes_told(tmp_path: Path) -> None:
    width = limits.EXAMPLE_BYTES_MAX // 4
    assert seen(loaded(tmp_path, identity("float32", ["n", width]))).example is None
    found = seen(loaded(tmp_path, identity("string", ["n", 1]), {"inputs": {"x": [["a" * 20_000]]}}))
    assert found == Shown(None, {"x": (1, 1)})
