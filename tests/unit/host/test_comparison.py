"""What counts as the same answer."""

from __future__ import annotations

import math
import time
from typing import Any, Final

import numpy as np
import pytest
from ml_dtypes import bfloat16

from chalicelib.contract.messages import Passport, VersionRecord
from host_container.comparison import compare, unlike
from host_container.frames import Asked, Compared
from host_container.inference import Model
from host_container.session import load_bytes
from tests.support import onnx_models

NAN, INF = math.nan, math.inf
TENTH: Final = 0.1


def array(values: Any, dtype: str = "float32") -> Any:
    return np.array(values, dtype=dtype)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        pytest.param(array([0.5]), array([0.59]), True, id="near below one"),
        pytest.param(array([0.5]), array([0.61]), False, id="too far below one"),
        pytest.param(array([100.0]), array([109.0]), True, id="near in proportion"),
        pytest.param(array([100.0]), array([112.0]), False, id="too far in proportion"),
        pytest.param(array([-100.0]), array([100.0]), False, id="another sign"),
        pytest.param(array([NAN, INF, -INF]), array([NAN, INF, -INF]), True, id="not numbers, the same"),
        pytest.param(array([NAN]), array([1.0]), False, id="NaN for a number"),
        pytest.param(array([INF]), array([-INF]), False, id="the other infinity"),
        pytest.param(array([INF]), array([1e38]), False, id="infinity for a number"),
        pytest.param(array([1.7e308], "float64"), array([-1.7e308], "float64"), False, id="out of range"),
        pytest.param(array([1, 2], "int64"), array([1, 2], "int64"), True, id="labels"),
        pytest.param(array([100], "int64"), array([101], "int64"), False, id="another label"),
        pytest.param(array(["a"], "object"), array(["a"], "object"), True, id="strings"),
        pytest.param(array(["a"], "object"), array(["b"], "object"), False, id="another string"),
        pytest.param(array([True], "bool"), array([False], "bool"), False, id="another boolean"),
        pytest.param(array([1], "float16"), array([1.05], "float16"), True, id="half precision"),
        pytest.param(array([1.0]).astype(bfloat16), array([1.05]).astype(bfloat16), True, id="bfloat16"),
        pytest.param(array([1.0]).astype(bfloat16), array([2.0]).astype(bfloat16), False, id="bfloat16 off"),
        pytest.param(array([1.0]), array([1.0], "float64"), False, id="another dtype"),
        pytest.param(array([1.0]), array([[1.0]]), False, id="another shape"),
        pytest.param(array([]), array([]), True, id="no values"),
    ],
)
def test_what_is_alike(one: Any, other: Any, alike: bool) -> None:
    assert (not unlike(one, other, tolerance=TENTH)) is alike
    assert (not unlike(other, one, tolerance=TENTH)) is alike


def test_the_reason_tells_how_many_values_and_none_of_them() -> None:
    assert unlike(array([1.0, 7.0]), array([1.0, 9.0]), tolerance=0) == "1 of 2 values"


def model(content: bytes) -> Model:
    session = load_bytes(content)
    record = VersionRecord(
        "v", "m", "t", 1, "", 1, "", session.signature, Passport(load_ms=1, run_ms=1, memory_bytes=1)
    )
    return Model.of(record, session)


def compared(one: bytes, other: bytes, body: bytes) -> tuple[Compared, list[int]]:
    """And whose turn it was."""
    turns: list[int] = []
    found = compare(
        (model(one), model(other)), Asked(body), tolerance=TENTH, clock=time.monotonic, begin=turns.append
    )
    return found, turns


def test_versions_that_agree() -> None:
    found, turns = compared(onnx_models.marked(1), onnx_models.marked(1.05), b'{"x": [[5]]}')
    assert (found.differing, found.why, turns) == (False, "", [0, 1])
    assert all(
        side.ran and not side.failed and side.run_seconds > 0 for side in (found.answering, found.other)
    )


@pytest.mark.parametrize(
    ("one", "other", "body", "why"),
    [
        pytest.param(onnx_models.marked(1), onnx_models.marked(2), b'{"x": [[5]]}', "values", id="values"),
        pytest.param(
            onnx_models.identity("float32", (None, 1)),
            onnx_models.marked(1),
            b'{"x": [[5]]}',
            "shape",
            id="shapes",
        ),
        pytest.param(
            onnx_models.marked(1),
            onnx_models.two_outputs(),
            b'{"x": [[5]]}',
            "different names",
            id="names of outputs",
        ),
        pytest.param(
            onnx_models.marked(1), onnx_models.marked(1, name="z"), b'{"x": [[5]]}', "inputs", id="inputs"
        ),
    ],
)
def test_versions_that_differ_say_in_what(one: bytes, other: bytes, body: bytes, why: str) -> None:
    found, _ = compared(one, other, body)
    assert found.differing and why in found.why


def test_one_that_fails_differs_and_is_told_apart_from_one_that_does_not_take_the_inputs() -> None:
    failing, _ = compared(onnx_models.identity("float32"), onnx_models.reshaping(), b'{"x": [1]}')
    assert (failing.differing, failing.other.ran, failing.other.failed) == (True, True, True)
    refusing, turns = compared(onnx_models.marked(1), onnx_models.marked(1, name="z"), b'{"x": [[1]]}')
    assert (refusing.other.ran, refusing.other.failed, turns) == (False, False, [0])
    both, _ = compared(onnx_models.reshaping(), onnx_models.reshaping(), b'{"x": [1]}')
    assert (both.differing, both.answering.failed, both.other.failed) == (False, True, True)
