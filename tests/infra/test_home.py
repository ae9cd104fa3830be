"""What the stack keeps in files: credentials, ports, logs."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

from chalicelib.contract.tokens import is_well_formed
from infra.local.credentials import load_or_create
from infra.local.ports import assign_ports, holder
from infra.local.process import rotate_log


def assign(folder: Path, *names: str, reserved: frozenset[int] = frozenset()) -> dict[str, int]:
    return assign_ports(
        names, remembered_in=folder / "ports.json", generator=random.Random(), reserved=reserved
    )


def test_credentials_are_made_once_and_private(tmp_path: Path) -> None:
    first = load_or_create(tmp_path)

    assert load_or_create(tmp_path) == first
    assert is_well_formed(first.api_key) and len(bytes.fromhex(first.dispatch_key)) == 32
    assert (tmp_path / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert first.api_key not in repr(first)


def test_two_homes_share_no_secret(tmp_path: Path) -> None:
    one, other = (json.loads(write_credentials(tmp_path / name)) for name in ("one", "other"))

    assert not set(one.values()) & set(other.values())


def write_credentials(home: Path) -> str:
    load_or_create(home)
    return (home / "credentials.json").read_text()


def test_ports_are_remembered_distinct_and_low_enough_for_grpc(tmp_path: Path) -> None:
    chosen = assign(tmp_path, "a", "b", "c")

    assert assign(tmp_path, "a", "b", "c") == chosen
    assert assign(tmp_path, "a", "d")["a"] == chosen["a"]
    assert len(set(chosen.values())) == 3
    assert max(chosen.values()) <= 55_535


def test_a_reserved_port_is_given_to_nobody(tmp_path: Path) -> None:
    port = assign(tmp_path, "a")["a"]

    for reserved in (port, port + 10_000):  # the second is where its gRPC would be
        assert assign(tmp_path, "a", reserved=frozenset({reserved}))["a"] not in (reserved, port)
        (tmp_path / "ports.json").write_text(json.dumps({"a": port}))


def test_the_holder_of_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = holder(listener.getsockname()[1])

    assert found is not None and "pid" in found


def test_logs_are_rotated_and_only_a_few_kept(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    for number in range(6):
        log.write_text(str(number))
        rotate_log(log)

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "x.log.1": "5",
        "x.log.2": "4",
        "x.log.3": "3",
    }
