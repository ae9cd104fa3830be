"""What the command line prints of a version's report.

What is not there yet, or is not known here, is passed over; a section of another shape is shown as it came.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from modelrocket.cells import pairs, size, table, text, time
from modelrocket.report import Report, Section

Render: TypeAlias = Callable[[Section], Iterator[RenderableType]]

_BAR_WIDTH = 24
_OPERATORS_SHOWN = 8
_VALUES_SHOWN = 6
_SECOND_MS = 1000


def report(name: str, shown: Report) -> RenderableType:
    """A version's report; `name` is the model's."""
    sections: tuple[tuple[str, Render, Section | None], ...] = (
        ("signature", _signature, shown.signature),
        ("passport", _passport, shown.passport),
        ("certificate", _certificate, shown.certificate),
        ("optimisation", _optimisation, shown.optimisation),
        ("findings", _findings, shown.findings),
        ("receipt", _receipt, shown.receipt),
        ("hashes", _as_it_is, shown.hashes),
        ("prepared by", _as_it_is, shown.prepared_by),
    )
    lines: list[RenderableType] = [Text(f"{name} version {shown.number}: {shown.state}", style="bold")]
    lines.append(
        text(f"{shown.framework or 'unknown framework'}, {size(shown.bytes)}, {time(shown.created_at)}")
    )
    if shown.reason:
        code = f" ({shown.refusal})" if shown.refusal else ""
        lines.append(text(f"{shown.reason}{code}"))
    for title, render, told in sections:
        if told:
            lines += [Text(), Text(title, style="bold cyan"), *_rendered(render, told)]
    return Group(*lines)


def _rendered(render: Render, told: Section) -> list[RenderableType]:
    try:
        return list(render(told))
    except (AttributeError, KeyError, TypeError, ValueError):  # a receipt is whatever its uploader wrote
        return [text(json.dumps(told))]


def _as_it_is(told: Section) -> Iterator[RenderableType]:
    yield pairs(told)


def _signature(told: Section) -> Iterator[RenderableType]:
    shown = table("", "name", "type", "shape")
    for side in ("inputs", "outputs"):
        for tensor in told.get(side, ()):
            shape = ", ".join("*" if size is None else str(size) for size in tensor["shape"])
            shown.add_row(*map(text, (side[:-1], tensor["name"], tensor["dtype"], f"[{shape}]")))
    yield shown


def _passport(told: Section) -> Iterator[RenderableType]:
    yield pairs(
        {
            "load": _both(_ms(told.get("load_ms")), ", cold ", _ms(told.get("load_cold_ms"))),
            "run, one row": _ms(told.get("run_ms")),
            "memory": size(told.get("memory_bytes")),
            "of it mapped": size(told.get("bytes_mapped")),
            "best batch": _both(told.get("batch_size_best"), " rows, gain ", _times(told.get("batch_gain"))),
            "prepacking": _times(told.get("prepack_gain")),
            "provider": told.get("provider"),
        }
    )
    if told.get("batches"):
        yield from (Text(), _batches(told["batches"]))


def _batches(measured: Sequence[Section]) -> Table:
    """Run time per batch size, the longest as a full bar."""
    shown = table("rows", "run", "rows/s", "memory", "run time")
    longest = max(one["run_ms"] for one in measured)
    for one in measured:
        rate = f"{1000 * one['rows'] / one['run_ms']:,.0f}" if one["run_ms"] else None
        bar = ProgressBar(total=longest or 1, completed=one["run_ms"], width=_BAR_WIDTH)
        memory = size(one.get("memory_bytes"))
        shown.add_row(*map(text, (one["rows"], _ms(one["run_ms"]), rate, memory)), bar)
    return shown


def _certificate(told: Section) -> Iterator[RenderableType]:
    evidence = told.get("evidence", "")
    if told.get("batchable"):
        yield text(f"Requests may share a run: {evidence}.")
        return
    yield text(f"Each request runs by itself: {evidence}.")
    example = told.get("counterexample")
    if example:
        where = f'"{example["output"]}" of row {example["position"] + 1} of {example["rows"]}'
        yield text(
            f"Counterexample ({example['trial']}): {where} is {_values(example['got'])}, "
            f"by itself {_values(example['expected'])}."
        )


def _optimisation(told: Section) -> Iterator[RenderableType]:
    if told.get("reason"):
        yield text(f"Served as it was uploaded: {told['reason']}")
        return
    difference = _number(told.get("largest_difference"))
    yield text(
        f"Served in a prepared form that loads in {_ms(told.get('load_ms'))} instead of "
        f"{_ms(told.get('uploaded_load_ms'))}. Its answers differ by {difference} of an output's largest "
        "value at most."
    )


def _findings(told: Section) -> Iterator[RenderableType]:
    yield pairs(
        {
            "file": _both(size(told.get("bytes")), ", IR version ", told.get("ir_version")),
            "opsets": _named(told.get("opsets")),
            "nodes": _both(told.get("nodes"), ", subgraph depth ", told.get("depth")),
            "weights": _both(told.get("weights"), " tensors, ", size(told.get("weight_bytes"))),
            "operators": _operators(told.get("operators")),
        }
    )


def _operators(told: Mapping[str, Mapping[str, int]] | None) -> str | None:
    """The most used first."""
    used = [(count, name) for names in (told or {}).values() for name, count in names.items()]
    used.sort(key=lambda one: (-one[0], one[1]))
    more = f", and {len(used) - _OPERATORS_SHOWN} more" if len(used) > _OPERATORS_SHOWN else ""
    return ", ".join(f"{name} {count}" for count, name in used[:_OPERATORS_SHOWN]) + more or None


def _receipt(told: Section) -> Iterator[RenderableType]:
    if not told.get("compared"):
        yield text(told.get("reason") or "It was not compared with an original.")
    else:
        yield from _compared(told)
    if told.get("quantisation"):
        yield from _quantisation(told["quantisation"])
    for note in told.get("notes") or ():
        yield text(f"Note: {note}")
    versions = {"made with": _named(told.get("versions")), "opsets": _named(told.get("opsets"))}
    yield pairs(versions | {"on": told.get("platform"), "sample": _sample(told.get("sample"))})


def _compared(told: Section) -> Iterator[RenderableType]:
    if told.get("mismatch"):
        yield from _mismatch(told["mismatch"])
    tolerance = told.get("tolerance") or {}
    relative, absolute = (_number(tolerance.get(kind)) for kind in ("relative", "absolute"))
    yield text(
        f"Compared with the original on {told.get('rows')} rows. Allowed: {relative} of a value, or "
        f"{absolute} of the output's largest; other labels only in a tie."
    )
    yield _outputs(told)
    if told.get("kinds"):
        yield _kinds(told["kinds"])


def _mismatch(told: Section) -> Iterator[RenderableType]:
    yield Text("It does not answer like the original, and its owner let that pass:", style="bold red")
    for one in told["differences"]:
        output = f'output "{one["output"]}": ' if one["output"] else ""
        inputs = f" Its inputs: {one['inputs']}." if one["inputs"] else ""
        rows = f"{one['rows_differing']} of {one['rows']} {one['kind']} rows differ"
        yield text(f"  {output}{rows}; {one['what']}.{inputs}")
    if told["differences_left_out"]:
        yield text(f"  and {told['differences_left_out']} more")


def _kinds(told: Sequence[Section]) -> Table:
    shown = table("kind of row", "rows", "outcome", "", "")
    for one in told:
        counts = "judged" if one["judged"] else "only recorded"
        why = one["evidence"] or " "
        if one["rows_refused"]:
            why = f"the original refuses {one['rows_refused']} rows: {one['refusal']}"
        words = (one["kind"], one["rows"], one["outcome"], counts, why)
        shown.add_row(*map(text, words))
    return shown


def _sample(told: Section | None) -> str | None:
    return None if told is None else f"{told['rows']} rows, SHA-256 {told['sha256']}"


def _outputs(told: Section) -> Table:
    shown = table("output", "type", "rows", "largest error", "relative", "other labels", "ties")
    for one in told.get("outputs") or ():
        errors = (_number(one.get("abs_error_max")), _number(one.get("rel_error_max")))
        shown.add_row(
            *map(text, (one.get("name"), one.get("dtype"), one.get("rows"), *errors)),
            *map(text, (one.get("label_flips"), one.get("ties"))),
        )
    if told.get("outputs_left_out"):
        shown.add_row(text(f"and {told['outputs_left_out']} that agree better"))
    return shown


def _quantisation(told: Section) -> Iterator[RenderableType]:
    limits = told["limits"]
    yield text(
        f"Then quantised ({told['method']}), and compared with {told['compared_with']} again, on rows "
        f"that were {told['rows_from']}. A row agrees with the same label, or with floats within "
        f"{limits['rel_error']:.0%} of the output's largest."
    )
    if told["accepted_loss"]:
        yield text(f"Its owner accepted the loss: {'; '.join(told['accepted_loss'])}.")
    shown = table("form", "size", "run", "output", "rows a run", "agree", "error", "relative")
    for form in ("float", "int8"):
        measured = told[form]
        times = ", ".join(f"{rows} rows {_ms(ms)}" for rows, ms in measured["run_ms"].items())
        head = (form, size(measured["bytes"]), times)
        for rows, one in _losses(measured):
            errors = (_number(one["abs_error_max"]), _number(one["rel_error_max"]))
            shown.add_row(*map(text, (*head, one["name"], rows, f"{one['agreement']:.1%}", *errors)))
            head = (" ", " ", " ")
    yield shown


def _losses(measured: Section) -> Iterator[tuple[str, Section]]:
    """Each output, with how many rows shared a run."""
    for rows, outputs in zip(measured["run_ms"], ("outputs", "outputs_together"), strict=False):
        for one in measured[outputs]:
            yield rows, one


def _named(told: Mapping[str, Any] | None) -> str | None:
    return ", ".join(f"{name} {value}" for name, value in (told or {}).items()) or None


def _both(first: object, between: str, second: object) -> str | None:
    if first is None:
        return None
    return str(first) if second is None else f"{first}{between}{second}"


def _values(told: Sequence[str]) -> str:
    more = ", …" if len(told) > _VALUES_SHOWN else ""
    return f"[{', '.join(told[:_VALUES_SHOWN])}{more}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}" if value else "0"


def _times(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f} times as fast"


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g} ms" if value < _SECOND_MS else f"{value / 1000:.1f} s"
