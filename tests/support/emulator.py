"""AWS on this machine for as long as a block lasts: ministack, a process of its own that nobody else reaches.

It runs functions from their package, each in a process, and the API before them; what would be a machine or a
container it only writes down. Signatures are checked, and who asks may do what its role says, nothing else.
"""

from __future__ import annotations

import http.client
import random
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import botocore.session
import pytest
from botocore.config import Config

from infra.local.ports import LOOPBACK, free_port
from infra.local.process import Child, ChildSpec, running

ACCOUNT: Final = "123456789012"
REGION: Final = "us-east-1"
_ROOT: Final = Path(__file__).resolve().parents[2]
_PROGRAM: Final = _ROOT / ".venv-emulator" / "bin" / "ministack"
_HEALTH: Final = "/_ministack/health"
_ROOT_KEY: Final = {"AWS_ACCESS_KEY_ID": "emulated", "AWS_SECRET_ACCESS_KEY": "emulated"}


@dataclass(frozen=True, slots=True)
class Emulator:
    """`log`: what it and its functions have written."""

    url: str
    log: Path
    process: Child

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def environment(self) -> Mapping[str, str]:
        """What AWS's tools and clients read, so that they ask it and nobody else, as the account itself."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            **_ROOT_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str, credentials: Mapping[str, str] | None = None) -> Any:
        """botocore's; as the account itself where no credentials are given, as an environment has them."""
        return self.create_client(service, credentials=credentials or _ROOT_KEY)

    def assume(self, role: str) -> Mapping[str, str]:
        """What who has the role, an ARN, finds in their environment."""
        told = self.client("sts").assume_role(RoleArn=role, RoleSessionName="tests")["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": told["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": told["SecretAccessKey"],
            "AWS_SESSION_TOKEN": told["SessionToken"],
        }

    def create_client(
        self,
        service: str,
        *,
        region_name: str = REGION,
        config: Config | None = None,
        credentials: Mapping[str, str] = _ROOT_KEY,
    ) -> Any:
        """As a session of botocore's does it. It waits for a function as long as one may run."""
        session: Any = botocore.session.Session()
        return session.create_client(
            service,
            region_name=region_name,
            endpoint_url=self.url,
            config=Config(read_timeout=120, retries={"total_max_attempts": 1}) if config is None else config,
            **{name.lower(): value for name, value in credentials.items()},
        )


@contextmanager
def running_emulator(folder: Path) -> Iterator[Emulator]:
    """Empty, with all it keeps below this folder. It and what it has started are gone when the block ends."""
    if not _PROGRAM.exists():
        pytest.fail(f"{_PROGRAM} is not there: `make .venv-emulator/.installed` makes it")
    for name in ("home", "state", "tmp"):
        (folder / name).mkdir(parents=True)
    port = free_port(random.Random())
    spec = ChildSpec(
        name="emulator",
        command=(str(_PROGRAM),),
        environment={
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(folder / "home"),
            "STATE_DIR": str(folder / "state"),
            "TMPDIR": str(folder / "tmp"),
            "AUTH": "true",
            **_ROOT_KEY,
            "BIND_HOST": LOOPBACK,
            "GATEWAY_PORT": str(port),
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "IOT_MTLS_ENABLED": "0",
        },
        log_file=folder / "emulator.log",
        working_directory=folder,
        ready=lambda: _answers(port),
        stop_seconds=5,
    )
    with running([spec]) as children:
        yield Emulator(f"http://{LOOPBACK}:{port}", folder / "emulator.log", children["emulator"])
    shutil.rmtree(folder / "tmp", ignore_errors=True)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", _HEALTH)
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()
