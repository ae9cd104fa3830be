"""How the nouns look as JSON. Fields are listed one by one: nothing leaves by accident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import msgspec
from chalice.app import Response

from chalicelib.auth import IssuedToken
from chalicelib.contract import limits
from chalicelib.contract.messages import (
    WEIGHTS_LOCATION,
    Counts,
    Preparation,
    PrepareStage,
    WeightsFile,
    decode,
    to_plain,
)
from chalicelib.contract.metadata import HEADER_LENGTH
from chalicelib.http import Headers
from chalicelib.ports import UploadPart
from chalicelib.records import Candidate, Model, TrafficChange, Version
from chalicelib.routing import InferenceAnswer
from chalicelib.settings import Settings
from chalicelib.traffic import Shown
from chalicelib.uploads import BegunUpload, UploadStatus

_JSON: Final = "application/json"
_PASSED_ON: Final = ("Retry-After", HEADER_LENGTH)


def inference(answer: InferenceAnswer, request_id: str) -> Response:
    """The host's own body, with the gateway's part of the timings in front.

    Open Inference Protocol's binary tensors go out as bytes, which API Gateway has in base64.
    """
    reply = answer.reply
    content_type = reply.headers.get("content-type", _JSON)
    headers: Headers = {
        "Content-Type": content_type,
        "X-Request-Id": request_id,
        "X-Model-Version": str(answer.version),
        "X-Rocket-Tries": str(answer.tries),
        "Server-Timing": _server_timing(answer),
    }
    headers |= {name: reply.headers[name.lower()] for name in _PASSED_ON if name.lower() in reply.headers}
    body = reply.body.decode() if content_type == _JSON else reply.body
    return Response(body=body, status_code=reply.status, headers=headers)


def begun_upload(begun: BegunUpload) -> dict[str, Any]:
    named = {"id": begun.model.id, "name": begun.model.name}
    return {
        "model": {**named, "created": begun.created, "tokens": begun.tokens},
        "version": version(begun.version, begun.model),
        "upload": upload(begun.parts),
    }


def upload(parts: Sequence[UploadPart]) -> dict[str, Any]:
    """What is still to be sent, and for how many seconds the grants are good."""
    return {"expires_in": limits.UPLOAD_URL_SECONDS, "parts": [asdict(part) for part in parts]}


def models(listed: Sequence[Model], settings: Settings) -> dict[str, Any]:
    following = listed[-1].id if len(listed) == limits.PAGE_SIZE_MAX else None
    return {"models": [model(one, settings) for one in listed], "next": following}


def model(shown: Model, settings: Settings) -> dict[str, Any]:
    return {
        "id": shown.id,
        "name": shown.name,
        "active": shown.active_version,
        "previous": shown.previous_version,
        "activating": shown.activation.version if shown.activation else None,
        "candidate": _candidate(shown.candidate) if shown.candidate else None,
        "created_at": shown.created_at.isoformat(),
        "url": f"{settings.public_url}/inference",
    }


def model_in_full(shown: Shown, settings: Settings) -> dict[str, Any]:
    """With what was counted of the candidate, which costs a look-up."""
    return model(shown.model, settings) | {"candidate": _candidate_in_full(shown)}


def traffic(shown: Shown) -> dict[str, Any]:
    return {
        "active": shown.model.active_version,
        "previous": shown.model.previous_version,
        "activating": shown.model.activation.version if shown.model.activation else None,
        "candidate": _candidate_in_full(shown),
    }


def traffic_history(entries: Sequence[TrafficChange]) -> list[dict[str, Any]]:
    """The newest first."""
    return [
        {
            "at": entry.at.isoformat(),
            "by": entry.by,
            "why": entry.why,
            "from": to_plain(entry.before),
            "to": to_plain(entry.after),
        }
        for entry in reversed(entries)
    ]


def _candidate(shown: Candidate) -> dict[str, Any]:
    return {
        "version": shown.version,
        "percent": shown.percent,
        "mirror_percent": shown.mirror_percent,
        "limits": to_plain(shown.limits),
    }


def _candidate_in_full(shown: Shown) -> dict[str, Any] | None:
    """`counts`: of the candidate and of the active version beside it; None while they cannot be read."""
    candidate, seen = shown.model.candidate, shown.counts
    if candidate is None:
        return None
    counted: dict[str, Any] | None = None
    if seen is not None:
        ids = {"candidate": candidate.version_id, "active": shown.model.active_version_id or ""}
        counted = {role: to_plain(seen.get(version_id, Counts())) for role, version_id in ids.items()}
    return _candidate(candidate) | {"counts": counted}


def version(shown: Version, owner: Model, *, stage: PrepareStage | None = None) -> dict[str, Any]:
    return {
        "model_id": shown.model_id,
        "number": shown.number,
        "state": shown.state,
        "stage": stage,
        "active": owner.active_version == shown.number,
        "activating": shown.becomes_active(owner),
        "reason": shown.reason,
        "bytes": shown.bytes,
        "sha256": shown.sha256,
        "weights": _weights(shown.weights) if shown.weights else None,
        "framework": shown.framework,
        "signature": to_plain(shown.signature) if shown.signature else None,
        "passport": to_plain(shown.passport) if shown.passport else None,
        "created_at": shown.created_at.isoformat(),
    }


def _weights(shown: WeightsFile) -> dict[str, Any]:
    return {"bytes": shown.bytes, "sha256": shown.sha256}


def report(shown: Version) -> dict[str, Any]:
    """All that is known of one version: what it is, what it costs, what was proved, and how it came to be."""
    found = decode(shown.preparation, Preparation)
    return {
        "model_id": shown.model_id,
        "number": shown.number,
        "state": shown.state,
        "reason": shown.reason,
        "refusal": found.refusal if found else None,
        "signature": _plain(shown.signature),
        "passport": _plain(shown.passport),
        "certificate": _plain(shown.certificate),
        "optimisation": _plain(found.optimisation if found else None),
        "findings": _plain(found.findings if found else None),
        "receipt": msgspec.json.decode(shown.receipt) if shown.receipt else None,
        "hashes": _hashes(shown),
        "prepared_by": {"onnxruntime": found.onnxruntime, "host_class": found.host_class} if found else None,
        "framework": shown.framework,
        "bytes": shown.bytes,
        "created_at": shown.created_at.isoformat(),
    }


def _hashes(shown: Version) -> dict[str, str]:
    """SHA-256 of the uploaded files."""
    return {"model": shown.sha256} | ({"weights": shown.weights.sha256} if shown.weights else {})


def _plain(message: msgspec.Struct | None) -> Any:
    return to_plain(message) if message is not None else None


def upload_status(status: UploadStatus) -> dict[str, Any]:
    return version(status.version, status.model, stage=status.stage)


def issued_token(issued: IssuedToken) -> dict[str, Any]:
    """The only answer that ever holds a credential."""
    return {
        "id": issued.token.id,
        "token": issued.plain,
        "hint": issued.token.hint,
        "name": issued.token.name,
        "created_at": issued.token.created_at.isoformat(),
    }


def limits_published(settings: Settings) -> dict[str, Any]:
    """What callers and converters need to know."""
    return {
        "body_bytes_max": limits.BODY_BYTES_MAX,
        "deadline_ms_max": int(limits.DEADLINE_SECONDS_DEFAULT * 1000),
        "model_bytes_max": limits.MODEL_BYTES_MAX,
        "weights_bytes_max": limits.WEIGHTS_BYTES_MAX,
        "upload_part_bytes": settings.upload_part_bytes,
        "model_name_length_max": limits.MODEL_NAME_LENGTH_MAX,
        "page_size_max": limits.PAGE_SIZE_MAX,
        "sticky_key_length_max": limits.STICKY_KEY_LENGTH_MAX,
        "traffic_history_max": limits.TRAFFIC_HISTORY_MAX,
        "retention_seconds": settings.retention_seconds,
        "upload_url_seconds": limits.UPLOAD_URL_SECONDS,
        "model_file": model_file_limits(),
    }


def model_file_limits() -> dict[str, Any]:
    """What an ONNX file may be, and what looking at it may take."""
    opsets = {domain: {"min": low, "max": high} for domain, (low, high) in limits.OPSETS.items()}
    return {
        "bytes_max": limits.MODEL_BYTES_MAX,
        "ir_version": {"min": limits.IR_VERSION_MIN, "max": limits.IR_VERSION_MAX},
        "opsets": opsets,
        "operators": {"com.microsoft": sorted(limits.MICROSOFT_OPERATORS)},
        "nodes_max": limits.GRAPH_NODES_MAX,
        "subgraph_depth_max": limits.SUBGRAPH_DEPTH_MAX,
        "weights_max": limits.WEIGHTS_MAX,
        "inputs_and_outputs_max": limits.TENSORS_MAX,
        "rank_max": limits.RANK_MAX,
        "name_length_max": limits.NAME_LENGTH_MAX,
        "metadata_bytes_max": limits.METADATA_BYTES_MAX,
        "external_data": {
            "location": WEIGHTS_LOCATION,
            "bytes_max": limits.WEIGHTS_BYTES_MAX,
            "alignment_bytes": limits.WEIGHTS_ALIGNMENT_BYTES,
        },
        "local_functions": False,
        "load_seconds_max": limits.LOAD_SECONDS_MAX,
        "preparation": {
            "seconds_max": limits.PREPARE_SECONDS_MAX,
            "cpu_seconds_max": limits.PREPARE_CPU_SECONDS_MAX,
            "memory_bytes_max": limits.PREPARE_MEMORY_BYTES_MAX,
        },
    }


def _server_timing(answer: InferenceAnswer) -> str:
    own = f"auth;dur={answer.timings.auth * 1000:.3f}, route;dur={answer.timings.route * 1000:.3f}"
    host = answer.reply.headers.get("server-timing")
    return f"{own}, {host}" if host else own
