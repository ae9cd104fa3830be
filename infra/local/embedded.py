"""The embedded servers for as long as a block lasts: for tests and small programs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local.connections import Connections, External
from infra.local.credentials import load_or_create
from infra.local.ports import PORTS_FILE, assign_ports
from infra.local.process import Child, rotate_log, running
from infra.local.servers import PORT_NAMES, Layout, connections, server_specs


@dataclass(frozen=True, slots=True)
class EmbeddedServers:
    """Servers that run now, and how to reach them."""

    layout: Layout
    connections: Connections
    children: Mapping[str, Child]


@contextmanager
def embedded_servers(home: Path, *names: str, external: External | None = None) -> Iterator[EmbeddedServers]:
    """The named servers (all three by default) in this folder on free ports, until the block ends.

    What is external is not started. The same folder again finds its data again. For tests; call it from
    the main thread.
    """
    layout = Layout(
        home=home,
        ports=assign_ports(PORT_NAMES, remembered_in=home / PORTS_FILE, generator=random.Random()),
        credentials=load_or_create(home),
        external=external or External(),
    )
    specs = [spec for spec in server_specs(layout) if not names or spec.name in names]
    for spec in specs:
        rotate_log(layout.log_file(spec.name))
    with running(specs) as children:
        yield EmbeddedServers(layout=layout, connections=connections(layout), children=children)
