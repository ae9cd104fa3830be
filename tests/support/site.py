"""A whole platform of real processes whose every line goes through a link that a test can cut.

The stores, a gateway, the coordinator and two hosts are processes as in production. The gateway reaches the
hosts by links as well: what hosts say of their ports is changed on its way to Redis.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from chalicelib.contract.hotstate import HotState
from chalicelib.contract.tokens import new_token
from chalicelib.records import routing_record
from chalicelib.wiring import ControlPlane, build
from infra.local.embedded import EmbeddedServers, embedded_servers
from infra.local.process import Child, wait_until_ready
from infra.local.stack import answers_healthz
from modelrocket import Client
from tests.support.faultyproxy import Line
from tests.support.hosts import KEY, ROOT, HostProcess, free_port, running_host
from tests.support.links import Link, linked, port_of, through
from tests.support.waiting import wait_for

_HOSTS: Final = 2
_DIGITS: Final = 5
_PAGE: Final = 1_000


@dataclass(slots=True)
class Site:
    """Attributes:
    links: by who speaks to whom: gateway-redis, gateway-mongo, coordinator-redis, hosts-redis, host-1, …
    environ: of the control plane, without links. `plane` is one of this process's own.
    """

    servers: EmbeddedServers
    folder: Path
    api_key: str
    environ: Mapping[str, str]
    links: dict[str, Link]
    plane: ControlPlane
    redis: Any
    gateway: int = 0
    hosts: list[HostProcess] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway}"

    @property
    def hot(self) -> HotState:
        return self.plane.hot

    @property
    def doors(self) -> tuple[str, ...]:
        """The gateway, and the hosts' own without a link."""
        return (self.url, *(f"http://127.0.0.1:{host.port}" for host in self.hosts))

    def client(self) -> Client:
        return Client(self.url, self.api_key)

    def heal(self) -> None:
        for link in self.links.values():
            link.line, link.loss, link.delay, link.tears_at = Line.PASS, 0.0, 0.0, None

    def kill(self, name: str) -> None:
        """SIGKILL a store."""
        self.servers.children[name].kill()

    def start(self, name: str) -> None:
        """The same store on the same folder and port; returns when it answers."""
        child: Child = self.servers.children[name]
        child.start()
        wait_until_ready(child)

    def is_projected(self, hot: HotState) -> bool:
        """Whether this hot state has every token and model as the truth has it."""
        store = self.plane.store
        models = store.models_page("", _PAGE)
        versions = {one.id: one for one in store.any_versions([id_ for m in models for id_ in m.version_ids])}
        return all(hot.token(token.sha256) == token.hot() for token in store.tokens_page("", _PAGE)) and all(
            hot.model(model.id) == routing_record(model, versions) for model in models
        )

    def registered(self) -> dict[str, str]:
        """Boot ids of the hosts that the hot state takes for alive."""
        now, hosts = self.hot.hosts()
        return {host.host_id: host.boot_id for host in hosts if now - host.at < 5}

    @contextmanager
    def another_gateway(self) -> Iterator[str]:
        """One more gateway process, without links; its URL."""
        with running_gateway(self.environ, self.folder) as port:
            yield f"http://127.0.0.1:{port}"


@contextmanager
def running_site(
    folder: Path, *, hosts: int = _HOSTS, coordinating: Mapping[str, str] | None = None
) -> Iterator[Site]:
    """Ready, with no model on it. Nothing of it is left behind. `coordinating`: more of its environment."""
    with ExitStack() as stack:
        servers = stack.enter_context(embedded_servers(folder / "servers"))
        site = _site(servers, folder, stack)
        run_program("chalicelib.bootstrap", {**site.environ, "MODELROCKET_BOOTSTRAP_KEY": site.api_key})
        stack.enter_context(_coordinator(site, coordinating or {}))
        for number in range(1, hosts + 1):
            site.hosts.append(stack.enter_context(_host(site, number)))
        site.gateway = stack.enter_context(running_gateway(_gateways(site), folder))
        for host in site.hosts:
            host.wait_ready()
        yield site


def _site(servers: EmbeddedServers, folder: Path, stack: ExitStack) -> Site:
    environ = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "client"))),
        **servers.connections.control_plane("coordinator"),
        "MODELROCKET_DISPATCH_KEY": KEY,
        "MODELROCKET_PUBLIC_URL": "http://127.0.0.1",
        "MODELROCKET_HOST_NETWORK": "127.0.0.0/8",
        "MODELROCKET_TICK_SECONDS": "1",
        "MODELROCKET_LOOP_SECONDS": "20",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        plane = build(environ)
    stores = {"redis": environ["MODELROCKET_REDIS_URL"], "mongo": environ["MODELROCKET_MONGO_URL"]}
    lines = ("gateway-redis", "gateway-mongo", "coordinator-redis", "hosts-redis")
    links = {
        line: stack.enter_context(linked(port_of(stores[line.partition("-")[2]]), seed=number))
        for number, line in enumerate(lines)
    }
    raw = redis.Redis.from_url(servers.connections.redis_urls["stack"])
    return Site(servers, folder, new_token(), environ, links, plane, raw)


def _gateways(site: Site) -> Mapping[str, str]:
    urls = site.servers.connections
    return {
        **site.environ,
        "MODELROCKET_REDIS_URL": through(urls.redis_urls["gateway"], site.links["gateway-redis"]),
        "MODELROCKET_MONGO_URL": through(urls.mongo_url, site.links["gateway-mongo"]),
    }


def _coordinator(site: Site, more: Mapping[str, str]) -> AbstractContextManager[object]:
    url = through(site.environ["MODELROCKET_REDIS_URL"], site.links["coordinator-redis"])
    environ = {**site.environ, **more, "MODELROCKET_REDIS_URL": url}
    return running_program("infra.local.ticker", environ=environ, log=site.folder / "coordinator.log")


@contextmanager
def _host(site: Site, number: int) -> Iterator[HostProcess]:
    """What it says of its port leads gateways to its link."""
    folder, to_redis = site.folder / f"host-{number}", site.links["hosts-redis"]
    folder.mkdir()
    url = through(site.servers.connections.redis_urls["host"], to_redis)
    port = free_port()
    with linked(port, seed=number) as link:
        site.links[f"host-{number}"] = link
        to_redis.instead = {**to_redis.instead, _said(port): _said(link.port)}
        environ = {"MODELROCKET_REDIS_URL": url, "MODELROCKET_HOST_PORT": str(port)}
        with running_host(site.servers, folder, environ=environ, ready=False) as host:
            host.port = port
            yield host


def _said(port: int) -> bytes:
    assert len(str(port)) == _DIGITS, "the length of what is said must not change"
    return b'"port":%d' % port


@contextmanager
def running_gateway(environ: Mapping[str, str], folder: Path) -> Iterator[int]:
    """The port of a gateway process that answers."""
    port = free_port()
    log = folder / f"gateway-{port}.log"
    with running_program("infra.local.gateway", str(port), environ=environ, log=log):
        wait_for(lambda: answers_healthz(port), what="the gateway to answer")
        yield port


@contextmanager
def running_program(
    module: str, *arguments: str, environ: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m module` until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=dict(environ),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def run_program(module: str, environ: Mapping[str, str]) -> None:
    subprocess.run([sys.executable, "-m", module], cwd=ROOT, env=dict(environ), check=True)
