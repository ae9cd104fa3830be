"""The codec: what goes in comes out, and what does not fit is named."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelrocket.errors import InvalidTensor
from modelrocket.tensors import DTYPES, Array, TensorSpec, decode, encode, numpy_dtype

shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
numeric = sorted(DTYPES - {"string", "bfloat16"})


def over_the_wire(array: Array) -> Any:
    return orjson.loads(orjson.dumps(encode(array), option=orjson.OPT_SERIALIZE_NUMPY))


@given(st.data(), st.sampled_from(numeric), shapes)
def test_every_array_survives_the_wire(data: st.DataObject, dtype: str, shape: tuple[int, ...]) -> None:
    finite = {"allow_infinity": False} if dtype.startswith("float") else None
    array = data.draw(hnp.arrays(dtype, shape, elements=finite))
    back = decode(over_the_wire(array), TensorSpec("x", dtype, shape))
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)


@given(hnp.arrays(np.float32, shapes, elements=st.floats(-(2.0**127), 2.0**127, width=32)))
def test_every_bfloat16_survives_the_wire(wide: Array) -> None:
    array = wide.astype(numpy_dtype("bfloat16"))
    back = decode(over_the_wire(array), TensorSpec("x", "bfloat16", array.shape))
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back.astype(np.float32), array.astype(np.float32))


@given(hnp.arrays(object, shapes, elements=st.text(st.characters(codec="utf-8"))))
def test_every_string_survives_the_wire(array: Array) -> None:
    back = decode(over_the_wire(array), TensorSpec("x", "string", array.shape))
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)


@given(hnp.arrays(np.int64, hnp.array_shapes(max_dims=3, max_side=4)), st.sampled_from(["F", "strided", ">"]))
def test_the_layout_in_memory_does_not_matter(array: Array, layout: str) -> None:
    laid_out = {
        "F": np.asfortranarray(array),
        "strided": np.repeat(array, 2, axis=0)[::2],
        ">": array.astype(">i8"),
    }[layout]
    assert over_the_wire(laid_out) == array.tolist()


def test_nan_and_infinities_travel_as_null() -> None:
    assert over_the_wire(np.array([1.5, np.nan, np.inf, -np.inf], dtype=np.float32)) == [
        1.5,
        None,
        None,
        None,
    ]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_null_in_a_float_input_is_nan(dtype: str) -> None:
    array = decode([[1, None]], TensorSpec("x", dtype, (None, 2)))
    assert math.isnan(float(array[0, 1]))
    assert float(array[0, 0]) == 1.0


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(2**53 + 1, "int64"), (2**63 - 1, "int64"), (-(2**63), "int64"), (2**64 - 1, "uint64")],
)
def test_large_integers_are_exact(value: int, dtype: str) -> None:
    assert int(decode([value], TensorSpec("x", dtype, (None,)))[0]) == value


def test_a_whole_float_is_an_integer() -> None:
    assert decode([1.0, 2], TensorSpec("x", "int8", (None,))).tolist() == [1, 2]


def test_the_sizes_behind_an_empty_dimension_come_from_the_signature() -> None:
    assert decode([], TensorSpec("x", "float32", (None, 64, None))).shape == (0, 64, 0)


bad_inputs = [
    pytest.param([[1, 2]], "float32", (None, 3), "float32 [*, 3]", "float32 [1, 2]", id="wrong size"),
    pytest.param([1, 2], "float32", (None, 2), "float32 [*, 2]", "float32 [2]", id="too flat"),
    pytest.param([[[1, 2]]], "float32", (None, 2), "float32 [*, 2]", "float32 [1, 1, 2]", id="too deep"),
    pytest.param(3, "float32", (None,), "float32 [*]", "the number 3", id="scalar for a list"),
    pytest.param([3], "float32", (), "a single float32", "float32 [1]", id="list for a scalar"),
    pytest.param(
        [[0] * 64, [0] * 64, [0] * 63],
        "float32",
        (None, 64),
        "float32 [*, 64]",
        "a ragged list: row 2 has 63 values, row 0 has 64 values",
        id="ragged rows",
    ),
    pytest.param(
        [[[1], [2]], [[3], [4, 5]]],
        "int8",
        (None, 2, 1),
        "int8 [*, 2, 1]",
        "a ragged list: the list at [1, 1] has 2 values, the list at [0, 0] has 1 value",
        id="ragged inside",
    ),
    pytest.param(
        [[1, 2], 3],
        "int8",
        (None, 2),
        "int8 [*, 2]",
        "a ragged list: row 1 is the number 3, row 0 has 2 values",
        id="a number among lists",
    ),
    pytest.param(
        [[1, 2], [[3], 4]], "int8", (None, 2), "int8 [*, 2]", "a list of 1 at [1, 0]", id="a list inside"
    ),
    pytest.param([[], []], "int8", (None, 2), "int8 [*, 2]", "int8 [2, 0]", id="empty rows"),
    pytest.param(
        [0, 300],
        "int8",
        (None,),
        "int8 [*]",
        "the number 300 at [1], outside -128 to 127",
        id="int8 overflow",
    ),
    pytest.param(
        [-1], "uint8", (None,), "uint8 [*]", "the number -1 at [0], outside 0 to 255", id="negative unsigned"
    ),
    pytest.param(
        [2**63],
        "int64",
        (None,),
        "int64 [*]",
        f"the number {2**63} at [0], outside {-(2**63)} to {2**63 - 1}",
        id="int64 overflow",
    ),
    pytest.param(
        [1e19],
        "uint64",
        (None,),
        "uint64 [*]",
        "the number 1e+19 at [0], a float too large to be a whole number exactly",
        id="inexact integer",
    ),
    pytest.param(
        [1.5], "int64", (None,), "int64 [*]", "the number 1.5 at [0], not a whole number", id="fraction"
    ),
    pytest.param([1, None], "int64", (None,), "int64 [*]", "null at [1]", id="null in integers"),
    pytest.param([True], "int64", (None,), "int64 [*]", "true at [0]", id="bool for an integer"),
    pytest.param([1.0, False], "float32", (None,), "float32 [*]", "false at [1]", id="bool for a float"),
    pytest.param(
        [["1.5"]], "float32", (None, 1), "float32 [*, 1]", "the string '1.5' at [0, 0]", id="string"
    ),
    pytest.param(
        [70000], "float16", (None,), "float16 [*]", "the number 70000 at [0], beyond float16", id="float16"
    ),
    pytest.param(
        [1, 1e39], "float32", (None,), "float32 [*]", "the number 1e+39 at [1], beyond float32", id="float32"
    ),
    pytest.param(
        [10**400],
        "float64",
        (None,),
        "float64 [*]",
        f"the number 1{'0' * 38}… at [0], beyond float64",
        id="float64",
    ),
    pytest.param([1, 0], "bool", (None,), "bool [*]", "the number 1 at [0]", id="number for a bool"),
    pytest.param(["a", 1], "string", (None,), "string [*]", "the number 1 at [1]", id="number for a string"),
    pytest.param([None], "string", (None,), "string [*]", "null at [0]", id="null for a string"),
    pytest.param({"a": 1}, "float32", (None,), "float32 [*]", "an object", id="object"),
    pytest.param([{"a": 1}], "float32", (None,), "float32 [*]", "an object at [0]", id="object inside"),
    pytest.param(
        ["x" * 99], "bool", (None,), "bool [*]", f"the string '{'x' * 38}… at [0]", id="long values are cut"
    ),
]


@pytest.mark.parametrize(("value", "dtype", "shape", "expected", "got"), bad_inputs)
def test_what_does_not_fit_is_named(
    value: Any, dtype: str, shape: tuple[int | None, ...], expected: str, got: str
) -> None:
    with pytest.raises(InvalidTensor) as caught:
        decode(value, TensorSpec("pixels", dtype, shape))
    error = caught.value
    assert (error.input, error.expected, error.got) == ("pixels", expected, got)
    assert str(error) == f'input "pixels": expected {expected}, got {got}'


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=12,
)


@given(json_values, st.sampled_from(sorted(DTYPES)), st.lists(st.none() | st.integers(0, 3), max_size=3))
def test_any_json_decodes_to_the_signature_or_is_refused(
    value: Any, dtype: str, sizes: list[int | None]
) -> None:
    spec = TensorSpec("x", dtype, tuple(sizes))
    try:
        array = decode(value, spec)
    except InvalidTensor as error:
        assert error.input == "x"
        return
    assert array.dtype == numpy_dtype(dtype)
    assert array.ndim == len(sizes)
    assert all(size in (None, got) for size, got in zip(sizes, array.shape, strict=True))
