"""NVIDIA's own client of Open Inference Protocol v2, unchanged, against a real host on real stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import VersionRecord
from chalicelib.contract.tokens import new_token
from infra.local.embedded import EmbeddedServers
from modelrocket.tensors import Array
from tests.support import onnx_models
from tests.support.hosts import HostProcess, prepare, publish

pytestmark = pytest.mark.stack

TRITON = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "int16": "INT16",
    "int64": "INT64",
    "uint64": "UINT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}


@contextmanager
def connected(host: HostProcess) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(f"127.0.0.1:{host.port}")
    try:
        yield client
    finally:
        client.close()


class Caller:
    """Asks one model, as its owner would."""

    def __init__(self, client: triton.InferenceServerClient, record: VersionRecord, token: str) -> None:
        self.client = client
        self.record = record
        self.headers = {"Authorization": f"Bearer {token}"}

    def infer(self, inputs: dict[str, Array], *, binary: bool = True, **more: Any) -> triton.InferResult:
        given = [tensor(name, array, binary=binary) for name, array in inputs.items()]
        if "outputs" not in more and not binary:
            names = [output.name for output in self.record.signature.outputs]
            more["outputs"] = [triton.InferRequestedOutput(name, binary_data=False) for name in names]
        return self.client.infer(self.record.model_id, given, headers=dict(self.headers), **more)


def tensor(name: str, array: Array, *, binary: bool) -> triton.InferInput:
    datatype = "BYTES" if array.dtype == object else TRITON[array.dtype.name]
    given = triton.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


@pytest.fixture
def client(host: HostProcess) -> Iterator[triton.InferenceServerClient]:
    with connected(host) as one:
        yield one


@pytest.fixture
def caller(client: triton.InferenceServerClient, hot: HotState, servers: EmbeddedServers) -> Caller:
    """Of a model `[n, 1] → [n, 2]`."""
    record = prepare(hot, servers, onnx_models.marked(7))
    return Caller(client, record, publish(hot, record))


def test_triton_finds_a_live_and_ready_server(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    metadata = client.get_server_metadata()
    assert (metadata["name"], metadata["extensions"]) == ("modelrocket", ["binary_tensor_data"])


def test_triton_reads_what_a_model_takes_and_gives(caller: Caller) -> None:
    model_id, headers = caller.record.model_id, caller.headers
    for version in ("", "1"):
        assert caller.client.is_model_ready(model_id, version, headers=headers)
        assert caller.client.get_model_metadata(model_id, version, headers=headers) == {
            "name": model_id,
            "versions": ["1"],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
            "parameters": {"rows_independent": True},
        }
    assert not caller.client.is_model_ready(model_id, "2", headers=headers)
    assert not caller.client.is_model_ready(model_id)


@pytest.mark.parametrize("binary", [True, False])
def test_triton_infers(caller: Caller, binary: bool) -> None:
    rows = np.array([[1], [2]], np.float32)
    result = caller.infer({"x": rows}, binary=binary, request_id="r-1", model_version="1")
    assert result.as_numpy("y").tolist() == [[7, 1], [7, 2]]
    response = result.get_response()
    shown = (response["id"], response["model_name"], response["model_version"])
    assert shown == ("r-1", caller.record.model_id, "1")
    assert ("data" in response["outputs"][0]) is not binary


@pytest.mark.parametrize("binary", [True, False])
def test_triton_may_call_the_only_input_what_inference_calls_it(caller: Caller, binary: bool) -> None:
    result = caller.infer({"modelInput": np.array([[3]], np.float32)}, binary=binary)
    assert result.as_numpy("y").tolist() == [[7, 3]]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_triton_may_compress_its_requests(caller: Caller, algorithm: str) -> None:
    rows = np.ones((500, 1), np.float32)
    result = caller.infer({"x": rows}, request_compression_algorithm=algorithm)
    assert result.as_numpy("y").shape == (500, 2)


@pytest.mark.parametrize("binary", [True, False])
def test_triton_sends_and_gets_strings(
    client: triton.InferenceServerClient, hot: HotState, servers: EmbeddedServers, binary: bool
) -> None:
    record = prepare(hot, servers, onnx_models.identity("string"))
    caller = Caller(client, record, publish(hot, record))
    texts = np.array(["grün".encode(), b"", b"x" * 300], object)
    got = caller.infer({"x": texts}, binary=binary).as_numpy("y")
    assert [one if isinstance(one, bytes) else one.encode() for one in got.tolist()] == texts.tolist()


def test_triton_sends_every_dtype(
    client: triton.InferenceServerClient, hot: HotState, servers: EmbeddedServers
) -> None:
    for dtype in TRITON:
        record = prepare(hot, servers, onnx_models.identity(dtype))
        caller = Caller(client, record, publish(hot, record))
        values = np.array([0, 1, 1], dtype)
        got = caller.infer({"x": values}).as_numpy("y")
        assert (got.dtype, got.tolist()) == (values.dtype, values.tolist())


def test_triton_chooses_outputs_and_each_ones_form(
    client: triton.InferenceServerClient, hot: HotState, servers: EmbeddedServers
) -> None:
    record = prepare(hot, servers, onnx_models.two_outputs())
    caller = Caller(client, record, publish(hot, record))
    x = {"x": np.array([[1], [2]], np.float32)}
    both = caller.infer(x)
    assert (both.as_numpy("double").tolist(), both.as_numpy("negative").tolist()) == (
        [[2], [4]],
        [[-1], [-2]],
    )
    outputs = [
        triton.InferRequestedOutput("negative", binary_data=False),
        triton.InferRequestedOutput("double", binary_data=True),
    ]
    mixed = caller.infer(x, outputs=outputs)
    assert [output["name"] for output in mixed.get_response()["outputs"]] == ["negative", "double"]
    assert mixed.as_numpy("double").tolist() == [[2], [4]]
    one = caller.infer(x, outputs=outputs[:1])
    assert (one.as_numpy("negative").tolist(), one.as_numpy("double")) == ([[-1], [-2]], None)


def test_triton_shows_our_words_when_a_shape_is_wrong(caller: Caller) -> None:
    with pytest.raises(InferenceServerException) as caught:
        caller.infer({"x": np.ones((1, 3), np.float32)})
    assert str(caught.value).startswith('[422] input "x": expected float32 [*, 1], got the shape [1, 3]')


def test_triton_without_a_good_token_gets_nothing(caller: Caller) -> None:
    for headers in ({}, {"Authorization": f"Bearer {new_token()}"}):
        caller.headers = headers
        with pytest.raises(InferenceServerException, match=r"\[401\]"):
            caller.infer({"x": np.ones((1, 1), np.float32)})


def test_both_forms_and_inference_share_runs_and_keep_their_answers(
    caller: Caller, host: HostProcess
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def ask(number: int) -> Any:
        if number % 3 == 0:
            body = {"model": caller.record.model_id, "inputs": {"x": [[number]]}}
            return host.post("/inference", body, headers=caller.headers).body["result"]["y"]
        with connected(host) as client:
            one = Caller(client, caller.record, "")
            one.headers = caller.headers
            rows = np.array([[number]], np.float32)
            return one.infer({"x": rows}, binary=number % 3 == 1).as_numpy("y").tolist()

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(ask, range(120))) == [[[7, number]] for number in range(120)]
