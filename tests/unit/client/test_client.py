"""Upload and predict against the server's side of the contract, in memory."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from rich.console import Console

import modelrocket
from modelrocket import display
from modelrocket.client import Client, Deployment
from modelrocket.errors import (
    ApiError,
    ConfigurationError,
    ConnectionFailed,
    InvalidRequest,
    InvalidTensor,
    ModelLoading,
    ModelRocketError,
    NotFound,
    PreparationFailed,
    Timeout,
    Unauthenticated,
    UploadFailed,
)
from tests.unit.client.server import API_KEY, ENDPOINT, MODEL_ID, Server, Time, refusal

ROWS = np.array([[1, -2], [3, 4]], dtype=np.float32)


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELROCKET_CONFIG", str(tmp_path / "config.json"))
    for name in ("MODELROCKET_ENDPOINT", "MODELROCKET_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def client(server: Server, time: Time) -> Client:
    return Client(ENDPOINT, API_KEY, transport=server.transport, clock=time.clock)


def doubling(outputs: int = 1) -> ModelProto:
    def value(name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2])

    nodes = [helper.make_node("Add", ["x", "x"], ["y0"]), helper.make_node("Neg", ["x"], ["y1"])]
    shown = [value(f"y{number}") for number in range(outputs)]
    graph = helper.make_graph(nodes[:outputs], "g", [value("x")], shown)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def deploy(client: Client, **options: Any) -> Deployment:
    return client.upload(doubling(), "doubling", **{"progress": False} | options)


def test_the_first_upload_deploys_and_brings_a_token(client: Client, server: Server) -> None:
    deployment = deploy(client)
    assert (deployment.model_id, deployment.name, deployment.version) == (MODEL_ID, "doubling", 1)
    assert (deployment.url, deployment.endpoint) == (f"{ENDPOINT}/inference", ENDPOINT)
    assert [deployment.token] == server.tokens
    assert server.model_bytes == doubling().SerializeToString()


def test_the_same_name_again_is_a_new_version_under_the_same_token(client: Client, server: Server) -> None:
    first, second = deploy(client), deploy(client)
    assert (second.version, second.token, len(server.tokens)) == (2, None, 1)
    np.testing.assert_array_equal(second.predict(ROWS, token=first.token), ROWS * 2)
    np.testing.assert_array_equal(second.predict(ROWS), ROWS * 2)  # by the API key


def test_every_part_is_put_by_its_own_request(time: Time) -> None:
    server = Server(parts=3)
    client = Client(ENDPOINT, API_KEY, transport=server.transport, clock=time.clock)
    deploy(client)
    assert len(server.stored) == 3
    assert server.model_bytes == doubling().SerializeToString()


def test_arrays_and_lists_predict_the_same(client: Client) -> None:
    deployment = deploy(client)
    for rows in (ROWS, ROWS.tolist(), list(ROWS), list(np.asfortranarray(ROWS)), {"modelInput": ROWS}):
        answer = deployment.predict(rows)
        assert isinstance(answer, np.ndarray)
        assert answer.dtype == np.float32
        np.testing.assert_array_equal(answer, ROWS * 2)


def test_nan_comes_back_as_nan(client: Client) -> None:
    answer = deploy(client).predict([[float("nan"), 1.0]])
    np.testing.assert_array_equal(answer, [[np.nan, 2.0]])


def test_several_outputs_are_a_dict(client: Client) -> None:
    answer = client.upload(doubling(outputs=2), "two", progress=False).predict(ROWS)
    assert isinstance(answer, dict)
    np.testing.assert_array_equal(answer["y0"], ROWS * 2)
    np.testing.assert_array_equal(answer["y1"], -ROWS)


def test_a_key_that_may_make_no_keys_deploys_without_a_token(
    client: Client, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = refusal("permission_denied", 403, 'This needs the scope "keys", which your key does not have.')
    monkeypatch.setattr(server, "_token", lambda _: denied)
    deployment = deploy(client, progress=True)
    assert (deployment.version, deployment.token) == (1, None)
    assert "modelrocket token create doubling" in capsys.readouterr().out


def test_a_caller_with_only_a_token_can_predict(client: Client, server: Server, time: Time) -> None:
    token = deploy(client).token
    caller = Client(ENDPOINT, transport=server.transport, clock=time.clock)
    np.testing.assert_array_equal(caller.predict(MODEL_ID, ROWS, token=str(token)), ROWS * 2)


def test_the_token_does_not_show(client: Client) -> None:
    deployment = deploy(client)
    assert str(deployment.token) not in repr(deployment)


def test_models_are_listed_page_after_page(client: Client) -> None:
    deploy(client)
    assert [model.name for model in client.models()] == ["doubling", "last"]
    assert client.model(MODEL_ID).active == 1
    with pytest.raises(NotFound):
        client.model("unknown")


# What the user sees.


def test_the_result_is_printed_whole_and_the_token_once(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    token = deploy(client, progress=True).token
    shown = capsys.readouterr().out
    assert "doubling is live: version 1, new model" in shown
    assert all(text in shown for text in (MODEL_ID, str(token), f"POST {ENDPOINT}/inference"))
    assert "Uploading 0.1 kB\n" in shown
    assert "Preparing: the host optimises it" in shown

    deploy(client, progress=True)
    shown = capsys.readouterr().out
    assert "doubling is live: version 2" in shown
    assert str(token) not in shown
    assert "the one from before keeps working" in shown


def test_a_version_without_traffic_says_how_to_give_it_some(
    client: Client, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = deploy(client, progress=True, activate=False)
    assert (deployment.active, server.versions[0]["activate"]) == (False, False)
    shown = capsys.readouterr().out
    assert "doubling is ready: version 1, new model" in shown
    assert "modelrocket traffic doubling --version 1 --percent 10" in shown
    assert "activate()" in repr(deployment)
    assert "traffic" not in str(deploy(client))


def test_on_a_terminal_the_bar_goes_when_the_bytes_are_sent() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with display.live_display(console) as shown:
        shown.step("Uploading")
        shown.bytes_sent(500, total=1000)
        uploading = rendered(shown)
        shown.step("Preparing")
        preparing = rendered(shown)
    assert "Uploading" in uploading
    assert "0.5/1.0 kB" in uploading
    assert "Preparing" in preparing
    assert "kB" not in preparing


def test_what_takes_long_says_how_far_it_is_and_how_long_it_took() -> None:
    console, now = Console(file=io.StringIO(), width=100), Time()
    shown = display.PlainDisplay(console, now=now.clock.monotonic)
    shown.step("Converting")
    now.now += 1
    shown.step("Uploading")
    for seconds, done in ((0, 100e6), (6, 280e6), (1, 290e6), (5, 460e6)):  # 100 MB were there already
        now.now += seconds
        shown.bytes_sent(int(done), total=500_000_000)
    shown.step("Preparing")
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "Converting",
        "Uploading",
        "  280.0 of 500.0 MB, 30.0 MB/s",
        "  460.0 of 500.0 MB, 30.0 MB/s",
        "  took 12 s",
        "Preparing",
    ]


def test_in_a_notebook_the_line_of_bytes_is_replaced() -> None:
    written: list[str] = []
    now = Time()
    shown = display.NotebookDisplay(Console(), written.append, now=now.clock.monotonic)
    shown.step("Uploading")
    for done in (10_000_000, 20_000_000):
        shown.bytes_sent(0, total=20_000_000)
        now.now += 1
        shown.bytes_sent(done, total=20_000_000)
    shown.step("Preparing")
    assert written == [
        "Uploading",
        "Uploading\n  10.0 of 20.0 MB, 10.0 MB/s",
        "Uploading\n  20.0 of 20.0 MB, 10.0 MB/s",
        "Uploading\n  took 2 s",
        "Uploading\n  took 2 s\nPreparing",
    ]


def rendered(shown: display.LiveDisplay) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(shown.progress)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_without_progress_nothing_is_printed(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    deploy(client)
    assert capsys.readouterr() == ("", "")


# What goes wrong.


def test_a_model_that_fails_to_prepare_says_why(time: Time) -> None:
    server = Server(failure="operator Foo is not known")
    client = Client(ENDPOINT, API_KEY, transport=server.transport, clock=time.clock)
    with pytest.raises(PreparationFailed, match=r"doubling version 1 .*operator Foo") as caught:
        deploy(client)
    assert caught.value.reason == "operator Foo is not known"


def test_a_version_that_a_newer_one_overtook_is_done_too(time: Time) -> None:
    server = Server(superseded=True)
    client = Client(ENDPOINT, API_KEY, transport=server.transport, clock=time.clock)
    assert deploy(client).version == 1


def test_preparation_that_never_ends_is_given_up_in_time(time: Time) -> None:
    server = Server(stages=["queued"] * 1000)
    client = Client(ENDPOINT, API_KEY, transport=server.transport, clock=time.clock)
    with pytest.raises(Timeout, match=r"preparing \(queued\) after 20 s"):
        deploy(client, wait_seconds=20)
    assert time.now <= 20


Trouble = Callable[[httpx.Request], httpx.Response | None]


def only(line: str, trouble: Trouble) -> Trouble:
    return lambda request: (
        trouble(request) if f"{request.method} {request.url.path}".startswith(line) else None
    )


def broken(request: httpx.Request) -> httpx.Response:
    request.read()
    raise httpx.ReadError("connection reset", request=request)


def refused(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("[Errno 111] Connection refused", request=request)


passing = [
    pytest.param("PUT /", broken, id="the store drops the connection"),
    pytest.param("PUT /", lambda _: httpx.Response(503), id="the store is busy"),
    pytest.param("POST /v1/models", refused, id="the server restarts"),
    pytest.param(
        f"POST /v1/models/{MODEL_ID}/versions/1/complete", broken, id="the answer to complete is lost"
    ),
    pytest.param(f"GET /v1/models/{MODEL_ID}/versions/1", broken, id="a status is lost"),
    pytest.param(
        "POST /v1/models",
        lambda _: refusal("dependency", 503, "busy", retry_after=2),
        id="the server is busy",
    ),
    pytest.param("GET /v1", lambda _: httpx.Response(502, text="<html>"), id="a proxy hiccups"),
]


@pytest.mark.parametrize(("line", "trouble"), passing)
def test_a_trouble_that_passes_is_not_noticed(
    client: Client, server: Server, line: str, trouble: Trouble
) -> None:
    struck: list[str] = []

    def once(request: httpx.Request) -> httpx.Response | None:
        server.troubles.append(once)
        if struck or not f"{request.method} {request.url.path}".startswith(line):
            return None
        struck.append(line)
        return trouble(request)

    server.troubles.append(once)
    assert deploy(client).version == 1
    assert struck == [line]


def test_a_store_that_refuses_is_not_asked_again(client: Client, server: Server) -> None:
    server.troubles += [lambda _: None, lambda _: httpx.Response(403)]
    with pytest.raises(UploadFailed, match="403 Forbidden"):
        deploy(client)
    assert server.requests[-1].startswith("PUT")
    assert len(server.requests) == 2


def test_a_store_that_stays_broken_ends_the_upload(client: Client, server: Server) -> None:
    server.troubles += [lambda _: None, *[broken] * 100]
    with pytest.raises(UploadFailed, match="connection reset"):
        deploy(client)
    assert len(server.requests) < 10


def test_waiting_takes_as_long_as_the_server_asks(client: Client, server: Server, time: Time) -> None:
    deployment = deploy(client)
    before = len(time.waits)
    server.troubles += [lambda _: refusal("model_loading", 503, "loading", retry_after=3)] * 2
    deployment.predict(ROWS)
    assert time.waits[before:] == [3, 3]


def test_a_wait_beyond_the_budget_is_not_begun(client: Client, server: Server, time: Time) -> None:
    deployment = deploy(client)
    before = len(time.waits)
    server.troubles += [lambda _: refusal("model_loading", 503, "loading", retry_after=600)]
    with pytest.raises(ModelLoading, match="loading") as caught:
        deployment.predict(ROWS)
    assert (caught.value.retryable, caught.value.retry_after) == (True, 600)
    assert time.waits[before:] == []


def test_a_server_that_is_not_there_is_named_with_the_way_to_start_it(time: Time) -> None:
    local = "http://127.0.0.1:5000"
    client = Client(local, API_KEY, transport=httpx.MockTransport(refused), clock=time.clock)
    with pytest.raises(ConnectionFailed, match=r"http://127\.0\.0\.1:5000.*make up"):
        deploy(client)
    assert time.now < 5


def test_a_token_is_not_made_twice_when_the_answer_is_lost(client: Client, server: Server) -> None:
    deploy(client)
    server.troubles.append(only(f"POST /v1/models/{MODEL_ID}/tokens", broken))
    with pytest.raises(ConnectionFailed):
        client.create_token(MODEL_ID)
    assert server.requests[-1].endswith("/tokens")
    assert server.requests.count(server.requests[-1]) == 2


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_token_is_not_made_twice_when_a_proxy_answers(client: Client, server: Server, status: int) -> None:
    deploy(client)
    server.troubles.append(lambda _: httpx.Response(status, text="<html>"))
    with pytest.raises(ApiError, match=str(status)):
        client.create_token(MODEL_ID)
    assert server.requests.count(f"POST /v1/models/{MODEL_ID}/tokens") == 2


@pytest.mark.parametrize("key", ["mr_secret\n", "mr_secret…", "mr_ secret"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(server: Server, time: Time, key: str) -> None:
    client = Client(ENDPOINT, key, transport=server.transport, clock=time.clock)
    with pytest.raises(ConfigurationError, match="a character that none has") as caught:
        client.models()
    assert "secret" not in str(caught.value)
    assert server.requests == []


def test_the_servers_refusal_is_ours(client: Client, server: Server, time: Time) -> None:
    with pytest.raises(InvalidRequest, match="name: 1 to 100"):
        client.upload(doubling(), "no/slash", progress=False)
    stranger = Client(ENDPOINT, "mr_wrong", transport=server.transport, clock=time.clock)
    with pytest.raises(Unauthenticated) as caught:
        stranger.models()
    error = caught.value
    assert (error.code, error.status, error.retryable, error.request_id) == (
        "unauthenticated",
        401,
        False,
        "req-1",
    )


def test_a_refused_input_names_expected_and_got(client: Client, server: Server) -> None:
    with pytest.raises(InvalidTensor) as caught:
        deploy(client).predict(ROWS[:, :1])
    error = caught.value
    assert (error.input, error.expected, error.got) == ("x", "float32 [*, 2]", "float32 [2, 1]")
    assert not any(line.endswith("/infer") for line in server.requests)


def test_an_answer_that_is_no_json_is_doubted(time: Time) -> None:
    page = httpx.MockTransport(lambda _: httpx.Response(200, text="<html>welcome</html>"))
    with pytest.raises(ApiError, match="is it a ModelRocket endpoint"):
        Client(ENDPOINT, API_KEY, transport=page, clock=time.clock).models()


def test_a_missing_key_is_noticed_before_any_work(server: Server) -> None:
    with pytest.raises(ConfigurationError, match="MODELROCKET_API_KEY"):
        Client(ENDPOINT, transport=server.transport).upload(object(), "anything", progress=False)
    assert server.requests == []


def test_a_missing_endpoint_is_said_by_the_one_line_too() -> None:
    with pytest.raises(ConfigurationError, match="MODELROCKET_ENDPOINT"):
        modelrocket.upload(doubling(), "doubling")


def test_an_error_crosses_process_boundaries() -> None:
    error = InvalidTensor("x", expected="float32 [*]", got="null")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (InvalidTensor, str(error), vars(error))


def test_every_error_is_of_one_tree() -> None:
    names = [
        name
        for name in modelrocket.__all__
        if name.endswith(("Error", "Failed", "Timeout", "Tensor", "Model"))
    ]
    classes = [getattr(modelrocket, name) for name in names if name != "Model"]
    assert all(issubclass(cls, ModelRocketError) for cls in classes)
