"""What all exporters have in common: they may not be installed, and they talk about their own insides."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.metadata import PackageNotFoundError, version

from modelrocket.errors import ConversionError


def installed(package: str, *, models: str, extra: str) -> str:
    """Its name and version, without importing it. Raises `ConversionError` that says how to install it."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError as error:
        hint = f'Install it: pip install "modelrocket[{extra}]"'
        raise ConversionError(f"Converting {models} needs {package}.", hint=hint) from error


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Without what they print and warn, or log under these names; what fails is raised all the same."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels:
            logger.setLevel(level)
