"""Open Inference Protocol v2: what goes in comes out, and what lies is refused."""

from __future__ import annotations

import contextlib
import json
import math
import time
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import wire
from chalicelib.contract.errors import InvalidRequest, InvalidTensor, ModelRocketError
from chalicelib.contract.metadata import DATATYPES
from host_container.numbers import BYTES_MIN
from host_container.openinference import Wanted, read, write
from modelrocket.tensors import DTYPES, Array, TensorSpec, numpy_dtype

SPEC = TensorSpec("x", "float32", (None, 2))
SPECS = {"x": SPEC}


def header(**changes: Any) -> dict[str, Any]:
    one = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]} | changes
    return {"inputs": [{name: value for name, value in one.items() if value is not None}]}


def binary(size: Any = 8, content: bytes = bytes(8), **changes: Any) -> tuple[bytes, int]:
    text = json.dumps(header(data=None, parameters={"binary_data_size": size}, **changes)).encode()
    return text + content, len(text)


def read_one(body: bytes, header_length: int = 0, spec: TensorSpec = SPEC) -> Array:
    arrays, _ = read(body, header_length, inputs={"x": spec}, outputs=["y"])
    return arrays["x"]


shapes = st.lists(st.integers(0, 4), min_size=0, max_size=3).map(tuple)


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    dtype, shape = draw(st.sampled_from(sorted(DTYPES))), draw(shapes)
    size = math.prod(shape)
    values: list[Any]
    if dtype == "string":
        values = draw(st.lists(st.text(), min_size=size, max_size=size))
        return np.fromiter(values, object, size).reshape(shape)
    if dtype == "bool":
        values = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    elif "int" in dtype:
        bounds = np.iinfo(dtype)
        values = draw(st.lists(st.integers(bounds.min, bounds.max), min_size=size, max_size=size))
    else:
        values = draw(st.lists(st.floats(-1000, 1000, width=16), min_size=size, max_size=size))
    return np.array(values, numpy_dtype(dtype)).reshape(shape)


def dtype_name(array: Array) -> str:
    return "string" if array.dtype == object else array.dtype.name


@settings(deadline=None, max_examples=300)
@given(arrays(), st.booleans(), st.booleans(), st.integers(0, 7))
def test_every_dtype_goes_in_and_out_in_both_forms(array: Array, ask: bool, tell: bool, offset: int) -> None:
    body = wire.v2_binary_body({"x": array}) if ask else wire.v2_json_body({"x": array})
    length = int(body.headers.get("Inference-Header-Content-Length", 0))
    placed = memoryview(bytes(offset) + body.content)[offset:]
    spec = TensorSpec("x", dtype_name(array), (None,) * array.ndim)
    got, wanted = read(placed, length, inputs={"x": spec}, outputs=["x"])
    assert (got["x"].dtype, got["x"].shape) == (array.dtype, array.shape)
    assert got["x"].tolist() == array.tolist()
    assert wanted == Wanted("", {"x": ask})
    written = write(Wanted("r", {"x": tell}), got, model_id="m", version=3)
    lengths = {"inference-header-content-length": str(written.json_bytes)} if written.json_bytes else {}
    back = wire.read_v2(wire.Body(written.body, lengths))["x"]
    assert bool(written.json_bytes) is tell
    assert (back.shape, back.tolist()) == (array.shape, array.tolist())
    answer = orjson.loads(written.body[: written.json_bytes or None])
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("m", "3", "r")


def test_data_may_be_nested_like_the_shape() -> None:
    body = json.dumps(header(shape=[2, 2], data=[[1, 2], [3, None]])).encode()
    np.testing.assert_array_equal(read_one(body), [[1, 2], [3, np.nan]])


@pytest.mark.parametrize(
    "sent", [binary(name="modelInput"), (json.dumps(header(name="modelInput")).encode(), 0)]
)
def test_the_only_input_may_be_called_model_input(sent: tuple[bytes, int]) -> None:
    assert read_one(*sent).shape == (1, 2)


def test_model_input_is_no_name_for_one_of_several_nor_a_second_name() -> None:
    both = {"inputs": [*header()["inputs"], *header(name="modelInput")["inputs"]]}
    with pytest.raises(InvalidRequest, match='"x" is there twice'):
        read_one(json.dumps(both).encode())
    with pytest.raises(InvalidTensor, match='no input "modelInput"'):
        read(
            json.dumps(header(name="modelInput")).encode(),
            0,
            inputs={"x": SPEC, "z": TensorSpec("z", "float32", (None, 2))},
            outputs=["y"],
        )


def large(values: list[Any], dtype: str = "float32", **more: Any) -> Array:
    """Read from a body that goes the fast way where it is plain."""
    one = {"name": "x", "shape": [len(values)], "datatype": DATATYPES[dtype], "data": values}
    body = json.dumps({"id": "r", "inputs": [one], **more}).encode()
    assert len(body) > BYTES_MIN
    return read_one(body, spec=TensorSpec("x", dtype, (None,)))


@pytest.mark.parametrize("dtype", sorted(DTYPES - {"bool", "string"}))
def test_large_json_is_read_like_small(dtype: str) -> None:
    values = [number % 100 for number in range(8_000)]
    array = large(values, dtype, outputs=[{"name": "y"}])
    assert (array.dtype, array.tolist()) == (numpy_dtype(dtype), values)
    assert large([*values, 1.0], dtype).shape == (8_001,)


@pytest.mark.parametrize("odd", [True, "1", [1], {}, 1e39, 2**70])
def test_f71_one_wrong_value_among_many_is_refused(odd: Any) -> None:
    for values in ([*[0.5] * 8_000, odd], [odd, *[0.5] * 8_000]):
        if odd == 2**70:
            assert large(values).max() == 2**70
            continue
        with pytest.raises(InvalidTensor):
            large(values)


@pytest.mark.parametrize("shape", [[7_999], [8_001], [8_000, 1], [-8_000], []])
def test_f71_a_large_body_may_not_lie_about_its_shape(shape: list[int]) -> None:
    one = {"name": "x", "shape": shape, "datatype": "FP32", "data": [0.5] * 8_000}
    with pytest.raises(InvalidTensor):
        read_one(json.dumps({"inputs": [one]}).encode(), spec=TensorSpec("x", "float32", (None,)))


def test_a_binary_tensor_is_a_view_of_the_request_where_it_lies_well() -> None:
    body, length = binary()
    padded = memoryview(bytes(-length % 4) + body)[-length % 4 :]
    assert np.shares_memory(read_one(padded, length), np.frombuffer(padded, np.uint8))  # type: ignore[arg-type]


def test_nan_and_infinity_travel_binary_and_are_null_in_json() -> None:
    body, length = binary(content=np.array([np.nan, np.inf], "<f4").tobytes())
    array = read_one(body, length)
    written = write(Wanted("", {"x": False}), {"x": array}, model_id="m", version=1)
    assert orjson.loads(written.body)["outputs"][0]["data"] == [None, None]


def test_unknown_parameters_are_none_of_our_business() -> None:
    body = header() | {"parameters": {"timeout": 5, "priority": 1}, "extra": 1}
    assert read_one(json.dumps(body).encode()).tolist() == [[1, 2]]


MANY = 150_000
TEXT = TensorSpec("x", "string", (None,))
HOSTILE = [
    pytest.param(binary(size=4), {}, id="less than the shape needs"),
    pytest.param(binary(size=2**62), {}, id="binary_data_size beyond the body"),
    pytest.param(binary(size=-8), {}, id="negative binary_data_size"),
    pytest.param(binary(size=True), {}, id="binary_data_size is true"),
    pytest.param(binary(size="8"), {}, id="binary_data_size is text"),
    pytest.param(binary(size=8.0), {}, id="binary_data_size is a float"),
    pytest.param(binary(content=bytes(9)), {}, id="bytes of nobody"),
    pytest.param((binary()[0], 10**6), {}, id="header beyond the body"),
    pytest.param((binary()[0], 5), {}, id="header too short"),
    pytest.param(binary(shape=[-1, 2]), {}, id="negative size"),
    pytest.param(binary(shape=[-1, -2]), {}, id="two negative sizes"),
    pytest.param(binary(shape=[2**62, 2]), {}, id="shape overflows"),
    pytest.param(binary(shape=[2**64, 2]), {}, id="size beyond 64 bits"),
    pytest.param(binary(size=0, content=b"", shape=[2**63, 0]), {"x": (None, None)}, id="0 times too much"),
    pytest.param(binary(shape=[1] * 100), {}, id="rank 100"),
    pytest.param(binary(shape=[True, 2]), {}, id="true for a size"),
    pytest.param(binary(datatype="INT32"), {}, id="dtype lie"),
    pytest.param(binary(datatype="FP32" * 10**5), {}, id="endless dtype"),
    pytest.param(binary(name="y"), {}, id="unknown input"),
    pytest.param((json.dumps({"inputs": header()["inputs"] * 2}).encode(), 0), {}, id="twice the same"),
    pytest.param((json.dumps({"inputs": []}).encode(), 0), {}, id="no inputs"),
    pytest.param((b'{"inputs": [' + b"{}," * MANY + b"{}]}", 0), {}, id="150,000 inputs"),
    pytest.param((json.dumps(header(data=[1] * MANY)).encode(), 0), {}, id="150,000 values for two"),
    pytest.param((json.dumps(header(data=[[]] * MANY)).encode(), 0), {}, id="150,000 empty lists"),
    pytest.param((json.dumps(header(data=[True, 1])).encode(), 0), {}, id="bool for a number"),
    pytest.param((json.dumps(header(data=None)).encode(), 0), {}, id="neither data nor size"),
    pytest.param((json.dumps(header(data={"a": 1})).encode(), 0), {}, id="data is an object"),
    pytest.param(
        (
            b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":'
            + b"[" * 120
            + b"]" * 120
            + b"}]}",
            0,
        ),
        {},
        id="f71 depth 120",
    ),
    pytest.param((b'{"inputs":' + b"[" * 10**6, 0), {}, id="depth a million"),
    pytest.param((b"\xff\xfe", 0), {}, id="no UTF-8"),
    pytest.param((b"", 0), {}, id="nothing"),
    pytest.param((b"[1]", 0), {}, id="a list"),
    pytest.param((json.dumps(header() | {"outputs": [{"name": "z"}]}).encode(), 0), {}, id="unknown output"),
    pytest.param(
        (json.dumps(header() | {"outputs": [{"name": "y"}] * 2}).encode(), 0), {}, id="output twice"
    ),
    pytest.param(
        (json.dumps(header() | {"parameters": {"binary_data_output": 1}}).encode(), 0), {}, id="no flag"
    ),
    pytest.param(
        (json.dumps(header(parameters={"shared_memory_region": "a"})).encode(), 0), {}, id="shared memory"
    ),
    pytest.param((json.dumps(header() | {"id": "i" * 10**5}).encode(), 0), {}, id="endless id"),
]


@pytest.mark.parametrize(("sent", "shape"), HOSTILE)
def test_f71_what_lies_is_refused_at_once(sent: tuple[bytes, int], shape: dict[str, Any]) -> None:
    spec = TensorSpec("x", "float32", shape.get("x", SPEC.shape))
    started = time.process_time()
    with pytest.raises(InvalidRequest) as raised:
        read_one(*sent, spec=spec)
    assert len(raised.value.message) < 1_000
    assert time.process_time() - started < 1


def texts(content: bytes, shape: list[int]) -> tuple[bytes, int]:
    return binary(size=len(content), content=content, shape=shape, datatype="BYTES")


@pytest.mark.parametrize(
    ("content", "shape"),
    [
        pytest.param(b"\x05\x00\x00\x00abc", [1], id="cut short"),
        pytest.param(b"\xff\xff\xff\xffabc", [1], id="4 GB claimed"),
        pytest.param(b"\x01\x00\x00", [1], id="half a length"),
        pytest.param(b"\x00\x00\x00\x00" * 2, [1], id="one too many"),
        pytest.param(b"\x00\x00\x00\x00", [2], id="one too few"),
        pytest.param(b"\x02\x00\x00\x00\xff\xfe", [1], id="no UTF-8"),
        pytest.param(b"", [10**12], id="a million million of them"),
    ],
)
def test_f71_strings_that_lie_are_refused(content: bytes, shape: list[int]) -> None:
    with pytest.raises(InvalidTensor):
        read_one(*texts(content, shape), spec=TEXT)


def test_f71_a_million_strings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_one(*texts(bytes(4 * 10**6), [10**6]), spec=TEXT).shape == (10**6,)


def test_a_byte_that_is_no_bool_is_refused() -> None:
    spec = TensorSpec("x", "bool", (None,))
    with pytest.raises(InvalidTensor):
        read_one(*binary(size=2, content=b"\x01\x02", shape=[2], datatype="BOOL"), spec=spec)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200), st.integers(0, 220))
def test_noise_never_does_more_than_be_refused(body: bytes, length: int) -> None:
    with pytest.raises(ModelRocketError):
        read_one(body, length)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_damaged_request_is_read_or_refused(data: st.DataObject) -> None:
    body, length = binary()
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidRequest):
        read_one(bytes(damaged), length)
