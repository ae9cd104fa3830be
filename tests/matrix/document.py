"""docs/conformance.md, written from the recorded results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.matrix.results import Family, Outcome
from tests.matrix.trial import ABSOLUTE, RELATIVE, TIE

PATH = Path("docs/conformance.md")
_REASON_MAX = 220


def write(families: Sequence[Family]) -> None:
    PATH.write_text("\n".join([*_opening(families), *(line for one in families for line in _family(one))]))


def _opening(families: Sequence[Family]) -> list[str]:
    outcomes = "".join(f" {outcome} |" for outcome in Outcome)
    rows = [
        f"| [{family.title}](#{_anchor(family.title)}) |"
        + "".join(f" {family.counts[outcome]} |" for outcome in Outcome)
        + f" {len(family.results)} |"
        for family in families
    ]
    return [
        "# Conformance",
        "",
        "Written by `make client-matrix WRITE=1`; do not edit. Every model below was trained, given to the "
        "client's converter as `modelrocket.upload` does, and what came out was run by onnxruntime on "
        "held-out rows, beside the model's own answers.",
        "",
        "- **ok**: it converts and answers the same. Labels are identical but for ties (two classes within "
        f"{TIE:g} of each other); floats are within {RELATIVE:g} of the value or {ABSOLUTE:g} of the "
        "output's largest.",
        "- **refused**: its exporter fails, or makes a model that answers differently; the upload says so "
        "and stops.",
        "- **unsupported**: no exporter knows this kind of model; the upload says so and stops.",
        "- **WRONG**, **HANG**, **BROKEN**: converted but answering otherwise, never ending, failing without "
        "an explanation. There must be none.",
        "",
        f"| |{outcomes} all |",
        "|---|" + "---:|" * (len(Outcome) + 1),
        *rows,
        "",
    ]


def _family(family: Family) -> list[str]:
    versions = " · ".join(f"{name} {version}" for name, version in family.versions.items())
    rows = [
        f"| {_cell(result.name)} | {result.kind} | {result.outcome} "
        f"| {_cell('; '.join(filter(None, (result.reason, *result.notes))))} |"
        for result in family.results
    ]
    return [
        f"## {family.title}",
        "",
        versions,
        "",
        "| Model | Kind | Outcome | Why, or what to know |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def _anchor(title: str) -> str:
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -")
    return kept.replace(" ", "-")


def _cell(text: str) -> str:
    line = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return line if len(line) <= _REASON_MAX else f"{line[: _REASON_MAX - 1]}…"
