"""Models of two files through the whole platform, with limits lowered so that some megabytes are large."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from modelrocket import Client, UploadFailed
from modelrocket.convert import two_files
from modelrocket.errors import Conflict
from tests.support.stack import RunningStack
from tests.support.two_files import saved_by_onnx
from tests.support.waiting import DEADLINE_SECONDS

SIZE = 1024
LAYERS = 3
WEIGHTS_BYTES = LAYERS * 4 * SIZE * SIZE
ROWS = np.arange(2 * SIZE, dtype=np.float32).reshape(2, SIZE) / SIZE


@pytest.fixture(autouse=True)
def _a_small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_files, "ONE_FILE_BYTES_MAX", 1_000_000)


class Counting(httpx.BaseTransport):
    """The network, which counts what the store takes and refuses all after so many parts."""

    def __init__(self, *, parts_max: int | None = None) -> None:
        self._network = httpx.HTTPTransport()
        self._parts_max = parts_max
        self._arrived = threading.Condition()
        self._begun = 0
        self.stored: list[int] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method != "PUT":
            return self._network.handle_request(request)
        with self._arrived:
            self._begun += 1
            if self._parts_max is not None and self._begun > self._parts_max:
                self._arrived.wait_for(lambda: len(self.stored) == self._parts_max, DEADLINE_SECONDS)
                return httpx.Response(403)
        response = self._network.handle_request(request)
        if response.is_success:
            with self._arrived:
                self.stored.append(int(request.headers["content-length"]))
                self._arrived.notify_all()
        return response


def answer(deployment: Any) -> Any:
    return deployment.predict({"h0": ROWS})


def test_a_file_with_its_weights_beside_it_is_deployed_and_answers(client: Client, tmp_path: Path) -> None:
    path = saved_by_onnx(tmp_path, layers=LAYERS, size=SIZE)
    deployment = client.upload(path, "two files", progress=False)
    np.testing.assert_allclose(answer(deployment), ROWS * 2**LAYERS, rtol=1e-5)
    version = client._manage("GET", f"/v1/models/{deployment.model_id}/versions/{deployment.version}")
    assert version["weights"]["bytes"] == WEIGHTS_BYTES
    assert version["passport"]["memory_bytes"] >= WEIGHTS_BYTES


def test_an_upload_that_broke_off_sends_only_what_was_missing(stack: RunningStack, tmp_path: Path) -> None:
    path = saved_by_onnx(tmp_path, layers=LAYERS, size=SIZE)
    broken, whole = Counting(parts_max=2), Counting()
    with (
        Client(stack.base_url, stack.api_key, transport=broken) as first,
        pytest.raises(UploadFailed, match="call upload again"),
    ):
        first.upload(path, "interrupted", progress=False)
    assert len(broken.stored) == 2
    with Client(stack.base_url, stack.api_key, transport=whole) as second:
        version_path = f"/v1/models/{second.model('interrupted').id}/versions/1"
        missing = second._manage("GET", f"{version_path}/upload")["parts"]
        with pytest.raises(Conflict, match="2 of 3 parts"):
            second._manage("POST", f"{version_path}/complete", {})
        assert sum(part["bytes"] for part in missing) + sum(broken.stored[1:]) == WEIGHTS_BYTES
        deployment = second.upload(path, "interrupted", progress=False)
        assert deployment.version == 1
        np.testing.assert_allclose(answer(deployment), ROWS * 2**LAYERS, rtol=1e-5)
    graph_bytes = min(broken.stored + whole.stored)
    assert graph_bytes < 10_000
    assert sum(broken.stored) + sum(whole.stored) == WEIGHTS_BYTES + graph_bytes
