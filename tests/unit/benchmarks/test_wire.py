"""What is sent is what a server reads, and what it answers is compared with care."""

from __future__ import annotations

import httptools
import ml_dtypes
import numpy as np
import orjson
import pytest

from benchmarks import wire
from benchmarks.cells import Lane, fault_of
from benchmarks.loadgen import Tally, answer_length
from modelrocket.tensors import Array

ARRAYS: dict[str, Array] = {
    "floats": np.array([[1.5, -2.25], [0.1, 3e30]], np.float32),
    "halves": np.array([0.5, 2.0], np.float16),
    "brain": np.array([0.5, 2.0], ml_dtypes.bfloat16),
    "doubles": np.array([0.1, 1e300]),
    "integers": np.array([[1, -(2**40)]]),
    "bytes": np.array([0, 255], np.uint8),
    "truths": np.array([True, False]),
    "texts": np.array([["", "zwölf"], ["a", "b" * 300]], dtype=object),
    "nothing": np.zeros((0, 3), np.float32),
}


def assert_same(read: dict[str, Array], sent: dict[str, Array]) -> None:
    assert read.keys() == sent.keys()
    for name, array in sent.items():
        assert read[name].dtype == array.dtype, name
        assert read[name].shape == array.shape, name
        np.testing.assert_array_equal(read[name], array, err_msg=name)


def test_v2_json_round_trip() -> None:
    assert_same(wire.read_v2(wire.v2_json_body(ARRAYS), role="inputs"), ARRAYS)


def test_v2_binary_round_trip() -> None:
    assert_same(wire.read_v2(wire.v2_binary_body(ARRAYS), role="inputs"), ARRAYS)


def test_v2_binary_is_laid_out_as_the_extension_says() -> None:
    body = wire.v2_binary_body({"x": np.array([1, 2], np.int32), "t": np.array(["ab"], dtype=object)})
    length = int(body.headers["Inference-Header-Content-Length"])
    assert orjson.loads(body.content[:length]) == {
        "inputs": [
            {"name": "x", "shape": [2], "datatype": "INT32", "parameters": {"binary_data_size": 8}},
            {"name": "t", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 6}},
        ],
        "parameters": {"binary_data_output": True},
    }
    assert body.content[length:] == b"\1\0\0\0\2\0\0\0" + b"\2\0\0\0ab"


def test_v2_reads_nested_data_too() -> None:
    tensor = {"name": "y", "shape": [2, 1], "datatype": "FP32", "data": [[1.0], [2.0]]}
    answer = wire.Body(orjson.dumps({"outputs": [tensor]}))
    assert_same(wire.read_v2(answer), {"y": np.array([[1], [2]], np.float32)})


def test_inference_body_is_the_documented_one() -> None:
    body = wire.inference_body({"modelInput": np.ones((1, 2), np.float32)}, model_id="m", token="t")
    assert orjson.loads(body.content) == {
        "token": "t",
        "model": "m",
        "inputs": {"modelInput": [[1.0, 1.0]]},
    }


def test_a_request_is_whole_and_keeps_the_connection() -> None:
    request = wire.post("/x", wire.Body(b"{}"), headers={"Authorization": "Bearer t"})

    class Seen:
        def __init__(self) -> None:
            self.headers: dict[bytes, bytes] = {}
            self.body = b""
            self.complete = False

        def on_header(self, name: bytes, value: bytes) -> None:
            self.headers[name] = value

        def on_body(self, body: bytes) -> None:
            self.body += body

        def on_message_complete(self) -> None:
            self.complete = True

    seen = Seen()
    parser = httptools.HttpRequestParser(seen)
    parser.feed_data(request)
    assert seen.complete
    assert seen.body == b"{}"
    assert seen.headers[b"Authorization"] == b"Bearer t"
    assert seen.headers[b"Content-Type"] == b"application/json"
    assert parser.should_keep_alive()


EXPECTED = {"label": np.array([2]), "scores": np.array([[0.25, 0.75]], np.float32)}


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        pytest.param({"label": [2], "scores": [[0.25, 0.75]]}, None, id="equal"),
        pytest.param({"label": [2], "scores": [[0.2500001, 0.75]]}, None, id="another order of summing"),
        pytest.param({"label": [1], "scores": [[0.25, 0.75]]}, "another value in label", id="wrong label"),
        pytest.param({"scores": [[0.26, 0.75]]}, "another value in scores", id="wrong number"),
        pytest.param({"scores": [0.25, 0.75]}, "another value in scores", id="wrong shape"),
        pytest.param({"other": [1]}, "an unknown output other", id="unknown output"),
        pytest.param({}, "an answer without outputs", id="nothing"),
    ],
)
def test_answers_are_compared_with_raw_onnxruntime(answer: object, fault: str | None) -> None:
    content = orjson.dumps({"outputs": answer})
    response = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content)
    lane = Lane("json", 1, list, wire.read_wrapped)
    assert fault_of(response, lane, EXPECTED) == fault


def test_an_answer_that_is_no_answer_is_a_fault() -> None:
    lane = Lane("json", 1, list, wire.read_wrapped)
    assert (
        fault_of(b"HTTP/1.1 200 OK\r\n\r\nhello", lane, EXPECTED) == "an unreadable answer (JSONDecodeError)"
    )


HEAD = b"HTTP/1.1 200 OK\r\nserver: x\r\nContent-Length: 12\r\n\r\n"


@pytest.mark.parametrize(
    ("received", "length"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", 0, id="the head is not there yet"),
        pytest.param(HEAD + b"abc", len(HEAD) + 12, id="head and part of the body"),
        pytest.param(HEAD.replace(b"12", b"0").lower(), len(HEAD) - 1, id="no body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", -1, id="chunked"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: 1\r\n\r\ncontent-length: 9\r\n", -1, id="only in the body"),
    ],
)
def test_answer_length(received: bytes, length: int) -> None:
    assert answer_length(received) == length


def test_the_tally_counts_good_answers_of_the_window_and_every_problem() -> None:
    tally = Tally()
    for now in (1.0, 2.0, 3.0, 4.0):
        tally.answered(0, b"a", status=200, sent=now - 0.5, now=now)
    tally.answered(0, b"b", status=503, sent=0.0, now=0.5)
    report = tally.report(2.0, 3.0)
    assert (report["count"], report["p50_ms"], report["problems"]) == (2, 500.0, {"status 503": 1})
    assert (report["refused"], tally.report(0.0, 1.0)["refused"]) == (0, 1)
    assert len(report["samples"]) == 1
