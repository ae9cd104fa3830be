"""Hosts that are the tasks of one ECS service, on whatever its capacity provider runs them.

A host's id is its task's. The service's desired count is set, never changed by so many. ECS itself chooses
the tasks that go when the count is lowered; scale-in protection leaves it only those that may go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.errors import DependencyFailed
from chalicelib.contract.hotstate import HotState
from chalicelib.coordinator.state import CapacityView

_PROTECTED_MINUTES: Final = 10
"""Long enough for ECS to have chosen; deployments wait for tasks that are protected."""
_PROTECTED_AT_ONCE: Final = 10
"""Tasks in one call, as ECS takes them."""
_MISSING: Final = "MISSING"
_QUIET_SECONDS: Final = 10.0
"""After a call that failed, nothing is called: so long, then twice as long every time."""
_QUIET_SECONDS_MAX: Final = 160.0
_AWAY: Final = "The service that starts hosts does not answer. A later pass tries again."


def ecs_client(*, endpoint_url: str | None = None) -> Any:
    """Credentials and region come from botocore's own chain. The next pass is the retry."""
    config = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1})
    return botocore.session.Session().create_client("ecs", endpoint_url=endpoint_url, config=config)


class EcsCapacity:
    """Implements `ports.Capacity`. `clock`: monotonic seconds."""

    def __init__(
        self, client: Any, *, cluster: str, service: str, hot: HotState, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._where = {"cluster": cluster}
        self._service = service
        self._hot = hot
        self._quiet = _Quiet(clock)

    def status(self) -> CapacityView | None:
        """Its count of desired tasks is what it was told, also where it has started none of them."""
        try:
            self._hot.watch_boots()
            wish = self._hot.capacity_wish()
            with self._quiet.unless_failing():
                seen = self._described()
        except DependencyFailed:
            return None
        told = frozenset(wish.ending if wish else ())
        return CapacityView(
            desired=seen.desired,
            running=tuple(sorted(seen.tasks.keys() - told)),
            leaving=tuple(sorted(seen.tasks.keys() & told)),
        )

    def set(self, hosts: int, *, ending: Sequence[str], epoch: int) -> None:
        """Publishing the wish fails for an epoch that is over; it is the last thing before ECS is told."""
        with self._quiet.unless_failing():
            _, heartbeats = self._hot.hosts()
            seen = self._described()
            going = [arn for host_id, arn in seen.tasks.items() if host_id in ending]
            registered = {host.host_id for host in heartbeats}.difference(ending)
            staying = [arn for host_id, arn in seen.tasks.items() if host_id in registered]
            self._hot.publish_capacity(hosts, ending, epoch=epoch)
            self._change(seen.desired, max(hosts, len(staying)), staying=staying, going=going)

    def _change(self, desired: int, count: int, *, staying: Sequence[str], going: Sequence[str]) -> None:
        """Where fewer go than may, ECS is told to end those that it keeps, and starts others for them."""
        if count < desired:
            self._protect(staying, protected=True)
            self._protect(going, protected=False)
        if count != desired:
            self._client.update_service(**self._where, service=self._service, desiredCount=count)
            return
        for arn in going:
            self._client.stop_task(**self._where, task=arn, reason="The coordinator lets this host go.")

    def _protect(self, arns: Sequence[str], *, protected: bool) -> None:
        """Raises DependencyFailed where a task that is there was not: then the count must not be lowered."""
        lasting = {"expiresInMinutes": _PROTECTED_MINUTES} if protected else {}
        for first in range(0, len(arns), _PROTECTED_AT_ONCE):
            some = list(arns[first : first + _PROTECTED_AT_ONCE])
            reply = self._client.update_task_protection(
                **self._where, tasks=some, protectionEnabled=protected, **lasting
            )
            if any(failure.get("reason") != _MISSING for failure in reply.get("failures", ())):
                raise DependencyFailed(_AWAY)

    def _described(self) -> _Service:
        reply = self._client.describe_services(**self._where, services=[self._service])
        if not reply["services"]:
            raise DependencyFailed(_AWAY)
        pages = self._client.get_paginator("list_tasks").paginate(
            **self._where, serviceName=self._service, desiredStatus="RUNNING"
        )
        arns = [arn for page in pages for arn in page["taskArns"]]
        return _Service(
            desired=reply["services"][0]["desiredCount"], tasks={arn.rpartition("/")[2]: arn for arn in arns}
        )


@dataclass(frozen=True, slots=True)
class _Service:
    """As ECS tells. `tasks`: ARNs by host id, of those that run or start."""

    desired: int
    tasks: dict[str, str]


class _Quiet:
    """Leaves a service alone that fails or throttles."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until = 0.0
        self._seconds = _QUIET_SECONDS

    @contextmanager
    def unless_failing(self) -> Iterator[None]:
        """Raises DependencyFailed, at once where it failed a moment ago."""
        if self._clock() < self._until:
            raise DependencyFailed(_AWAY)
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            self._until = self._clock() + self._seconds
            self._seconds = min(2 * self._seconds, _QUIET_SECONDS_MAX)
            raise DependencyFailed(_AWAY) from error
        self._seconds = _QUIET_SECONDS
