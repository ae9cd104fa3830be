"""The one-machine stack as data: what starts, in which order, with which environment.

servers → first account and API key → hosts → coordinator ticker → gateway
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chalicelib.contract.limits import DRAIN_SECONDS_MAX
from infra.local import servers, ticker
from infra.local.connections import Connections
from infra.local.hostpool import HostPool, host_name
from infra.local.ports import LOOPBACK, PORTS_FILE, assign_ports
from infra.local.probes import mongo_is_ready, redis_is_ready, s3_is_ready
from infra.local.process import ChildSpec, rotate_log
from infra.local.settings import StackSettings
from infra.local.steps import Action, Command, Pool, Stage, Step

REPOSITORY: Final = Path(__file__).resolve().parents[2]
_TICK: Final = {"MODELROCKET_TICK_SECONDS": "2", "MODELROCKET_LOOP_SECONDS": "20"}
_LIMITS: Final = {
    "MODELROCKET_ACCOUNT_REQUESTS_PER_SECOND": "20000",
    "MODELROCKET_ACCOUNT_CONCURRENCY": "4096",
}
"""One person's machine: more than it can do. Whoever sets them otherwise is heard."""
_QUOTAS: Final = {
    "MODELROCKET_ACCOUNT_MODELS": "100000",
    "MODELROCKET_ACCOUNT_BYTES": str(2**44),
    "MODELROCKET_ACCOUNT_PINNED": "1000",
}
"""Its disk and memory say enough, and there is nobody else to ask for more."""
_OURS: Final = ("AWS_", "MODELROCKET_MONGO_", "MODELROCKET_REDIS_", "MODELROCKET_S3_")
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_PROBE_SECONDS: Final = 2.0
_EXTERNAL_SECONDS: Final = 10.0
_HTTP_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Stack:
    """Composes specs; starts nothing. `generator`: for the ports of hosts."""

    settings: StackSettings
    layout: servers.Layout
    environ: Mapping[str, str]
    generator: random.Random = field(default_factory=random.Random)

    def steps(self, *, say: Callable[[str], None]) -> tuple[Step, ...]:
        embedded = servers.server_specs(self.layout)
        return (
            Stage(embedded),
            *self._external_servers(),
            Command(self._bootstrap()),
            Action("API key", lambda: self._remember_api_key(say)),
            self._hosts(),
            Stage((self._ticker(),)),
            Stage((self._gateway(),)),
        )

    def demo(self) -> ChildSpec:
        """A program for the person at the terminal: its output goes there."""
        return ChildSpec(
            name="demo",
            command=(sys.executable, "-m", "infra.local.demo"),
            environment=self._base()
            | {
                "MODELROCKET_ENDPOINT": self.settings.url,
                "MODELROCKET_API_KEY": self.layout.credentials.api_key,
            },
            working_directory=REPOSITORY,
        )

    def control_plane(self, role: str) -> dict[str, str]:
        """The whole environment of the gateway or the coordinator."""
        return (
            _TICK
            | _LIMITS
            | _QUOTAS
            | self._base()
            | self._connections.control_plane(role)
            | {
                "MODELROCKET_DISPATCH_KEY": self.layout.credentials.dispatch_key,
                "MODELROCKET_PUBLIC_URL": self.settings.url,
                "MODELROCKET_HOST_NETWORK": "127.0.0.0/8",
                "MODELROCKET_CAPACITY": "local",
                "MODELROCKET_POLICY": json.dumps(self.settings.policy),
            }
        )

    @property
    def _connections(self) -> Connections:
        return servers.connections(self.layout)

    def _external_servers(self) -> tuple[Action, ...]:
        external, urls = self.settings.external, self._connections
        probes = (
            (external.redis_url, "MODELROCKET_REDIS_URL", lambda: redis_is_ready(urls.redis_urls["stack"])),
            (external.mongo_url, "MODELROCKET_MONGO_URL", lambda: mongo_is_ready(urls.mongo_url)),
            (external.s3, "MODELROCKET_S3_ENDPOINT_URL", lambda: s3_is_ready(urls.s3)),
        )
        return tuple(
            Action(f"the server at {setting}", probe, seconds=_EXTERNAL_SECONDS)
            for given, setting, probe in probes
            if given is not None
        )

    def _bootstrap(self) -> ChildSpec:
        return self._program(
            "bootstrap",
            "chalicelib.bootstrap",
            environment=self.control_plane("coordinator")
            | {"MODELROCKET_BOOTSTRAP_KEY": self.layout.credentials.api_key},
        )

    def _hosts(self) -> Pool:
        """As few as may be to begin with."""
        hosts = self.settings.hosts
        pool = HostPool(
            self._connections.redis_urls["stack"],
            spec=self._host,
            hosts_max=hosts.most,
            clock=time.monotonic,
        )
        return Pool(tuple(self._host(number) for number in range(1, hosts.fewest + 1)), pool.follow)

    def _host(self, number: int) -> ChildSpec:
        name = host_name(number)
        port = self._port(name)
        return self._program(
            name,
            "host_container",
            environment=_LIMITS
            | self._base()
            | self._connections.host()
            | {
                "MODELROCKET_HOST_ID": name,
                "MODELROCKET_HOST_ADDRESS": LOOPBACK,
                "MODELROCKET_HOST_PORT": str(port),
                "MODELROCKET_CACHE_DIR": str(self.layout.folder(f"hosts/{name}")),
                "MODELROCKET_DISPATCH_KEY": self.layout.credentials.dispatch_key,
                "MODELROCKET_SANDBOX": "preferred",  # the models here are the user's own
                "ORT_DISABLE_TELEMETRY": "1",
            },
            port=port,
            stop_seconds=DRAIN_SECONDS_MAX + 5,
        )

    def _port(self, name: str) -> int:
        """Chosen when the host first starts: how many there will be, nobody knows."""
        ports = assign_ports(
            (name,),
            remembered_in=self.layout.home / PORTS_FILE,
            generator=self.generator,
            reserved=frozenset({self.settings.port}),
        )
        return ports[name]

    def _ticker(self) -> ChildSpec:
        log_file = self.layout.log_file("coordinator")
        return self._program(
            "coordinator",
            "infra.local.ticker",
            environment=self.control_plane("coordinator"),
            ready=lambda: _contains(log_file, ticker.STARTED),
        )

    def _gateway(self) -> ChildSpec:
        return self._program(
            "gateway",
            "infra.local.gateway",
            str(self.settings.port),
            environment=self.control_plane("gateway"),
            port=self.settings.port,
        )

    def _program(
        self,
        name: str,
        module: str,
        *arguments: str,
        environment: Mapping[str, str],
        port: int | None = None,
        ready: Callable[[], bool] = lambda: True,
        stop_seconds: float = 10.0,
    ) -> ChildSpec:
        """One of our own Python programs. With a port, it is ready when /healthz answers there."""
        log_file = self.layout.log_file(name)
        return ChildSpec(
            name=name,
            command=(sys.executable, "-m", module, *arguments),
            environment=environment,
            log_file=log_file,
            working_directory=REPOSITORY,
            ready=ready if port is None else lambda: answers_healthz(port),
            address=f"http://{LOOPBACK}:{port}" if port is not None else "",
            stop_seconds=stop_seconds,
        )

    def _base(self) -> dict[str, str]:
        """The person's environment, less what decides where clients connect and with which rights."""
        kept = {
            name: value
            for name, value in self.environ.items()
            if not name.startswith(_OURS) and name.lower() not in _PROXIES
        }
        return kept | {"PYTHONUNBUFFERED": "1"}

    def _remember_api_key(self, say: Callable[[str], None]) -> bool:
        from modelrocket.config import remember
        from modelrocket.errors import ConfigurationError

        try:
            remember(self.settings.url, self.layout.credentials.api_key, environ=self.environ)
        except ConfigurationError as error:
            say(f"  The client does not know the API key yet: {error}")
            say(f"  Once that is mended, start again; the key is in {self.settings.home}/credentials.json.")
        return True


def rotate_logs(layout: servers.Layout) -> None:
    for path in layout.folder("logs").glob("*.log"):
        rotate_log(path)


def answers_healthz(port: int) -> bool:
    """Whether the program on this port says that it is well."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == _HTTP_OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _contains(path: Path, text: str) -> bool:
    try:
        return text in path.read_text(errors="replace")
    except OSError:
        return False
