"""What the command line prints of models, versions, traffic, keys, usage, events and checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from modelrocket.cells import size, table, text, time
from modelrocket.events import Event
from modelrocket.keys import Explanation, Key, NewKey
from modelrocket.models import Model, Version
from modelrocket.rollout import Candidate, Counts, Split, Traffic, TrafficChange
from modelrocket.tensors import Array
from modelrocket.usage import AuditEntry, Costs, Usage, UsageLine, Verified, added, summed

if TYPE_CHECKING:
    from modelrocket.doctor import Check

_ROWS_SHOWN = 100
_VALUES_SHOWN = 8
_MARKS = {"fine": ("✓", "green"), "broken": ("✗", "bold red"), "missing": ("-", "dim")}
_EVENT_COLUMNS = {"when": 19, "version": 7, "what": 36, "by": 12, "why": 0}


def models(listed: Sequence[Model]) -> RenderableType:
    if not listed:
        return (
            "No models yet: modelrocket upload FILE, or in Python "
            'modelrocket.upload(model, "name", np.float32, (None, 64))'
        )
    shown = table("name", "id", "active", "on its way", "created")
    for model in listed:
        name, active, created = model.name, model.active, time(model.created_at)
        shown.add_row(*map(text, (name, model.id, active, _moving(model), created)))
    return shown


def versions(listed: Sequence[Version]) -> RenderableType:
    if not listed:
        return "No versions."
    shown = table("version", "state", "size", "framework", "uploaded", "")
    for version in listed:
        state = f"{version.state}: {version.stage}" if version.stage else version.state
        note = "answers" if version.active else version.reason
        shown.add_row(
            *map(text, (version.number, state, size(version.bytes), version.framework)),
            *map(text, (time(version.created_at), note)),
        )
    return shown


def traffic(now: Traffic) -> RenderableType:
    return Group(*_traffic(now))


def _traffic(now: Traffic) -> Iterator[RenderableType]:
    yield f"version {now.active} answers" if now.active else "no version answers yet"
    if now.previous is not None:
        yield f"version {now.previous} answered before: `modelrocket rollback` goes back to it"
    if now.activating is not None:
        yield f"version {now.activating} takes over as soon as hosts have loaded it"
    if now.candidate is not None:
        yield from _candidate(now.candidate, now.active)
    if now.history:
        yield from (Text(), _history(now.history))


def _candidate(candidate: Candidate, active: int | None) -> Iterator[RenderableType]:
    yield (
        f"version {candidate.version} is on trial: it answers {candidate.percent} % of callers, "
        f"{candidate.mirror_percent} % of requests are mirrored to it"
    )
    limits = candidate.limits
    yield (
        f"it goes away by itself above {_plain(limits.errors_percent_max)} % errors, "
        f"{_plain(limits.latency_ratio_max)} times the run time or {_plain(limits.drift_percent_max)} % "
        f"answers differing by more than {_plain(limits.drift_tolerance)}, judged on "
        f"{_plain(limits.requests_min)} runs or more"
    )
    if candidate.counts is None or candidate.active_counts is None:
        return
    shown = table("version", "runs", "errors", "mean run", "compared", "differing")
    compared = candidate.counts.mirrored, candidate.counts.differing
    shown.add_row(*map(text, (candidate.version, *_ran(candidate.counts), *compared)))
    shown.add_row(*map(text, (active, *_ran(candidate.active_counts), None, None)))
    yield from (Text(), shown)


def _ran(counts: Counts) -> tuple[int, int, str | None]:
    good = counts.requests - counts.errors
    mean = f"{counts.run_us / good / 1000:.3f} ms" if good > 0 else None
    return counts.requests, counts.errors, mean


def _history(entries: Sequence[TrafficChange]) -> Table:
    shown = table("when", "by", "why", "from", "to")
    for entry in entries:
        shown.add_row(
            *map(text, (time(entry.at), entry.by, entry.why, _split(entry.before), _split(entry.after)))
        )
    return shown


def token(model: Model, plain: str) -> RenderableType:
    return (
        f"{plain}\nA token for {model.name}, shown once: keep it. It goes with each request to {model.url}."
    )


def keys(listed: Sequence[Key]) -> RenderableType:
    if not listed:
        return "No keys."
    shown = table("name", "key", "may", "state", "created", "by", "last used", "stops", "id")
    for key in listed:
        used, stops = (time(at) if at else None for at in (key.last_used_at, key.expires_at))
        known = (key.name, key.hint, _may(key), key.state, time(key.created_at), key.created_by)
        shown.add_row(*map(text, (*known, used, stops, key.id)))
    return shown


def _may(key: Key) -> str:
    return f"run {key.model_id}" if key.model_id else ", ".join(key.scopes)


def new_key(made: NewKey) -> RenderableType:
    stops = f" It works until {time(made.key.expires_at)} UTC." if made.key.expires_at else ""
    lines = [made.secret, f"The key {made.key.name or made.key.id}, shown once: keep it.{stops}"]
    if made.old is not None and made.old.expires_at:
        lines.append(f"The old one ({made.old.hint}) works until {time(made.old.expires_at)} UTC.")
    return text("\n".join(lines))


def explanation(found: Explanation) -> RenderableType:
    return Group(*_explanation(found))


def _explanation(found: Explanation) -> Iterator[RenderableType]:
    if not found.works:
        yield text(f"It is refused: {found.why}")
        return
    if found.key is not None:
        yield text(f"{found.key.name or found.key.id} ({found.key.hint}) works and is {found.key.state}.")
    permissions = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for one in found.may:
        permissions.add_row(text("may" if one.allowed else "may not"), text(one.scope), text(one.means))
    yield from (Text(), permissions)
    if found.models:
        models = table("model", "id", "active")
        for model in found.models:
            models.add_row(*map(text, (model.name, model.id, model.active)))
        yield from (Text(), models)
    yield Text()
    for whose, limit in (("it", found.own_limit), ("all keys of its account together", found.account_limit)):
        if limit is not None:
            left = f", {limit.left} at once now" if limit.left is not None else ""
            yield text(f"requests a second for {whose}: {limit.requests_per_second:g}{left}")


def usage(lines: Sequence[UsageLine], names: Mapping[str, str]) -> RenderableType:
    """A line for each time, model and version. `names` of models by id: those that there still are."""
    if not lines:
        return "Nothing was used."
    shown = table(
        "when", "model", "version", "requests", "errors", "rows", "mean", "in", "out", "cold starts"
    )
    whole = Usage()
    for (at, model_id, version), sums in summed(lines).items():
        shown.add_row(*map(text, (time(at), names.get(model_id, model_id), version)), *_used(sums))
        whole = added(whole, sums)
    shown.add_row(*map(text, ("in all", "", "")), *_used(whole))
    return shown


def costs(estimate: Costs, names: Mapping[str, str]) -> RenderableType:
    """A line for each model. `names` as for `usage`."""
    if not estimate.lines:
        return "Nothing was used."
    shown = table("model", "requests", *(f"for {part}" for part in estimate.lines[0].parts), "in all")
    for line in estimate.lines:
        amounts = (f"{amount:.4f}" for amount in (*line.parts.values(), line.cost))
        shown.add_row(*map(text, (names.get(line.model_id, line.model_id), line.requests, *amounts)))
    source, currency = estimate.prices["source"], estimate.currency
    return Group(
        shown,
        Text(),
        text(f"{estimate.total:.4f} {currency} in all: an estimate, no bill. Prices: {source}."),
    )


def _used(sums: Usage) -> Iterator[Text]:
    answered = sums.requests - sums.errors_caller - sums.errors_model
    mean = f"{sums.compute_ms / answered:.3f} ms" if answered > 0 and sums.compute_ms else None
    sizes = size(sums.bytes_in), size(sums.bytes_out)
    yield from map(text, (sums.requests, sums.errors, sums.rows, mean, *sizes, sums.cold_loads))


def audit(entries: Sequence[AuditEntry]) -> RenderableType:
    if not entries:
        return "Nothing was done."
    shown = table("", "when", "who", "what", "to", "from", "outcome")
    for entry in entries:
        outcome = f"{entry.outcome}: {entry.code}" if entry.code else entry.outcome
        about = " ".join(one for one in (entry.object_name, entry.object_id) if one)
        done = (entry.actor, entry.action, about, entry.address, outcome)
        shown.add_row(*map(text, (entry.number, time(entry.at), *done)))
    return shown


def verified(found: Verified) -> RenderableType:
    if found.broken_at is not None:
        return text(f"Entry {found.broken_at} is not as it was written: {found.why}.")
    if not found.last:
        return "The log is empty."
    return text(
        f"Entries {found.first} to {found.last} are as they were written. Keep this, to tell later that "
        f"nothing up to number {found.last} was changed:\n{found.hash}"
    )


def events(listed: Sequence[Event], *, titled: bool = True) -> RenderableType:
    """Columns are as wide in every table, so that one can follow another."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=titled)
    for name, width in _EVENT_COLUMNS.items():
        shown.add_column(name, overflow="fold", min_width=width)
    for event in listed:
        shown.add_row(*map(text, (time(event.at), event.version, _what(event), event.by, _why(event))))
    return shown


def _what(event: Event) -> str:
    if event.before is not None and event.after is not None:
        return f"traffic: {_split(event.before)} → {_split(event.after)}"
    state = f"{event.state}: {event.stage}" if event.stage else event.state
    return f"uploaded, now {state}" if event.what == "uploaded" else f"became {state}"


def _why(event: Event) -> str | None:
    made = f"{event.framework}, {size(event.bytes)}" if event.what == "uploaded" else None
    return "; ".join(one for one in (made, event.why) if one) or None


def answer(outputs: Array | Mapping[str, Array]) -> RenderableType:
    """One line for each row; a single output without a name is the answer."""
    named = outputs if isinstance(outputs, Mapping) else {"answer": outputs}
    rows = max((len(array) if array.ndim else 1 for array in named.values()), default=0)
    shown = table("row", *named)
    for row in range(min(rows, _ROWS_SHOWN)):
        shown.add_row(text(row + 1), *(text(_of_row(array, row)) for array in named.values()))
    if rows <= _ROWS_SHOWN:
        return shown
    return Group(shown, text(f"and {rows - _ROWS_SHOWN} more rows: --json gives all"))


def _of_row(array: Array, row: int) -> str | None:
    """Of an output that has other rows than the first one: what there is."""
    if array.ndim == 0:
        return _value(array[()]) if row == 0 else None
    return _value(array[row]) if row < len(array) else None


def _value(value: object) -> str:
    """A number, a text, or an array with its first values."""
    if isinstance(value, (np.ndarray, list)):
        first = ", ".join(map(_value, value[:_VALUES_SHOWN]))
        more = f", … {len(value)} in all" if len(value) > _VALUES_SHOWN else ""
        return f"[{first}{more}]"
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)


def checks(found: Sequence[Check]) -> RenderableType:
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    shown.add_column(no_wrap=True)
    shown.add_column(style="dim", no_wrap=True)
    shown.add_column(overflow="fold")
    for check in found:
        mark, style = _MARKS[check.state]
        remedy = f"\n→ {check.remedy}" if check.remedy else ""
        shown.add_row(Text(mark, style), text(check.name), text(f"{check.told}{remedy}"))
    return shown


def _moving(model: Model) -> str | None:
    """What is on its way, None where nothing is."""
    if model.activating is not None:
        return f"{model.activating} takes over soon"
    candidate = model.candidate
    if candidate is None:
        return None
    return f"{candidate.percent} % to {candidate.version}, {candidate.mirror_percent} % mirrored"


def _split(split: Split) -> str:
    if split.candidate is None:
        return str(split.active or "none")
    return f"{split.active} + {split.candidate} ({split.percent} %, {split.mirror_percent} % mirrored)"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
