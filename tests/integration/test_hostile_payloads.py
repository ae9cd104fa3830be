"""What no model takes: refused by a real host for little time and memory, and never written down."""

from __future__ import annotations

import gzip
import http.client
import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from chalicelib.contract import limits
from chalicelib.contract.hotstate import HotState
from chalicelib.contract.messages import VersionRecord
from infra.local.embedded import EmbeddedServers
from tests.support import onnx_models
from tests.support.hosts import HostProcess, prepare, publish
from tests.support.processes import running_module

pytestmark = pytest.mark.stack

SECRET: Final = b"words-of-a-caller"
GROWTH_MIB_MAX: Final = 64
CPU_SECONDS_MAX: Final = 0.1
DEPTHS: Final = (1_025, 100_000, 2_000_000)
BRACKETS: Final = limits.BODY_BYTES_MAX - 200
TIMES: Final = 10


@dataclass(frozen=True)
class Caller:
    """Of a model `[n, 1] → [n, 2]`, loaded and asked before."""

    host: HostProcess
    record: VersionRecord
    token: str

    def status(self, path: str, body: bytes, **headers: str) -> int:
        """Of the answer; `body` goes as it is, so that it may be shorter than it says."""
        given = {"Authorization": f"Bearer {self.token}", "Content-Length": str(len(body))}
        given |= {name.replace("_", "-"): text for name, text in headers.items()}
        if "Transfer-Encoding" in given:
            del given["Content-Length"]
        connection = http.client.HTTPConnection("127.0.0.1", self.host.port, timeout=60)
        with closing(connection):
            connection.putrequest("POST", path)
            for name, text in given.items():
                connection.putheader(name, text)
            connection.endheaders(body)
            return connection.getresponse().status

    def inference(self, inputs: bytes, **headers: str) -> int:
        return self.status("/inference", self.body(inputs), **headers)

    def body(self, inputs: bytes) -> bytes:
        return b'{"model": "%s", "inputs": %s}' % (self.record.model_id.encode(), inputs)

    def dispatched(self, inputs: bytes) -> int:
        """As a gateway does it, which lets a worker be the first to read the inputs."""
        return self.status("/infer", inputs, X_Rocket_Ticket=self.host.ticket(self.record))

    def v2(self, inputs: bytes, **headers: str) -> int:
        return self.status(f"/v2/models/{self.record.model_id}/infer", inputs, **headers)

    def v2_tensor(self, content: bytes = b"", **changes: Any) -> int:
        one = {"name": "x", "shape": [1, 1], "datatype": "FP32"} | changes
        header = json.dumps({"inputs": [one]}).encode()
        return self.v2(header + content, Inference_Header_Content_Length=str(len(header)))


@pytest.fixture
def caller(host: HostProcess, hot: HotState, servers: EmbeddedServers) -> Caller:
    record = prepare(hot, servers, onnx_models.marked(7))
    caller = Caller(host, record, publish(hot, record))
    assert caller.inference(b'{"x": [[1]]}') == 200
    return caller


def processes(host: HostProcess) -> set[int]:
    """The front, the fork server and the workers: not what examines or builds."""
    return {host.process.pid} | running_module(host.process.pid, "host_container.forkserver")


def memory_bytes(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {field}")


def cpu_seconds(host: HostProcess) -> float:
    ticks = 0
    for pid in processes(host):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def little_memory(host: HostProcess) -> Iterator[None]:
    """What all its processes hold afterwards, beyond what they held before."""
    before = {pid: memory_bytes(pid, "VmRSS") for pid in processes(host)}
    yield
    growth = {pid: (memory_bytes(pid, "VmRSS") - before[pid]) / limits.MIB for pid in before}
    assert host.events("worker_ended") == []
    assert sum(growth.values()) <= GROWTH_MIB_MAX, growth


def chunked(content: bytes) -> bytes:
    """Every byte a chunk of its own."""
    return b"".join(b"1\r\n%c\r\n" % byte for byte in content) + b"0\r\n\r\n"


def test_f71_hostile_payloads_are_refused_for_little_memory_and_never_logged(caller: Caller) -> None:
    quoted = b'"' + SECRET + b'"'
    with little_memory(caller.host):
        statuses = {
            "declared too large": caller.status("/infer", b"", Content_Length="50000000"),
            "gzip bomb": caller.inference(gzip.compress(bytes(10**8)), Content_Encoding="gzip"),
            "bomb beneath": caller.status("/inference", gzip.compress(bytes(10**8)), Content_Encoding="gzip"),
            "a million chunks": caller.status(
                "/infer", chunked(b"[" * 10**6), Transfer_Encoding="chunked", X_Rocket_Ticket="no"
            ),
            "depth 120": caller.inference(b'{"x": ' + b"[" * 120 + quoted + b"]" * 120 + b"}"),
            "NaN": caller.inference(b'{"x": [[NaN]]}'),
            "infinity": caller.dispatched(b'{"x": [[1e999]]}'),
            "words": caller.inference(b'{"x": [[' + quoted + b"]]}"),
            "unknown name": caller.inference(b"{" + quoted + b": [[1]]}"),
            "no JSON": caller.dispatched(SECRET),
            "negative dims": caller.v2_tensor(shape=[-1, -1], data=[1]),
            "huge dims": caller.v2_tensor(shape=[2**40, 1], data=[1]),
            "dtype lie": caller.v2_tensor(bytes(4), datatype="FP64", parameters={"binary_data_size": 4}),
            "int8 for fp32": caller.v2_tensor(
                bytes(BRACKETS),
                datatype="INT8",
                shape=[BRACKETS, 1],
                parameters={"binary_data_size": BRACKETS},
            ),
            "int8 called fp32": caller.v2_tensor(
                bytes(BRACKETS), shape=[BRACKETS, 1], parameters={"binary_data_size": BRACKETS}
            ),
        }
    assert statuses == {
        "declared too large": 413,
        "gzip bomb": 400,
        "bomb beneath": 413,
        "a million chunks": 401,
        "depth 120": 422,
        "NaN": 400,
        "infinity": 400,
        "words": 422,
        "unknown name": 422,
        "no JSON": 400,
        "negative dims": 422,
        "huge dims": 422,
        "dtype lie": 422,
        "int8 for fp32": 422,
        "int8 called fp32": 422,
    }
    assert caller.inference(b'{"x": [[1]]}') == 200
    assert SECRET not in caller.host.log.read_bytes()


def test_f71_two_million_numbers_that_do_not_fit_cost_what_numbers_that_fit_cost(caller: Caller) -> None:
    assert caller.inference(b'{"x": [' + b"[1]," * (BRACKETS // 4 - 10) + b"[1]]}") == 200
    with little_memory(caller.host):
        for _ in range(TIMES):
            assert caller.inference(b'{"x": [' + b"1," * (BRACKETS // 2 - 10) + b"1]}") == 422


@pytest.mark.parametrize("depth", DEPTHS)
def test_f71_depth_is_refused_wherever_json_is_read(caller: Caller, depth: int) -> None:
    nested, inside = b"[" * depth + b"]" * depth, b"[" * (depth - 1) + b"]" * (depth - 1)
    commas = b', "y": "' + b"," * 16 * min(depth, 100_000) + b'"'
    with little_memory(caller.host):
        statuses = {
            "inputs": caller.inference(nested),
            "inputs that never end": caller.inference(nested[:depth]),
            "inputs packed": caller.status(
                "/inference", gzip.compress(caller.body(nested)), Content_Encoding="gzip"
            ),
            "a field of nobody": caller.status("/inference", b'{"z": ' + nested + b"}"),
            "a tensor": caller.dispatched(b'{"x": ' + nested + b"}"),
            "objects": caller.dispatched(b'{"":' * min(depth, 800_000)),
            "what looks large and flat": caller.dispatched(b'{"x": ' + nested[: 2 * 10**5] + commas + b"}"),
            "v2 inputs": caller.v2(b'{"inputs": ' + nested + b"}"),
            "v2 data": caller.v2(b'{"inputs": [{"name": "x", "shape": [1], "data": ' + inside + b"}]}"),
            "v2 parameters": caller.v2(b'{"parameters": {"a": ' + nested + b'}, "inputs": []}'),
            "v2 field of nobody": caller.v2(b'{"z": ' + nested + b', "inputs": []}'),
        }
    assert statuses == dict.fromkeys(statuses, 400)
    assert caller.inference(b'{"x": [[1]]}') == 200


def test_f71_brackets_alone_cost_next_to_nothing(caller: Caller) -> None:
    brackets = b"[" * BRACKETS
    with little_memory(caller.host):
        before = cpu_seconds(caller.host)
        for _ in range(TIMES):
            assert caller.inference(brackets) == 400
            assert caller.dispatched(b'{"x":' + brackets) == 400
            assert (
                caller.v2(b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":' + brackets) == 400
            )
        each = (cpu_seconds(caller.host) - before) / (3 * TIMES)
    assert each < CPU_SECONDS_MAX
