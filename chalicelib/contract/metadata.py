"""What Open Inference Protocol v2 says of a server and its models, and how its paths are read.

(github.com/kserve/open-inference-protocol.) A model goes by its id; of its versions
those are served that its traffic goes to: the active one, and one on trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from chalicelib import __version__
from chalicelib.contract.errors import InvalidRequest, ModelRocketError, NotFound
from chalicelib.contract.inference import read_number
from chalicelib.contract.messages import ModelRecord, TensorSignature, VersionRecord

PREFIX: Final = b"/v2"
HEADER_LENGTH: Final = "Inference-Header-Content-Length"
DATATYPES: Final[Mapping[str, str]] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "bfloat16": "BF16",
    "string": "BYTES",
}
"""Our dtype names → the protocol's."""

_PLATFORM: Final = "onnxruntime_onnx"
_ANY_SIZE: Final = -1
_VERSION_LENGTH_MAX: Final = 9


@dataclass(frozen=True, slots=True)
class ModelPath:
    """`/v2/models/{model_id}[/versions/{version}][/{what}]`."""

    model_id: str
    version: str = ""
    what: str = ""


def model_path(path: bytes) -> ModelPath | None:
    """Of a path that starts with `/v2`; None for others than a model's."""
    match path.decode("latin-1").split("/")[2:]:
        case ["models", model_id, "versions", version, *rest] if version and len(rest) <= 1:
            return ModelPath(model_id, version, *rest)
        case ["models", model_id, *rest] if model_id and len(rest) <= 1:
            return ModelPath(model_id, "", *rest)
    return None


def read_header_length(given: str | None, *, body_bytes: int) -> int | None:
    """How much of a body is JSON, by its header; None where there is none. Raises InvalidRequest."""
    if given is None:
        return None
    length = read_number(given, name=HEADER_LENGTH)
    if not 0 < length <= body_bytes:
        raise InvalidRequest(f"{HEADER_LENGTH} is {length}, the body has {body_bytes} bytes.")
    return length


def versions(model: ModelRecord) -> tuple[VersionRecord, ...]:
    """That answer, the active one first. Of a model that has one."""
    assert model.active is not None
    return (model.active,) if model.candidate is None else (model.active, model.candidate.version)


def named(model: ModelRecord, version: str) -> VersionRecord:
    """The one with this number; the active one where none is given. Raises NotFound."""
    serving = versions(model)
    for record in serving:
        if version in ("", str(record.number)):
            return record
    numbers = " or ".join(str(record.number) for record in serving)
    raise NotFound(
        f"Version {version[:_VERSION_LENGTH_MAX]} does not answer: leave it out, or ask for {numbers}."
    )


def server() -> dict[str, Any]:
    return {"name": "modelrocket", "version": __version__, "extensions": ["binary_tensor_data"]}


def model(model: ModelRecord, record: VersionRecord) -> dict[str, Any]:
    """As one of its versions takes and gives.

    `rows_independent`: its certificate says that each row is answered like that in any company.
    """
    proved = record.certificate is not None and record.certificate.batchable
    return {
        "name": model.model_id,
        "versions": [str(one.number) for one in versions(model)],
        "platform": _PLATFORM,
        "inputs": [_tensor(one) for one in record.signature.inputs],
        "outputs": [_tensor(one) for one in record.signature.outputs],
        "parameters": {"rows_independent": proved},
    }


def ready(model: ModelRecord, _record: VersionRecord) -> dict[str, Any]:
    """It answers: what is not in memory is loaded when it is asked."""
    return {"name": model.model_id, "ready": True}


def error_body(error: ModelRocketError, request_id: str) -> dict[str, Any]:
    """The protocol's form, text under "error", with our other fields beside it.

    Its clients show that text; an object there makes some of them fail.
    """
    fields = error.body(request_id)["error"]
    return {"error": fields.pop("message"), **fields}


def _tensor(one: TensorSignature) -> dict[str, Any]:
    shape = [_ANY_SIZE if size is None else size for size in one.shape]
    return {"name": one.name, "datatype": DATATYPES[one.dtype], "shape": shape}
