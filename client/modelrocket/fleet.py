"""The hosts a platform runs on, what its coordinator decided, and where a model is loaded and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from modelrocket.account import Account
from modelrocket.models import find_model

DECISIONS_MAX = 20
"""Unless more are asked for."""
_PAGE = 100


@dataclass(frozen=True)
class Host:
    """One host.

    heard_of: fresh, suspect or dead, by how long it has been silent.
    slots: requests that it runs well at once; in_flight: those it has.
    leaving: no model comes to it any more.
    """

    id: str
    state: str
    heard_of: str
    silent_seconds: float
    slots: float
    in_flight: int
    memory_bytes_max: int
    memory_bytes_used: int
    versions_assigned: int
    versions_ready: int
    leaving: bool


@dataclass(frozen=True)
class FleetState:
    """All hosts, and how many there should be (None where nobody starts hosts), with the reasons.

    starting, ending: ids of hosts on the way here, or away.
    """

    hosts: tuple[Host, ...]
    wanted: int | None
    starting: tuple[str, ...]
    ending: tuple[str, ...]
    boot_seconds: float | None
    decided_at: str | None
    why: tuple[str, ...]


@dataclass(frozen=True)
class Decision:
    """What was done at one time (`did`, in words), and why."""

    number: int
    at: str
    did: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Sharing:
    """Who shares so many hosts with a model: your own by name, and how many models of others."""

    hosts: int
    own: tuple[str, ...]
    others: int


@dataclass(frozen=True)
class Placed:
    """Where a model is, why, and with whom."""

    model: str
    hosts: tuple[str, ...]
    decisions: tuple[Decision, ...]
    sharing: tuple[Sharing, ...]


class Fleet:
    """Of the account's platform. `state` and `decisions` are for operators."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def state(self) -> FleetState:
        told = self._account.ask("GET", "/v1/fleet")
        return FleetState(
            hosts=tuple(
                Host(**{name: one[name] for name in Host.__dataclass_fields__}) for one in told["hosts"]
            ),
            wanted=told["wanted"],
            starting=tuple(told["starting"]),
            ending=tuple(told["ending"]),
            boot_seconds=told["boot_seconds"],
            decided_at=told["decided_at"],
            why=tuple(reason["text"] for reason in told["why"]),
        )

    def decisions(self, *, entries: int = DECISIONS_MAX) -> tuple[Decision, ...]:
        """The latest that changed something, newest first: so many at most."""
        pages = self._pages("/v1/fleet/decisions", entries)
        return tuple(_decision(told) for page in pages for told in page["decisions"])

    def explain(self, model: str, *, entries: int = DECISIONS_MAX) -> Placed:
        """Where one of your models is, why there, and which models share its hosts. By id or name."""
        found = find_model(self._account, model)
        pages = tuple(self._pages(f"/v1/models/{found.id}/decisions", entries))
        radius = self._account.ask("GET", f"/v1/models/{found.id}/blast-radius")
        decisions = (
            Decision(one["number"], one["at"], (), tuple(one["reasons"]))
            for page in pages
            for one in page["decisions"]
        )
        sharing = (Sharing(one["hosts"], tuple(one["own"]), one["others"]) for one in radius["sharing"])
        return Placed(found.name, tuple(pages[0]["hosts"]), tuple(decisions), tuple(sharing))

    def pin(self, model: str, pinned: bool = True) -> None:
        """Keep one of your models loaded, used or not; or no longer. By id or name."""
        found = find_model(self._account, model)
        self._account.ask("PUT", f"/v1/models/{found.id}/pinned", {"pinned": pinned})

    def _pages(self, path: str, entries: int) -> Iterator[Mapping[str, Any]]:
        """At least one, until there are so many decisions or no more."""
        before: int | None = None
        while True:
            page = self._account.ask("GET", _path(path, {"limit": min(_PAGE, entries), "before": before}))
            yield page
            entries, before = entries - len(page["decisions"]), page["next"]
            if entries <= 0 or before is None:
                return


def _decision(told: Mapping[str, Any]) -> Decision:
    return Decision(
        number=told["number"],
        at=told["at"],
        did=tuple(_did(one) for one in told["did"]),
        reasons=tuple(reason["text"] for reason in told["reasons"]),
    )


def _did(told: Mapping[str, Any]) -> str:
    if told["kind"] == "assign":
        return f"{told['host_id']} is to hold {_counted(told['versions'], 'version')}"
    if told["kind"] == "forget":
        return f"{told['host_id']} is dead"
    ending = f", without {', '.join(told['ending'])}" if told["ending"] else ""
    return f"{_counted(told['hosts'], 'host')} wanted{ending}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _path(path: str, asked: Mapping[str, Any]) -> str:
    return f"{path}?{urlencode({name: value for name, value in asked.items() if value is not None})}"
