"""Which tickets are good."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from chalicelib.contract.errors import DeadlineExceeded, ModelRocketError, NotMe, Unauthenticated
from chalicelib.contract.tokens import Ticket
from host_container.admission import Admitted, admit
from host_container.presence import Address, Presence

KEY = bytes(32)
NOW = 1_800_000_000.0
TICKET = Ticket("request", "tenant", "version", "boot", int((NOW + 10) * 1000))


def read(header: bytes) -> Admitted:
    return admit(header, key=KEY, boot_id="boot", unix=NOW)


def signed(**changes: object) -> bytes:
    return replace(TICKET, **changes).sign(KEY).encode()


def test_a_good_ticket_says_how_long_its_caller_waits() -> None:
    assert read(signed()) == Admitted("request", "tenant", "version", 10.0)


def test_nobody_waits_longer_than_the_budget() -> None:
    assert read(signed(deadline_ms=int((NOW + 100) * 1000))).seconds_left == 25


@pytest.mark.parametrize(
    ("header", "error"),
    [
        pytest.param(b"", Unauthenticated, id="no ticket"),
        pytest.param(b"a|b|c|d|1|00", Unauthenticated, id="not signed"),
        pytest.param(TICKET.sign(b"x" * 32).encode(), Unauthenticated, id="signed with another key"),
        pytest.param(signed() + "é".encode("latin-1"), Unauthenticated, id="not ASCII"),
        pytest.param(signed().replace(b"tenant", b"intruder"), Unauthenticated, id="changed"),
        pytest.param(signed(boot_id="other"), NotMe, id="f37 for another process"),
        pytest.param(signed(deadline_ms=int((NOW - 1) * 1000)), DeadlineExceeded, id="too late"),
        pytest.param(signed(deadline_ms=int((NOW - 200) * 1000)), Unauthenticated, id="f45 far too late"),
        pytest.param(signed(deadline_ms=int((NOW + 200) * 1000)), Unauthenticated, id="f45 far too early"),
    ],
)
def test_other_tickets_are_refused(header: bytes, error: type[ModelRocketError]) -> None:
    with pytest.raises(error):
        read(header)


def test_f29_a_process_that_was_stopped_comes_back_under_a_new_name() -> None:
    names = iter(["first", "second"])
    presence = Presence(Address("h", "127.0.0.1", 1), new_id=lambda: next(names), now=0)
    assert [presence.alive(now) for now in (1, 10, 20, 31, 32)] == [
        "first",
        "first",
        "first",
        "second",
        "second",
    ]
