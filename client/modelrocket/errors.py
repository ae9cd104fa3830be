"""Every error this package raises; catch `ModelRocketError` to catch them all.

ModelRocketError
├── ConfigurationError        no endpoint or API key; the message says how to set them
├── InvalidTensor             a value does not fit the model's input (also ValueError)
├── ConversionError           the model became no ONNX model that answers the same; has a hint
│   ├── UnsupportedModel      no converter knows this kind of object
│   └── QuantisationLoss      int8 would lose more than is let pass without asking
├── UploadFailed              the bytes did not arrive in the model store
├── PreparationFailed         the server could not load or run the model; has the reason
├── Timeout                   the time budget ran out; the work may still go on at the server
├── ConnectionFailed          nothing answers at the endpoint
└── ApiError                  the server said no: code, status, retryable, request_id, retry_after
    ├── InvalidRequest        400
    ├── Unauthenticated       401
    ├── PermissionDenied      403
    ├── NotFound              404
    ├── Conflict              409
    ├── PayloadTooLarge       413
    ├── InvalidTensorRequest  422  also InvalidTensor: the server refused an input
    ├── InvalidModel          422
    ├── RateLimited           429
    ├── InferenceFailed       500  the model's fault
    ├── Unavailable           503
    │   ├── ModelLoading
    │   ├── Overloaded
    │   ├── NoCapacity
    │   └── DependencyFailed
    └── DeadlineExceeded      504
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class ModelRocketError(Exception):
    """The root of the tree."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by what it holds, so that it crosses process boundaries whatever its arguments were."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[ModelRocketError], args: tuple[Any, ...], held: dict[str, Any]) -> ModelRocketError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(held)
    return error


class ConfigurationError(ModelRocketError):
    """An endpoint or an API key is missing, or the configuration file cannot be read."""


class InvalidTensor(ModelRocketError, ValueError):
    """A value does not fit the model's signature."""

    def __init__(self, name: str, *, expected: str, got: str) -> None:
        super().__init__(f'input "{name}": expected {expected}, got {got}')
        self.input = name
        self.expected = expected
        self.got = got


class ConversionError(ModelRocketError):
    """The model did not convert, or the converted model answers differently."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}\n{hint}" if hint else message)
        self.message = message
        self.hint = hint


class UnsupportedModel(ConversionError):
    """No converter knows this kind of object."""


class QuantisationLoss(ConversionError):
    """int8 would lose more than is let pass without asking; the message says how much."""


class UploadFailed(ModelRocketError):
    """The bytes did not arrive in the model store."""


class PreparationFailed(ModelRocketError):
    """The server could not load, run or check the uploaded model."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Timeout(ModelRocketError):
    """The time budget of the call ran out."""


class ConnectionFailed(ModelRocketError):
    """Nothing answers at the endpoint."""


@dataclass(frozen=True)
class Refusal:
    """What the server said when it refused, as it stood in the answer."""

    code: str
    message: str
    status: int
    retryable: bool = False
    request_id: str | None = None
    retry_after: float | None = None
    input: str = ""
    expected: str = ""
    got: str = ""


class ApiError(ModelRocketError):
    """The server refused the request."""

    def __init__(self, refusal: Refusal) -> None:
        trace = f" (request {refusal.request_id})" if refusal.request_id else ""
        Exception.__init__(self, f"{refusal.message} [{refusal.code}]{trace}")
        self.code = refusal.code
        self.status = refusal.status
        self.retryable = refusal.retryable
        self.request_id = refusal.request_id
        self.retry_after = refusal.retry_after


class InvalidRequest(ApiError):
    """The request is malformed."""


class Unauthenticated(ApiError):
    """The API key or model token is missing, wrong or revoked."""


class PermissionDenied(ApiError):
    """The API key or model token may not do this."""


class NotFound(ApiError):
    """There is no such thing, or it is another tenant's."""


class Conflict(ApiError):
    """The thing is not in a state that allows this."""


class PayloadTooLarge(ApiError):
    """The body is over the published limit."""


class InvalidTensorRequest(ApiError, InvalidTensor):
    """The server refused an input; `input`, `expected` and `got` say why."""

    def __init__(self, refusal: Refusal) -> None:
        ApiError.__init__(self, refusal)
        self.input = refusal.input
        self.expected = refusal.expected
        self.got = refusal.got


class InvalidModel(ApiError):
    """The uploaded bytes are not the model that was announced."""


class RateLimited(ApiError):
    """Too many requests."""


class InferenceFailed(ApiError):
    """The model itself failed on this input."""


class Unavailable(ApiError):
    """The service cannot answer now; retry later."""


class ModelLoading(Unavailable):
    """The model is being loaded."""


class Overloaded(Unavailable):
    """The load was shed."""


class NoCapacity(Unavailable):
    """No host can take the model."""


class DependencyFailed(Unavailable):
    """A store the service needs is away."""


class DeadlineExceeded(ApiError):
    """The answer did not come within the deadline."""


_BY_CODE: Mapping[str, type[ApiError]] = {
    "invalid_request": InvalidRequest,
    "unauthenticated": Unauthenticated,
    "permission_denied": PermissionDenied,
    "not_found": NotFound,
    "conflict": Conflict,
    "payload_too_large": PayloadTooLarge,
    "invalid_tensor": InvalidTensorRequest,
    "invalid_model": InvalidModel,
    "rate_limited": RateLimited,
    "inference_failed": InferenceFailed,
    "model_loading": ModelLoading,
    "overloaded": Overloaded,
    "no_capacity": NoCapacity,
    "dependency": DependencyFailed,
    "deadline_exceeded": DeadlineExceeded,
}


def api_error(refusal: Refusal) -> ApiError:
    """The error for what the server said; an unknown code is a plain `ApiError`."""
    return _BY_CODE.get(refusal.code, ApiError)(refusal)
