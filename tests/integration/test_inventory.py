"""What operators see of hosts: the versions that each is to hold, of any account, and what none may run."""

from __future__ import annotations

import pytest

from chalicelib import fleetviews
from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import NotFound
from chalicelib.contract.messages import Replica, ReplicaState
from chalicelib.wiring import ControlPlane
from tests.support.coordinating import assign
from tests.support.uploads import PASSPORT, deployed
from tests.unit.test_choice import host


def test_a_host_tells_what_it_is_to_hold_of_whom_and_how_it_stands_there(
    plane: ControlPlane, alice: Principal, mallory: Principal
) -> None:
    plane.hot.beat(host("a"))
    first, second = deployed(plane, alice, b"1"), deployed(plane, mallory, b"2")
    gone = deployed(plane, alice, b"3", name="gone")
    assign(plane.hot, "a", [first.id, second.id, gone.id])
    for version, boot in ((first, "boot-a"), (second, "boot-before")):
        plane.hot.put_replica(version.model_id, version.id, Replica("a", boot, ReplicaState.READY))
    plane.deletion.delete_model(alice, gone.model_id)
    told = fleetviews.hosted(plane.inventory.of_host("a", after=""))
    assert told.next is None
    assert {one.account_id: (one.model_id, one.name, one.number, one.state) for one in told.versions} == {
        alice.tenant: (first.model_id, "digits", 1, "ready"),
        mallory.tenant: (second.model_id, "digits", 1, None),
    }
    assert {one.memory_bytes for one in told.versions} == {PASSPORT.memory_bytes}
    with pytest.raises(NotFound):
        plane.inventory.of_host("b", after="")


def test_many_versions_come_in_pages(
    plane: ControlPlane, alice: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PAGE_SIZE_MAX", 2)
    plane.hot.beat(host("a"))
    ids = sorted(deployed(plane, alice, name.encode(), name=name).id for name in "xyz")
    assign(plane.hot, "a", ids)
    page = plane.inventory.of_host("a", after="")
    assert ([one.version.id for one in page.versions], page.next) == (ids[:2], ids[1])
    page = plane.inventory.of_host("a", after=ids[1])
    assert ([one.version.id for one in page.versions], page.next) == (ids[2:], None)


def test_the_fleet_tells_what_is_quarantined(plane: ControlPlane, alice: Principal) -> None:
    version, gone = deployed(plane, alice, b"1"), deployed(plane, alice, b"2", name="gone")
    for one in (version, gone):
        plane.hot.quarantine(one.model_id, one.id, seconds=60)
    plane.deletion.delete_model(alice, gone.model_id)
    told = fleetviews.shown(plane.fleet.show(), plane.inventory.quarantined())
    [only] = told.quarantined
    assert (only.model_id, only.name, only.account_id, only.number) == (
        version.model_id,
        "digits",
        alice.tenant,
        1,
    )
    assert only.until.timestamp() == pytest.approx(plane.hot.hosts()[0] + 60, abs=30)
