"""What the platform does by itself is in the audit log of the account that it does it to."""

from __future__ import annotations

from chalicelib.audit import PLATFORM
from chalicelib.auth import Principal
from chalicelib.contract.messages import Counts
from chalicelib.wiring import ControlPlane
from tests.integration.test_traffic import QUICK, Trial, warm


def acted(plane: ControlPlane, who: Principal) -> list[tuple[str, str, str]]:
    """Oldest first: who, what, to what."""
    entries = plane.store.audit_range(who.tenant, 0, 100)
    assert {entry.object_type for entry in entries} <= {"model"}
    return [(entry.actor, entry.action, entry.object_name) for entry in entries]


def test_activations_roll_backs_and_removals_of_the_platform_are_written_down(
    plane: ControlPlane, alice: Principal, mallory: Principal
) -> None:
    trial = Trial(plane, alice)
    expected = [(PLATFORM, "version.activate", "digits version 1")]
    assert acted(plane, alice) == expected
    trial.put(2, 10, limits=QUICK)
    assert acted(plane, alice) == expected, "what its owner asks for is the boundary's to write down"
    trial.see(second=Counts(requests=10, errors=10))
    plane.traffic.watch(trial.model)
    expected.append((PLATFORM, "model.rollback", "digits version 2"))
    assert acted(plane, alice) == expected
    warm(plane, trial.second, "a", "b")
    trial.put(2, 100)
    expected.append((PLATFORM, "version.activate", "digits version 2"))
    assert acted(plane, alice) == expected
    assert acted(plane, mallory) == []
