"""An upload of 500 MB whose connections are cut, and then its process, sends nothing twice that is stored."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from modelrocket import Client
from modelrocket.convert import two_files
from modelrocket.transfer import AT_ONCE_MAX
from tests.support.cutting import CuttingProxy, cutting_proxy
from tests.support.stack import RunningStack

WIDTH, ROWS = 1_000, 500_000
WEIGHTS_BYTES = WIDTH * ROWS
CUT_AFTER, DIES_AFTER = 150_000_000, 300_000_000


class Died(BaseException):
    """The process ends here."""


class Uploading(httpx.BaseTransport):
    """Parts go to the store through the proxy, which is the network; the rest goes as it is."""

    def __init__(self, proxy: CuttingProxy, *, dies_after: int | None = None) -> None:
        self._direct = httpx.HTTPTransport()
        self._proxied = httpx.HTTPTransport(proxy=f"http://127.0.0.1:{proxy.port}")
        self._proxy = proxy
        self._dies_after = dies_after
        self._lock = threading.Lock()
        self.tried: Counter[str] = Counter()
        self.stored: Counter[str] = Counter()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "PUT":
            return self._direct.handle_request(request)
        if self._dies_after is not None and self._proxy.sent >= self._dies_after:
            raise Died
        part = f"{request.url.path}?{request.url.params.get('partNumber', '')}"
        with self._lock:
            self.tried[part] += 1
        response = self._proxied.handle_request(request)
        response.read()
        with self._lock:
            self.stored[part] += response.is_success
        return response

    def close(self) -> None:
        self._direct.close()
        self._proxied.close()


@pytest.fixture
def model(tmp_path: Path) -> Iterator[tuple[Path, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]]:
    """A table of random bytes that the model looks rows up in, and the file that says so."""
    table = np.frombuffer(np.random.default_rng(0).bytes(WEIGHTS_BYTES), np.uint8).reshape(ROWS, WIDTH)
    (tmp_path / "table.bin").write_bytes(table.data)
    path = tmp_path / "table.onnx"
    path.write_bytes(looking_up().SerializeToString())
    yield path, table
    shutil.rmtree(tmp_path)


def looking_up() -> ModelProto:
    """`rows: int64 [n] → found: uint8 [n, WIDTH]`."""
    table = TensorProto(name="table", data_type=TensorProto.UINT8, dims=[ROWS, WIDTH])
    table.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "table.bin", "offset": 0, "length": WEIGHTS_BYTES}.items():
        table.external_data.add(key=key, value=str(value))
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "rows"], ["found"])],
        "table",
        [helper.make_tensor_value_info("rows", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("found", TensorProto.UINT8, ["n", WIDTH])],
        [table],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_a_500_mb_upload_that_is_cut_and_then_dies_sends_nothing_twice(
    stack: RunningStack,
    model: tuple[Path, np.ndarray[tuple[int, ...], np.dtype[np.uint8]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(two_files, "ONE_FILE_BYTES_MAX", 1_000_000)
    path, table = model
    with cutting_proxy(stack.port_of("s3"), cut_after=CUT_AFTER) as proxy:
        dying = Uploading(proxy, dies_after=DIES_AFTER)
        with Client(stack.base_url, stack.api_key, transport=dying) as client, pytest.raises(Died):
            client.upload(path, "500 MB", progress=False)
        going_on = Uploading(proxy)
        with Client(stack.base_url, stack.api_key, transport=going_on) as client:
            deployment = client.upload(path, "500 MB", progress=False)
            np.testing.assert_array_equal(deployment.predict([ROWS - 1, 0]), table[[-1, 0]])
            client.model("500 MB").delete()
    assert deployment.version == 1
    assert proxy.cuts >= 1
    lost = dying.tried.total() - dying.stored.total()
    assert 1 <= lost <= 2 * AT_ONCE_MAX  # in flight when they were cut, and when it died; never a part more
    assert going_on.tried == going_on.stored
    assert set((dying.stored + going_on.stored).values()) == {1}
