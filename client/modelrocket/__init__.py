"""ModelRocket: a trained model becomes an inference API in one line.

    import modelrocket
    deployment = modelrocket.upload(model, "digits", np.float32, (None, 64))
    deployment.predict(X_test)

Importing this package imports nothing else: each name is fetched when it is first used, so that
`modelrocket.tensors` alone stays as light as numpy, and no framework is loaded that you have not loaded.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelrocket.client import Client, Deployment, upload
    from modelrocket.config import remember
    from modelrocket.errors import (
        ApiError,
        ConfigurationError,
        ConnectionFailed,
        ConversionError,
        InvalidTensor,
        ModelRocketError,
        PreparationFailed,
        QuantisationLoss,
        Timeout,
        UnsupportedModel,
        UploadFailed,
    )
    from modelrocket.models import Model, Version
    from modelrocket.report import Report
    from modelrocket.rollout import Limits, Traffic

__version__ = "0.1.0"

__all__ = [
    "ApiError",
    "Client",
    "ConfigurationError",
    "ConnectionFailed",
    "ConversionError",
    "Deployment",
    "InvalidTensor",
    "Limits",
    "Model",
    "ModelRocketError",
    "PreparationFailed",
    "QuantisationLoss",
    "Report",
    "Timeout",
    "Traffic",
    "UnsupportedModel",
    "UploadFailed",
    "Version",
    "remember",
    "upload",
]

_HOMES = {
    "Client": "client",
    "Deployment": "client",
    "Limits": "rollout",
    "Model": "models",
    "Report": "report",
    "Traffic": "rollout",
    "Version": "models",
    "remember": "config",
    "upload": "client",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'modelrocket' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"modelrocket.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
