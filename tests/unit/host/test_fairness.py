"""Who goes next at the door, and whose bodies have room."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from host_container.fairness import Room, Turns

_QUANTUM = 0.000_2


class Desk:
    """Turns on a clock that only work moves; remembers whose work was done, in order."""

    def __init__(self) -> None:
        self.now = 100.0
        self.turns = Turns(lambda: self.now)
        self.done: list[str] = []

    def work(self, name: str, *, seconds: float = _QUANTUM / 2) -> None:
        self.done.append(name)
        self.now += seconds

    def ask(self, caller: str, count: int = 1) -> None:
        for _ in range(count):
            self.turns.take(caller, partial(self.work, caller))


def play(scene: Callable[[Desk], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await scene(Desk())

    asyncio.run(main())


async def next_pass() -> None:
    await asyncio.sleep(0)


def test_a_caller_that_is_alone_never_waits() -> None:
    async def scene(desk: Desk) -> None:
        desk.ask("a", 1000)
        assert len(desk.done) == 1000

    play(scene)


def test_beside_another_a_caller_waits_for_one_quantum_at_most() -> None:
    async def scene(desk: Desk) -> None:
        desk.ask("calm")
        desk.ask("flood", 200)
        started = len(desk.done)
        for _ in range(20):
            await next_pass()
            before = len(desk.done)
            desk.ask("calm")
            assert desk.done[before:] == ["calm"], "at once: the flood waits for its next turn"
            assert desk.done[started:].count("flood") <= 2 * (len(desk.done) - started), "two halves a pass"
        while len(desk.done) < 200 + 1 + 20:
            await next_pass()
        assert desk.done.count("flood") == 200, "and loses nothing"

    play(scene)


def test_what_waits_keeps_its_order_and_who_waits_are_served_in_turn() -> None:
    async def scene(desk: Desk) -> None:
        desk.ask("x")
        for number in range(9):
            for caller in "ab":
                desk.turns.take(caller, partial(desk.work, f"{caller}{number}"))
        while len(desk.done) < 19:
            await next_pass()
        for caller in "ab":
            assert [one for one in desk.done if one[0] == caller] == [f"{caller}{n}" for n in range(9)]
        longest = max(
            len(run) for run in "".join(one[0] for one in desk.done[1:]).replace("ab", "a b").split()
        )
        assert longest <= 4, desk.done

    play(scene)


def test_work_that_fails_holds_nobody_up() -> None:
    async def scene(desk: Desk) -> None:
        def fail() -> None:
            desk.now += 1
            raise RuntimeError("a defect")

        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        desk.ask("calm")
        desk.ask("flood", 3)
        desk.turns.take("flood", fail)
        desk.ask("flood", 3)
        while desk.done.count("flood") < 6:
            await next_pass()

    play(scene)


def test_who_has_gone_is_not_waited_for() -> None:
    async def scene(desk: Desk) -> None:
        desk.ask("calm")
        desk.ask("flood", 10)
        while desk.done.count("flood") < 10:
            await next_pass()
        desk.now += 2
        desk.turns.sweep()
        desk.ask("flood", 100)
        assert desk.done.count("flood") == 110

    play(scene)


def test_reading_out_of_turn_counts_as_well() -> None:
    async def scene(desk: Desk) -> None:
        started = desk.now
        desk.now += 1
        assert not desk.turns.wants_pause("flood", started), "alone"
        desk.ask("calm")
        started = desk.now
        assert not desk.turns.wants_pause("flood", started), "it did nothing yet"
        desk.now += _QUANTUM
        assert desk.turns.wants_pause("flood", started)
        assert not desk.turns.wants_pause("calm", desk.now)
        await next_pass()
        assert not desk.turns.wants_pause("flood", desk.now), "its next turn"

    play(scene)


def test_what_an_action_causes_elsewhere_counts_as_well() -> None:
    async def scene(desk: Desk) -> None:
        desk.ask("calm")
        for number in range(6):
            resume = partial(desk.work, f"flood {number}", seconds=0.0)
            desk.turns.take("flood", resume, causes=_QUANTUM)
        for count in range(1, 7):
            assert len(desk.done) == 1 + count, "one a pass"
            await next_pass()

    play(scene)


def test_bodies_wait_for_room_in_order_and_callers_for_themselves() -> None:
    room, granted = Room(caller_bytes_max=10, bytes_max=25), []
    assert room.take("a", 6, lambda: granted.append("never"))
    assert not room.take("a", 6, lambda: granted.append("second"))
    assert not room.take("a", 1, lambda: granted.append("third")), "nobody overtakes"
    assert room.take("b", 10, lambda: granted.append("never"))
    assert not room.take("c", 10, lambda: granted.append("c")), "all together have 25"
    assert granted == []
    room.give_back("a", 6)
    assert granted == ["second", "third"]
    room.give_back("b", 10)
    assert granted == ["second", "third", "c"]


def test_who_goes_away_while_waiting_for_room_leaves_it_to_the_next() -> None:
    room, granted = Room(caller_bytes_max=10, bytes_max=10), []

    def first() -> None:
        granted.append("first")

    assert room.take("a", 10, first)
    assert not room.take("b", 10, first)
    assert not room.take("b", 4, lambda: granted.append("second"))
    room.forget("b", first)
    room.forget("nobody", first)
    room.give_back("a", 10)
    assert granted == ["second"]
    room.give_back("b", 4)
    assert room.take("c", 10, first), "all of it came back"
