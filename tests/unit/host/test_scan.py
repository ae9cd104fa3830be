"""Ten thousand models asked for once beside fifty that are asked for all the time: who stays in memory?"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest

from chalicelib.contract.limits import MIB
from host_container.cache import Cache, Item, Refused

HOT, COLD = 50, 10_000
SPARE: Final = 1.25
"""How much more memory there is than the hot models take."""
REQUESTS_PER_SECOND: Final = 200.0
WARMING: Final = 2_000

Ask = Callable[[Item, float], str]
"""`hit`, `miss` (it was loaded) or `refused`, at this time."""


@dataclass(frozen=True, slots=True)
class World:
    """Models of all sizes; those that are hot come first in `asked`, then both in turn."""

    hot: tuple[Item, ...]
    asked: tuple[Item, ...]

    @property
    def bytes_max(self) -> int:
        return int(SPARE * sum(item.bytes for item in self.hot))

    @classmethod
    def seeded(cls, seed: int) -> World:
        chance = random.Random(seed)
        hot = tuple(_model(f"hot {number}", chance) for number in range(HOT))
        cold = [_model(f"cold {number}", chance) for number in range(COLD)]
        warming = chance.choices(hot, k=WARMING)
        scan = [item for one in cold for item in (chance.choice(hot), one)]
        return cls(hot, (*warming, *scan))


def _model(key: str, chance: random.Random) -> Item:
    """1 to 64 MiB; loading takes 2 ms and what mapping that much takes."""
    size = int(MIB * 2 ** chance.uniform(0, 6))
    return Item(key, bytes=size, cost_seconds=0.002 + size / 20e9)


def policy(bytes_max: int) -> Ask:
    """What a host does."""
    cache = Cache(bytes_max)

    def ask(item: Item, now: float) -> str:
        if item.key in cache:
            cache.use(item.key, now=now)
            return "hit"
        try:
            cache.reserve(item, now=now)
        except Refused:
            return "refused"
        cache.commit(item.key, now=now)
        cache.use(item.key, now=now)
        return "miss"

    return ask


def least_recently_used(bytes_max: int) -> Ask:
    """The usual choice, for comparison."""
    held: OrderedDict[str, int] = OrderedDict()

    def ask(item: Item, now: float) -> str:
        if item.key in held:
            held.move_to_end(item.key)
            return "hit"
        held[item.key] = item.bytes
        while sum(held.values()) > bytes_max:
            held.popitem(last=False)
        return "miss"

    return ask


def outcomes(world: World, ask: Ask) -> tuple[Counter[str], Counter[str]]:
    """Of the hot and of the cold models, once the scan has begun."""
    hot: Counter[str] = Counter()
    cold: Counter[str] = Counter()
    for number, item in enumerate(world.asked):
        outcome = ask(item, number / REQUESTS_PER_SECOND)
        if number >= WARMING:
            (hot if item.key.startswith("hot") else cold)[outcome] += 1
    return hot, cold


@pytest.mark.parametrize("seed", range(3))
def test_a_scan_leaves_the_hot_models_where_they_are(seed: int) -> None:
    world = World.seeded(seed)
    hot, cold = outcomes(world, policy(world.bytes_max))
    assert hot["hit"] / hot.total() >= 0.99
    assert cold["refused"] / cold.total() <= 0.01
    lru, _ = outcomes(world, least_recently_used(world.bytes_max))
    assert lru["hit"] / lru.total() <= 0.6


@pytest.mark.parametrize("seed", range(3))
def test_a_new_set_of_hot_models_takes_the_place_of_the_old_one_within_seconds(seed: int) -> None:
    """All at once, and each long known to be in use: remembering what has gone lets the new ones in."""
    chance = random.Random(seed)
    old, new = ([_model(f"{name} {number}", chance) for number in range(HOT)] for name in ("old", "new"))
    ask = policy(int(SPARE * max(sum(item.bytes for item in items) for items in (old, new))))
    asked = [*chance.choices(old, k=20 * HOT), *chance.choices(new, k=20 * HOT)]
    seen = [ask(item, number / REQUESTS_PER_SECOND) for number, item in enumerate(asked)]
    last = Counter(seen[-5 * HOT :])
    assert last["hit"] / last.total() >= 0.95
