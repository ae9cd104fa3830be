"""Permissions at the host's own door: remembered for a moment, never longer than promised."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest

from chalicelib.contract import limits
from chalicelib.contract.errors import (
    Conflict,
    DependencyFailed,
    ModelRocketError,
    NotFound,
    Overloaded,
    PermissionDenied,
    RateLimited,
    Unauthenticated,
)
from chalicelib.contract.hotstate import Asker, CredentialView, Wish
from chalicelib.contract.hotstate.admission import Limited, Refusal
from chalicelib.contract.limiting import AccountLimits
from chalicelib.contract.messages import ModelRecord, Scope, TokenKind, TokenRecord, VersionRecord
from host_container.access import Access, Found, Permitted
from host_container.running import Running
from tests.support.uploads import PASSPORT, SIGNATURE

VERSION = VersionRecord("v1", "m1", "alice", 1, "00" * 32, 10, "models/v1", SIGNATURE, PASSPORT)
INFER = (Scope.INFER,)
NOW = 1_000.0
TOKEN = TokenRecord("alice", TokenKind.MODEL_TOKEN, 1, "t1", INFER, model_id="m1")
MODEL = ModelRecord("m1", "alice", 1, active=VERSION)
ACCOUNT = AccountLimits.of(1_000, 256)
PERMITTED = Permitted(MODEL, TOKEN, Running("alice"))
GOOD = CredentialView(TOKEN, MODEL, projected=True, now=NOW)
GONE = CredentialView(None, MODEL, projected=True, now=NOW)


def seen(token: TokenRecord | None, model: ModelRecord | None, projected: bool) -> CredentialView:
    return CredentialView(token, model, projected, now=NOW)


def of(tenant: str, **changes: Any) -> TokenRecord:
    return msgspec.structs.replace(TOKEN, tenant=tenant, **changes)


@dataclass
class Stub:
    """Says what it is told to; `hold` keeps askers waiting. `now` is the clock."""

    view: CredentialView | None = GOOD
    asked: int = 0
    now: float = 100.0
    go: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.go.set()

    def credentials(self, wanted: Sequence[Wish], *, asker: Asker) -> list[CredentialView]:
        self.asked += 1
        self.go.wait(10)
        if self.view is None:
            raise DependencyFailed("away")
        return [replace(self.view, granted=wish.permits) for wish in wanted]


Scene = Callable[[Access, Stub], Awaitable[None]]


def play(scene: Scene, view: CredentialView | None = GOOD) -> None:
    async def main() -> None:
        stub = Stub(view)
        access = Access(stub, door="door", account=ACCOUNT, clock=lambda: stub.now)
        try:
            async with asyncio.timeout(20):
                await scene(access, stub)
        finally:
            stub.go.set()
            access.close()

    asyncio.run(main())


async def find(access: Access, sha256: str, model_id: str, *, caller: str) -> Permitted:
    """What a caller is told; raises what it is refused with."""
    told: asyncio.Future[Found] = asyncio.get_running_loop().create_future()

    def tell(found: Found) -> None:
        if not told.done():
            told.set_result(found)

    access.find(sha256, model_id, tell, caller=caller, cost=1)
    found = await told
    if isinstance(found, ModelRocketError):
        raise found
    return found


async def settled(access: Access) -> None:
    while access._asking:
        await asyncio.sleep(0.001)


def test_a_permission_is_asked_for_once_and_then_known() -> None:
    async def scene(access: Access, stub: Stub) -> None:
        assert access.admitted("sha", "m1", cost=1) is None
        assert await find(access, "sha", "m1", caller="c") == PERMITTED
        assert access.admitted("sha", "m1", cost=1) == PERMITTED
        assert access.admitted("other", "m1", cost=1) is None
        assert stub.asked == 1

    play(scene)


def test_however_many_wait_there_is_one_look_up() -> None:
    async def scene(access: Access, stub: Stub) -> None:
        stub.go.clear()
        waiting = [asyncio.create_task(find(access, "sha", "m1", caller="c")) for _ in range(50)]
        await asyncio.sleep(0.01)
        waiting[0].cancel()
        stub.go.set()
        assert await asyncio.gather(*waiting[1:]) == [PERMITTED] * 49
        assert stub.asked == 1

    play(scene)


@pytest.mark.parametrize(
    ("view", "error"),
    [
        pytest.param(GONE, Unauthenticated, id="unknown token"),
        pytest.param(seen(None, MODEL, False), DependencyFailed, id="unknown after a flush"),
        pytest.param(seen(TOKEN, None, False), DependencyFailed, id="model unknown after a flush"),
        pytest.param(seen(TOKEN, None, True), NotFound, id="unknown model"),
        pytest.param(
            seen(of("alice", model_id=None, revoked=True), MODEL, False),
            Unauthenticated,
            id="f73 revoked",
        ),
        pytest.param(
            seen(of("bob", model_id=None), MODEL, True),
            NotFound,
            id="foreign",
        ),
        pytest.param(
            seen(
                of("alice", model_id="m2"),
                MODEL,
                True,
            ),
            PermissionDenied,
            id="for another model",
        ),
        pytest.param(
            seen(TOKEN, ModelRecord("m1", "alice", 1), True),
            Conflict,
            id="no version is ready",
        ),
        pytest.param(None, DependencyFailed, id="the hot state is away"),
    ],
)
def test_refusals_are_told_and_not_remembered(
    view: CredentialView | None, error: type[ModelRocketError]
) -> None:
    async def scene(access: Access, stub: Stub) -> None:
        with pytest.raises(error) as raised:
            await find(access, "sha", "m1", caller="c")
        assert type(raised.value) is error
        stub.view = GOOD
        assert await find(access, "sha", "m1", caller="c") == PERMITTED

    play(scene, view)


def test_f73_a_revoked_token_is_refused_within_the_promise() -> None:
    async def scene(access: Access, stub: Stub) -> None:
        await find(access, "sha", "m1", caller="c")
        stub.view = GONE
        stub.now += limits.TOKEN_CACHE_SECONDS - 0.01
        assert access.admitted("sha", "m1", cost=1) == PERMITTED
        await settled(access)
        assert access.admitted("sha", "m1", cost=1) is None
        with pytest.raises(Unauthenticated):
            await find(access, "sha", "m1", caller="c")

    play(scene)


def test_f73_what_was_not_asked_again_is_not_believed_after_the_promise() -> None:
    async def scene(access: Access, stub: Stub) -> None:
        await find(access, "sha", "m1", caller="c")
        stub.now += limits.TOKEN_CACHE_SECONDS
        assert access.admitted("sha", "m1", cost=1) is None

    play(scene)


def test_who_is_busy_never_waits_for_a_renewal() -> None:
    async def scene(access: Access, stub: Stub) -> None:
        await find(access, "sha", "m1", caller="c")
        for _ in range(20):
            stub.now += limits.TOKEN_CACHE_SECONDS / 2
            assert access.admitted("sha", "m1", cost=1) == PERMITTED
            await settled(access)
        assert stub.asked == 21

    play(scene)


def test_while_the_hot_state_is_away_what_is_known_serves_for_a_minute() -> None:
    async def scene(access: Access, stub: Stub) -> None:
        await find(access, "sha", "m1", caller="c")
        stub.view = None
        began = stub.now
        while stub.now < began + limits.OUTAGE_CACHE_SECONDS - 2:
            stub.now += 1.5
            assert access.admitted("sha", "m1", cost=1) == PERMITTED
            await settled(access)
        with pytest.raises(DependencyFailed):
            await find(access, "unknown", "m1", caller="c")
        stub.now = began + limits.OUTAGE_CACHE_SECONDS
        assert access.admitted("sha", "m1", cost=1) is None
        with pytest.raises(DependencyFailed):
            await find(access, "sha", "m1", caller="c")

    play(scene)


def test_no_more_is_remembered_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PERMISSIONS_MAX", 3)

    async def scene(access: Access, stub: Stub) -> None:
        for number in range(5):
            await find(access, str(number), "m1", caller="c")
        assert [access.admitted(str(number), "m1", cost=1) for number in range(5)] == [
            None,
            None,
            *[PERMITTED] * 3,
        ]

    play(scene)


def test_no_more_is_asked_at_once_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOOKUPS_MAX", 3)

    async def scene(access: Access, stub: Stub) -> None:
        stub.go.clear()
        waiting = [asyncio.create_task(find(access, str(number), "m1", caller="c")) for number in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded):
            await find(access, "one more", "m1", caller="c")
        stub.go.set()
        assert await asyncio.gather(*waiting) == [PERMITTED] * 3

    play(scene)


def test_one_callers_unknown_tokens_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CALLER_LOOKUPS_MAX", 3)

    async def scene(access: Access, stub: Stub) -> None:
        for _ in range(2):  # what is over is not counted any more
            stub.go.clear()
            waiting = [asyncio.create_task(find(access, f"bad {one}", "m1", caller="c")) for one in range(3)]
            await asyncio.sleep(0.01)
            with pytest.raises(Overloaded):
                await find(access, "one more", "m1", caller="c")
            other = asyncio.create_task(find(access, "good", "m1", caller="d"))
            stub.go.set()
            assert await other == PERMITTED
            await asyncio.gather(*waiting)

    play(scene)


def test_what_is_wanted_meanwhile_is_one_question() -> None:
    async def scene(access: Access, stub: Stub) -> None:
        stub.go.clear()
        waiting = [asyncio.create_task(find(access, str(one), "m1", caller=str(one))) for one in range(50)]
        await asyncio.sleep(0.01)
        waiting += [asyncio.create_task(find(access, f"x{one}", "m1", caller="c")) for one in range(50)]
        await asyncio.sleep(0.01)
        stub.go.set()
        assert await asyncio.gather(*waiting) == [PERMITTED] * 100
        assert stub.asked == 2

    play(scene)


def test_a_defect_does_not_keep_a_token_from_being_asked_for_again() -> None:
    async def scene(access: Access, stub: Stub) -> None:
        stub.view, good = "no view", stub.view  # type: ignore[assignment]
        with pytest.raises(DependencyFailed):
            await find(access, "sha", "m1", caller="c")
        stub.view = good
        assert await find(access, "sha", "m1", caller="c") == PERMITTED

    play(scene)


# How often.


@dataclass
class Counting(Stub):
    """Grants what is asked for until there is no more; remembers what was asked for."""

    left: int = 1_000_000
    wishes: list[int] = field(default_factory=list)
    running: int = 0

    def credentials(self, wanted: Sequence[Wish], *, asker: Asker) -> list[CredentialView]:
        if self.view is None:
            raise DependencyFailed("away")
        for here, told in asker.running.values():
            self.running += here - told
        return [self._grant(wish) for wish in wanted]

    def _grant(self, wish: Wish) -> CredentialView:
        assert self.view is not None
        self.wishes.append(wish.permits)
        granted = min(wish.permits, self.left)
        if granted < wish.least and wish.permits:
            limited = Limited(Refusal.ACCOUNT, 2.0)
            return replace(self.view, limited=limited, running=self.running)
        self.left -= granted
        return replace(self.view, granted=granted, running=self.running)


def count(scene: Callable[[Access, Counting], Awaitable[None]], **changes: Any) -> None:
    async def main() -> None:
        stub = Counting(**changes)
        access = Access(stub, door="door", account=ACCOUNT, clock=lambda: stub.now)
        try:
            async with asyncio.timeout(20):
                await scene(access, stub)
        finally:
            access.close()

    asyncio.run(main())


async def use(access: Access) -> Permitted:
    return access.admitted("sha", "m1", cost=1) or await find(access, "sha", "m1", caller="c")


def test_a_block_is_what_a_tenth_of_a_second_needs() -> None:
    async def scene(access: Access, stub: Counting) -> None:
        for _ in range(3_000):
            await use(access)
            stub.now += 0.001
            await settled(access)
        steady = stub.wishes[-10:]
        assert all(95 <= permits <= 105 for permits in steady)
        assert len(stub.wishes) < 100, "not one look-up for each request"
        stub.wishes.clear()
        for _ in range(10):
            stub.now += 1
            await use(access)
            await settled(access)
        assert set(stub.wishes[-5:]) <= {0, 1}

    count(scene)


def test_a_block_is_no_more_than_a_tenth_of_a_burst() -> None:
    async def scene(access: Access, stub: Counting) -> None:
        for _ in range(3_000):
            await use(access)
            stub.now += 0.000_1
            await settled(access)
        assert max(stub.wishes) == ACCOUNT.rate.burst / 10

    count(scene)


def test_what_runs_has_been_counted_and_nothing_more_is_asked_for_before_its_time() -> None:
    async def scene(access: Access, stub: Counting) -> None:
        waiting = [asyncio.create_task(use(access)) for _ in range(30)]
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in found] == [Permitted] * 20 + [RateLimited] * 10
        asked = len(stub.wishes)
        for _ in range(100):
            with pytest.raises(RateLimited) as refused:
                access.admitted("sha", "m1", cost=1)
        assert (refused.value.retry_after, refused.value.details) == (2.0, {"limit": "account"})
        assert len(stub.wishes) == asked
        stub.now, stub.left = stub.now + 2, 5
        assert await use(access) == PERMITTED

    count(scene, left=20)


def test_permits_end_with_the_decision_that_they_came_with() -> None:
    async def scene(access: Access, stub: Counting) -> None:
        await use(access)
        stub.left = 0
        stub.now += limits.TOKEN_CACHE_SECONDS
        with pytest.raises(RateLimited):
            await use(access)

    count(scene)


def test_f01_while_the_hot_state_is_away_a_tenth_of_the_rate_is_let_through() -> None:
    async def scene(access: Access, stub: Counting) -> None:
        await use(access)
        stub.view = None
        answered = 0
        for _ in range(400):
            with contextlib.suppress(RateLimited):
                await use(access)
                answered += 1
            await settled(access)
        burst = ACCOUNT.rate.burst * limits.OUTAGE_RATE_SHARE
        assert burst <= answered <= burst + 2
        stub.view = GOOD
        stub.now += 2.0
        await use(access)
        await settled(access)
        assert [await use(access) for _ in range(400)] == [PERMITTED] * 400

    count(scene)


def test_no_more_is_under_way_than_the_cap_here_and_elsewhere() -> None:
    async def scene(access: Access, stub: Counting) -> None:
        running = (await use(access)).running
        running.here = ACCOUNT.concurrency_max - 101
        assert await use(access) == PERMITTED
        running.here += 1
        with pytest.raises(RateLimited) as refused:
            await use(access)
        assert refused.value.details == {"limit": "concurrency"}
        with pytest.raises(RateLimited):
            access.begin(replace(PERMITTED, running=running))
        assert running.here == ACCOUNT.concurrency_max - 100
        running.here = 0
        assert await use(access) == PERMITTED

    count(scene, running=100)
