"""What the store must do for what is told to everybody, whatever MongoDB it is given."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from chalicelib.records import PublishedDemo
from infra.local.embedded import EmbeddedServers
from tests.support.people import fresh_store


def demo(number: int) -> PublishedDemo:
    return PublishedDemo(tenant="alice", model_id="m1", token_id=f"t{number}", secret=f"secret {number}")


def test_a_demo_takes_the_place_of_the_one_that_was_seen_only(servers: EmbeddedServers) -> None:
    store = fresh_store(servers)
    assert store.demo() is None
    assert store.change_demo(None, None)
    assert store.change_demo(None, demo(1))
    assert not store.change_demo(None, demo(2))
    assert store.demo() == demo(1)
    assert store.change_demo(demo(1), demo(2))
    assert not store.change_demo(demo(1), demo(3))
    assert not store.change_demo(demo(1), None)
    assert store.demo() == demo(2)
    assert store.change_demo(demo(2), None)
    assert not store.change_demo(demo(2), None)
    assert store.demo() is None


def test_of_many_at_once_one_is_the_first(servers: EmbeddedServers) -> None:
    store = fresh_store(servers)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda number: store.change_demo(None, demo(number)), range(8)))
    assert taken.count(True) == 1
    assert store.demo() == demo(taken.index(True))
