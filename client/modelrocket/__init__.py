"""ModelRocket: a trained model becomes an inference API in one line.

    import modelrocket
    deployment = modelrocket.upload(model, "digits", np.float32, (None, 64))
    deployment.predict(X_test)

Importing this package imports nothing else: each name is fetched when it is first used, so that
`modelrocket.tensors` alone stays as light as numpy, and no framework is loaded that you have not loaded.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelrocket.client import Client, Deployment, Model, upload
    from modelrocket.config import remember
    from modelrocket.errors import (
        ApiError,
        ConfigurationError,
        ConnectionFailed,
        ConversionError,
        InvalidTensor,
        ModelRocketError,
        PreparationFailed,
        Timeout,
        UnsupportedModel,
        UploadFailed,
    )

__version__ = "0.1.0"

__all__ = [
    "ApiError",
    "Client",
    "ConfigurationError",
    "ConnectionFailed",
    "ConversionError",
    "Deployment",
    "InvalidTensor",
    "Model",
    "ModelRocketError",
    "PreparationFailed",
    "Timeout",
    "UnsupportedModel",
    "UploadFailed",
    "remember",
    "upload",
]

_HOMES = {
    "Client": "client",
    "Deployment": "client",
    "Model": "client",
    "upload": "client",
    "remember": "config",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'modelrocket' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"modelrocket.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
