"""What the framework itself refuses, in the form of the protocol that was spoken."""

from __future__ import annotations

from typing import Any

import pytest
from chalice.app import Chalice, Response
from chalice.test import Client

from chalicelib.http import Boundary


@pytest.fixture
def client() -> Client:
    app = Chalice(app_name="toy")
    boundary = Boundary(app, new_id=lambda: "id-1")

    @app.route("/inference", methods=["POST"])
    @boundary.view
    def inference(_request: Any, _request_id: str) -> dict[str, Any]:
        return {}

    @app.route("/v2/models/{model_id}/infer", methods=["POST"])
    @boundary.open_inference_view
    def infer(_request: Any, _request_id: str, model_id: str) -> Response:
        return Response(body=b"\0", headers={"Content-Type": "application/octet-stream"})

    return Client(app)


def test_a_wrong_method_is_refused_in_our_form(client: Client) -> None:
    answer = client.http.get("/inference")
    assert (answer.status_code, answer.json_body["error"]["code"]) == (405, "invalid_request")


def test_open_inference_hears_a_text_whatever_is_refused(client: Client) -> None:
    wrong_method = client.http.get("/v2/models/m/infer")
    no_accept = client.http.post("/v2/models/m/infer")
    assert (wrong_method.status_code, no_accept.status_code) == (405, 400)
    for answer in (wrong_method, no_accept):
        assert isinstance(answer.json_body["error"], str)
        assert answer.json_body["code"] == "invalid_request"
