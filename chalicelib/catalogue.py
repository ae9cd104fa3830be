"""What models there are: kept from tick to tick, and told to the hot state on the way.

What changed since the last time is read again, and a page of all the rest, so that what was lost by itself
comes back and what is gone goes. Everything is read by a new process, and where the hot state lost its mark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.hotstate import HotState
from chalicelib.coordinator.state import ModelView, VersionView
from chalicelib.ports import Store
from chalicelib.projection import OVERLAP, Mark, changed_pages
from chalicelib.records import Model, Version, routing_record

_NEW: Final = timedelta(seconds=limits.MODEL_NEW_SECONDS)
_BETWEEN: Final = "/"


@dataclass(slots=True)
class _Known:
    """`following`: ids of models with a version on trial or on its way. `new_until`: by model id."""

    views: dict[str, ModelView] = field(default_factory=dict)
    models_of: dict[str, str] = field(default_factory=dict)
    following: set[str] = field(default_factory=set)
    new_until: dict[str, datetime] = field(default_factory=dict)


class Catalogue:
    """Owned by one coordinator. `finish` is told of every deleted model that is looked at; `keep` is called
    again and again while everything is read.
    """

    def __init__(
        self, *, store: Store, hot: HotState, finish: Callable[[Model], None], keep: Callable[[], None]
    ) -> None:
        self._store = store
        self._hot = hot
        self._finish = finish
        self._keep = keep
        self._known = _Known()
        self._until: datetime | None = None
        self._sorted: tuple[ModelView, ...] | None = None
        self.swept: tuple[str, ...] = ()
        """Ids of the models of the last page."""

    @property
    def complete(self) -> bool:
        """Everything has been read once."""
        return self._until is not None

    @property
    def following(self) -> tuple[str, ...]:
        """Ids of models with a version on trial or on its way."""
        return tuple(sorted(self._known.following))

    @property
    def new(self) -> tuple[str, ...]:
        """Ids of models that were deployed a few minutes ago."""
        return tuple(self._known.new_until)

    def views(self) -> tuple[ModelView, ...]:
        """Of models with an active version, in order of id. One that has not changed is the same object."""
        if self._sorted is None:
            self._sorted = tuple(view for _, view in sorted(self._known.views.items()))
        return self._sorted

    def model_of(self, version_id: str) -> str | None:
        """Id of the model that this is the active version of, or that it follows in."""
        return self._known.models_of.get(version_id)

    def refresh(self, mark: str | None) -> str:
        """The mark to keep once this pass is complete, from the one before; None for a flushed hot state."""
        now, before = self._store.clock(), Mark.read(mark)
        if before is None or self._until is None:
            self._read_everything(now)
            swept = before.swept if before else ""
        else:
            since = min(before.until, self._until) - OVERLAP
            for page in changed_pages(self._store.changed_models, since):
                self.take(page, now=now)
            for page in changed_pages(self._store.changed_tombstones, since):
                self._take_deleted(page)
            swept = self._sweep(before.swept, now)
        self._until = now
        self._grow_old(now)
        return str(Mark(now, swept))

    def take(self, models: Sequence[Model], *, now: datetime) -> None:
        """As they are now."""
        self._put(self._known, models, now)

    def _read_everything(self, now: datetime) -> None:
        """Anew, so that a read that fails halfway takes nothing away."""
        known, after = _Known(), ""
        while page := self._store.models_page(after, limits.PROJECTION_PAGE):
            after = page[-1].id
            self._put(known, page, now)
            self._keep()
        after = ""
        while page := self._store.tombstones_page(after, limits.PROJECTION_PAGE):
            after = page[-1].id
            self._tell_deleted(page)
            self._keep()
        self._known, self._sorted = known, None

    def _sweep(self, mark: str, now: datetime) -> str:
        """The next page of both; where the ones after it begin."""
        after, _, deleted_after = mark.partition(_BETWEEN)
        page = self._store.models_page(after, limits.PROJECTION_PAGE)
        self.take(page, now=now)
        self.swept = tuple(model.id for model in page)
        end = _end(page)
        for model_id in set(self._known.views).difference(self.swept):
            if after < model_id and (not end or model_id <= end):
                self._forget(model_id)
        deleted = self._store.tombstones_page(deleted_after, limits.PROJECTION_PAGE)
        self._take_deleted(deleted)
        return f"{end}{_BETWEEN}{_end(deleted)}"

    def _take_deleted(self, tombstones: Sequence[Model]) -> None:
        for model in tombstones:
            self._forget(model.id)
        self._tell_deleted(tombstones)

    def _tell_deleted(self, tombstones: Sequence[Model]) -> None:
        if tombstones:
            self._hot.put_models(routing_record(model, {}) for model in tombstones)
        for model in tombstones:
            self._finish(model)

    def _put(self, known: _Known, models: Sequence[Model], now: datetime) -> None:
        if not models:
            return
        ids = [version_id for model in models for version_id in model.version_ids]
        versions = {version.id: version for version in self._store.any_versions(ids)}
        self._hot.put_models(routing_record(model, versions) for model in models)
        for model in models:
            self._note(known, model, versions, now)

    def _note(self, known: _Known, model: Model, versions: dict[str, Version], now: datetime) -> None:
        if model.candidate or model.activation:
            known.following.add(model.id)
        else:
            known.following.discard(model.id)
        active = versions.get(model.active_version_id or "")
        new_until = _new_until(model, active)
        view = _view(model, active, versions, new=new_until > now) if active else None
        before = known.views.get(model.id)
        if view == before:
            return
        self._sorted = None
        _drop_versions(known, before)
        if view is None:
            known.views.pop(model.id, None)
            return
        known.views[model.id] = view
        known.models_of |= dict.fromkeys(_version_ids(view), model.id)
        if view.new:
            known.new_until[model.id] = new_until

    def _forget(self, model_id: str) -> None:
        self._known.following.discard(model_id)
        self._known.new_until.pop(model_id, None)
        before = self._known.views.pop(model_id, None)
        if before is not None:
            self._sorted = None
            _drop_versions(self._known, before)

    def _grow_old(self, now: datetime) -> None:
        for model_id in [one for one, until in self._known.new_until.items() if until <= now]:
            del self._known.new_until[model_id]
            view = self._known.views.get(model_id)
            if view is not None and view.new:
                self._known.views[model_id] = msgspec.structs.replace(view, new=False)
                self._sorted = None


def _end(page: Sequence[Model]) -> str:
    """Where the page after it begins: at the beginning, behind the last one."""
    return page[-1].id if len(page) == limits.PROJECTION_PAGE else ""


def _new_until(model: Model, active: Version | None) -> datetime:
    """A model that has had one active version only is new for a while after that was announced."""
    if active is None or model.previous_version_id is not None:
        return model.created_at
    return active.created_at + _NEW


def _view(model: Model, active: Version, versions: dict[str, Version], *, new: bool) -> ModelView | None:
    """None for one whose version has not been prepared."""
    serving = _version_view(active)
    if serving is None:
        return None
    others = (versions.get(version_id) for version_id in model.version_ids if version_id != active.id)
    following = (_version_view(version) for version in others if version is not None)
    return ModelView(
        model_id=model.id,
        tenant=model.tenant,
        active=serving,
        following=tuple(view for view in following if view is not None),
        pinned=model.pinned,
        new=new,
    )


def _version_view(version: Version) -> VersionView | None:
    passport = version.passport
    if passport is None or version.signature is None:
        return None
    return VersionView(
        version_id=version.id,
        memory_bytes=passport.memory_bytes,
        run_ms=passport.run_ms,
        load_ms=passport.load_ms,
    )


def _version_ids(view: ModelView) -> Iterable[str]:
    return (version.version_id for version in (view.active, *view.following))


def _drop_versions(known: _Known, view: ModelView | None) -> None:
    for version_id in _version_ids(view) if view else ():
        known.models_of.pop(version_id, None)
