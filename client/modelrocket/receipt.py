"""The receipt that a model is uploaded with: the evidence that what was converted equals the original.

It stays with the version for ever, also where it says that nothing was compared. Of a quantised model,
`outputs` compare what was converted, and `quantisation` says what int8 weights then cost and brought.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import orjson

from modelrocket import __version__

if TYPE_CHECKING:
    from modelrocket.comparison import Form, OutputLoss
    from modelrocket.convert import Converted
    from modelrocket.quantisation import Quantisation
    from modelrocket.verify import Agreement, OutputAgreement

Receipt: TypeAlias = dict[str, Any]
Outputs = TypeVar("Outputs", "OutputAgreement", "OutputLoss")

OUTPUTS_BYTES_MAX = 40 * 1024
"""As JSON. A receipt may have 64 KiB; of more outputs than fit, those that agree best are left out."""
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
    return {
        "rows": agreement.rows,
        "seed": agreement.seed,
        "sample_sha256": agreement.sample_sha256,
        "tolerance": {"relative": relative, "absolute": absolute},
        "outputs": [asdict(one) for one in agreement.outputs if one in kept],
        "outputs_left_out": len(agreement.outputs) - len(kept),
    }


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
