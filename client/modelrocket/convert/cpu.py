"""The process that exports, before a framework is imported there: on the CPU alone, and not talking."""

import os
from types import MappingProxyType

_ENVIRONMENT = MappingProxyType(
    {
        "CUDA_VISIBLE_DEVICES": "",
        "JAX_PLATFORMS": "cpu",
        "KERAS_TORCH_DEVICE": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
)


def only(**further: str) -> None:
    """Sets this process's environment; `further` variables too."""
    os.environ.update({**_ENVIRONMENT, **further})  # noqa: TID251 - frameworks read nothing else at import
