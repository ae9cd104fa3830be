"""LocalStack's S3 on this machine for as long as a block lasts: its own runtime, without Docker."""

from __future__ import annotations

import http.client
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from infra.local.ports import LOOPBACK, free_port
from infra.local.process import ChildSpec, running

_ROOT: Final = Path(__file__).resolve().parents[2]
_PYTHON: Final = _ROOT / ".venv-localstack" / "bin" / "python"
_HEALTH: Final = "/_localstack/health"
_RUNTIME: Final = f"""\
from functools import partial
from twisted.internet import endpoints
endpoints.TCP4ServerEndpoint = partial(endpoints.TCP4ServerEndpoint, interface={LOOPBACK!r})
from localstack.runtime.main import main
main()
"""
"""As its own `python -m localstack.runtime.main`, which listens on every interface whatever it is told."""


@contextmanager
def running_localstack(folder: Path) -> Iterator[str]:
    """Its host and port. It holds what it is given in memory; what it writes is in this folder."""
    if not _PYTHON.exists():
        pytest.fail(f"{_PYTHON} is not there: `make .venv-localstack/.installed` makes it")
    (folder / "tmp").mkdir(parents=True)
    port = free_port(random.Random())
    spec = ChildSpec(
        name="localstack",
        command=(str(_PYTHON), "-c", _RUNTIME),
        environment={
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "TEMP": str(folder / "tmp"),
            "FILESYSTEM_ROOT": str(folder / "root"),
            "OVERRIDE_IN_DOCKER": "0",
            "GATEWAY_LISTEN": f"{LOOPBACK}:{port}",
            "SERVICES": "s3",
            "EAGER_SERVICE_LOADING": "1",
            "STRICT_SERVICE_LOADING": "1",
            "S3_SKIP_SIGNATURE_VALIDATION": "0",
            "DISABLE_EVENTS": "1",
            "SKIP_SSL_CERT_DOWNLOAD": "1",
        },
        log_file=folder / "localstack.log",
        working_directory=folder,
        ready=lambda: is_emulator(f"http://{LOOPBACK}:{port}"),
        stop_seconds=5,
    )
    with running([spec]):
        yield f"{LOOPBACK}:{port}"


def is_emulator(url: str) -> bool:
    """Whether LocalStack answers there, or what shows itself as it does."""
    scheme, _, place = url.partition("://")
    connect = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    connection = connect(place.rstrip("/"), timeout=2)
    try:
        connection.request("GET", _HEALTH)
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()
