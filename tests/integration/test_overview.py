"""What a list of models says of each: its latest version, where that stands, and where the active one is."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec
import pytest

from chalicelib import views
from chalicelib.auth import Principal
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import HostState, PrepareStage, Replica, ReplicaState
from chalicelib.overview import Overview
from chalicelib.records import Version
from chalicelib.wiring import ControlPlane
from tests.support.faultyproxy import FaultyProxy, Line, faulty_proxy
from tests.support.uploads import announce, deployed, prepared, uploaded
from tests.unit.test_choice import host

READY = ReplicaState.READY


def listed(plane: ControlPlane, who: Principal, overview: Overview | None = None) -> dict[str, views.Model]:
    """By name."""
    found = plane.models.list(who, after="")
    page = views.models(found, (overview or plane.overview).of(found), plane.settings)
    return {one.name: one for one in page.models}


def loaded_on(plane: ControlPlane, version: Version, host_id: str, state: ReplicaState = READY) -> None:
    plane.hot.put_replica(version.model_id, version.id, Replica(host_id, f"boot-{host_id}", state))


def test_the_latest_version_is_told_with_its_stage_whatever_is_active(
    plane: ControlPlane, alice: Principal
) -> None:
    deployed(plane, alice, b"first")
    second = uploaded(plane, alice, b"second!")
    shown = listed(plane, alice)["digits"]
    assert (shown.active, shown.latest) == (
        1,
        views.LatestVersion(2, second.state, PrepareStage.QUEUED, None, 7, "test 1.0", second.created_at),
    )
    prepared(plane, second, reason="It is empty.")
    plane.uploads.settle()
    latest = listed(plane, alice)["digits"].latest
    assert latest is not None
    assert (latest.state, latest.stage, latest.reason) == ("failed", None, "It is empty.")
    plane.deletion.delete_version(alice, second.model_id, 2)
    latest = listed(plane, alice)["digits"].latest
    assert latest is not None
    assert (latest.number, latest.state) == (1, "ready")


def test_a_version_on_its_way_to_the_traffic_is_warming_and_one_that_uploads_is_at_no_stage(
    plane: ControlPlane, alice: Principal
) -> None:
    plane.hot.beat(host("a"))
    deployed(plane, alice, b"first")
    second = uploaded(plane, alice, b"second")
    prepared(plane, second)
    plane.uploads.settle()
    plane.uploads.begin(alice, announce(b"x", name="other"))
    shown = listed(plane, alice)
    stages = {name: (one.latest.state, one.latest.stage) for name, one in shown.items() if one.latest}
    assert stages == {"digits": ("ready", PrepareStage.WARMING), "other": ("uploading", None)}
    model = plane.models.get(alice, second.model_id)
    versions = plane.models.versions(alice, model.id, after=0)
    page = views.versions(versions, model, plane.overview.stages(model, versions))
    assert [one.stage for one in page.versions] == [None, PrepareStage.WARMING]


def test_hosts_are_those_that_live_and_have_the_active_version_loaded(
    plane: ControlPlane, alice: Principal
) -> None:
    version = deployed(plane, alice, b"first")
    assert listed(plane, alice)["digits"].hosts == 0
    for host_id in "abcd":
        plane.hot.beat(host(host_id))
    plane.hot.beat(msgspec.structs.replace(host("drains"), state=HostState.DRAINING))
    for host_id in ("a", "b", "drains", "gone"):
        loaded_on(plane, version, host_id)
    loaded_on(plane, version, "c", ReplicaState.LOADING)
    plane.hot.put_replica(version.model_id, version.id, Replica("d", "boot-before", READY))
    plane.hot.put_replica(version.model_id, "another", Replica("c", "boot-c", READY))
    shown = listed(plane, alice)["digits"]
    assert (shown.hosts, shown.quarantined) == (2, False)
    plane.hot.quarantine(version.model_id, version.id, seconds=60)
    assert listed(plane, alice)["digits"].quarantined


def test_a_model_without_a_version_has_none_and_nobody_sees_anothers(
    plane: ControlPlane, alice: Principal, mallory: Principal
) -> None:
    version = deployed(plane, alice, b"first")
    plane.deletion.delete_model(alice, version.model_id)
    begun = plane.uploads.begin(alice, announce(b"x"))
    plane.store.delete_version(begun.version, at=begun.version.created_at)
    shown = listed(plane, alice)["digits"]
    assert (shown.latest, shown.hosts) == (None, 0)
    assert listed(plane, mallory) == {}


@pytest.fixture
def proxy(plane: ControlPlane) -> Iterator[FaultyProxy]:
    port = urlsplit(plane.settings.redis_url).port
    assert port
    with faulty_proxy(port) as proxy:
        yield proxy


@pytest.mark.parametrize("line", [Line.CUT, Line.BLACKHOLE])
def test_while_the_hot_state_is_away_the_rest_is_told(
    plane: ControlPlane, alice: Principal, proxy: FaultyProxy, line: Line
) -> None:
    version = deployed(plane, alice, b"first")
    uploaded(plane, alice, b"second")
    plane.hot.beat(host("a"))
    loaded_on(plane, version, "a")
    parts = urlsplit(plane.settings.redis_url)
    address = parts.netloc.rpartition("@")[0] + f"@127.0.0.1:{proxy.port}"
    hot = HotState.connect(parts._replace(netloc=address).geturl(), timeout_seconds=0.2)
    overview = Overview(store=plane.store, hot=hot)
    assert listed(plane, alice, overview)["digits"].hosts == 1
    proxy.line = line
    shown = listed(plane, alice, overview)["digits"]
    assert shown.latest is not None
    assert (shown.hosts, shown.quarantined) == (None, None)
    assert (shown.latest.state, shown.latest.stage) == ("preparing", None)
