"""The fleet and its decisions, as the client asks for them and the command line shows them."""

from __future__ import annotations

from typing import Any

from modelrocket import fleetprinting
from modelrocket.fleet import Decision, FleetState, Host, Placed, Sharing
from tests.unit.client.server import MODEL_ID
from tests.unit.client.test_usage import Server, printed

HOST = {
    "id": "host-1",
    "state": "ready",
    "heard_of": "fresh",
    "silent_seconds": 0.5,
    "slots": 2.0,
    "in_flight": 3,
    "memory_bytes_max": 8_000_000,
    "memory_bytes_used": 1_000_000,
    "versions_assigned": 5,
    "versions_ready": 4,
    "leaving": False,
}
MODEL = {"id": MODEL_ID, "name": "digits", "active": 1, "created_at": "", "url": ""}


def decision(number: int) -> dict[str, Any]:
    nothing = {"host_id": None, "versions": None, "hosts": None, "ending": None}
    return {
        "number": number,
        "at": "2026-01-02T03:04:05.678Z",
        "did": [
            {**nothing, "kind": "assign", "host_id": "host-1", "versions": 1},
            {**nothing, "kind": "forget", "host_id": "host-2"},
            {**nothing, "kind": "capacity", "hosts": 2, "ending": ["host-3"]},
        ],
        "reasons": [{"about": "fleet", "name": None, "text": "2 hosts, because."}],
    }


DECISION = Decision(
    7,
    "2026-01-02T03:04:05.678Z",
    ("host-1 is to hold 1 version", "host-2 is dead", "2 hosts wanted, without host-3"),
    ("2 hosts, because.",),
)


def test_the_fleet_is_read_and_shown() -> None:
    told = {
        "hosts": [HOST, {**HOST, "id": "host-2", "heard_of": "dead", "silent_seconds": 20.4}],
        "wanted": 3,
        "starting": ["host-3"],
        "ending": [],
        "boot_seconds": 4.2,
        "decided_at": None,
        "why": [{"about": "fleet", "name": None, "text": "It is busy."}],
    }
    server = Server(told)
    state = server.client.fleet.state()
    assert server.asked == [("/v1/fleet", {})]
    assert state.hosts[0] == Host(**HOST)  # type: ignore[arg-type]
    rows = [" ".join(row.split()) for row in printed(fleetprinting.fleet(state)).splitlines()]
    assert rows == [
        "host state in flight slots memory versions ready",
        "host-1 ready 3 2 1.0 MB of 8.0 MB 5 4 -",
        "host-2 ready 3 2 1.0 MB of 8.0 MB 5 4 silent for 20 s",
        "",
        "3 wanted; one takes 4 s to come.",
        "host-3: on the way here.",
        "It is busy.",
    ]
    empty = FleetState((), None, (), (), None, None, ())
    assert printed(fleetprinting.fleet(empty)).strip() == "No hosts."


def test_decisions_are_read_as_far_as_was_asked() -> None:
    pages = [{"decisions": [decision(7)] * 2, "next": 6}, {"decisions": [decision(7)], "next": 5}]
    server = Server(*pages)
    assert server.client.fleet.decisions(entries=3) == (DECISION,) * 3
    asked = {"limit": "3"}, {"limit": "1", "before": "6"}
    assert server.asked == [("/v1/fleet/decisions", one) for one in asked]
    shown = printed(fleetprinting.decisions([DECISION]))
    assert "host-2 is dead" in shown
    assert "2 hosts, because." in shown
    assert fleetprinting.decisions([]) == "Nothing was decided yet."


def test_a_model_is_explained_by_its_name() -> None:
    told = {
        "model_id": MODEL_ID,
        "hosts": ["host-1", "host-2"],
        "decisions": [{"number": 7, "at": "2026-01-02T03:04:05Z", "reasons": ["digits gets a copy."]}],
        "next": None,
    }
    radius = {"sharing": [{"hosts": 2, "own": ["faces"], "others": 3}, {"hosts": 1, "own": [], "others": 1}]}
    server = Server({"models": [MODEL], "next": None}, told, radius)
    placed = server.client.fleet.explain("digits", entries=5)
    assert server.asked[1:] == [
        (f"/v1/models/{MODEL_ID}/decisions", {"limit": "5"}),
        (f"/v1/models/{MODEL_ID}/blast-radius", {}),
    ]
    assert placed == Placed(
        "digits",
        ("host-1", "host-2"),
        (Decision(7, "2026-01-02T03:04:05Z", (), ("digits gets a copy.",)),),
        (Sharing(2, ("faces",), 3), Sharing(1, (), 1)),
    )
    shown = printed(fleetprinting.placed(placed)).splitlines()
    assert shown[:3] == [
        "digits is to be on host-1, host-2.",
        "It shares 2 hosts with faces, 3 of others.",
        "It shares 1 host with 1 of others.",
    ]
    nowhere = printed(fleetprinting.placed(Placed("digits", (), (), ())))
    assert nowhere.strip() == "digits is to be on no host: it is loaded when it is asked for."


def test_a_model_is_explained_as_far_back_as_was_asked() -> None:
    line = {"number": 7, "at": "", "reasons": []}
    pages = [
        {"hosts": ["host-1"], "decisions": [line] * 100, "next": 9},
        {"hosts": ["host-1"], "decisions": [line] * 5, "next": None},
    ]
    server = Server({"models": [MODEL], "next": None}, *pages, {"sharing": []})
    assert len(server.client.fleet.explain("digits", entries=150).decisions) == 105
    assert [asked for path, asked in server.asked if path.endswith("/decisions")] == [
        {"limit": "100"},
        {"limit": "50", "before": "9"},
    ]


def test_a_model_is_pinned() -> None:
    server = Server({"models": [MODEL], "next": None}, {})
    server.client.fleet.pin("digits")
    assert server.asked[-1] == (f"/v1/models/{MODEL_ID}/pinned", {})
