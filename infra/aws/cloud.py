"""One AWS account in one region, as deploying and destroying look at it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_CALL_SECONDS_MAX: Final = 90
"""A function may take a minute before it answers."""
_REGION_DEFAULT: Final = "us-east-1"
AwsError: Final = (BotoCoreError, ClientError)


class CannotGoOn(Exception):
    """Says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds."""

    monotonic: Callable[[], float]
    sleep: Callable[[float], None]

    def wait_until(self, done: Callable[[], bool], *, what: str, seconds: float, every: float) -> None:
        """Raises CannotGoOn."""
        end = self.monotonic() + seconds
        while not done():
            if self.monotonic() >= end:
                raise CannotGoOn(
                    f"After {seconds / 60:.0f} minutes {what}. Look at it in AWS's console, and call the "
                    "same command again: it goes on from here."
                )
            self.sleep(every)


@dataclass(frozen=True, slots=True)
class StackState:
    """`status`: as CloudFormation says it. `outputs`: by their names."""

    name: str
    status: str
    reason: str
    outputs: Mapping[str, str]
    created: datetime


@dataclass(frozen=True, slots=True)
class Answered:
    """`error`: what kind of it a function has ended with; empty where it has answered."""

    error: str
    value: Any


class Cloud:
    """Credentials and everything else that a client needs come from botocore's own chain."""

    def __init__(self, session: Any, region: str) -> None:
        self.region = region
        self._session = session
        self.client = cache(self._client)

    def _client(self, service: str, region: str | None = None) -> Any:
        config = Config(
            connect_timeout=10,
            read_timeout=_CALL_SECONDS_MAX,
            retries={"mode": "standard", "total_max_attempts": 5},
        )
        return self._session.create_client(service, region_name=region or self.region, config=config)

    def identity(self) -> tuple[str, str]:
        """The account's id, and who asks. Raises AwsError."""
        found = self.client("sts").get_caller_identity()
        return found["Account"], found["Arn"]

    def stack(self, name: str) -> StackState | None:
        """None where there is none."""
        try:
            (found,) = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        outputs = {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", ())}
        reason = found.get("StackStatusReason", "")
        return StackState(name, found["StackStatus"], reason, outputs, found["CreationTime"])

    def resources(self, stack: str, kind: str) -> list[str]:
        """The physical ids of a stack's resources of this type that are there."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources")
        return [
            one["PhysicalResourceId"]
            for page in pages.paginate(StackName=stack)
            for one in page["StackResourceSummaries"]
            if one["ResourceType"] == kind
            and one["ResourceStatus"] != "DELETE_COMPLETE"
            and one.get("PhysicalResourceId")  # none yet, where it was not made
        ]

    def had(self, stack: str, kind: str, *, since: datetime) -> list[str]:
        """The same of every stack of this name that was created since then, though it be gone by now.

        AWS remembers a stack for ninety days, and in its events the ids of what is deleted.
        """
        cloudformation = self.client("cloudformation")
        stacks = [
            one["StackId"]
            for page in cloudformation.get_paginator("list_stacks").paginate()
            for one in page["StackSummaries"]
            if one["StackName"] == stack and one["CreationTime"] >= since
        ]
        events = cloudformation.get_paginator("describe_stack_events")
        found = (
            event["PhysicalResourceId"]
            for each in stacks
            for page in events.paginate(StackName=each)
            for event in page["StackEvents"]
            if event["ResourceType"] == kind and event.get("PhysicalResourceId")
        )
        return list(dict.fromkeys(found))

    def failures(self, stack: str) -> Iterator[str]:
        """Why resources of a stack could not be deleted, the newest first."""
        for event in self.client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]:
            if event["ResourceStatus"] == "DELETE_FAILED" and event["ResourceType"] != _A_STACK:
                yield f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"

    def invoke(self, function: str, payload: bytes) -> Answered:
        """Raises AwsError."""
        answer = self.client("lambda").invoke(FunctionName=function, Payload=payload)
        value = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            return Answered(value.get("errorType", "unknown"), value.get("errorMessage", ""))
        return Answered("", value)


_A_STACK: Final = "AWS::CloudFormation::Stack"


def here(region: str | None) -> Cloud:
    """Where it is said, else where AWS's own configuration says; else in us-east-1."""
    session = botocore.session.Session()
    return Cloud(session, region or session.get_config_variable("region") or _REGION_DEFAULT)
