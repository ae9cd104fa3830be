"""Permissions at the host's own door: remembered for a moment, never longer than promised."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
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
    Unauthenticated,
)
from chalicelib.contract.hotstate import CredentialView
from chalicelib.contract.messages import ModelRecord, Scope, TokenKind, TokenRecord, VersionRecord
from host_container.access import Access, Found, Permitted
from tests.support.uploads import PASSPORT, SIGNATURE

VERSION = VersionRecord("v1", "m1", "alice", 1, "00" * 32, 10, "models/v1", SIGNATURE, PASSPORT)
INFER = (Scope.INFER,)
NOW = 1_000.0
TOKEN = TokenRecord("alice", TokenKind.MODEL_TOKEN, 1, "t1", INFER, model_id="m1")
MODEL = ModelRecord("m1", "alice", 1, active=VERSION)
PERMITTED = Permitted(MODEL, TOKEN)
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

    def credentials(self, wanted: Sequence[tuple[str, str]]) -> list[CredentialView]:
        self.asked += 1
        self.go.wait(10)
        if self.view is None:
            raise DependencyFailed("away")
        return [self.view] * len(wanted)


Scene = Callable[[Access, Stub], Awaitable[None]]


def play(scene: Scene, view: CredentialView | None = GOOD) -> None:
    async def main() -> None:
        stub = Stub(view)
        access = Access(stub, clock=lambda: stub.now)
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

    access.find(sha256, model_id, tell, caller=caller)
    found = await told
    if isinstance(found, ModelRocketError):
        raise found
    return found


async def settled(access: Access) -> None:
    while access._asking:
        await asyncio.sleep(0.001)


def test_a_permission_is_asked_for_once_and_then_known() -> None:
    async def scene(access: Access, stub: Stub) -> None:
        assert access.known("sha", "m1") is None
        assert await find(access, "sha", "m1", caller="c") == PERMITTED
        assert access.known("sha", "m1") == PERMITTED
        assert access.known("other", "m1") is None
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
        assert access.known("sha", "m1") == PERMITTED
        await settled(access)
        assert access.known("sha", "m1") is None
        with pytest.raises(Unauthenticated):
            await find(access, "sha", "m1", caller="c")

    play(scene)


def test_f73_what_was_not_asked_again_is_not_believed_after_the_promise() -> None:
    async def scene(access: Access, stub: Stub) -> None:
        await find(access, "sha", "m1", caller="c")
        stub.now += limits.TOKEN_CACHE_SECONDS
        assert access.known("sha", "m1") is None

    play(scene)


def test_who_is_busy_never_waits_for_a_renewal() -> None:
    async def scene(access: Access, stub: Stub) -> None:
        await find(access, "sha", "m1", caller="c")
        for _ in range(20):
            stub.now += limits.TOKEN_CACHE_SECONDS / 2
            assert access.known("sha", "m1") == PERMITTED
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
            assert access.known("sha", "m1") == PERMITTED
            await settled(access)
        with pytest.raises(DependencyFailed):
            await find(access, "unknown", "m1", caller="c")
        stub.now = began + limits.OUTAGE_CACHE_SECONDS
        assert access.known("sha", "m1") is None
        with pytest.raises(DependencyFailed):
            await find(access, "sha", "m1", caller="c")

    play(scene)


def test_no_more_is_remembered_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PERMISSIONS_MAX", 3)

    async def scene(access: Access, stub: Stub) -> None:
        for number in range(5):
            await find(access, str(number), "m1", caller="c")
        assert [access.known(str(number), "m1") for number in range(5)] == [None, None, *[PERMITTED] * 3]

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
