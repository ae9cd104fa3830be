"""The receipt that a model is uploaded with: the evidence that what was converted equals the original.

It stays with the version for ever, also where it says that nothing was compared.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from modelrocket import __version__

if TYPE_CHECKING:
    from modelrocket.convert import Converted
    from modelrocket.verify import Agreement, OutputAgreement

Receipt: TypeAlias = dict[str, Any]

OUTPUTS_BYTES_MAX = 48 * 1024
"""As JSON. A receipt may have 64 KiB; of more outputs than fit, those that agree best are left out."""
_NOTHING_TO_COMPARE = (
    "The model was given as ONNX, so there was no original to compare with. "
    "onnxruntime loaded it and ran it on generated rows."
)


def receipt(converted: Converted, *, model_sha256: str) -> Receipt:
    """What travels as `receipt` when an upload begins: plain JSON values of at most 64 KiB."""
    made = {
        "model_sha256": model_sha256,
        "weights_sha256": converted.weights.sha256 if converted.weights else None,
        "opsets": dict(converted.opsets),
        "versions": _versions(converted),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    if converted.agreement is None:
        return {"compared": False, "reason": _NOTHING_TO_COMPARE, **made}
    return {"compared": True, **_compared(converted.agreement), **made}


def _compared(agreement: Agreement) -> dict[str, Any]:
    relative, absolute = agreement.tolerance
    worst_first = sorted(
        agreement.outputs, key=lambda one: (one.label_flips, one.rel_error_max), reverse=True
    )
    kept = _fitting(worst_first)
    return {
        "rows": agreement.rows,
        "seed": agreement.seed,
        "sample_sha256": agreement.sample_sha256,
        "tolerance": {"relative": relative, "absolute": absolute},
        "outputs": [asdict(one) for one in agreement.outputs if one in kept],
        "outputs_left_out": len(agreement.outputs) - len(kept),
    }


def _fitting(outputs: Sequence[OutputAgreement]) -> list[OutputAgreement]:
    kept: list[OutputAgreement] = []
    room = OUTPUTS_BYTES_MAX
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
