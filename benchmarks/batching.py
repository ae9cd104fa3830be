"""`batching`: what it brings that requests share a run.

Each model is served twice: as it is, and with one more output, the shape of its
input. Of that there is no row for each caller, so it is refused the certificate;
weights, graph and requests are the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import onnx

from benchmarks import models
from benchmarks.alone import Stores, counters, tree, wait_until_quiet
from benchmarks.cells import Lane, ServerCell, Serving, Timing
from benchmarks.figures import Measurement, Place
from benchmarks.models import Example
from benchmarks.rocket import expect_ok, v2_binary_lane
from benchmarks.serve import expected_outputs
from benchmarks.wire import Tensors
from tests.support.hosts import HostProcess

NAMES: Final = ("tiny", "mlp", "transformer")
CONNECTIONS: Final = (32, 64)
_SHAPE: Final = "inputShape"


@dataclass(frozen=True, slots=True)
class Turn:
    """One measurement, and with how many rows a request shared its run on average, its own included."""

    measurement: Measurement
    rows: float


@dataclass(frozen=True, slots=True)
class Sharing:
    """One model under so many connections; `shared[i]` and `refused[i]` are of one round.

    `evidence` is what the certificate of the one that may share runs says.
    """

    model: str
    connections: int
    shared: Sequence[Turn]
    refused: Sequence[Turn]
    evidence: str


@dataclass(frozen=True, slots=True)
class _Served:
    """A model that answers on a host, and what its certificate says."""

    host: HostProcess
    name: str
    lane: Lane
    expected: Sequence[Tensors]
    evidence: str

    def turn(self, connections: int, timing: Timing) -> Turn:
        place = Place(self.name, "modelrocket host", self.lane.protocol, connections)
        before = counters(self.host)
        serving = Serving([self.lane], tree(self.host))
        measurement = ServerCell(place, serving, self.lane, self.expected).measure(timing)
        after = counters(self.host)
        rows, requests = (after[name] - before[name] for name in ("batch_rows_sum", "batch_rows_count"))
        return Turn(measurement, rows / requests if requests else 0.0)


def measure(
    stores: Stores, folder: Path, *, rounds: int, timing: Timing, say: Callable[[str], None]
) -> Iterator[Sharing]:
    with stores.host() as host:
        for name in NAMES:
            example = models.make(name, folder / "models")
            shared = _served(stores, host, example)
            refused = _served(stores, host, telling_shape(example))
            for connections in CONNECTIONS:
                say(f"{name}: {connections} connections")
                pairs = [_pair(shared, refused, number, connections, timing) for number in range(rounds)]
                yield Sharing(
                    model=name,
                    connections=connections,
                    shared=[one for one, _ in pairs],
                    refused=[other for _, other in pairs],
                    evidence=shared.evidence,
                )


def _pair(
    shared: _Served, refused: _Served, number: int, connections: int, timing: Timing
) -> tuple[Turn, Turn]:
    """One round, in either order by turns."""
    if number % 2 == 0:
        return shared.turn(connections, timing), refused.turn(connections, timing)
    last = refused.turn(connections, timing)
    return shared.turn(connections, timing), last


def telling_shape(example: Example) -> Example:
    """With the shape of its first input as one more output, in a file beside the model's."""
    model = onnx.load(example.path)
    given = model.graph.input[0]
    dimensions = len(given.type.tensor_type.shape.dim)
    model.graph.node.append(onnx.helper.make_node("Shape", [given.name], [_SHAPE]))
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(_SHAPE, onnx.TensorProto.INT64, [dimensions])
    )
    path = example.path.with_name(f"{example.name}-telling-shape.onnx")
    onnx.save(model, path)
    return replace(example, path=path)


def _served(stores: Stores, host: HostProcess, example: Example) -> _Served:
    """Once it is in memory, and what its load left to be done is done."""
    record = stores.prepared(example.path.read_bytes())
    [deployed] = stores.deploy(record, tenant=str(uuid.uuid4()))
    lane = v2_binary_lane(host.port, example.inputs, deployed)
    expect_ok(lane)
    wait_until_quiet(tree(host))
    evidence = _loaded(host, deployed.record.version_id)["batching"]
    return _Served(host, example.name, lane, expected_outputs(example), evidence)


def _loaded(host: HostProcess, version_id: str) -> dict[str, Any]:
    """What the host's log says of its load."""
    return next(event for event in host.events("loaded") if event["version"] == version_id)
