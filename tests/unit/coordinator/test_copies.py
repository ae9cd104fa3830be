"""How many copies a model needs."""

from __future__ import annotations

import pytest

from chalicelib.coordinator.copies import Need, PlacementPolicy, need, used
from chalicelib.coordinator.state import ModelDemand, ModelMemory, ModelView
from tests.unit.coordinator.worlds import NOW, SLOTS, model, usage

POLICY = PlacementPolicy()
MINUTE = 60.0


def needed(view: ModelView, memory: ModelMemory | None) -> tuple[int, int]:
    found = need(view, memory, slots_per_host=SLOTS, now=NOW, policy=POLICY)
    return found.copies, found.wanted


@pytest.mark.parametrize(
    ("view", "memory", "expected"),
    [
        pytest.param(model("m"), None, (0, 0), id="nobody asked for it"),
        pytest.param(model("m"), usage(), (1, 1), id="used now"),
        pytest.param(model("m"), usage(ago=29 * MINUTE), (1, 1), id="used a while ago"),
        pytest.param(model("m"), usage(ago=31 * MINUTE), (0, 0), id="idle"),
        pytest.param(model("m"), usage(again=True), (1, 2), id="used again"),
        pytest.param(model("m"), usage(ago=31 * MINUTE, again=True), (0, 0), id="used again, then no more"),
        pytest.param(model("m", new=True), None, (1, 2), id="new"),
        pytest.param(model("m", pinned=True), None, (1, 2), id="pinned"),
        pytest.param(model("m", pinned=True), usage(ago=31 * MINUTE), (1, 2), id="pinned and idle"),
        pytest.param(model("m", following=["m/2"]), None, (1, 1), id="another version follows"),
        pytest.param(model("m"), usage(peak=2.8), (1, 1), id="as much as a host takes"),
        pytest.param(model("m"), usage(peak=2.9), (2, 2), id="more than that"),
        pytest.param(model("m"), usage(peak=28, again=True), (10, 10), id="ten hosts' worth"),
        pytest.param(model("m"), usage(peak=28, ago=60), (4, 4), id="that a minute ago"),
        pytest.param(model("m"), usage(peak=28, ago=-3600), (10, 10), id="the clock went back"),
    ],
)
def test_copies_follow_use(view: ModelView, memory: ModelMemory | None, expected: tuple[int, int]) -> None:
    assert needed(view, memory) == expected


def remembered(times: list[float], *, concurrency: float = 1.0) -> ModelMemory | None:
    """What is remembered after uses so many minutes after the first tick, with idle ticks every minute."""
    memory: ModelMemory | None = None
    for minute in range(int(max(times)) + 1):
        view = model("m", concurrency=concurrency if minute in times else None)
        memory = used(view, memory, now=NOW + minute * MINUTE, policy=POLICY)
    return memory


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        pytest.param([0], 1, id="once"),
        pytest.param([0, 1, 2, 3], 1, id="for three minutes"),
        pytest.param([0, 6], 1, id="again too soon to tell"),
        pytest.param([0, 8], 2, id="again after eight minutes"),
        pytest.param([0, 3, 39], 2, id="again after a long time"),
        pytest.param([0, 41], 1, id="after so long that it is as the first time"),
        pytest.param([0, 41, 50], 2, id="and again"),
    ],
)
def test_a_model_that_is_used_again_wants_a_second_copy(minutes: list[float], expected: int) -> None:
    memory = remembered(minutes)
    found = need(model("m"), memory, slots_per_host=SLOTS, now=NOW + minutes[-1] * MINUTE, policy=POLICY)
    assert found.wanted == expected


def test_steady_use_wants_the_second_copy_all_the_time_after_seven_minutes() -> None:
    memory: ModelMemory | None = None
    for tick in range(3 * 360):
        now = NOW + 10 * tick
        memory = used(model("m", concurrency=0.1), memory, now=now, policy=POLICY)
        found = need(model("m"), memory, slots_per_host=SLOTS, now=now, policy=POLICY)
        assert found.wanted == (2 if now - NOW >= POLICY.reuse_seconds_min else 1), now - NOW


def test_requests_that_found_no_host_are_use_and_load() -> None:
    refused = model("m", concurrency=0)
    refused = ModelView(refused.model_id, "t", refused.active, demand=ModelDemand(0, 0, unmet_per_second=500))
    memory = used(refused, None, now=NOW, policy=POLICY)
    assert need(refused, memory, slots_per_host=SLOTS, now=NOW, policy=POLICY) == Need(
        2, 2, 5.0, NOW, hot=True
    )


def test_a_burst_is_remembered_and_fades() -> None:
    burst = used(model("m", concurrency=20), None, now=NOW, policy=POLICY)
    calm = used(model("m", concurrency=1), burst, now=NOW + 10, policy=POLICY)
    assert calm is not None
    assert 15 < calm.peak < 20
    later = used(model("m", concurrency=1), calm, now=NOW + 600, policy=POLICY)
    assert later is not None
    assert later.peak == 1


def test_what_is_not_used_for_an_hour_is_forgotten() -> None:
    memory = usage()
    assert used(model("m"), memory, now=NOW + 3600, policy=POLICY) == memory
    assert used(model("m"), memory, now=NOW + 3601, policy=POLICY) is None
