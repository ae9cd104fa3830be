"""Ports for the children: chosen free once, remembered in the home, chosen again only when taken.

They lie below the range from which Linux takes the ports of outgoing connections,
so that a port kept for the next start is not lost to one. Each comes with a free
second one 10,000 above it, where SeaweedFS puts gRPC.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from infra.local.files import read_json, write_private

LOOPBACK: Final = "127.0.0.1"
PORTS_FILE: Final = "ports.json"
"""In a home, where they are remembered."""
_FIRST, _LAST = 10_240, 22_700
_GRPC_OFFSET: Final = 10_000
_ATTEMPTS: Final = 1_000


class NoFreePort(Exception):
    """Nothing free was found in the whole range."""


def assign_ports(
    names: Iterable[str],
    *,
    remembered_in: Path,
    generator: random.Random,
    reserved: frozenset[int] = frozenset(),
) -> dict[str, int]:
    """A free port for each name, none of them reserved; the remembered one where it is still free.

    What is remembered for another name is left to that one.
    """
    remembered = _read(remembered_in)
    reserved |= {port - _GRPC_OFFSET for port in reserved}
    chosen: dict[str, int] = {}
    for name in names:
        taken = reserved.union(chosen.values())
        port = remembered.get(name)
        if port is None or port in taken or not _pair_is_free(port):
            port = _choose(taken.union(remembered.values()), generator)
        chosen[name] = port
    write_private(remembered_in, json.dumps({**remembered, **chosen}, indent=1))
    return chosen


def free_port(generator: random.Random) -> int:
    """One port that is free now, for callers that remember nothing."""
    return _choose(frozenset(), generator)


def is_free(port: int) -> bool:
    """Whether a server could listen there now. Raises PermissionError for a port we may not use."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT is no owner
        try:
            listener.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                return False
            raise
        return True


def accepts_connections(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1.0):
        return True
    return False


def holder(port: int) -> str | None:
    """`name (pid n)` of the process that listens there, where the system tells (Linux, own processes)."""
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(os.readlink(link) in wanted for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None


def _listening_inodes(port: int) -> list[str]:
    inodes = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.append(fields[9])
    return inodes


def _choose(taken: frozenset[int], generator: random.Random) -> int:
    for _ in range(_ATTEMPTS):
        port = generator.randint(_FIRST, _LAST)
        if port not in taken and _pair_is_free(port):
            return port
    raise NoFreePort(f"no free pair of ports between {_FIRST} and {_LAST} on {LOOPBACK}")


def _pair_is_free(port: int) -> bool:
    return is_free(port) and is_free(port + _GRPC_OFFSET)


def _read(path: Path) -> Mapping[str, int]:
    return {
        name: port
        for name, port in read_json(path).items()
        if isinstance(port, int) and _FIRST <= port <= _LAST
    }
