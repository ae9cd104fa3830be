"""Usage and the audit log, as the client asks for them and the command line shows them."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from rich.console import Console, RenderableType

from modelrocket import Client, printing
from modelrocket.usage import AuditEntry, Cost, Usage, UsageLine, Verified
from tests.unit.client.server import ENDPOINT, MODEL_ID, Time

SUMS: dict[str, Any] = {
    "requests": 4,
    "errors": {"caller": 1, "model": 1, "platform": 0},
    "rows": 20,
    "compute_ms": 3.0,
    "mean_compute_ms": 1.5,
    "bytes_in": 1000,
    "bytes_out": 2000,
    "cold_loads": 1,
}
USAGE = Usage(4, 1, 1, 0, 20, 3.0, 1000, 2000, 1)
ENTRY: dict[str, Any] = {
    "number": 2,
    "at": "2026-01-02T03:04:05.678Z",
    "actor": "mr_abcde…",
    "action": "key.create",
    "outcome": "refused",
    "code": "permission_denied",
    "object_type": "key",
    "object_id": "k1",
    "object_name": "deploy",
    "address": "127.0.0.1",
    "user_agent": "python",
    "request_id": "r1",
    "hash": "ab" * 32,
}


class Server:
    """Answers page after page, and remembers what it was asked."""

    def __init__(self, *pages: dict[str, Any]) -> None:
        self._pages = list(pages)
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def client(self) -> Client:
        transport = httpx.MockTransport(self.answer)
        return Client(ENDPOINT, "mr_account", transport=transport, clock=Time().clock)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.url.path, dict(parse_qsl(request.url.query.decode()))))
        return httpx.Response(200, json=self._pages.pop(0))


def line(at: str = "2026-01-02T00:00:00Z", *, key: str = "k1", version: int = 1) -> dict[str, Any]:
    return {"at": at, "model_id": MODEL_ID, "version": version, "key_id": key, "sums": SUMS}


def page(*lines: dict[str, Any], following: str | None = None) -> dict[str, Any]:
    span = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-03T00:00:00Z"}
    return {"by": "day", **span, "lines": list(lines), "next": following}


def printed(shown: RenderableType) -> str:
    written = io.StringIO()
    Console(file=written, width=200).print(shown)
    return written.getvalue()


def test_usage_is_read_page_by_page_over_one_span() -> None:
    server = Server(page(line(), following="cursor/1"), page(line(key="k2")))
    lines = server.client.usage(by="hour", since="2026-01-01", model=MODEL_ID, key="k1")
    assert lines == tuple(UsageLine("2026-01-02T00:00:00Z", MODEL_ID, 1, key, USAGE) for key in ("k1", "k2"))
    first, second = server.asked
    asked = {"by": "hour", "model": MODEL_ID, "key": "k1"}
    assert first == ("/v1/usage", {**asked, "from": "2026-01-01"})
    span = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z"}
    assert second == ("/v1/usage", {**asked, **span, "after": "cursor/1"})


def test_a_model_may_be_named() -> None:
    model = {"id": MODEL_ID, "name": "digits", "active": 1, "created_at": "", "url": ""}
    server = Server({"models": [model], "next": None}, page())
    assert server.client.usage(model="digits") == ()
    assert server.asked[-1] == ("/v1/usage", {"by": "day", "model": MODEL_ID})


def test_usage_is_shown_for_all_keys_together_with_a_sum() -> None:
    lines = [
        UsageLine("2026-01-02T00:00:00Z", MODEL_ID, number, key, USAGE)
        for number, key in [(1, "a"), (1, "b"), (2, "a")]
    ]
    shown = printed(printing.usage(lines, {MODEL_ID: "digits"}))
    rows = [row.split() for row in shown.splitlines()[1:]]
    assert rows == [
        [
            "2026-01-02",
            "00:00:00",
            "digits",
            "1",
            "8",
            "4",
            "40",
            "1.500",
            "ms",
            "2.0",
            "kB",
            "4.0",
            "kB",
            "2",
        ],
        [
            "2026-01-02",
            "00:00:00",
            "digits",
            "2",
            "4",
            "2",
            "20",
            "1.500",
            "ms",
            "1.0",
            "kB",
            "2.0",
            "kB",
            "1",
        ],
        ["in", "all", "-", "-", "12", "6", "60", "1.500", "ms", "3.0", "kB", "6.0", "kB", "3"],
    ]
    assert printing.usage([], {}) == "Nothing was used."


PARTS = {"requests": 3.75, "compute": 0.05, "memory": 0.0, "storage": 0.2}
COSTS: dict[str, Any] = {
    "currency": "USD",
    "since": "2026-01-01T00:00:00Z",
    "until": "2026-01-31T00:00:00Z",
    "prices": {"source": "the operator's own", "host_hour": 0.2},
    "lines": [{"model_id": MODEL_ID, "requests": 1_000_000, "cost": 4.0, "parts": PARTS}],
    "total": 4.0,
}


def test_costs_are_shown_by_model_with_where_their_prices_are_from() -> None:
    server = Server(COSTS)
    estimate = server.client.costs(since="2026-01-01")
    assert server.asked == [("/v1/usage/cost", {"from": "2026-01-01"})]
    assert estimate.lines == (Cost(MODEL_ID, 1_000_000, 4.0, PARTS),)
    shown = printed(printing.costs(estimate, {MODEL_ID: "digits"}))
    row, said = shown.splitlines()[1].split(), shown.splitlines()[-1]
    assert row == ["digits", "1000000", "3.7500", "0.0500", "0.0000", "0.2000", "4.0000"]
    assert said == "4.0000 USD in all: an estimate, no bill. Prices: the operator's own."


def test_the_audit_log_is_read_newest_first_as_far_as_was_asked() -> None:
    server = Server({"entries": [ENTRY] * 3, "next": 7}, {"entries": [ENTRY] * 3, "next": 4})
    entries = server.client.audit(action="key.create", object_id="k1", entries=4)
    assert entries == (AuditEntry(**ENTRY),) * 4
    assert server.asked == [
        ("/v1/audit", {"action": "key.create", "object": "k1"}),
        ("/v1/audit", {"action": "key.create", "object": "k1", "after": "7"}),
    ]
    shown = printed(printing.audit(entries))
    for told in ("mr_abcde…", "key.create", "deploy k1", "127.0.0.1", "refused: permission_denied"):
        assert told in shown


def verified(**told: Any) -> dict[str, Any]:
    return {"first": 0, "last": 0, "complete": True, "broken_at": None, "why": None, "hash": None} | told


@pytest.mark.parametrize(
    ("pages", "expected", "says"),
    [
        ([verified()], Verified(0, 0, None, None, None), "The log is empty."),
        (
            [verified(first=1, last=10, complete=False), verified(first=11, last=12, hash="ab")],
            Verified(1, 12, None, None, "ab"),
            "Entries 1 to 12 are as they were written.",
        ),
        (
            [verified(first=1, last=10, complete=False), verified(complete=True, hash=None)],
            Verified(1, 10, None, None, None),
            "Entries 1 to 10",
        ),
        (
            [verified(first=1, last=2, complete=False, broken_at=3, why="entry 3 is gone")],
            Verified(1, 2, 3, "entry 3 is gone", None),
            "Entry 3 is not as it was written: entry 3 is gone.",
        ),
    ],
)
def test_the_whole_log_is_verified(pages: list[dict[str, Any]], expected: Verified, says: str) -> None:
    found = Server(*pages).client.verify_audit()
    assert found == expected
    assert says in printed(printing.verified(found))
