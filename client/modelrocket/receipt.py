"""The receipt that a model is uploaded with: the evidence that what was converted equals the original.

It stays with the version for ever, also where it says that nothing was compared. Of a quantised model,
`outputs` compare what was converted, and `quantisation` says what int8 weights then cost and brought.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import orjson

from modelrocket import __version__

if TYPE_CHECKING:
    from modelrocket.agreement import Agreement, Difference, KindAgreement, OutputAgreement
    from modelrocket.comparison import Form, OutputLoss
    from modelrocket.convert import Converted
    from modelrocket.quantisation import Quantisation

Receipt: TypeAlias = dict[str, Any]
Outputs = TypeVar("Outputs", "OutputAgreement", "OutputLoss", "Difference")

OUTPUTS_BYTES_MAX = 24 * 1024
"""As JSON. A receipt may have 64 KiB; of more outputs than fit, those that agree best are left out."""
MISMATCH_BYTES_MAX = 6 * 1024
"""As JSON, of the differences that were accepted: the sample's and the ordinary rows' come first."""
_TEXT_BYTES_MAX = 300
"""Of what the two say of a row, of an error, of a note: a dozen kinds have two of these."""
_NOTES_MAX = 8
QUANTISED_BYTES_MAX = 4 * 1024
"""As JSON, of each of the four lists of outputs that say what quantisation cost."""
_NOTHING_TO_COMPARE = (
    "The model was given as ONNX, so there was no original to compare with. "
    "onnxruntime loaded it and ran it on generated rows."
)


def receipt(converted: Converted, *, model_sha256: str) -> Receipt:
    """What travels as `receipt` when an upload begins: plain JSON values of at most 64 KiB."""
    made: Receipt = {
        "model_sha256": model_sha256,
        "weights_sha256": converted.weights.sha256 if converted.weights else None,
        "opsets": dict(converted.opsets),
        "versions": _versions(converted),
        "platform": f"{platform.system()} {platform.machine()}",
        "notes": [_cut(note) for note in converted.notes[:_NOTES_MAX]],
    }
    if converted.quantisation is not None:
        made["quantisation"] = _quantisation(converted.quantisation)
    if converted.agreement is None:
        return {"compared": False, "reason": _NOTHING_TO_COMPARE, **made}
    return {"compared": True, **_compared(converted.agreement), **made}


def _compared(agreement: Agreement) -> dict[str, Any]:
    relative, absolute = agreement.tolerance
    worst_first = sorted(
        agreement.outputs, key=lambda one: (one.label_flips, one.rel_error_max), reverse=True
    )
    kept = _fitting(worst_first, bytes_max=OUTPUTS_BYTES_MAX)
    told: dict[str, Any] = {
        "rows": agreement.rows,
        "kinds": [_kind(kind) for kind in agreement.kinds],
        "seed": agreement.seed,
        "rows_sha256": agreement.rows_sha256,
        "sample": None,
        "tolerance": {"relative": relative, "absolute": absolute},
        "outputs": [asdict(one) for one in agreement.outputs if one in kept],
        "outputs_left_out": len(agreement.outputs) - len(kept),
    }
    if agreement.sample_sha256 is not None:
        told["sample"] = {"rows": agreement.sample_rows, "sha256": agreement.sample_sha256}
    if agreement.mismatch:
        told["mismatch"] = _mismatch(agreement)
    return told


def _kind(found: KindAgreement) -> dict[str, Any]:
    """With the first difference of those that are only recorded; judged ones are the mismatch."""
    recorded = () if found.judged else found.differences[:1]
    return {
        "kind": found.kind,
        "judged": found.judged,
        "rows": found.rows,
        "rows_refused": found.refused,
        "outcome": found.outcome,
        "refusal": _cut(found.refusal),
        "evidence": _cut(str(recorded[0])) if recorded else "",
    }


def _mismatch(agreement: Agreement) -> dict[str, Any]:
    cut = [
        replace(one, output=_cut(one.output), what=_cut(one.what), inputs=_cut(one.inputs))
        for one in agreement.mismatch
    ]
    kept = _fitting(cut, bytes_max=MISMATCH_BYTES_MAX)
    return {
        "accepted": agreement.accepted,
        "differences": [asdict(one) for one in kept],
        "differences_left_out": len(cut) - len(kept),
    }


def _cut(text: str) -> str:
    content = text.encode()
    if len(content) <= _TEXT_BYTES_MAX:
        return text
    return f"{content[:_TEXT_BYTES_MAX].decode(errors='ignore')}…"


def _quantisation(found: Quantisation) -> dict[str, Any]:
    return {
        "method": found.method,
        "compared_with": found.compared_with,
        "rows_from": found.rows_from,
        "limits": asdict(found.limits),
        "accepted_loss": list(found.accepted_loss),
        "float": _form(found.float),
        "int8": _form(found.int8),
    }


def _form(form: Form) -> dict[str, Any]:
    return {
        "model_sha256": form.model_sha256,
        "bytes": form.bytes,
        "run_ms": {str(rows): ms for rows, ms in form.run_ms.items()},
        "outputs": _losses(form.outputs),
        "outputs_together": _losses(form.outputs_together),
    }


def _losses(outputs: Sequence[OutputLoss]) -> list[dict[str, Any]]:
    worst_first = sorted(outputs, key=lambda one: (one.agreement, -one.rel_error_max))
    kept = _fitting(worst_first, bytes_max=QUANTISED_BYTES_MAX)
    return [{**asdict(one), "agreement": one.agreement} for one in kept]


def _fitting(outputs: Sequence[Outputs], *, bytes_max: int) -> list[Outputs]:
    kept: list[Outputs] = []
    room = bytes_max
    for one in outputs:
        room -= len(orjson.dumps(asdict(one)))
        if room < 0:
            break
        kept.append(one)
    return kept


def _versions(converted: Converted) -> dict[str, str]:
    return {
        "modelrocket": __version__,
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "onnx": version("onnx"),
        "framework": converted.framework,
        **converted.producer,
    }
