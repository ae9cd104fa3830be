"""How the nouns look as JSON. Fields are listed one by one: nothing leaves by accident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from chalice.app import Response

from chalicelib.auth import IssuedToken
from chalicelib.contract import limits
from chalicelib.contract.messages import PrepareStage, to_plain
from chalicelib.http import Headers
from chalicelib.records import Model, Version, VersionState
from chalicelib.routing import InferenceAnswer
from chalicelib.settings import Settings
from chalicelib.uploads import BegunUpload


def inference(answer: InferenceAnswer, request_id: str) -> Response:
    """The host's own body, with the gateway's part of the timings in front."""
    headers: Headers = {
        "Content-Type": "application/json",
        "X-Request-Id": request_id,
        "X-Model-Version": str(answer.version),
        "X-Rocket-Tries": str(answer.tries),
        "Server-Timing": _server_timing(answer),
    }
    retry_after = answer.reply.headers.get("retry-after")
    if retry_after is not None:
        headers["Retry-After"] = retry_after
    return Response(body=answer.reply.body.decode(), status_code=answer.reply.status, headers=headers)


def begun_upload(begun: BegunUpload) -> dict[str, Any]:
    named = {"id": begun.model.id, "name": begun.model.name}
    return {
        "model": {**named, "created": begun.created, "tokens": begun.tokens},
        "version": version(begun.version, begun.model, stage=None),
        "upload": {
            "expires_in": limits.UPLOAD_URL_SECONDS,
            "parts": [asdict(part) for part in begun.parts],
        },
    }


def models(listed: Sequence[Model], settings: Settings) -> dict[str, Any]:
    following = listed[-1].id if len(listed) == limits.PAGE_SIZE_MAX else None
    return {"models": [model(one, settings) for one in listed], "next": following}


def model(shown: Model, settings: Settings) -> dict[str, Any]:
    return {
        "id": shown.id,
        "name": shown.name,
        "active": shown.active_version,
        "created_at": shown.created_at.isoformat(),
        "url": f"{settings.public_url}/inference",
    }


def version(shown: Version, owner: Model, *, stage: PrepareStage | None) -> dict[str, Any]:
    return {
        "model_id": shown.model_id,
        "number": shown.number,
        "state": shown.state,
        "stage": stage,
        "active": owner.active_version == shown.number,
        "activating": shown.state is VersionState.READY and shown.activation_pending,
        "reason": shown.reason,
        "bytes": shown.bytes,
        "sha256": shown.sha256,
        "framework": shown.framework,
        "signature": to_plain(shown.signature) if shown.signature else None,
        "passport": to_plain(shown.passport) if shown.passport else None,
        "created_at": shown.created_at.isoformat(),
    }


def issued_token(issued: IssuedToken) -> dict[str, Any]:
    """The only answer that ever holds a credential."""
    return {
        "id": issued.token.id,
        "token": issued.plain,
        "hint": issued.token.hint,
        "name": issued.token.name,
        "created_at": issued.token.created_at.isoformat(),
    }


def limits_published() -> dict[str, Any]:
    """What callers and converters need to know."""
    return {
        "body_bytes_max": limits.BODY_BYTES_MAX,
        "deadline_ms_max": int(limits.DEADLINE_SECONDS_DEFAULT * 1000),
        "model_bytes_max": limits.MODEL_BYTES_MAX,
        "model_name_length_max": limits.MODEL_NAME_LENGTH_MAX,
        "page_size_max": limits.PAGE_SIZE_MAX,
        "upload_url_seconds": limits.UPLOAD_URL_SECONDS,
        "onnx": {
            "opset_min": limits.OPSET_MIN,
            "opset_max": limits.OPSET_MAX,
            "ir_version_max": limits.IR_VERSION_MAX,
            "nodes_max": limits.GRAPH_NODES_MAX,
            "domains": list(limits.OPERATOR_DOMAINS),
        },
    }


def _server_timing(answer: InferenceAnswer) -> str:
    own = f"auth;dur={answer.timings.auth * 1000:.3f}, route;dur={answer.timings.route * 1000:.3f}"
    host = answer.reply.headers.get("server-timing")
    return f"{own}, {host}" if host else own
