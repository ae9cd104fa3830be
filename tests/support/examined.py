"""The processes that examine, build and measure, with probes in the place of what they do.

Run as `python -m tests.support.examined KIND PROBING`, KIND being `examine`, `builder` or `measure`,
with the order on standard input as the host gives it; what the probes saw comes back as
the reason of the answer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from chalicelib.contract.errors import InvalidModel
from chalicelib.contract.findings import Refusal
from chalicelib.contract.messages import encode
from host_container import builder, examine, measure, onnxfile, sandbox
from host_container.firewall import Refused
from host_container.orders import BuildOrder, Measured, MeasureOrder, Order, Report
from host_container.prepared import Built
from tests.support.enclosure_probes import World, outcome

_CPU_SECONDS_MAX: Final = 20
_MEMORY_BYTES_MAX: Final = 2 * 2**30
_FILE_BYTES_MAX: Final = 2**20
_LOAD_SECONDS_MAX: Final = 20.0


class Probing(msgspec.Struct, frozen=True):
    """`without_landlock`: the kernel is to be thought to lack it; `required` as in an order."""

    world: World
    probes: tuple[str, ...]
    without_landlock: bool = False
    required: bool = True


def examining(model: Path, probing: Probing) -> dict[str, str]:
    """By probe, what the process that examines this file saw. Raises CalledProcessError where it refuses."""
    report = msgspec.json.decode(_answer("examine", _order(model, probing), probing), type=Report)
    assert report.reason is not None
    return msgspec.json.decode(report.reason, type=dict[str, str])


def building(model: Path, folder: Path, probing: Probing) -> dict[str, str]:
    """By probe, what the process that builds in this folder saw."""
    answer = _answer("builder", BuildOrder(_order(model, probing), str(folder)), probing)
    return msgspec.json.decode(msgspec.json.decode(answer, type=Built).reason or "", type=dict[str, str])


def measuring(model: Path, beside: Path, probing: Probing) -> dict[str, str]:
    """By probe, what the process that measures this file, which needs the one beside it, saw."""
    order = MeasureOrder(
        msgspec.structs.replace(_order(model, probing), beside=(str(beside),)), prepared=True
    )
    answer = _answer("measure", order, probing)
    return msgspec.json.decode(msgspec.json.decode(answer, type=Measured).reason or "", type=dict[str, str])


def _order(model: Path, probing: Probing) -> Order:
    return Order(
        str(model),
        os.getpid(),
        _CPU_SECONDS_MAX,
        _MEMORY_BYTES_MAX,
        sandbox_required=probing.required,
        load_seconds_max=_LOAD_SECONDS_MAX,
        file_bytes_max=_FILE_BYTES_MAX,
    )


def _answer(kind: str, order: Order | BuildOrder | MeasureOrder, probing: Probing) -> bytes:
    """The last line that the process writes."""
    command = [sys.executable, "-m", "tests.support.examined", kind, msgspec.json.encode(probing).decode()]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, input=encode(order) + b"\n", capture_output=True, env=environment, check=True, timeout=60
    )
    return done.stdout.splitlines()[-1]


def main() -> None:
    kind, raw = sys.argv[1:]
    asked = msgspec.json.decode(raw, type=Probing)
    stray = os.open("/etc/passwd", os.O_RDONLY)
    world = msgspec.structs.replace(asked.world, stray=stray)

    def probe() -> str:
        return msgspec.json.encode({name: outcome(name, world) for name in asked.probes}).decode()

    def check(path: Path) -> NoReturn:
        raise Refused(Refusal.UNEXPLAINED, probe())

    def build(path: Path, folder: Path) -> NoReturn:
        raise builder.Unfit(probe())

    def measured(*_: object, **__: object) -> NoReturn:
        raise InvalidModel(probe())

    if asked.without_landlock:
        sandbox.landlock_abi = lambda: None
    onnxfile.check = check
    builder.build = build
    measure.__dict__["measure"] = measured
    {"examine": examine, "builder": builder, "measure": measure}[kind].main()


if __name__ == "__main__":
    main()
