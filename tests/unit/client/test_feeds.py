"""Whatever callers hold becomes arrays exactly as the model takes them, or is refused by name."""

from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from modelrocket.errors import InvalidTensor
from modelrocket.feeds import fed
from modelrocket.tensors import TensorSpec, numpy_dtype
from modelrocket.wire import Signature, write

WANTED = [[1, 2], [3, 4]]
TABLE = pd.DataFrame(WANTED, columns=["a", "b"])
COLUMNS = (TensorSpec("a", "float32", (None, 1)), TensorSpec("b", "string", (None,)))


def spec(dtype: str = "float32", *shape: int | None) -> TensorSpec:
    return TensorSpec("x", dtype, shape or (None, 2))


def one(value: Any, like: TensorSpec) -> np.ndarray[Any, Any]:
    (array,) = fed(value, [like]).values()
    assert (array.dtype, array.ndim) == (numpy_dtype(like.dtype), len(like.shape))
    return array


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(WANTED, id="lists"),
        pytest.param(np.array(WANTED), id="integers"),
        pytest.param(np.array(WANTED, np.float64), id="float64"),
        pytest.param(np.asfortranarray(np.array(WANTED, ">f4")), id="strided and not native"),
        pytest.param(list(np.array(WANTED)), id="a list of arrays"),
        pytest.param(np.array(WANTED, ml_dtypes.bfloat16), id="bfloat16"),
        pytest.param(np.array(WANTED, object), id="objects"),
        pytest.param({"x": WANTED}, id="by name"),
        pytest.param({"modelInput": WANTED}, id="by the name of any only input"),
        pytest.param(TABLE, id="table"),
        pytest.param(TABLE.astype({"a": "Int64", "b": "float32"}), id="table of several types"),
        pytest.param(torch.tensor(WANTED, dtype=torch.float64, requires_grad=True), id="torch"),
        pytest.param(torch.tensor(WANTED, dtype=torch.bfloat16), id="torch bfloat16"),
        pytest.param(scipy.sparse.csr_matrix(WANTED), id="sparse"),
    ],
)
def test_rows_of_any_kind_are_the_same_array(value: Any) -> None:
    assert one(value, spec()).tolist() == WANTED


def test_tensors_of_jax_and_tensorflow_are_arrays_too() -> None:
    jnp, tf = pytest.importorskip("jax.numpy"), pytest.importorskip("tensorflow")
    for value in (jnp.array(WANTED), jnp.array(WANTED, jnp.bfloat16), tf.constant(WANTED)):
        assert one(value, spec()).tolist() == WANTED
    texts = one(tf.constant([["grün", ""]]), spec("string"))
    assert texts.tolist() == [["grün", ""]]


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("float32", [[True, False]], [[1, 0]]),
        ("float64", [[2**60, -1]], [[2**60, -1]]),
        ("float32", [[float("inf"), -float("inf")]], [[float("inf"), -float("inf")]]),
        ("uint8", [[255.0, 0]], [[255, 0]]),
        ("int64", np.array([[True, False]]), [[1, 0]]),
        ("int64", np.array([[2**63 - 1, 0]], np.uint64), [[2**63 - 1, 0]]),
        ("uint64", [[2**64 - 1, 0]], [[2**64 - 1, 0]]),
        ("bool", [[True, False]], [[True, False]]),
        ("string", [["a", ""]], [["a", ""]]),
        ("string", np.array([["a", ""]]), [["a", ""]]),
        ("string", np.array([[b"gr\xc3\xbcn", b""]]), [["grün", ""]]),
        ("string", pd.DataFrame({"a": ["x"], "b": pd.Series(["y"], dtype="category")}), [["x", "y"]]),
        ("float16", [[65504, -0.5]], [[65504, -0.5]]),
    ],
)
def test_values_that_fit_are_cast(dtype: str, value: Any, expected: list[Any]) -> None:
    assert one(value, spec(dtype)).tolist() == expected


def test_what_is_missing_is_nan_to_a_model_of_floats() -> None:
    values = ([[None, 1.0]], pd.DataFrame({"a": [pd.NA], "b": [1]}), np.array([[None, 1]], object))
    for value in values:
        np.testing.assert_array_equal(one(value, spec()), [[np.nan, 1]])


def test_half_a_character_is_refused_before_anything_is_sent() -> None:
    texts = spec("string")
    with pytest.raises(InvalidTensor, match=r'input "x".*whole characters'):
        write(fed([["\ud800", "a"]], [texts]), Signature((texts,), (texts,)))


@pytest.mark.parametrize(
    ("dtype", "value", "got"),
    [
        ("float32", [["1", 2]], "the string '1' at [0, 0]"),
        ("float32", np.array([["1", "2"]]), "the string '1' at [0, 0]"),
        ("float32", pd.DataFrame({"a": [1.0], "b": ["red"]}), "the string 'red' at [0] in column \"b\""),
        ("float32", [[1, 2], [3]], "list that is no array"),
        ("float32", [[1e39, 0]], "the number 1e+39 at [0, 0], beyond float32"),
        ("float16", [[0, 65520]], "the number 65520 at [0, 1], beyond float16"),
        ("float32", np.array([[1j, 0]]), "complex128 [1, 2]"),
        ("float32", np.array([["2020-01-01"] * 2], "M8[D]"), "datetime64[D] [1, 2]"),
        ("float32", [[{}, 1]], "an object at [0, 0]"),
        ("float32", pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns of the same name"),
        ("int8", [[0, 128]], "the number 128 at [0, 1], outside -128 to 127"),
        ("uint64", [[-1, 0]], "the number -1 at [0, 0], outside 0 to"),
        ("int64", np.array([[2**63, 0]], np.uint64), "the number 9223372036854775808 at [0, 0], outside"),
        ("int64", [[2**64, 0]], "the number 18446744073709551616 at [0, 0], outside -9223372036854775808"),
        ("int64", [[1.5, 0]], "the number 1.5 at [0, 0], not a whole number"),
        ("int64", [[float("nan"), 0]], "the number nan at [0, 0], not a whole number"),
        ("int64", [[1e17, 0]], "a float too large to be a whole number exactly"),
        ("int64", [[None, 0]], "null at [0, 0]"),
        ("bool", [[1, 0]], "int64 [1, 2]"),
        ("string", [[1, 2]], "int64 [1, 2]"),
        ("string", [["a", 1]], "the number 1 at [0, 1]"),
        ("string", [["a", None]], "null at [0, 1]"),
        ("string", [[b"\xff", b"a"]], "bytes that are not UTF-8"),
    ],
)
def test_values_that_do_not_fit_are_refused(dtype: str, value: Any, got: str) -> None:
    with pytest.raises(InvalidTensor, match=re.escape(got)) as caught:
        fed(value, [spec(dtype)])
    assert (caught.value.input, caught.value.expected) == ("x", f"{dtype} [*, 2]")


@pytest.mark.parametrize("value", [[1, 2], np.array([1, 2]), TABLE.iloc[0], torch.tensor([1, 2])])
def test_a_single_row_says_how_to_write_it(value: Any) -> None:
    with pytest.raises(InvalidTensor, match=r"one row without the dimension of rows: .*(\[row|row\[None)"):
        fed(value, [spec()])


def test_one_value_a_row_may_be_written_flat_and_the_other_way_round() -> None:
    for value in ([1, 2, 3], [[1], [2], [3]], pd.Series([1, 2, 3]), pd.DataFrame({"a": [1, 2, 3]})):
        assert one(value, spec("float32", None, 1)).tolist() == [[1], [2], [3]]
        assert one(value, spec("float32", None)).tolist() == [1, 2, 3]


def test_a_shape_is_not_guessed() -> None:
    with pytest.raises(InvalidTensor, match=r"expected float32 \[\*, 2\], got float32 \[2, 3\]"):
        fed([[1, 2, 3]] * 2, [spec()])
    with pytest.raises(InvalidTensor, match=r"got float32 \[4\]"):
        fed([1, 2, 3, 4], [spec()])


# Several inputs.


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"a": [1, 2], "b": ["x", "y"]}, id="flat lists"),
        pytest.param({"a": [[1], [2]], "b": np.array(["x", "y"])}, id="arrays"),
        pytest.param(pd.DataFrame({"b": ["x", "y"], "more": 0, "a": [1, 2]}), id="table"),
        pytest.param(([1, 2], ["x", "y"]), id="in order"),
        pytest.param({"a": torch.tensor([1, 2]), "b": pd.Series(["x", "y"])}, id="of each kind"),
    ],
)
def test_several_inputs_by_name_by_column_or_in_order(value: Any) -> None:
    a, b = fed(value, COLUMNS).values()
    assert (a.tolist(), b.tolist()) == ([[1], [2]], ["x", "y"])


@pytest.mark.parametrize(
    ("value", "name", "got"),
    [
        ([[1, 2]], "a", 'one list for 2 inputs: write {"a": …, "b": …}'),
        ({"a": [1]}, "b", 'nothing: this model takes "a", "b"'),
        ({"a": [1], "b": ["x"], "c": 1}, "c", "it"),
        (pd.DataFrame({"a": [1], "c": [1]}), "b", "no such column; the table has a, c"),
    ],
)
def test_inputs_that_are_not_the_models_are_refused(value: Any, name: str, got: str) -> None:
    with pytest.raises(InvalidTensor) as caught:
        fed(value, COLUMNS)
    assert (caught.value.input, caught.value.got) == (name, got)
