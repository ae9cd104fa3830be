"""What an Idempotency-Key stands for."""

from __future__ import annotations

import pytest

from chalicelib.contract import limits
from chalicelib.contract.errors import Conflict
from chalicelib.idempotency import Attempts
from chalicelib.records import Answered
from tests.support.attempts import KeptAttempts, ticking


def attempts(*, step_seconds: float = 0) -> Attempts:
    return Attempts(store=KeptAttempts(), secret=b"secret", now=ticking(step_seconds))


def test_the_seed_is_the_tenants_own_the_keys_own_and_the_requests_own() -> None:
    of = attempts()
    seeds = {
        of.begin(tenant, key, request=b"", keep_body=True).seed
        for tenant, key in [("alice", "a"), ("alice", "b"), ("bob", "a")]
    }
    other = Attempts(store=KeptAttempts(), secret=b"other", now=ticking(0))
    seeds.add(other.begin("alice", "a", request=b"", keep_body=True).seed)
    seeds.add(attempts().begin("alice", "a", request=b"x", keep_body=True).seed)
    assert len(seeds) == 5


def test_one_tenants_key_does_not_meet_anothers() -> None:
    of = attempts()
    with of.begin("alice", "k", request=b"1", keep_body=True) as attempt:
        attempt.succeed(200, "alice's")
    assert of.begin("bob", "k", request=b"2", keep_body=True).answered is None


def test_a_request_under_way_is_not_done_twice() -> None:
    of = attempts(step_seconds=1)
    of.begin("alice", "k", request=b"1", keep_body=True)
    with pytest.raises(Conflict) as raised:
        of.begin("alice", "k", request=b"1", keep_body=True)
    assert raised.value.retry_after == 1


def test_a_request_that_died_is_done_again_from_the_same_seed() -> None:
    of = attempts(step_seconds=limits.IDEMPOTENCY_RUNNING_SECONDS + 1)
    died = of.begin("alice", "k", request=b"1", keep_body=True)
    again = of.begin("alice", "k", request=b"1", keep_body=True)
    assert (again.answered, again.seed) == (None, died.seed)


def test_who_died_and_comes_back_frees_nothing_of_who_took_over() -> None:
    of = attempts(step_seconds=limits.IDEMPOTENCY_RUNNING_SECONDS + 1)
    died = of.begin("alice", "k", request=b"1", keep_body=True)
    with of.begin("alice", "k", request=b"1", keep_body=True) as again:
        with pytest.raises(ZeroDivisionError), died:
            raise ZeroDivisionError
        again.succeed(201, "made")
    assert of.begin("alice", "k", request=b"1", keep_body=True).answered == Answered(201, "made")


def test_f56_of_many_that_come_back_at_once_one_takes_over() -> None:
    store = KeptAttempts()
    of = Attempts(store=store, secret=b"secret", now=ticking(limits.IDEMPOTENCY_RUNNING_SECONDS + 1))
    of.begin("alice", "k", request=b"1", keep_body=True)
    store.take_attempt = lambda seen, record: False  # type: ignore[method-assign]
    with pytest.raises(Conflict):
        of.begin("alice", "k", request=b"1", keep_body=True)
