"""What a stack is made of, as data: the steps in which it starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.local.process import ChildSpec


@dataclass(frozen=True, slots=True)
class Stage:
    """Children that start together and stop together."""

    children: tuple[ChildSpec, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """A program that must end with exit code 0 before the next step."""

    spec: ChildSpec


@dataclass(frozen=True, slots=True)
class Action:
    """Asked again and again until it says True."""

    name: str
    done: Callable[[], bool]
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Member:
    """One child of a pool, as it is now."""

    name: str
    ready: bool
    ending: bool


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a pool: the names of children to end, and children to start."""

    end: frozenset[str] = frozenset()
    start: tuple[ChildSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Pool:
    """Children that start together, and come and go from then on.

    `follow` is asked at every turn, and answers within a moment.
    """

    children: tuple[ChildSpec, ...]
    follow: Callable[[Sequence[Member]], Change]


Step = Stage | Pool | Command | Action
