"""Hashes of passwords, and what keeps them from taking the processor from everything else."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from argon2.exceptions import HashingError

from chalicelib.adapters.passwords import REST, Argon2Passwords, Clock
from chalicelib.contract import limits
from chalicelib.contract.errors import Overloaded
from chalicelib.settings import HashCost
from tests.support.waiting import wait_for

REAL = Clock(time.monotonic, time.sleep)
CHEAP = HashCost(memory_kib=64, rounds=1, lanes=1)


@pytest.fixture
def passwords() -> Argon2Passwords:
    return Argon2Passwords(CHEAP, REAL)


def test_a_hash_is_argon2id_at_the_cost_that_was_asked_for_and_salted(passwords: Argon2Passwords) -> None:
    one, two = passwords.hash("tide-oak-88"), passwords.hash("tide-oak-88")
    assert one.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert one != two
    assert passwords.matches("tide-oak-88", one)
    assert not passwords.matches("tide-oak-89", one)


@pytest.mark.parametrize("kept", [None, "", "tide-oak-88", "$argon2id$v=19$m=64,t=1,p=1$x$y", "$2b$12$abc"])
def test_nothing_matches_what_is_no_hash(passwords: Argon2Passwords, kept: str | None) -> None:
    assert not passwords.matches("tide-oak-88", kept)
    assert not passwords.matches("the password of nobody", kept)


def test_a_hash_of_another_cost_still_matches_and_is_outdated(passwords: Argon2Passwords) -> None:
    dearer = Argon2Passwords(HashCost(memory_kib=128, rounds=1, lanes=1), REAL)
    kept = passwords.hash("tide-oak-88")
    assert dearer.matches("tide-oak-88", kept)
    assert (dearer.outdated(kept), passwords.outdated(kept)) == (True, False)


def test_the_same_password_composed_in_another_way_matches(passwords: Argon2Passwords) -> None:
    assert passwords.matches("e\u0301tude pour piano", passwords.hash("\u00e9tude pour piano"))


def test_more_than_a_few_at_once_are_turned_away_and_may_come_again(passwords: Argon2Passwords) -> None:
    with ExitStack() as held:
        for _ in range(limits.HASHES_WAITING_MAX):
            held.enter_context(passwords.place())
        with pytest.raises(Overloaded) as raised, passwords.place():
            pass
        assert (raised.value.status, raised.value.headers("x")["Retry-After"]) == (503, "1")
    with passwords.place():
        pass


def test_hashes_are_computed_one_at_a_time_and_take_a_tenth_of_a_core_at_most() -> None:
    moments: list[float] = []
    rests: list[float] = []

    def monotonic() -> float:
        moments.append(len(moments) * 0.5)
        return moments[-1]

    passwords = Argon2Passwords(CHEAP, Clock(monotonic, rests.append))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: passwords.hash(f"tide-oak-{n}"), range(32)))
    wait_for(lambda: len(rests) == 32, what="the last rest")
    assert rests == [REST * 0.5] * 32
    assert 1 / (1 + REST) <= 0.1


def test_a_hash_that_fails_fails_for_its_caller_and_the_next_one_is_computed() -> None:
    passwords = Argon2Passwords(HashCost(memory_kib=64, rounds=1, lanes=99), REAL)
    with pytest.raises(HashingError):
        passwords.hash("tide-oak-88")
    with pytest.raises(HashingError):
        passwords.hash("tide-oak-88")
