"""What a route declares is what happens to its requests, and to what the framework itself refuses."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from chalice.app import Chalice, Response
from chalice.test import Client

from benchmarks.gatewayloop import event
from chalicelib.api import Asked, Routes
from chalicelib.auth import Principal
from chalicelib.contract.errors import (
    Conflict,
    DeadlineExceeded,
    DependencyFailed,
    InferenceFailed,
    ModelRocketError,
    NoCapacity,
    Overloaded,
    Unauthenticated,
)
from chalicelib.contract.messages import Scope
from chalicelib.http import Boundary, Happened
from chalicelib.idempotency import Attempt, Attempts
from tests.support.attempts import KeptAttempts, ticking

READER = Principal("alice", "mr_read…", frozenset({Scope.MODELS_READ}))
WRITER = Principal("alice", "mr_both…", frozenset({Scope.MODELS_READ, Scope.MODELS_WRITE}))
EDGE_KEY = "shown-by-cloudfront"


class Thing(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    size: int = 0


@dataclass
class Guarded:
    """Guards that know two keys."""

    happened: list[Happened] = field(default_factory=list)
    attempts: Attempts = field(
        default_factory=lambda: Attempts(store=KeptAttempts(), secret=b"secret", now=ticking(0))
    )

    def authenticate(self, asked: Asked) -> Principal:
        known = {"Bearer reader": READER, "Bearer writer": WRITER}.get(asked.headers.get("authorization", ""))
        if known is None:
            raise Unauthenticated("Who are you?")
        return known

    def attempt(self, principal: Principal, asked: Asked, *, keep_body: bool) -> Attempt | None:
        key = asked.headers.get("idempotency-key")
        return (
            self.attempts.begin(principal.tenant, key, request=asked.raw, keep_body=keep_body)
            if key
            else None
        )

    def record(self, happened: Happened) -> None:
        self.happened.append(happened)

    def is_edge(self, shown: str) -> bool:
        return shown == EDGE_KEY


class Toy:
    """A small API and what its routes were called with."""

    def __init__(self) -> None:
        self.app = Chalice(app_name="toy")
        self.guards = Guarded()
        self.calls: list[Any] = []
        self.raises: list[Exception] = []
        self.client = Client(self.app)
        boundary = Boundary(self.app, new_id=lambda: "id-1", guards=lambda: self.guards)
        boundary.mount(self.things())
        boundary.mount(self.models())

    def things(self) -> Routes:
        route = Routes()

        @route("GET", "/things/{number}", scope=Scope.MODELS_READ)
        def get_thing(principal: Principal, number: int, after: str = "", from_: int = 7) -> Thing:
            """A thing."""
            self.calls.append((principal, number, after, from_))
            return Thing("found", number)

        @route("POST", "/things", scope=Scope.MODELS_WRITE, status=201, audit="thing.create")
        def make_thing(asked: Asked, _principal: Principal, body: Thing) -> Thing:
            """Make a thing."""
            self.calls.append((body, asked.seed))
            if self.raises:
                raise self.raises.pop()
            asked.reply_headers["X-Made"] = str(len(self.calls))
            return Thing(body.name, len(self.calls))

        @route("POST", "/secrets", scope=Scope.MODELS_WRITE, status=201, audit="secret.create", secret=True)
        def make_secret(asked: Asked, _principal: Principal) -> Thing:
            """Make a secret."""
            self.calls.append(asked.seed)
            return Thing((asked.seed or b"").hex())

        @route("DELETE", "/things/{number}", scope=Scope.MODELS_WRITE)
        def delete_thing(_principal: Principal, number: int) -> None:
            """Delete a thing."""
            self.calls.append(number)

        @route("GET", "/me")
        def who(principal: Principal) -> Thing:
            """Who calls, whatever it may do."""
            return Thing(principal.hint)

        return route

    def models(self) -> Routes:
        route = Routes()

        @route("POST", "/inference", accepts=Thing, answers=Thing)
        def inference(asked: Asked) -> Response:
            """Infer."""
            self.calls.append(asked.headers)
            return Response(body=asked.raw, headers={"Content-Type": "application/octet-stream"})

        @route("POST", "/v2/models/{model_id}/infer", "/v2/{model_id}/{number}", open_inference=True)
        def infer(asked: Asked, model_id: str, number: str = "") -> Response:
            """Infer."""
            self.calls.append((model_id, number, dict(asked.query)))
            return Response(body="{}")

        return route

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.http.request(method, path, headers=named, body=content)


@pytest.fixture
def toy() -> Toy:
    return Toy()


def test_arguments_come_from_where_the_signature_says(toy: Toy) -> None:
    answer = toy.send("GET", "/things/5?after=x&from=9", authorization="Bearer reader")
    assert (answer.status_code, answer.json_body) == (200, {"name": "found", "size": 5})
    assert answer.headers["X-Request-Id"] == "id-1"
    assert toy.calls == [(READER, 5, "x", 9)]


def test_what_is_not_given_has_its_default(toy: Toy) -> None:
    toy.send("GET", "/things/5", authorization="Bearer reader")
    assert toy.calls == [(READER, 5, "", 7)]


def test_a_name_of_another_path_is_not_taken_from_the_query(toy: Toy) -> None:
    toy.send("POST", "/v2/models/m/infer?number=3")
    toy.send("POST", "/v2/m/4")
    assert [call[:2] for call in toy.calls] == [("m", ""), ("m", "4")]


@pytest.mark.parametrize("path", ["/things/x", "/things/-1", "/things/1.0", "/things/٣", "/things/5?from=x"])
def test_a_number_that_is_none_is_refused(toy: Toy, path: str) -> None:
    answer = toy.send("GET", path, authorization="Bearer reader")
    assert (answer.status_code, answer.json_body["error"]["code"]) == (400, "invalid_request")
    assert toy.calls == []


def test_who_shows_no_key_is_not_heard(toy: Toy) -> None:
    answer = toy.send("POST", "/things", {"name": "x"})
    assert (answer.status_code, toy.calls) == (401, [])


def test_a_route_may_ask_who_calls_and_for_no_scope(toy: Toy) -> None:
    assert toy.send("GET", "/me").status_code == 401
    assert toy.send("GET", "/me", authorization="Bearer reader").json_body["name"] == READER.hint


def test_a_key_without_the_scope_is_told_which_one(toy: Toy) -> None:
    answer = toy.send("POST", "/things", {"name": "x"}, authorization="Bearer reader")
    assert (answer.status_code, toy.calls) == (403, [])
    assert "models:write" in answer.json_body["error"]["message"]


@pytest.mark.parametrize(
    "body", [{}, {"name": 1}, {"name": "x", "role": "operator"}, b"{", b"[" * 100_000, b"\xff"]
)
def test_a_body_that_does_not_fit_is_refused(toy: Toy, body: Any) -> None:
    answer = toy.send("POST", "/things", body, authorization="Bearer writer")
    assert (answer.status_code, toy.calls) == (400, [])


def test_a_route_adds_headers_and_may_answer_nothing(toy: Toy) -> None:
    made = toy.send("POST", "/things", {"name": "x"}, authorization="Bearer writer")
    gone = toy.send("DELETE", "/things/3", authorization="Bearer writer")
    assert (made.status_code, made.headers["X-Made"]) == (201, "1")
    assert (gone.status_code, gone.body) == (204, b"")


# Idempotency-Key.


def test_f13_a_write_sent_twice_is_done_once(toy: Toy) -> None:
    sent = {"authorization": "Bearer writer", "idempotency_key": "k1"}
    first = toy.send("POST", "/things", {"name": "x"}, **sent)
    again = toy.send("POST", "/things", {"name": "x"}, **sent)
    assert first.json_body == again.json_body == {"name": "x", "size": 1}
    assert (first.status_code, again.status_code, len(toy.calls)) == (201, 201, 1)
    assert again.headers["Idempotency-Replayed"] == "true"


def test_the_same_key_for_another_request_is_a_conflict(toy: Toy) -> None:
    sent = {"authorization": "Bearer writer", "idempotency_key": "k1"}
    toy.send("POST", "/things", {"name": "x"}, **sent)
    other = toy.send("POST", "/things", {"name": "y"}, **sent)
    assert (other.status_code, len(toy.calls)) == (409, 1)


def test_a_refusal_leaves_the_key_free(toy: Toy) -> None:
    sent = {"authorization": "Bearer writer", "idempotency_key": "k1"}
    toy.raises = [Conflict("Not now.")]
    refused = toy.send("POST", "/things", {"name": "x"}, **sent)
    done = toy.send("POST", "/things", {"name": "x"}, **sent)
    assert (refused.status_code, done.status_code) == (409, 201)


def test_a_secret_is_made_again_from_the_same_seed_and_kept_nowhere(toy: Toy) -> None:
    sent = {"authorization": "Bearer writer", "idempotency_key": "k1"}
    first, again = (toy.send("POST", "/secrets", **sent) for _ in range(2))
    assert first.json_body == again.json_body
    assert len(toy.calls) == 2
    store: Any = toy.guards.attempts._store
    assert all(record.answered is None for record in store.kept.values())


@pytest.mark.parametrize("key", ["", " ", "x" * 201, "ä"])
def test_a_key_that_is_none(toy: Toy, key: str) -> None:
    answer = toy.send("POST", "/things", {"name": "x"}, authorization="Bearer writer", idempotency_key=key)
    assert answer.status_code == (400 if key else 201)


# The audit log.


def test_what_changes_something_is_written_down(toy: Toy) -> None:
    toy.send("POST", "/things", {"name": "x"}, authorization="Bearer writer")
    [entry] = toy.guards.happened
    assert (entry.action, entry.principal, entry.error) == ("thing.create", WRITER, None)
    assert entry.answer == Thing("x", 1)


@pytest.mark.parametrize(
    ("authorization", "status"), [("Bearer reader", 403), ("", 401), ("Bearer writer", 503)]
)
def test_a_refusal_is_written_down_too(toy: Toy, authorization: str, status: int) -> None:
    toy.raises = [DependencyFailed("Away.")]
    toy.send("POST", "/things", {"name": "x"}, authorization=authorization)
    [entry] = toy.guards.happened
    assert entry.answer is None
    assert entry.error is not None and entry.error.status == status


def test_a_defect_is_written_down_and_not_explained(toy: Toy) -> None:
    toy.raises = [ZeroDivisionError("secret detail")]
    answer = toy.send("POST", "/things", {"name": "x"}, authorization="Bearer writer")
    assert answer.status_code == 500
    assert b"secret detail" not in answer.body
    [entry] = toy.guards.happened
    assert entry.error is not None and entry.error.status == 500


# The framework's own refusals.


def test_a_wrong_method_is_refused_in_our_form(toy: Toy) -> None:
    answer = toy.send("GET", "/inference")
    assert (answer.status_code, answer.json_body["error"]["code"]) == (405, "invalid_request")


def test_open_inference_hears_a_text_whatever_is_refused(toy: Toy) -> None:
    wrong_method = toy.send("GET", "/v2/models/m/infer")
    assert wrong_method.status_code == 405
    assert isinstance(wrong_method.json_body["error"], str)
    assert wrong_method.json_body["code"] == "invalid_request"


def test_bytes_are_not_for_a_caller_that_takes_none(toy: Toy) -> None:
    answer = toy.send("POST", "/inference", b"\0")
    assert (answer.status_code, answer.json_body["error"]["code"]) == (400, "invalid_request")


# Declarations that make no sense.


def test_a_declaration_whose_arguments_come_from_nowhere_is_a_defect() -> None:
    def lost(number: int) -> None: ...
    def deaf() -> None: ...

    for path, function, scope in (
        ("/things", lost, None),
        ("/things/{number}", deaf, None),
        ("/things", deaf, Scope.KEYS),
    ):
        with pytest.raises(TypeError):
            Routes()("GET", path, scope=scope)(function)


def test_headers_are_read_by_their_names_in_lower_case(toy: Toy) -> None:
    toy.app(event("/inference", "{}"), None)
    assert toy.calls[0]["content-type"] == "application/json"
    assert "Content-Type" not in toy.calls[0]


# Behind CloudFront.


def through_cloudfront(key: str, *, header: str = "X-ModelRocket-Edge-Key") -> dict[str, Any]:
    """As API Gateway sends what CloudFront has sent, for a caller that has forged one address."""
    sent = event("/things", '{"name": "x"}')
    sent["requestContext"]["identity"] = {"sourceIp": "130.176.100.154", "userAgent": "Amazon CloudFront"}
    sent["headers"] |= {
        "authorization": "Bearer writer",
        header: key,
        "Via": "2.0 0ab1.cloudfront.net (CloudFront)",
        "X-Forwarded-For": "10.0.0.1, 203.0.113.7, 130.176.100.154",
    }
    return sent


@pytest.mark.parametrize(
    ("key", "address"),
    [(EDGE_KEY, "203.0.113.7"), ("guessed", "130.176.100.154"), ("", "130.176.100.154")],
)
def test_who_shows_the_key_is_believed_who_called(toy: Toy, key: str, address: str) -> None:
    assert toy.app(through_cloudfront(key), None)["statusCode"] == 201
    [entry] = toy.guards.happened
    assert entry.asked.address == address


def test_who_calls_the_api_itself_is_who_it_is(toy: Toy) -> None:
    sent = through_cloudfront(EDGE_KEY)
    del sent["headers"]["X-ModelRocket-Edge-Key"]
    toy.app(sent, None)
    assert toy.guards.happened[0].asked.address == "130.176.100.154"


@pytest.mark.parametrize(
    "header", ["X-ModelRocket-Edge-Key", "x-modelrocket-edge-key", "X-MODELROCKET-EDGE-KEY"]
)
def test_the_key_goes_no_further(toy: Toy, header: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nor does it when a route has a defect, which is written to the log as it is."""
    toy.raises = [ZeroDivisionError("a defect")]
    with caplog.at_level(0):
        answer = toy.app(through_cloudfront(EDGE_KEY, header=header), None)
    [entry] = toy.guards.happened
    assert answer["statusCode"] == 500
    assert "ZeroDivisionError" in caplog.text
    logged = [str(vars(record)) for record in caplog.records]
    for told in (str(answer), str(entry), str(entry.asked.headers), caplog.text, *logged):
        assert EDGE_KEY not in told


# In the logs.


def test_an_answer_is_found_in_api_gateways_log_by_its_id(toy: Toy) -> None:
    sent = event("/inference", "{}")
    assert toy.app(sent, None)["headers"]["X-Request-Id"] == sent["requestContext"]["requestId"]
    sent["headers"]["X-Request-Id"] = "mine-1"
    assert toy.app(sent, None)["headers"]["X-Request-Id"] == "mine-1"


def test_an_id_that_a_caller_made_api_gateway_take_is_no_more_trusted(toy: Toy) -> None:
    """By x-amzn-RequestId."""
    sent = event("/inference", "{}")
    for given in ("a\r\nSet-Cookie: b=c", "x" * 1000):
        sent["requestContext"]["requestId"] = given
        assert given not in toy.app(sent, None)["headers"]["X-Request-Id"]


@pytest.mark.parametrize(
    ("error", "noted"),
    [
        (DependencyFailed("A store is away."), True),
        (DeadlineExceeded("Too late."), True),
        (NoCapacity("No host."), False),
        (Overloaded("Too much."), False),
        (InferenceFailed("The model's own fault."), False),
        (Conflict("The caller's own fault."), False),
    ],
)
def test_what_the_platform_failed_in_is_logged_with_both_ids(
    toy: Toy, error: ModelRocketError, noted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    toy.raises = [error]
    sent = event("/things", '{"name": "x"}')
    sent["headers"] |= {"authorization": "Bearer writer", "X-Request-Id": "mine-1"}
    assert toy.app(sent, None)["statusCode"] == error.status
    logged = [record for record in caplog.records if record.message == "answered with an error"]
    told = [(vars(one)["code"], vars(one)["request_id"], vars(one)["gateway_request_id"]) for one in logged]
    assert told == ([(error.code, "mine-1", "bench")] if noted else [])
