"""Real models through the whole platform answer as they do in process."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from modelrocket import Client, Deployment, PreparationFailed
from tests.support.graphs import marked
from tests.support.stack import RunningStack

Split = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[Any], NDArray[Any]]


@pytest.fixture(scope="module")
def digits() -> Split:
    loaded = load_digits()
    pixels = loaded.data.astype(np.float32) / 16
    return tuple(train_test_split(pixels, loaded.target, test_size=0.3, random_state=0))


def labels_over_http(deployment: Deployment, rows: NDArray[np.float32], *, at_once: int = 50) -> list[Any]:
    """As any language would: JSON there, JSON back."""
    answers: list[Any] = []
    with httpx.Client(timeout=30) as http:
        for start in range(0, len(rows), at_once):
            inputs = {"modelInput": rows[start : start + at_once].tolist()}
            body = {"token": deployment.token, "model": deployment.model_id, "inputs": inputs}
            reply = http.post(deployment.url, json=body)
            assert reply.status_code == 200, reply.text
            answers += reply.json()["result"]["modelOutput"]
    return answers


def test_scikit_learn_labels_are_identical_on_the_whole_test_set(client: Client, digits: Split) -> None:
    train_x, test_x, train_y, _ = digits
    model = LogisticRegression(max_iter=500).fit(train_x, train_y)
    deployment = client.upload(model, "digits", np.float32, (None, 64), progress=False)
    assert labels_over_http(deployment, test_x) == model.predict(test_x).tolist()
    answer = deployment.predict(test_x)
    assert isinstance(answer, dict)
    assert answer["modelOutput"].tolist() == model.predict(test_x).tolist()
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(test_x), atol=1e-5)


def test_pytorch_labels_are_identical_on_the_whole_test_set(client: Client, digits: Split) -> None:
    torch = pytest.importorskip("torch")
    train_x, test_x, train_y, _ = digits
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 4 * 4, 10),
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    images, labels = torch.tensor(train_x.reshape(-1, 1, 8, 8)), torch.tensor(train_y)
    for _ in range(30):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimiser.step()
    shaped = test_x.reshape(-1, 1, 8, 8)
    deployment = client.upload(model, "digits-cnn", np.float32, (None, 1, 8, 8), progress=False)
    with torch.no_grad():
        in_process = model.eval()(torch.tensor(shaped)).numpy()
    over_http = np.array(labels_over_http(deployment, shaped))
    assert over_http.argmax(1).tolist() == in_process.argmax(1).tolist()
    np.testing.assert_allclose(over_http, in_process, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_int8_weights_are_served_as_they_were_measured(client: Client, digits: Split) -> None:
    train_x, test_x, train_y, _ = digits
    model = MLPClassifier((128, 128), max_iter=60, random_state=0).fit(train_x, train_y)
    deployment = client.upload(
        model, "digits-int8", np.float32, (None, 64), quantize="int8", sample=test_x, progress=False
    )
    report = client.model("digits-int8").report(1)
    assert report.receipt is not None
    assert report.certificate is not None
    assert report.hashes is not None
    found = report.receipt["quantisation"]
    assert found["int8"]["model_sha256"] == report.hashes["model"]
    assert found["float"]["bytes"] > 2 * found["int8"]["bytes"]
    assert found["accepted_loss"] == []
    assert report.certificate["batchable"] is False
    one_by_one = np.array(labels_over_http(deployment, test_x[:100], at_once=1))
    assert (one_by_one == model.predict(test_x[:100])).mean() >= 0.98


def test_the_same_name_again_is_a_new_version_with_the_same_token(client: Client) -> None:
    first = client.upload(marked(1), "marked", progress=False)
    second = client.upload(marked(2), "marked", progress=False)
    assert (second.model_id, second.version, second.token) == (first.model_id, 2, None)
    answer = client.predict(first.model_id, np.array([[7]], np.float32), token=str(first.token))
    assert answer.tolist() == [[2, 7]]  # type: ignore[union-attr]


def test_a_file_that_is_no_model_fails_with_a_reason(client: Client, stack: RunningStack) -> None:
    """The client would refuse it first; the platform must not depend on that."""
    import hashlib

    data = b"PK\x03\x04 a zip archive, say"
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    announced = {"name": "zip", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    with httpx.Client(base_url=stack.base_url, headers=headers, timeout=30) as http:
        begun = http.post("/v1/models", json=announced).json()
        for part in begun["upload"]["parts"]:
            assert httpx.put(part["url"], content=data, headers=part["headers"]).status_code == 200
        path = f"/v1/models/{begun['model']['id']}/versions/1"
        assert http.post(f"{path}/complete", json={}).status_code == 202

        def reason() -> str | None:
            version = http.get(path).json()
            assert version["state"] in ("preparing", "failed")
            return str(version["reason"]) if version["state"] == "failed" else None

        from tests.support.waiting import wait_for

        assert "ONNX" in wait_for(reason, what="the version to fail")


def test_the_first_version_failing_raises_preparation_failed(client: Client) -> None:
    """A model that passes every check on the client and not on the host."""
    model = marked(1)
    model.graph.node[0].domain = "com.example.unknown"
    with pytest.raises(Exception) as raised:
        client.upload(model, "unknown-domain", progress=False)
    assert isinstance(raised.value, PreparationFailed) or "unknown" in str(raised.value)
