"""A model as its owner sees it: versions, traffic, reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from modelrocket.account import Account
from modelrocket.errors import NotFound, Refusal, Timeout, api_error
from modelrocket.report import Report, read_report
from modelrocket.rollout import Candidate, Limits, Traffic, read_candidate, read_traffic
from modelrocket.steps import Flow

ACTIVATE_SECONDS = 150.0
"""The server lets a version take over after two minutes at the latest."""
_POLL_SECONDS = 0.5
_ALL = 100


@dataclass(frozen=True)
class Version:
    """One upload of a model.

    state: uploading, preparing, ready or failed; `stage` says where the preparation stands.
    active, activating: it answers; it will as soon as hosts have loaded it.
    reason: why it failed.
    """

    number: int
    state: str
    stage: str | None
    active: bool
    activating: bool
    reason: str | None
    bytes: int
    sha256: str
    framework: str
    created_at: str


@dataclass(frozen=True)
class Model:
    """A model as the server listed it; its methods ask again.

    active: the number of the version that answers; previous: what a rollback goes to.
    candidate: the version on trial beside the active one.

    Every method raises `NotFound` once the model is gone, and `ApiError`, `ConnectionFailed` or `Timeout`.
    """

    id: str
    name: str
    active: int | None
    previous: int | None
    activating: int | None
    candidate: Candidate | None
    created_at: str
    url: str
    account: Account = field(repr=False, compare=False)

    def versions(self) -> tuple[Version, ...]:
        """All that were not deleted, the oldest first."""
        return tuple(_version(told) for told in self._versions())

    def report(self, version: int | None = None) -> Report:
        """What is known of a version: by default the active one, else the newest. Raises `NotFound`."""
        number = version if version is not None else self.traffic().active or self._newest()
        return read_report(self.account.ask("GET", f"{self._path}/versions/{number}/report"))

    def traffic(self) -> Traffic:
        """Who answers now, what was counted of a candidate, and what changed when and why."""
        return read_traffic(self.account.ask("GET", f"{self._path}/traffic"))

    def set_traffic(
        self, version: int, *, percent: int = 0, mirror_percent: int = 0, limits: Limits | None = None
    ) -> Traffic:
        """Put a ready version on trial beside the active one.

        `percent` of callers (0 to 99) are answered by it. `mirror_percent` of requests are run by both and
        compared, and the active version's answer is returned. Beyond its limits it goes away by itself.
        A candidate that is there already is replaced, and counting begins anew.

        Raises `InvalidRequest`, `NotFound`, or `Conflict` where the version is not ready, is the active one,
        or does not take what the active one takes.
        """
        split = {"version": version, "percent": percent, "mirror_percent": mirror_percent}
        chosen = limits.chosen() if limits else {}
        self.account.ask("PUT", f"{self._path}/traffic", split | ({"limits": chosen} if chosen else {}))
        return self.traffic()

    def clear_traffic(self) -> Traffic:
        """Take away the candidate, else the version that is about to take over; the active one stays."""
        now = self.traffic()
        number = now.candidate.version if now.candidate else now.activating
        return now if number is None else self.set_traffic(number)

    def activate(self, version: int, *, wait_seconds: float = ACTIVATE_SECONDS) -> Traffic:
        """Give a ready version all the traffic, and wait until it has it.

        Until hosts have loaded it the old one answers; no request fails. Raises `NotFound`, `Conflict` where
        it is not ready or something else took its place, `Timeout` where it still waits (the server goes on).
        """
        budget = self.account.budget(wait_seconds)
        now = self.set_traffic(version, percent=_ALL)
        while now.active != version:
            if now.activating != version:
                told = f"Version {version} of {self.name} was overtaken: {_who(now)}."
                raise api_error(Refusal(code="conflict", message=told, status=409))
            if not budget.wait(_POLL_SECONDS):
                raise Timeout(
                    f"Version {version} of {self.name} is not loaded after {wait_seconds:.0f} s. "
                    "It takes over as soon as it is; until then the old one answers."
                )
            now = self.traffic()
        return now

    def rollback(self, version: int | None = None) -> Traffic:
        """Go back at once: without a version the candidate goes, or the version before comes back.

        Naming the version makes it safe to repeat. Raises `Conflict` where there is nothing to go back to.
        """
        body = {} if version is None else {"version": version}
        self.account.ask("POST", f"{self._path}/rollback", body, repeatable=version is not None)
        return self.traffic()

    def delete(self, version: int | None = None) -> None:
        """Delete a version that has no traffic, or without one the model, its tokens and all its versions.

        What is in flight is answered. Raises `NotFound`, or `Conflict` where the version has traffic.
        """
        path = self._path if version is None else f"{self._path}/versions/{version}"
        self.account.ask("DELETE", path)

    @property
    def _path(self) -> str:
        return f"/v1/models/{self.id}"

    def _versions(self) -> Iterator[Mapping[str, Any]]:
        after = 0
        while page := self.account.ask("GET", f"{self._path}/versions?after={after}")["versions"]:
            yield from page
            after = page[-1]["number"]

    def _newest(self) -> int:
        numbers = [version.number for version in self.versions()]
        if not numbers:
            told = f"{self.name} has no version yet: upload one."
            raise api_error(Refusal(code="not_found", message=told, status=404))
        return numbers[-1]


def all_models(account: Account) -> Iterator[Model]:
    """Every model of the account, page by page."""
    following = ""
    while following is not None:
        page = account.ask("GET", _page(following))
        yield from (_model(told, account) for told in page["models"])
        following = page["next"]


def find_model(account: Account, model: str) -> Model:
    """By id or name. Raises `NotFound`."""
    return account.run(finding(account, model))


def finding(account: Account, model: str) -> Flow[Model]:
    """`find_model` as a flow."""
    if is_id(model):
        with suppress(NotFound):  # a name may look like an id
            return _model((yield from account.asking(f"/v1/models/{model}")), account)
    following: str | None = ""
    while following is not None:
        page = yield from account.asking(_page(following))
        for told in page["models"]:
            if told["name"] == model:
                return _model(told, account)
        following = page["next"]
    told = f'There is no model "{model}" here. `modelrocket models` lists those there are.'
    raise api_error(Refusal(code="not_found", message=told, status=404))


def _page(following: str) -> str:
    return f"/v1/models?after={following}" if following else "/v1/models"


def is_id(text: str) -> bool:
    """It has the form of a model's id."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _model(told: Mapping[str, Any], account: Account) -> Model:
    return Model(
        id=told["id"],
        name=told["name"],
        active=told["active"],
        previous=told.get("previous"),
        activating=told.get("activating"),
        candidate=read_candidate(told.get("candidate")),
        created_at=told["created_at"],
        url=told["url"],
        account=account,
    )


def _version(told: Mapping[str, Any]) -> Version:
    return Version(**{name: told[name] for name in Version.__dataclass_fields__})


def _who(traffic: Traffic) -> str:
    following = f", and version {traffic.activating} is about to" if traffic.activating else ""
    return f"version {traffic.active} answers{following}"
