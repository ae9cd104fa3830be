"""The cache experiment on worlds that are small enough to know the answer."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from benchmarks.simulation import cache as subject
from benchmarks.simulation.cache import CAPACITIES, POLICIES, Requests
from benchmarks.simulation.experiment import TraceMissing
from chalicelib.contract import limits

_HOUR = 3600.0


def requests(asked: str, *, sizes: dict[str, int] | None = None, apart: float = 100.0) -> Requests:
    """One after the other, for functions of one letter; a load takes a second whatever the size."""
    names = sorted(set(asked))
    return Requests(
        functions=[names.index(name) for name in asked],
        times=[apart * number for number in range(len(asked))],
        bytes=[(sizes or {}).get(name, 1) for name in names],
        seconds=[1.0] * len(names),
    )


def fewest_loads(asked: Requests, bytes_max: int) -> int:
    """Of any schedule that holds what it runs, by trying all of them."""

    @cache
    def after(number: int, held: frozenset[int]) -> int:
        if number == len(asked.functions):
            return 0
        function = asked.functions[number]
        loads = function not in held
        together = held | {function}
        return loads + min(
            after(number + 1, kept)
            for kept in _subsets(together, function)
            if _size(asked, kept) <= bytes_max
        )

    return after(0, frozenset())


def _size(asked: Requests, held: frozenset[int]) -> int:
    return sum(asked.bytes[one] for one in held)


def _subsets(held: frozenset[int], function: int) -> list[frozenset[int]]:
    found = [frozenset({function})]
    for other in held - {function}:
        found += [one | {other} for one in found]
    return found


@pytest.mark.parametrize(
    ("name", "loads"), [("LRU", 6), ("Belady", 4), ("LFU", 6)], ids=["LRU", "Belady", "LFU"]
)
def test_a_cycle_one_longer_than_the_cache_holds(name: str, loads: int) -> None:
    assert POLICIES[name](requests("abcabc"), 2).seconds == loads


def test_what_is_asked_for_most_stays_under_lfu_and_what_was_asked_for_last_under_lru() -> None:
    asked = requests("aaabca")
    assert POLICIES["LFU"](asked, 2).seconds == 3
    assert POLICIES["LRU"](asked, 2).seconds == 4


@pytest.mark.parametrize("seed", range(8))
def test_belady_is_the_best_there_is_where_all_are_alike(seed: int) -> None:
    asked = requests("".join(random.Random(seed).choices("abcde", k=14)))
    assert POLICIES["Belady"](asked, 3).seconds == fewest_loads(asked, 3)


@pytest.mark.parametrize("seed", range(8))
def test_the_best_there_is_lies_between_the_bound_and_belady(seed: int) -> None:
    chance = random.Random(seed)
    asked = requests(
        "".join(chance.choices("abcde", k=12)), sizes=dict(zip("abcde", (1, 2, 3, 1, 2), strict=True))
    )
    best = fewest_loads(asked, 4)
    assert subject.lower_bound(asked, 4) <= best <= POLICIES["Belady"](asked, 4).seconds


@pytest.mark.parametrize(
    ("asked", "bytes_max", "least"), [("abab", 1, 2), ("abcabc", 2, 3), ("abcabc", 1, 4)]
)
def test_the_bound_saves_as_many_loads_as_fit_on_average(asked: str, bytes_max: int, least: int) -> None:
    """Holding something till its next use takes as many of all requests' places as there are in between."""
    assert subject.lower_bound(requests(asked), bytes_max) == least


def test_where_all_fits_each_is_loaded_once_by_everyone() -> None:
    asked = requests("abcabcab")
    assert {policy(asked, 3).seconds for policy in POLICIES.values()} == {3}
    assert subject.lower_bound(asked, 3) == 3


def test_the_host_keeps_what_comes_again_and_not_what_came_once() -> None:
    """Two functions again and again beside many that come once each: LRU holds whatever came last."""
    strangers = iter("cdefghijklmnopqrstuvwxyz")
    asked = requests("abab" + "".join(f"ab{one}{next(strangers)}" for one in strangers))
    assert POLICIES["host"](asked, 3).seconds < POLICIES["LRU"](asked, 3).seconds
    assert POLICIES["host"](asked, 3).seconds == len(set(asked.functions))


def test_whom_the_churn_guard_refuses_waits_for_it_and_loads_then() -> None:
    guard = float(limits.CHURN_GUARD_LOADS)  # a load takes a second
    found = POLICIES["host"](requests("ab", apart=guard / 4), 1)
    assert (found.refused, found.waited) == (1, guard * 3 / 4)
    assert found.loads == ((0.0, 1.0), (guard, 1.0))


def test_the_same_comes_of_the_same() -> None:
    asked = requests("".join(random.Random(1).choices("abcdefgh", k=200)))
    for policy in POLICIES.values():
        assert policy(asked, 4) == policy(asked, 4)


def test_hours_add_up_to_the_whole() -> None:
    found = POLICIES["LRU"](requests("abcabc", apart=_HOUR / 2), 2)
    assert found.by_hour(3) == [2.0, 2.0, 2.0]


def test_arrivals_stay_in_their_minute_and_in_order() -> None:
    counts = np.array([[2, 0, 1], [0, 3, 0]])
    asked = subject.drawn(counts, [10, 20])
    minutes = [(function, int(at // 60)) for function, at in zip(asked.functions, asked.times, strict=True)]
    assert sorted(minutes) == [(0, 0), (0, 0), (0, 2), (1, 1), (1, 1), (1, 1)]
    assert asked.times == sorted(asked.times)


def test_files_become_an_experiment_whose_goals_follow_from_its_tables(tmp_path: Path) -> None:
    _write(tmp_path)
    found = subject.run(tmp_path, quick=False)
    seconds, ratios, regret = found.tables
    assert len(seconds.rows) == len(ratios.rows) == len(CAPACITIES) * len(subject.TRACES)
    assert [goal.met for goal in found.goals[:2]] == [goal.value <= 1.6 for goal in found.goals[:2]]  # type: ignore[operator]
    by_belady = ratios.columns.index("host / Belady")
    judged = [row for row in ratios.rows if row[1] == "30%"]
    assert [goal.value for goal in found.goals[:2]] == [row[by_belady] for row in judged]
    assert found.goals[2].value == max(row[2] for row in ratios.rows)
    assert len(regret.rows) == 2


def test_a_trace_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceMissing, match=r"invitro1350_mem\.csv"):
        subject.run(tmp_path, quick=True)


def _write(folder: Path) -> None:
    """Twelve functions over two hours; what identifies one is the same in all columns."""
    chance = random.Random(3)
    names = [f"function-{number}" for number in range(12)]
    head = "HashFunction,HashApp"
    minutes = ",".join(f"minute_{number}" for number in range(1, 121))
    for trace in subject.TRACES:
        counts = [
            f"{name},{name}," + ",".join(str(int(chance.random() < 0.2)) for _ in range(120))
            for name in names
        ]
        sizes = [f"{name},{name},{chance.randint(100, 120)}" for name in names]
        (folder / trace.counts).write_text("\n".join((f"{head},{minutes}", *counts)))
        (folder / trace.memory).write_text("\n".join((f"{head},AverageAllocatedMb", *sizes)))
