"""States of the fleet as they are kept: whole now and then, else as what changed since the tick before.

Pure. What was written is read again bit for bit. An entry is msgpack, compressed with the one before as its
dictionary: of a fleet that changes little, the little that changes looks the same every time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from chalicelib.coordinator.state import FleetState, HostView, Memory, ModelMemory, ModelView

_DICTIONARY_BYTES: Final = 32 * 1024
"""zlib looks back no further."""
Row = TypeVar("Row", bound=msgspec.Struct)
_encoder: Final = msgspec.msgpack.Encoder()
_encode: Final = _encoder.encode


class _Rows(msgspec.Struct, frozen=True, array_like=True):
    """What became of rows with names.

    Attributes:
        gone: which of those before, by their place.
        changed: of those before, by their place: values by the number of their field.
        added: the rest, whole, by name.
        order: where the rows before that stayed, and then those that were added, stand now; empty where so.
    """

    gone: tuple[int, ...] = ()
    changed: dict[int, dict[int, Any]] = {}
    added: dict[str, Any] = {}
    order: tuple[int, ...] = ()


class _Difference(msgspec.Struct, frozen=True, array_like=True):
    """`fields` and `memory`: by the number of the field, whole."""

    fields: dict[int, Any]
    hosts: _Rows
    models: _Rows
    memory: dict[int, Any] = {}
    remembered: _Rows = _Rows()


@dataclass(frozen=True, slots=True)
class Entry:
    """One tick. `whole`: it can be read without those before."""

    whole: bool
    content: bytes


class JournalWriter:
    """Makes entries of one tick after the other."""

    def __init__(self, *, whole_every: int) -> None:
        self._whole_every = whole_every
        self.start_anew()

    def start_anew(self) -> None:
        """The next one is whole: nobody can tell whether the last one was kept."""
        self._before: _Named | None = None
        self._dictionary = b""
        self._since_whole = 0

    def write(self, state: FleetState) -> Entry:
        before, after = self._before, _named(state, self._before)
        whole = before is None or self._since_whole >= self._whole_every or not after.unique
        if whole or before is None:
            raw, self._dictionary, self._since_whole = _encode(state), b"", 0
        else:
            raw = _encode(_difference(before, after))
        compressor = zlib.compressobj(6, zdict=self._dictionary) if self._dictionary else zlib.compressobj(6)
        content = compressor.compress(raw) + compressor.flush()
        self._dictionary = raw[-_DICTIONARY_BYTES:]
        self._before, self._since_whole = after, self._since_whole + 1
        return Entry(whole, content)


class JournalReader:
    """Reads them in the same order."""

    def __init__(self) -> None:
        self._before: FleetState | None = None
        self._dictionary = b""

    def skip(self) -> None:
        """An entry is missing: nothing can be read before the next whole one."""
        self._before = None

    def read(self, entry: Entry) -> FleetState | None:
        """None where the one before is missing."""
        if entry.whole:
            self._dictionary = b""
        elif self._before is None:
            return None
        decompressor = (
            zlib.decompressobj(zdict=self._dictionary) if self._dictionary else zlib.decompressobj()
        )
        raw = decompressor.decompress(entry.content)
        if entry.whole or self._before is None:
            state = msgspec.msgpack.decode(raw, type=FleetState)
        else:
            state = _applied(self._before, msgspec.msgpack.decode(raw, type=_Difference))
        self._dictionary = raw[-_DICTIONARY_BYTES:]
        self._before = state
        return state


@dataclass(frozen=True, slots=True)
class _Named:
    """A state with its rows by name. `unique`: they can be told apart by it."""

    state: FleetState
    hosts: dict[str, HostView]
    models: dict[str, ModelView]

    @property
    def unique(self) -> bool:
        return (len(self.hosts), len(self.models)) == (len(self.state.hosts), len(self.state.models))


def _named(state: FleetState, before: _Named | None = None) -> _Named:
    """The models are those of before where they are the same object: there may be many."""
    if before is not None and before.state.models is state.models:
        return _Named(state, _hosts(state), before.models)
    return _Named(state, _hosts(state), _models(state))


def _hosts(state: FleetState) -> dict[str, HostView]:
    return {host.host_id: host for host in state.hosts}


def _models(state: FleetState) -> dict[str, ModelView]:
    return {model.model_id: model for model in state.models}


def _difference(before: _Named, after: _Named) -> _Difference:
    old, new = before.state, after.state
    fields = _changed(old, new, without=("hosts", "models", "memory"))
    hosts, models = _rows(before.hosts, after.hosts), _rows(before.models, after.models)
    if old.memory is None or new.memory is None:
        if old.memory is not new.memory:
            fields[_number(FleetState, "memory")] = new.memory
        return _Difference(fields, hosts, models)
    memory = _changed(old.memory, new.memory, without=("models",))
    return _Difference(fields, hosts, models, memory, _rows(old.memory.models, new.memory.models))


def _applied(before: FleetState, change: _Difference) -> FleetState:
    state = _with(before, change.fields, FleetState)
    hosts = _rows_applied(_hosts(before), change.hosts, HostView)
    models = _rows_applied(_models(before), change.models, ModelView)
    memory = state.memory
    if memory is not None and before.memory is not None:
        remembered = _rows_applied(before.memory.models, change.remembered, ModelMemory)
        memory = msgspec.structs.replace(_with(before.memory, change.memory, Memory), models=remembered)
    return msgspec.structs.replace(
        state, hosts=tuple(hosts.values()), models=tuple(models.values()), memory=memory
    )


def _changed(before: msgspec.Struct, after: msgspec.Struct, *, without: Sequence[str] = ()) -> dict[int, Any]:
    """By what is written, not by `==`: 0.0 is not -0.0 here, and NaN is itself."""
    return {
        number: value
        for number, name in enumerate(after.__struct_fields__)
        if name not in without
        and (value := getattr(after, name)) is not (old := getattr(before, name))
        and _encode(value) != _encode(old)
    }


def _with(before: Row, fields: Mapping[int, Any], kind: type[Row]) -> Row:
    if not fields:
        return before
    names = kind.__struct_fields__
    return msgspec.convert(
        {name: getattr(before, name) for name in names} | {names[n]: value for n, value in fields.items()},
        kind,
    )


def _rows(before: Mapping[str, Row], after: Mapping[str, Row]) -> _Rows:
    if before is after:
        return _Rows()
    changed: dict[int, dict[int, Any]] = {}
    gone = []
    for place, (name, old) in enumerate(before.items()):
        new = after.get(name)
        if new is None:
            gone.append(place)
        elif new is not old and (fields := _changed(old, new)):
            changed[place] = fields
    added = {name: new for name, new in after.items() if name not in before}
    return _Rows(tuple(gone), changed, added, _order(before, after, added))


def _order(before: Mapping[str, Row], after: Mapping[str, Row], added: Iterable[str]) -> tuple[int, ...]:
    expected = [*(name for name in before if name in after), *added]
    if all(one == other for one, other in zip(expected, after, strict=True)):
        return ()
    places = {name: place for place, name in enumerate(expected)}
    return tuple(places[name] for name in after)


def _rows_applied(before: Mapping[str, Row], rows: _Rows, kind: type[Row]) -> dict[str, Row]:
    gone = frozenset(rows.gone)
    after = {
        name: _with(old, rows.changed[place], kind) if place in rows.changed else old
        for place, (name, old) in enumerate(before.items())
        if place not in gone
    }
    after |= {name: msgspec.convert(row, kind) for name, row in rows.added.items()}
    if not rows.order:
        return after
    names = list(after)
    return {names[place]: after[names[place]] for place in rows.order}


def _number(kind: type[msgspec.Struct], name: str) -> int:
    return kind.__struct_fields__.index(name)
