"""The fast way into arrays takes nothing that the ordinary way refuses, and gives the same."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_container.numbers import read_numbers
from modelrocket.errors import InvalidTensor
from modelrocket.tensors import DTYPES, Array, TensorSpec, decode

NUMERIC = sorted(DTYPES - {"bool", "string"})
ROW = [0.0] * 100


def fast(value: Any, spec: TensorSpec) -> Array | None:
    body = value if isinstance(value, bytes) else json.dumps({"x": value}).encode()
    arrays = read_numbers(body, {"x": spec})
    return None if arrays is None else arrays["x"]


@st.composite
def nested(draw: st.DrawFn) -> tuple[Any, TensorSpec]:
    """Rows of a hundred numbers, nearly always whole, some of them odd."""
    dtype = draw(st.sampled_from(NUMERIC))
    whole = st.integers(-3, 300) if draw(st.booleans()) else st.integers(0, 100)
    odd = st.one_of(
        st.none(),
        st.booleans(),
        st.text(max_size=2),
        st.just([1]),
        st.just([]),
        st.just({}),
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(-(2**65), 2**65),
        st.sampled_from([2**24 + 1, 2**53 + 1, 65520, 3.5e38, 1e308, -0.0, 1.0]),
    )
    rows = [[draw(whole)] * 100 for _ in range(draw(st.integers(1, 3)))]
    for _ in range(draw(st.integers(0, 2))):
        rows[draw(st.integers(0, len(rows) - 1))][draw(st.integers(0, 98))] = draw(odd)
    if draw(st.integers(0, 9)) == 0:
        rows[-1] = rows[-1][:-1]
    shape = draw(st.sampled_from([(None, 100), (None, None), (2, 100), (None, 99), (None,), (None, 10, 10)]))
    return rows, TensorSpec("x", dtype, shape)


@settings(deadline=None, max_examples=1_000)
@given(nested())
def test_what_it_takes_is_what_the_ordinary_way_takes(case: tuple[Any, TensorSpec]) -> None:
    value, spec = case
    array = fast(value, spec)
    if array is not None:
        wanted = decode(json.loads(json.dumps(value)), spec)
        assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape)
        assert array.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("dtype", NUMERIC)
def test_plain_large_arrays_go_the_fast_way(dtype: str) -> None:
    value = (np.arange(2 * 3 * 40) % 100).reshape(2, 3, 40).tolist()
    spec = TensorSpec("x", dtype, (None, 3, 40))
    array = fast(value, spec)
    assert array is not None
    np.testing.assert_array_equal(array, decode(value, spec))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([[*ROW[1:], True]], id="a bool"),
        pytest.param([[*ROW[1:], [0.0]]], id="a list for a number"),
        pytest.param([ROW, ROW[1:]], id="ragged"),
        pytest.param([ROW[1:]], id="too short"),
        pytest.param([*ROW], id="rank"),
        pytest.param([[*ROW[1:], "1"]], id="text"),
        pytest.param([[*ROW[1:], 1e39]], id="beyond float32"),
    ],
)
def test_what_does_not_fit_is_left_to_the_ordinary_way(value: Any) -> None:
    spec = TensorSpec("x", "float32", (None, 100))
    assert fast(value, spec) is None
    with pytest.raises(InvalidTensor):
        decode(value, spec)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"x": [' + b"1," * 100 + b"1], " + b'"x": [' + b"2," * 100 + b"2]}", id="twice"),
        pytest.param(b'{"y": [' + b"1," * 100 + b"1]}", id="another name"),
        pytest.param(b"[" + b"1," * 100 + b"1]", id="no object"),
        pytest.param(b'{"x": [' + b"1," * 100 + b"1]", id="cut short"),
        pytest.param(b'{"x": [' + b"1," * 100 + b"NaN]}", id="NaN"),
        pytest.param(b'{"x": [' + b"1," * 100 + b"1e999]}", id="1e999"),
        pytest.param(b'{"x": [' + b"1," * 100 + b"1], \xff: 1}", id="no UTF-8"),
        pytest.param(b'{"x":' + b"[" * 5000 + b"," * 100_000, id="deep"),
        pytest.param(b"," * 10**6, id="commas"),
    ],
)
def test_odd_documents_are_left_to_the_ordinary_way(body: bytes) -> None:
    assert fast(body, TensorSpec("x", "float32", (None,))) is None


def test_several_inputs_come_in_the_models_order() -> None:
    specs = {name: TensorSpec(name, "float32", (None,)) for name in "ba"}
    arrays = read_numbers(json.dumps({"a": ROW, "b": ROW}).encode(), specs)
    assert arrays is not None and list(arrays) == ["b", "a"]
    assert math.prod(arrays["a"].shape) == 100
