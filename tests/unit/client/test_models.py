"""A model's versions and traffic, against a server that is scripted answer by answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from modelrocket.client import Client
from modelrocket.errors import ApiError, Conflict, ConnectionFailed, NotFound, Timeout
from modelrocket.models import Model
from modelrocket.rollout import Limits
from tests.unit.client.server import API_KEY, ENDPOINT, MODEL_ID, Time, refusal

PATH = f"/v1/models/{MODEL_ID}"


class Script:
    """Answers `METHOD path?query` by the next answer for it; the last one holds."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = {f"GET {PATH}": [model()]}
        self.asked: list[tuple[str, bytes]] = []
        self.time = Time()

    def on(self, line: str, *answers: Any) -> None:
        self.answers[line] = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        line = f"{request.method} {request.url.raw_path.decode()}"
        self.asked.append((line, request.content))
        answers = self.answers.get(line, [refusal("not_found", 404, "There is no such model.")])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def lines(self) -> list[str]:
        return [line for line, _ in self.asked]

    @property
    def client(self) -> Client:
        return Client(ENDPOINT, API_KEY, transport=httpx.MockTransport(self), clock=self.time.clock)

    def model(self) -> Model:
        """As it was found, which is not counted as asked."""
        found = self.client.model(MODEL_ID)
        self.asked.clear()
        return found


@pytest.fixture
def script() -> Script:
    return Script()


def model(**changed: Any) -> dict[str, Any]:
    known = {"id": MODEL_ID, "name": "digits", "active": 1, "previous": None, "activating": None}
    return known | {"candidate": None, "created_at": "", "url": f"{ENDPOINT}/inference"} | changed


def traffic(**changed: Any) -> dict[str, Any]:
    quiet: dict[str, Any] = {"active": 1, "previous": None, "activating": None, "candidate": None}
    return quiet | {"history": []} | changed


def version(number: int, **changed: Any) -> dict[str, Any]:
    known = {"number": number, "state": "ready", "stage": None, "active": False, "activating": False}
    more = {"reason": None, "bytes": 1, "sha256": "", "framework": "", "created_at": "", "signature": None}
    return known | more | changed


def on_versions(script: Script, numbers: Iterable[int]) -> None:
    """Two a page."""
    waiting, after = list(numbers), 0
    while True:
        page, waiting = waiting[:2], waiting[2:]
        script.on(f"GET {PATH}/versions?after={after}", {"versions": [version(one) for one in page]})
        if not page:
            return
        after = page[-1]


def test_a_model_is_found_by_id_and_by_name_on_any_page(script: Script) -> None:
    other = "6b1c5f5e-0000-4000-8000-000000000002"
    script.on("GET /v1/models", {"models": [model(id=other, name="a")], "next": other})
    script.on(f"GET /v1/models?after={other}", {"models": [model()], "next": None})
    by_id, by_name = script.client.model(MODEL_ID), script.client.model("digits")
    assert by_id == by_name
    assert script.lines() == [f"GET {PATH}", "GET /v1/models", f"GET /v1/models?after={other}"]
    with pytest.raises(NotFound, match=r'no model "none".*modelrocket models'):
        script.client.model("none")


def test_a_name_may_look_like_an_id(script: Script) -> None:
    name = "6b1c5f5e-0000-4000-8000-000000000003"
    script.on("GET /v1/models", {"models": [model(name=name)], "next": None})
    assert script.client.model(name).id == MODEL_ID


def test_versions_are_listed_page_after_page(script: Script) -> None:
    on_versions(script, [1, 2, 5])
    assert [one.number for one in script.model().versions()] == [1, 2, 5]


@pytest.mark.parametrize(("active", "number"), [(1, 1), (None, 5)])
def test_the_report_is_the_active_versions_else_the_newest_ones(
    script: Script, active: int | None, number: int
) -> None:
    on_versions(script, [1, 2, 5])
    script.on(f"GET {PATH}/traffic", traffic(active=active))
    script.on(f"GET {PATH}/versions/{number}/report", {"number": number, "state": "ready", "extra": 1})
    report = script.model().report()
    assert (report.number, report.passport, report.content["extra"]) == (number, None, 1)


def test_a_model_without_versions_has_no_report(script: Script) -> None:
    on_versions(script, [])
    script.on(f"GET {PATH}/traffic", traffic(active=None))
    with pytest.raises(NotFound, match="no version yet"):
        script.model().report()


def test_only_the_limits_that_are_given_are_sent(script: Script) -> None:
    script.on(f"PUT {PATH}/traffic", traffic())
    script.on(f"GET {PATH}/traffic", traffic())
    found = script.model()
    found.set_traffic(2, percent=10, limits=Limits(requests_min=5))
    found.set_traffic(2, mirror_percent=10)
    (_, first), _, (_, second), _ = script.asked
    assert first == b'{"version":2,"percent":10,"mirror_percent":0,"limits":{"requests_min":5}}'
    assert second == b'{"version":2,"percent":0,"mirror_percent":10}'


def test_activating_waits_until_the_version_answers(script: Script) -> None:
    script.on(f"PUT {PATH}/traffic", traffic(activating=2))
    script.on(
        f"GET {PATH}/traffic", traffic(activating=2), traffic(activating=2), traffic(active=2, previous=1)
    )
    assert script.model().activate(2).active == 2
    assert script.time.waits == [0.5, 0.5]


def test_a_version_that_another_one_overtook_is_said_to_be(script: Script) -> None:
    script.on(f"PUT {PATH}/traffic", traffic(activating=2))
    script.on(f"GET {PATH}/traffic", traffic(activating=2), traffic(active=1, activating=3))
    with pytest.raises(Conflict, match="overtaken: version 1 answers, and version 3 is about to"):
        script.model().activate(2)


def test_an_activation_that_does_not_end_is_given_up_in_time(script: Script) -> None:
    script.on(f"PUT {PATH}/traffic", traffic(activating=2))
    script.on(f"GET {PATH}/traffic", traffic(activating=2))
    with pytest.raises(Timeout, match="not loaded after 3 s"):
        script.model().activate(2, wait_seconds=3)
    assert script.time.now <= 3


@pytest.mark.parametrize(
    ("now", "cleared"),
    [
        (traffic(activating=3), b'{"version":3,"percent":0,"mirror_percent":0}'),
        (traffic(), None),
    ],
)
def test_clearing_takes_away_what_is_on_its_way(
    script: Script, now: dict[str, Any], cleared: bytes | None
) -> None:
    script.on(f"GET {PATH}/traffic", now)
    script.on(f"PUT {PATH}/traffic", traffic())
    script.model().clear_traffic()
    assert [content for line, content in script.asked if line.startswith("PUT")] == (
        [cleared] if cleared else []
    )


def test_only_a_rollback_to_a_named_version_is_repeated(script: Script) -> None:
    lost = httpx.ReadError("connection reset")
    script.on(f"POST {PATH}/rollback", lost, traffic())
    script.on(f"GET {PATH}/traffic", traffic())
    assert script.model().rollback(1).active == 1
    script.on(f"POST {PATH}/rollback", lost, traffic())
    with pytest.raises(ConnectionFailed):
        script.model().rollback()


def test_deleting_says_nothing_and_asks_once(script: Script) -> None:
    script.on(f"DELETE {PATH}", httpx.Response(204))
    script.on(f"DELETE {PATH}/versions/2", refusal("conflict", 409, "Version 2 is active."))
    found = script.model()
    found.delete()
    with pytest.raises(Conflict, match="Version 2 is active"):
        found.delete(2)
    assert script.lines() == [f"DELETE {PATH}", f"DELETE {PATH}/versions/2"]
    script.on(f"DELETE {PATH}", httpx.ReadError("connection reset"))
    with pytest.raises(ConnectionFailed):
        found.delete()
    assert len(script.asked) == 3


def test_a_refusal_of_ours_is_an_api_error_like_the_servers(script: Script) -> None:
    script.on("GET /v1/models", {"models": [], "next": None})
    with pytest.raises(ApiError) as caught:
        script.client.model("none")
    assert (caught.value.code, caught.value.status) == ("not_found", 404)
