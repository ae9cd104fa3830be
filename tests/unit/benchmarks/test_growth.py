"""Where growth ends: the arithmetic of it, and that docs/scale.md says what comes of what was measured."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Callable

import pytest

from benchmarks.children import REPOSITORY
from benchmarks.growth import breaking, figures, page
from benchmarks.growth.breaking import Part, break_factor, breaks, parts, tick_megabytes, tick_seconds
from benchmarks.growth.environment import connections
from benchmarks.growth.load import BASE, COPIES, MODEL_BYTES, RUN_MS, USED, Deployed, Grows, Load
from benchmarks.growth.quotas import QUOTAS
from benchmarks.scale import PAGE
from chalicelib.contract import limits
from chalicelib.coordinator.scaling import ScalingPolicy
from infra.aws.profiles import PROFILES

MEASURED = figures.kept()
ALL = parts(MEASURED)


def test_the_page_says_what_is_computed() -> None:
    assert PAGE.read_text() == page.markdown(MEASURED), "`make scale` writes it anew"


# The arithmetic


@pytest.mark.parametrize(
    ("wanted", "there", "factor"),
    [
        pytest.param(lambda one: one.load.requests, 500, 10, id="in proportion"),
        pytest.param(lambda one: one.load.requests**2, 10_000, 2, id="faster than the load"),
        pytest.param(lambda one: 40 + one.load.requests / 5, 60, 2, id="from a floor"),
        pytest.param(lambda _: 7, 7, math.inf, id="not at all"),
        pytest.param(lambda _: 8, 7, 0, id="broken already"),
        pytest.param(lambda one: one.load.requests, 25, 0.5, id="broken at the base"),
    ],
)
def test_a_part_breaks_where_more_is_asked_of_it_than_there_is(
    wanted: Callable[[Deployed], float], there: float, factor: float
) -> None:
    part = Part("a part", "things", wanted, there, "a source", "a change")
    assert break_factor(part, Grows.REQUESTS) == pytest.approx(factor, rel=1e-4)


def test_the_first_to_break_comes_first_and_what_does_not_break_is_left_out() -> None:
    late, early, never = (
        Part(name, "models", lambda one: one.load.models, there, "", "")
        for name, there in (("late", 90_000), ("early", 20_000), ("never", 1e12))
    )
    found = breaks((late, early, never), Grows.MODELS)
    assert [one.part.name for one in found] == ["early", "late"]
    assert found[0].at == BASE.times(found[0].factor, Grows.MODELS)
    assert found[0].at.models == pytest.approx(20_000, rel=1e-4)
    assert breaks((late, early, never), Grows.ACCOUNTS) == []


@pytest.mark.parametrize("grows", Grows)
def test_what_has_broken_stays_broken_as_loads_grow(grows: Grows) -> None:
    """Halving finds the first break only where there is one at most."""
    factors = [1.3**power for power in range(36)]
    for part in ALL:
        broken = [part.wanted(Deployed(BASE.times(factor, grows))) > part.there for factor in factors]
        assert broken == sorted(broken), part.name


def test_only_one_thing_is_multiplied() -> None:
    assert BASE.times(3, Grows.REQUESTS) == Load(150, 1_000, 100)
    assert BASE.times(3, Grows.MODELS) == Load(50, 3_000, 100)
    assert BASE.times(3, Grows.ACCOUNTS) == Load(50, 1_000, 300)


# What a load makes of a profile


def test_hosts_follow_requests_or_memory_and_are_never_fewer_than_the_profile_has() -> None:
    policy, profile = ScalingPolicy(), PROFILES["standard"]
    busy = Deployed(Load(requests=5_000, models=0, accounts=0))
    assert busy.hosts == math.ceil(5_000 * RUN_MS / 1_000 / (4 * policy.target_utilisation))
    full = Deployed(Load(requests=0, models=100_000, accounts=0))
    memory = 100_000 * USED * COPIES * MODEL_BYTES
    assert full.hosts == math.ceil(memory / (0.6 * 14 * 2**30 * policy.memory_utilisation_max))
    assert Deployed(Load(0, 0, 0)).hosts == profile.hosts.fewest


def test_there_are_no_more_environments_than_are_reserved() -> None:
    functions = PROFILES["standard"].functions
    one = Deployed(Load(requests=1e6, models=0, accounts=0))
    assert one.environments == functions.inference + functions.management + 1
    assert Deployed(Load(requests=100, models=0, accounts=0)).inference_environments == pytest.approx(10)


# What must hold of every profile


@pytest.mark.parametrize("name", PROFILES)
def test_all_functions_at_once_have_no_more_connections_than_documentdb_takes(name: str) -> None:
    profile = PROFILES[name]
    takes = QUOTAS[page._MONGO_QUOTAS[profile.mongo.instance_type]].value
    functions = profile.functions
    open_at_once = (
        functions.inference * MEASURED.inference.mongo
        + functions.management * MEASURED.management.mongo
        + MEASURED.coordinator.mongo
    )
    assert 0 < open_at_once <= takes


@pytest.mark.parametrize("name", PROFILES)
def test_no_more_functions_are_reserved_than_an_account_lets_one(name: str) -> None:
    functions = PROFILES[name].functions
    assert functions.inference + functions.management + 1 <= 1_000 - 100


@pytest.mark.parametrize("grows", Grows)
def test_nothing_is_broken_at_the_base(grows: Grows) -> None:
    found = breaks(ALL, grows)
    assert found
    assert found[0].factor > 1


# What is taken from elsewhere


def test_the_coordinator_is_as_large_as_it_is_configured() -> None:
    config = json.loads((REPOSITORY / ".chalice" / "config.json").read_text())
    function = config["lambda_functions"]["coordinate"]
    assert function["lambda_memory_size"] == breaking._COORDINATOR_MIB
    assert function["lambda_timeout"] == breaking._COORDINATOR_SECONDS


def test_limits_of_accounts_are_those_of_the_code() -> None:
    by_name = {part.name: part for part in ALL}
    assert by_name["models of the busiest account"].there == limits.ACCOUNT_MODELS_MAX
    assert by_name["requests of the busiest account"].there == limits.ACCOUNT_REQUESTS_PER_SECOND


def test_a_pass_takes_what_was_measured_and_beyond_it_what_the_last_two_say() -> None:
    first, middle, last = MEASURED.ticks
    for tick in MEASURED.ticks:
        assert tick_seconds(MEASURED, tick.models) == pytest.approx(tick.cpu_seconds)
    grown = last.cpu_seconds / middle.cpu_seconds
    assert tick_seconds(MEASURED, last.models**2 / middle.models) == pytest.approx(last.cpu_seconds * grown)
    assert tick_megabytes(MEASURED, last.models) == pytest.approx(last.memory_mb)
    assert tick_megabytes(MEASURED, 0) == first.memory_mb


def test_every_part_says_where_its_number_is_from_and_what_moves_it() -> None:
    assert all(part.source and part.change and part.unit for part in ALL)
    assert len({part.name for part in ALL}) == len(ALL)


def test_connections_of_a_process_are_counted_by_the_port_they_lead_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        assert connections()[port] == 0
        with socket.create_connection(server.getsockname()), socket.create_connection(server.getsockname()):
            assert connections()[port] == 2
        assert connections()[port] == 0
