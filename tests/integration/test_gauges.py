"""What the coordinator tells once a minute, over the real stores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

import app as application
from chalicelib.adapters.capacity_local import LocalCapacity
from chalicelib.auth import Principal
from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.hotstate import CapacityStatus
from chalicelib.contract.latency import Took
from chalicelib.contract.metering import Measures, Outcome, UsageKey
from chalicelib.coordinator.planner import Policy
from chalicelib.coordinator.state import CapacityView
from chalicelib.gauges import NAMESPACE, Gauge, Gauges
from chalicelib.tally import Tally
from chalicelib.wiring import ControlPlane, build
from infra.local.embedded import EmbeddedServers
from infra.local.ticker import scheduled_event
from tests.support.coordinating import ONCE, beating, coordinator
from tests.support.metering import make_past
from tests.support.uploads import uploaded

AT = 1_790_000_000.5
KEY = UsageKey("alice", "key", "model", 1)
REFUSED = UsageKey("alice", "key", "", 0)
FROM_ZERO = msgspec.json.decode(b'{"scaling": {"hosts_min": 0}}', type=Policy)
ALWAYS = {"Passes", "Failures", "Requests", "Errors", "Quarantined", "Preparing"}


class Silent:
    """A provider of hosts that does not answer."""

    def status(self) -> CapacityView | None:
        return None

    def set(self, hosts: int, *, ending: Sequence[str], epoch: int) -> None:
        raise DependencyFailed("away")


def told(plane: ControlPlane, tally: Tally) -> dict[str, float]:
    """The values of one line, which is as CloudWatch wants it."""
    lines: list[str] = []
    Gauges(hot=plane.hot, clock=lambda: AT, write=lines.append).tell(tally)
    (line,) = lines
    return values(line)


def values(line: str) -> dict[str, float]:
    assert "\n" not in line
    document = json.loads(line)
    about = document.pop("_aws")
    (directive,) = about["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == (NAMESPACE, [[]])
    assert {one["Name"] for one in directive["Metrics"]} == set(document) <= set(Gauge)
    assert {one["Unit"] for one in directive["Metrics"]} <= {"Count", "Milliseconds", "Seconds"}
    assert len(str(about["Timestamp"])) == len("1790000000500"), "in milliseconds"
    assert all(isinstance(value, int | float) for value in document.values())
    return dict(document)


def ran(plane: ControlPlane, capacity: Any = None) -> Tally:
    """One run of one pass."""
    one = coordinator(plane, "watched", capacity=capacity, loop=ONCE)
    assert one.run() == 1
    return one.tally


def test_an_idle_platform_tells_of_passes_and_of_nothing_else(plane: ControlPlane) -> None:
    plane.hot.put_capacity_status(CapacityStatus())
    nothing = dict.fromkeys((*ALWAYS, "HostsWanted", "HostsRunning", "HostsReady", "Unmet"), 0)
    idle = coordinator(plane, "idle", capacity=LocalCapacity(plane.hot), policy=FROM_ZERO, loop=ONCE)
    idle.run()
    assert told(plane, idle.tally) == nothing | {"Passes": 1}


def test_a_line_has_what_was_asked_and_what_became_of_it(
    plane: ControlPlane, alice: Principal, raw_redis: Any
) -> None:
    plane.hot.put_capacity_status(CapacityStatus(running=("a",), starting=("b",)))
    plane.hot.beat(beating("a"))
    answered = Outcome(key=KEY, status=200, took=Took(total=40_000, run=1_000))
    plane.hot.tell_usage(
        "a",
        1,
        sums={REFUSED: Measures(counters={"code:overloaded": 2, "code:not_found": 1})},
        outcomes=[answered, Outcome(key=KEY, status=504, code="deadline_exceeded")],
    )
    make_past(raw_redis, raw_redis.time()[0] // 60 - 1)
    plane.hot.count_unmet("model")
    plane.hot.quarantine("model", "version", seconds=60)
    uploaded(plane, alice, b"model bytes")
    line = told(plane, ran(plane, LocalCapacity(plane.hot)))
    assert line.pop("Preparing") == pytest.approx(0, abs=30)
    assert line.pop("LatencyP99") == pytest.approx(40, rel=0.1)
    assert line == {
        "Passes": 1,
        "Failures": 0,
        "HostsWanted": 2,
        "HostsRunning": 2,
        "HostsReady": 1,
        "Unmet": 1,
        "Requests": 5,
        "Errors": 3,
        "Quarantined": 1,
    }
    assert {*line, "Preparing", "LatencyP99"} == set(Gauge)


def test_what_was_told_once_is_not_told_again(plane: ControlPlane, raw_redis: Any) -> None:
    plane.hot.tell_usage("a", 1, sums={}, outcomes=[Outcome(key=KEY, status=200)])
    make_past(raw_redis, raw_redis.time()[0] // 60 - 1)
    plane.hot.count_unmet("model")
    first, second = (told(plane, ran(plane)) for _ in range(2))
    assert (first["Requests"], first["Unmet"]) == (1, 1)
    assert (second["Requests"], second["Unmet"]) == (0, 0)


def test_who_only_waits_for_its_turn_has_not_passed(plane: ControlPlane) -> None:
    """The heartbeat is the one that decides, not whichever is started."""
    assert plane.hot.take_lease("the other").mine
    line = told(plane, ran(plane))
    assert line == dict.fromkeys(ALWAYS, 0)


def test_a_pass_that_fails_and_a_provider_that_is_away_are_failures(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.hot.beat(beating("a"))
    silent = told(plane, ran(plane, Silent()))
    assert (silent["Passes"], silent["Failures"], silent["HostsReady"]) == (1, 1, 1)
    assert {"HostsWanted", "HostsRunning"}.isdisjoint(silent)

    def away(_: object) -> None:
        raise DependencyFailed("away")

    monkeypatch.setattr(plane.store, "record_decision", away)
    line = told(plane, ran(plane))
    assert (line["Passes"], line["Failures"]) == (0, 1)


def test_what_the_hot_state_cannot_say_is_left_out(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise DependencyFailed("away")

    monkeypatch.setattr(plane.hot, "quarantines", away)
    assert set(told(plane, Tally())) == ALWAYS - {"Quarantined"}


def test_the_oldest_of_what_is_to_be_prepared_is_waited_for_longest(
    plane: ControlPlane, raw_redis: Any
) -> None:
    now_ms = raw_redis.time()[0] * 1000
    for age_seconds in (900, 60):
        raw_redis.xadd("mr:prepare", {"job": b"x"}, id=f"{now_ms - age_seconds * 1000}-0")
    assert told(plane, Tally())["Preparing"] == pytest.approx(900, abs=30)
    raw_redis.delete("mr:prepare")
    raw_redis.set("mr:prepare", "no stream")
    assert told(plane, Tally())["Preparing"] == 0


@pytest.mark.parametrize("kind", ["cloudwatch", "none"])
def test_the_scheduled_function_prints_its_line_where_it_is_wanted_and_nowhere_else(
    kind: str,
    plane: ControlPlane,
    servers: EmbeddedServers,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    environ = {
        **servers.connections.control_plane("coordinator"),
        "MODELROCKET_MONGO_DATABASE": plane.settings.mongo_database,
        "MODELROCKET_DISPATCH_KEY": plane.settings.dispatch_key.hex(),
        "MODELROCKET_PUBLIC_URL": plane.settings.public_url,
        "MODELROCKET_HOST_NETWORK": str(plane.settings.host_network),
        "MODELROCKET_MONGO_URL": plane.settings.mongo_url,
        "MODELROCKET_LOOP_SECONDS": "0",
        "MODELROCKET_GAUGES": kind,
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    built = build(environ)
    monkeypatch.setattr(application, "plane", lambda: built)
    application.coordinate(scheduled_event(datetime.now(UTC)), None)
    printed = [line for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert [values(line)["Passes"] for line in printed] == ([1] if kind == "cloudwatch" else [])
