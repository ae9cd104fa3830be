"""The gateway over HTTP, granian included, around a toy app."""

from __future__ import annotations

import http.client
import json
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chalicelib.contract.limits import BODY_BYTES_MAX
from chalicelib.contract.tokens import new_token
from infra.local.ports import free_port
from infra.local.process import Child, ChildSpec, running
from infra.local.stack import answers_healthz
from tests.support.stack import REPOSITORY
from tests.support.waiting import wait_for

CONCURRENT = 400


@contextmanager
def served(target: str, log_file: Path) -> Iterator[int]:
    """The port of a gateway around this app."""
    port = free_port(random.Random())
    spec = ChildSpec(
        name="gateway",
        command=(sys.executable, "-m", "infra.local.gateway", str(port), target),
        environment={"PATH": "/usr/bin:/bin"},
        log_file=log_file,
        working_directory=REPOSITORY,
        ready=lambda: answers_healthz(port),
    )
    with running([spec]):
        yield port


@pytest.fixture(scope="module")
def log_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gateway") / "gateway.log"


@pytest.fixture(scope="module")
def port(log_file: Path) -> Iterator[int]:
    with served("tests.infra.toy_app:app", log_file) as port:
        yield port


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(port: int, method: str, path: str, **request: Any) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, **request)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def mixed_up(port: int) -> int:
    """How many of many concurrent answers carry something of another request."""

    def one(number: int) -> bool:
        name = f"request-{number}"
        answer = call(
            port,
            "POST",
            f"/echo/{name}",
            body=json.dumps({"number": number}),
            headers={"X-Name": name, "Content-Type": "application/json"},
        )
        expected = {"name": name, "header": name, "body": json.dumps({"number": number}), "context": True}
        return answer.status != 200 or answer.json != expected

    with ThreadPoolExecutor(max_workers=64) as pool:
        return sum(pool.map(one, range(CONCURRENT)))


def test_concurrent_requests_do_not_mix_up(port: int) -> None:
    assert mixed_up(port) == 0


def test_plain_chalice_does_mix_them_up(tmp_path: Path) -> None:
    """Shows that the test above would notice."""
    with served("tests.infra.toy_app:plain", tmp_path / "gateway.log") as port:
        assert mixed_up(port) > 0


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        pytest.param("GET", "/nowhere", {}, 404, "not_found", id="unknown route"),
        pytest.param("GET", "/nowhere", {"Authorization": "Bearer x"}, 404, "not_found", id="with a token"),
        pytest.param("GET", "//evil/healthz", {}, 404, "not_found", id="not a host name"),
        pytest.param("GET", "/%2e%2e/%00%ff", {}, 404, "not_found", id="odd bytes"),
        pytest.param("DELETE", "/healthz", {}, 405, "invalid_request", id="method"),
        pytest.param("POST", "/length", {"Content-Type": "a/b"}, 415, "invalid_request", id="media type"),
        pytest.param("GET", "/wrong", {}, 400, "invalid_request", id="Chalice's own error"),
        pytest.param("GET", "/crash", {}, 500, "internal", id="a defect of ours"),
    ],
)
def test_every_error_has_our_form(
    port: int, method: str, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = call(port, method, path, headers={**headers, "X-Request-Id": "mine-1"})

    error = answer.json["error"]
    assert (answer.status, error["code"], error["retryable"]) == (status, code, False)
    assert error["request_id"] == answer.headers["x-request-id"] == "mine-1"
    assert "secret" not in answer.body.decode() and "Traceback" not in answer.body.decode()


def test_every_answer_has_a_request_id_of_its_own(port: int) -> None:
    ids = [call(port, "GET", "/healthz").headers["x-request-id"] for _ in range(3)]

    assert len(set(ids)) == 3


@pytest.mark.parametrize("given", ["a b", "x" * 65, "é", "<script>"])
def test_a_request_id_that_could_do_harm_is_replaced(port: int, given: str) -> None:
    answer = call(port, "GET", "/healthz", headers={"X-Request-Id": given.encode()})

    assert answer.headers["x-request-id"] != given


def test_head_answers_like_get_without_a_body(port: int) -> None:
    answer = call(port, "HEAD", "/healthz")

    assert (answer.status, answer.body) == (200, b"")
    assert call(port, "HEAD", "/nowhere").status == 404


def test_options_is_answered_without_the_app(port: int) -> None:
    answer = call(port, "OPTIONS", "/healthz")

    assert answer.status == 200
    assert "access-control-allow-methods" in answer.headers and "x-request-id" in answer.headers


@pytest.mark.parametrize("body", [b"", b"abc", b"\xff\xfe not UTF-8", b"x" * BODY_BYTES_MAX])
def test_bodies_arrive_whole(port: int, body: bytes) -> None:
    answer = call(port, "POST", "/length", body=body, headers={"Content-Type": "text/plain"})

    assert answer.json == {"length": len(body)}


def test_a_chunked_body_arrives_whole(port: int) -> None:
    chunks = iter([b"abc", b"d" * 100_000])

    answer = call(port, "POST", "/length", body=chunks, headers={"Content-Type": "text/plain"})

    assert answer.json == {"length": 100_003}


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused(port: int, chunked: bool) -> None:
    body = b"x" * (BODY_BYTES_MAX + 1)
    headers = {"Content-Type": "text/plain"}

    answer = call(port, "POST", "/length", body=iter([body]) if chunked else body, headers=headers)

    assert answer.status == 413
    assert answer.json["error"]["code"] == "payload_too_large"
    assert str(BODY_BYTES_MAX) in answer.json["error"]["message"]


def test_the_query_and_the_callers_address_reach_the_app(port: int) -> None:
    assert call(port, "GET", "/seen?a=1&b=x%20y").json == {
        "query": {"a": "1", "b": "x y"},
        "source": "127.0.0.1",
    }


def test_binary_answers_stay_binary(port: int) -> None:
    answer = call(port, "GET", "/binary", headers={"Accept": "application/octet-stream"})

    assert answer.body == b"\x00\xff"


def test_each_request_is_one_json_line_without_secrets(port: int, log_file: Path) -> None:
    headers = {
        "X-Request-Id": "look-for-me",
        "Authorization": "Bearer mr_secret",
        "Content-Type": "text/plain",
    }
    call(port, "POST", "/length?token=mr_secret", body=b"payload", headers=headers)

    def lines() -> list[dict[str, Any]]:
        events = [json.loads(line) for line in log_file.read_text().splitlines()]
        return [event for event in events if event.get("request_id") == "look-for-me"]

    [line] = wait_for(lines, what="the log line")
    assert (line["event"], line["method"], line["path"], line["status"]) == (
        "request",
        "POST",
        "/length",
        200,
    )
    assert "mr_secret" not in log_file.read_text() and "payload" not in json.dumps(line)


def test_a_credential_in_a_path_is_not_written_down(port: int, log_file: Path) -> None:
    token = new_token()
    call(port, "GET", f"/keys/{token}", headers={"X-Request-Id": "a-credential-in-the-path"})
    wait_for(lambda: "a-credential-in-the-path" in log_file.read_text(), what="the log line")
    call(port, "GET", "/healthz", headers={"X-Request-Id": token})
    call(port, "GET", "/healthz", headers={"X-Request-Id": "the-last-of-three"})
    wait_for(lambda: "the-last-of-three" in log_file.read_text(), what="the log lines")
    assert token not in log_file.read_text()


def test_it_stops_on_request_with_connections_open(tmp_path: Path) -> None:
    with served("tests.infra.toy_app:app", tmp_path / "gateway.log") as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/healthz")
        connection.getresponse().read()
    connection.close()
    assert not answers_healthz(port)


def test_a_request_in_progress_is_answered_before_it_stops(tmp_path: Path) -> None:
    with ThreadPoolExecutor(max_workers=8) as pool:
        with served("tests.infra.toy_app:app", tmp_path / "gateway.log") as port:
            answers = [pool.submit(call, port, "GET", "/slow") for _ in range(8)]
            wait_for(lambda: call(port, "GET", "/begun").json == {"begun": 8}, what="requests in progress")
        assert [answer.result().json for answer in answers] == [{"status": "done"}] * 8


def test_a_gateway_whose_parent_was_killed_leaves_no_worker(tmp_path: Path) -> None:
    from tests.support.processes import alive, descendants

    port = free_port(random.Random())
    spec = ChildSpec(
        name="gateway",
        command=(sys.executable, "-m", "infra.local.gateway", str(port), "tests.infra.toy_app:app"),
        environment={},
        log_file=tmp_path / "gateway.log",
        working_directory=REPOSITORY,
        ready=lambda: answers_healthz(port),
    )
    with running([spec]) as children:
        child: Child = children["gateway"]
        assert child.pid is not None
        workers = descendants(child.pid)
        assert workers
        child.kill()
        wait_for(lambda: not alive(workers), what="the worker's end")
