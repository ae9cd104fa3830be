"""Which hosts hold which models: copies stay where they are, and few come or go at a time.

    first copies    of models that are needed and have none: at once, however many
    shed, shrink    what is not needed on a full host; copies that a model has grown out of
    grow            copies that the load of a model needs
    relieve         copies elsewhere of what weighs most on a host with too much load or memory
    spare           copies in case a host fails, and of what nobody asked for, while there is room

All but the first draw on one allowance. A host that joins takes some of what is added, and no copy moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from math import ceil
from typing import Final

from chalicelib.coordinator.copies import PlacementPolicy, asked_for, used_again
from chalicelib.coordinator.layout import Layout
from chalicelib.coordinator.reasons import FLEET, Reason, another_copy, counted, duration
from chalicelib.coordinator.state import ModelMemory

_REASONS_MAX: Final = 100
"""For first copies: after a loss there may be one for every model."""
_TRIED: Final = 4
"""Models looked at for every copy that may still be added: for some there is no room."""


@dataclass(frozen=True, slots=True)
class Before:
    """What is known of the time before.

    Attributes:
        uses: of each model, the use remembered after this tick; its copies are those after the last one.
        began_at: since when anything is remembered.
        may_drop: whether enough is known to take copies away.
    """

    now: float
    uses: Sequence[ModelMemory | None]
    began_at: float
    may_drop: bool


class Placement:
    """Changes a layout. `changes` is what is left of the allowance; `reasons` say what was done."""

    def __init__(self, layout: Layout, before: Before, policy: PlacementPolicy, *, changes: int) -> None:
        self._layout = layout
        self._before = before
        self._policy = policy
        self._since = [self._unchanged_since(model) for model in range(len(layout.models))]
        self.changes = changes
        self.reasons: list[Reason] = []

    def run(self) -> None:
        self._first_copies()
        if self._before.may_drop:
            self._shed()
            self._shrink()
        self._grow()
        self._relieve_load()
        self._relieve_memory()
        self._spare()

    def _first_copies(self) -> None:
        layout, added = self._layout, 0
        for model, need in enumerate(layout.needs):
            if need.copies and not layout.copies[model]:
                host = layout.best(model)
                if host is None:
                    return
                added += 1
                if added <= _REASONS_MAX:
                    self._tell_added(model, host, self._why_needed(model))
                layout.add(model, host)
        if added > _REASONS_MAX:
            more = counted(added - _REASONS_MAX, "other model")
            self.reasons.append(Reason(FLEET, f"A first copy of {more} is placed as well."))

    def _shed(self) -> None:
        """The least recently used first, over all hosts that are full."""
        layout = self._layout
        surplus = sorted(
            (layout.needs[model].used_at, model, host)
            for host, models in self._models_on(layout.is_full).items()
            for model in models
            if self._settled(model, self._policy.leave_seconds_max)
        )
        for _, model, host in surplus:
            if not self.changes:
                return
            if layout.is_full(host) and len(layout.copies[model]) > self._least(model):
                memory = f"the memory there is full ({layout.memory_percent(host):.0f} %)"
                self._drop(model, host, f"{memory}, and {self._why_dispensable(model)}")

    def _shrink(self) -> None:
        layout, policy = self._layout, self._policy
        for model, copies in enumerate(layout.copies):
            if len(copies) <= policy.copies_plentiful:
                continue
            if len(copies) > layout.needs[model].wanted and self._settled(model, policy.shrink_hold_seconds):
                least = max(layout.needs[model].wanted, policy.copies_plentiful, self._least(model))
                self._shrink_one(model, least)

    def _shrink_one(self, model: int, least: int) -> None:
        layout = self._layout
        held = duration(self._before.now - self._since[model])
        while self.changes and len(layout.copies[model]) > least:
            host = layout.worst(model)
            if host is None or not layout.is_relief_over(model, host):
                return
            peak = (
                f"{layout.needs[model].peak:.2g} requests at once need no more than {counted(least, 'host')}"
            )
            self._drop(model, host, f"{peak}, and nothing changed for {held}")

    def _least(self, model: int) -> int:
        """Copies that would be busy by no more than `shrink_ratio` of what they are planned for; none of what
        nobody needs."""
        layout, policy = self._layout, self._policy
        need = layout.needs[model]
        if not need.copies:
            return 0
        slots = sum([host.slots for host in layout.hosts]) / len(layout.hosts)
        carried = policy.shrink_ratio * policy.utilisation * slots
        return max(need.copies, ceil(need.peak / carried) if carried else len(layout.copies[model]))

    def _grow(self) -> None:
        """The busiest copies first."""
        layout = self._layout
        short = [at for at, need in enumerate(layout.needs) if need.copies > 1 and layout.missing(at) > 0]
        for model in sorted(short, key=lambda at: (-layout.share(at), at)):
            while self.changes and layout.missing(model) > 0:
                host = layout.best(model)
                if host is None:
                    break
                self._add(model, host, f"it has {layout.needs[model].peak:.3g} requests at once")

    def _relieve_load(self) -> None:
        layout, tries = self._layout, _TRIED * self.changes
        for host, models in self._models_on(layout.is_overloaded).items():
            load = (
                f"{layout.host_id(host)} has {layout.load[host]:.3g} requests at once, more than its share."
            )
            told = len(self.reasons)
            for model in sorted(models, key=lambda at: (-layout.share(at), at))[:tries]:
                if not self.changes or not layout.is_overloaded(host):
                    break
                tries -= 1
                other = layout.relieving(model)
                if other is not None:
                    self._add(model, other, f"{layout.host_id(host)} has more than its share of the requests")
            if len(self.reasons) > told:  # by itself: how busy a host is concerns no owner of one model
                self.reasons.insert(told, Reason(layout.host_id(host), load))

    def _relieve_memory(self) -> None:
        """What is needed on a full host is copied first; later it is shed there."""
        layout, tries = self._layout, _TRIED * self.changes
        for host, models in self._models_on(layout.is_full).items():
            kept = [at for at in models if len(layout.copies[at]) <= self._least(at)]
            going = sum([layout.sizes[at] for at in models]) - sum([layout.sizes[at] for at in kept])
            for model in sorted(kept, key=lambda at: (layout.needs[at].used_at, at))[:tries]:
                if not self.changes or not layout.is_full(host, without_bytes=going):
                    break
                tries -= 1
                other = layout.roomy(model)
                if other is not None:
                    going += layout.sizes[model]
                    memory = f"{layout.host_id(host)} is full ({layout.memory_percent(host):.0f} % of memory)"
                    self._add(model, other, f"{memory}, and here is room")

    def _spare(self) -> None:
        """In case a host fails, then what has no copy, then second ones; the most recently used first."""
        layout = self._layout
        for rank, _, model in nsmallest(_TRIED * self.changes, self._lacking()):
            if not self.changes:
                return
            if rank == 0 or layout.is_plentiful(layout.sizes[model]):
                host = layout.roomy(model)
                if host is not None:
                    room = f"there is room ({layout.memory_percent(host):.0f} % of its memory is taken)"
                    self._add(model, host, f"{self._why_spare(model)}{room}")

    def _lacking(self) -> Iterator[tuple[int, float, int]]:
        """Rank, use and model of what could do with a copy more."""
        layout = self._layout
        most = min(self._policy.copies_plentiful, len(layout.hosts))
        plentiful = layout.is_plentiful(0)
        for model, (copies, need) in enumerate(zip(layout.copies, layout.needs, strict=True)):
            if len(copies) < min(need.wanted, len(layout.hosts)):
                yield 0, -need.used_at, model
            elif plentiful and len(copies) < most:
                yield 1 + bool(copies), -need.used_at, model

    def _models_on(self, chosen: Callable[[int], bool]) -> dict[int, list[int]]:
        """The models of each of the hosts that can be rid of something."""
        layout = self._layout
        found: dict[int, list[int]] = {
            host: [] for host in range(len(layout.hosts)) if layout.is_open(host) and chosen(host)
        }
        if found:
            for model, copies in enumerate(layout.copies):
                for host in copies:
                    if host in found:
                        found[host].append(model)
        return found

    def _unchanged_since(self, model: int) -> float:
        use = self._before.uses[model]
        if use is None:
            return self._before.began_at
        return use.since if use.copies == len(self._layout.copies[model]) else self._before.now

    def _settled(self, model: int, seconds: float) -> bool:
        return self._before.now - self._since[model] >= seconds

    def _add(self, model: int, host: int, why: str) -> None:
        self.changes -= 1
        self._tell_added(model, host, why)
        self._layout.add(model, host)

    def _drop(self, model: int, host: int, why: str) -> None:
        self.changes -= 1
        model_id = self._layout.models[model].model_id
        text = f"Model {model_id} loses its copy on {self._layout.host_id(host)}: {why}."
        self.reasons.append(Reason(model_id, text))
        self._layout.drop(model, host)

    def _tell_added(self, model: int, host: int, why: str) -> None:
        model_id, copies = self._layout.models[model].model_id, len(self._layout.copies[model])
        text = f"Model {model_id} gets {another_copy(copies)} on {self._layout.host_id(host)}: {why}."
        self.reasons.append(Reason(model_id, text))

    def _why_needed(self, model: int) -> str:
        view, use = self._layout.models[model], self._before.uses[model]
        if asked_for(view) is not None:
            return "it is asked for and had none"
        if view.pinned:
            return "it is pinned"
        if view.new:
            return "it is new"
        if view.following:
            return "another version is to follow it"
        return self._since_used(model) if use else "it is needed"

    def _why_spare(self, model: int) -> str:
        view, use = self._layout.models[model], self._before.uses[model]
        if use is not None and used_again(use, now=self._before.now, policy=self._policy):
            if use.again_at > use.used_before:
                return f"used again after {duration(use.again_at - use.used_before)}, and "
            return "used again and again, and "
        if view.pinned:
            return "it is pinned, and "
        return "it is new, and " if view.new else ""

    def _why_dispensable(self, model: int) -> str:
        copies = self._layout.needs[model].copies
        return (
            f"its callers need no more than {counted(copies, 'host')}" if copies else self._since_used(model)
        )

    def _since_used(self, model: int) -> str:
        use = self._before.uses[model]
        if use is None:
            return "nobody used it lately"
        return f"it was last used {duration(self._before.now - use.used_at)} ago"
