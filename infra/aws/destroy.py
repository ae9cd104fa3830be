"""`python -m infra.aws destroy`: what was deployed goes, in the order in which nothing is in its way.

    site, API, coordinator → hosts, machines → their stack, stores, network → storage

CloudFormation deletes what it finds of our stacks, whichever release made them: neither sources nor
parameters are needed. What is meant to stay stays, unless it is given up too. What has died halfway goes on
when it is called again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from infra.aws import emptying, hostless, names
from infra.aws.cloud import CannotGoOn, Clock, Cloud

_STACK_SECONDS: Final = 5400.0
"""CloudFront and the network interfaces of functions take their time."""
_EVERY_SECONDS: Final = 10.0
_DELETED: Final = "DELETE_COMPLETE"
_FAILED: Final = "DELETE_FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroying:
    """`everything`: also what would stay. `say`: a line of progress."""

    cloud: Cloud
    clock: Clock
    say: Callable[[str], None]
    everything: bool


def standing(cloud: Cloud) -> tuple[str, ...]:
    """Our stacks that are there, each after those that stand on it."""
    return tuple(name for name in reversed(names.ALL) if cloud.stack(name) is not None)


def destroy(destroying: Destroying) -> Sequence[str]:
    """What of it stays, as AWS calls it. Raises CannotGoOn, AwsError."""
    cloud = destroying.cloud
    stays: Sequence[str] = []
    for name in standing(cloud):
        if name == names.HOSTS:
            destroying.say("Hosts finish what they do and end, then their machines")
            hostless.let_go(cloud, name, destroying.clock)
        if name == names.STORAGE:
            stays = _give_up_or_keep(destroying)
        destroying.say(name)
        _delete(destroying, name)
    return stays


def _give_up_or_keep(destroying: Destroying) -> Sequence[str]:
    """What stays of what is to be kept."""
    cloud = destroying.cloud
    clusters = _clusters(cloud)
    if destroying.everything:
        destroying.say("Models, logs of access, the last backup, the key")
        emptying.delete_snapshots(cloud, clusters)
        emptying.empty(cloud, names.STORAGE)
        emptying.forget_key(cloud, names.STORAGE)
        return []
    return [
        *(f"bucket {one}" for one in cloud.resources(names.STORAGE, "AWS::S3::Bucket")),
        *(f"key {one}" for one in cloud.resources(names.STORAGE, "AWS::KMS::Key")),
        *(f"snapshot {one}" for one in emptying.snapshots(cloud, clusters)),
    ]


def _clusters(cloud: Cloud) -> list[str]:
    """Of this deployment: their stack is gone by now, for longer where this was interrupted since."""
    storage = cloud.stack(names.STORAGE)
    if storage is None:
        return []
    return cloud.had(names.DATA, "AWS::DocDB::DBCluster", since=storage.created)


def _delete(destroying: Destroying, name: str) -> None:
    cloud = destroying.cloud
    cloud.client("cloudformation").delete_stack(StackName=name)

    def ended() -> bool:
        state = cloud.stack(name)
        return state is None or state.status in (_DELETED, _FAILED)

    destroying.clock.wait_until(
        ended, what=f"{name} is still being deleted", seconds=_STACK_SECONDS, every=_EVERY_SECONDS
    )
    state = cloud.stack(name)
    if state is not None and state.status == _FAILED:
        reasons = (
            "\n".join(f"  {reason}" for reason in dict.fromkeys(cloud.failures(name))) or f"  {state.reason}"
        )
        raise CannotGoOn(
            f"{name} could not be deleted:\n{reasons}\nMost of it takes time alone, such as functions' "
            "network interfaces (up to an hour). Then call the same command again: it goes on from here."
        )
