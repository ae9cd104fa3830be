"""Every error a caller can see, and how it looks on the wire.

    ModelRocketError                  500  inference_failed when nothing better is known
    ├── InvalidRequest                400  the caller can fix it
    │   ├── InvalidTensor             422  names the input, what was expected and what came
    │   ├── InvalidModel              422  the file or version cannot be served
    │   ├── PayloadTooLarge           413
    │   ├── MethodNotAllowed          405
    │   ├── UnsupportedEncoding       415
    │   ├── RequestTimeout            408  the caller sent too slowly
    │   └── HeadersTooLarge           431
    ├── Unauthenticated               401
    ├── PermissionDenied              403
    ├── NotFound                      404  also for another tenant's
    ├── Conflict                      409
    ├── NotMe                         421  retryable, the process meant is gone
    ├── RateLimited                   429  retryable
    ├── InferenceFailed               500  the model's fault
    ├── Unavailable                   503  retryable, carries Retry-After
    │   ├── ModelLoading
    │   ├── Overloaded
    │   ├── Draining
    │   ├── NoCapacity
    │   └── DependencyFailed
    └── DeadlineExceeded              504

A message says what was wrong and what to do. It never carries secrets, bucket
names, addresses, or anything of another tenant.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Final


class ModelRocketError(Exception):
    """The root. `details` are extra fields of the error object on the wire."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.details = details

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON object every part answers with."""
        error: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            "request_id": request_id,
            **self.details,
        }
        return {"error": error}

    def headers(self, request_id: str) -> dict[str, str]:
        headers = {"X-Request-Id": request_id}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        return headers


class InvalidRequest(ModelRocketError):
    code, status = "invalid_request", 400


class InvalidTensor(InvalidRequest):
    code, status = "invalid_tensor", 422


class InvalidModel(InvalidRequest):
    code, status = "invalid_model", 422


class PayloadTooLarge(InvalidRequest):
    code, status = "payload_too_large", 413


class Unauthenticated(ModelRocketError):
    code, status = "unauthenticated", 401


class PermissionDenied(ModelRocketError):
    code, status = "permission_denied", 403


class NotFound(ModelRocketError):
    code, status = "not_found", 404


class MethodNotAllowed(InvalidRequest):
    status = 405


class UnsupportedEncoding(InvalidRequest):
    status = 415


class RequestTimeout(InvalidRequest):
    status = 408


class HeadersTooLarge(InvalidRequest):
    status = 431


class Conflict(ModelRocketError):
    code, status = "conflict", 409


class NotMe(ModelRocketError):
    """Meant for another process, or for this one before it was stopped and continued."""

    code, status, retryable = "not_me", 421, True


class RateLimited(ModelRocketError):
    code, status, retryable = "rate_limited", 429, True


class InferenceFailed(ModelRocketError):
    code, status = "inference_failed", 500


class Unavailable(ModelRocketError):
    """A 503: trying again after `retry_after` seconds is worth it."""

    code, status, retryable = "dependency", 503, True

    def __init__(self, message: str, *, retry_after: float = 1.0, **details: Any) -> None:
        super().__init__(message, retry_after=retry_after, **details)


class ModelLoading(Unavailable):
    code = "model_loading"


class Overloaded(Unavailable):
    code = "overloaded"


class Draining(Unavailable):
    code = "draining"


class NoCapacity(Unavailable):
    code = "no_capacity"


class DependencyFailed(Unavailable):
    code = "dependency"


class DeadlineExceeded(ModelRocketError):
    code, status, retryable = "deadline_exceeded", 504, True


def _codes(kind: type[ModelRocketError]) -> frozenset[str]:
    return frozenset({kind.code}).union(*map(_codes, kind.__subclasses__()))


CODES: Final = _codes(ModelRocketError)
"""All that there are."""


class StaleEpoch(Exception):
    """A control write of a coordinator that another has taken over from. No caller sees it."""
