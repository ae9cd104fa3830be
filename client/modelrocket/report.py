"""What is known of a version, as the server tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Section: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Report:
    """One version's report. Sections hold what the server sent, and are None where it has nothing (yet).

    reason, refusal: why it failed, in words and as a code.
    signature: inputs and outputs: name, dtype, shape.
    passport: what was measured: milliseconds, bytes, runs by batch size.
    certificate: whether rows of different callers may share a run, with the evidence or a counterexample.
    optimisation: the prepared form beside the uploaded file.
    findings: what the file is made of.
    receipt: how the converted model compares with the original, as its uploader found.
    prepared_by: what kind of host prepared it, and its onnxruntime.
    hashes: SHA-256 of the uploaded files.
    content: all of it, as it came.
    """

    number: int
    state: str
    framework: str
    bytes: int | None
    created_at: str
    reason: str | None
    refusal: str | None
    signature: Section | None
    passport: Section | None
    certificate: Section | None
    optimisation: Section | None
    findings: Section | None
    receipt: Section | None
    prepared_by: Mapping[str, str]
    hashes: Mapping[str, str]
    content: Section = field(repr=False)


def read_report(told: Section) -> Report:
    return Report(
        number=told["number"],
        state=told["state"],
        framework=told.get("framework", ""),
        bytes=told.get("bytes"),
        created_at=told.get("created_at", ""),
        reason=told.get("reason"),
        refusal=told.get("refusal"),
        signature=told.get("signature"),
        passport=told.get("passport"),
        certificate=told.get("certificate"),
        optimisation=told.get("optimisation"),
        findings=told.get("findings"),
        receipt=told.get("receipt"),
        prepared_by=told.get("prepared_by") or {},
        hashes=told.get("hashes") or {},
        content=told,
    )
