"""Hostile model files that are turned away by reading them alone, each with why."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from chalicelib.contract import limits
from chalicelib.contract.findings import Refusal
from tests.support import onnx_models
from tests.support.onnx_models import data, field, model, nested, value, weight

LOCATIONS: Final = {
    "dots": "../../../../etc/passwd",
    "dots inside": "weights/../../../../etc/passwd",
    "absolute": "/etc/passwd",
    "symbolic link": "way-out",
    "URL-encoded": "..%2f..%2f..%2fetc%2fpasswd",
    "backslashes": "..\\..\\..\\etc\\passwd",
    "sibling": "secret",
    "environment": "/proc/self/environ",
    "device": "/dev/zero",
    "nowhere": "",
}
"""Where weights are said to be. Beside the model lie `secret` and `way-out`, a link to another's file."""
MEMORY_ADDRESS: Final = "*/_ORT_MEM_ADDR_/*"
_NODES: Final = 200_000


@dataclass(frozen=True)
class Hostile:
    """One file: `build` makes it, and one of `becomes` is the verdict."""

    name: str
    build: Callable[[], bytes]
    becomes: frozenset[Refusal]


REFUSED: Final[list[Hostile]] = []

Build = Callable[[], bytes]


def refused(name: str, becomes: Refusal, build: Build) -> None:
    REFUSED.append(Hostile(name, build, frozenset({becomes})))


# What every file here starts from.


def plain() -> onnx.ModelProto:
    """`y = x + w` for one value."""
    add = helper.make_node("Add", ["x", "w"], ["y"])
    return model([add], [value("x", [1])], [value("y", [1])], [weight("w", [1.0])])


def changed(change: Callable[[onnx.ModelProto], Any]) -> Build:
    def build() -> bytes:
        proto = plain()
        change(proto)
        return data(proto)

    return build


def setting(path: str, new: Any) -> Build:
    """With one field, or an element of a repeated one, set to something else."""

    def change(proto: onnx.ModelProto) -> None:
        *way, last = path.split(".")
        place: Any = proto
        for step in way:
            place = place[int(step)] if step.isdigit() else getattr(place, step)
        if last.isdigit():
            place[int(last)] = new
        else:
            setattr(place, last, new)

    return changed(change)


def node(kind: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), output.split(), **attributes)


# Weights that are somewhere else.


def external(name: str, **entries: str) -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in entries.items():
        tensor.external_data.add(key=key, value=text)
    return tensor


def with_weight(tensor: onnx.TensorProto) -> Build:
    def change(proto: onnx.ModelProto) -> None:
        proto.graph.initializer[0].CopyFrom(tensor)

    return changed(change)


def with_node(extra: onnx.NodeProto) -> Build:
    return changed(lambda proto: proto.graph.node.append(extra))


def branching(then: onnx.GraphProto) -> onnx.NodeProto:
    return helper.make_node("If", ["x"], ["z"], then_branch=then, else_branch=then)


def branch(nodes: Iterable[onnx.NodeProto], weights: Iterable[onnx.TensorProto] = ()) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "branch", [], [value("z", [1])], list(weights))


def sparse(values: onnx.TensorProto, *, dims: Iterable[int] = (4,)) -> onnx.SparseTensorProto:
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "indices")
    return helper.make_sparse_tensor(values, indices, list(dims))


def function(*nodes: onnx.NodeProto, name: str = "Mine") -> onnx.FunctionProto:
    return helper.make_function("mine", name, ["a"], ["b"], list(nodes), [helper.make_opsetid("", 17)])


def with_function(made: onnx.FunctionProto) -> Build:
    return changed(lambda proto: proto.functions.append(made))


OUTSIDE: Final = external("w", location="/etc/passwd")
for _form, _location in LOCATIONS.items():
    refused(f"external data: {_form}", Refusal.EXTERNAL_DATA, with_weight(external("w", location=_location)))
for _where, _build in {
    "in a constant": with_node(node("Constant", "", "z", value=OUTSIDE)),
    "in a list of tensors": with_node(node("Identity", "x", "z", several=[OUTSIDE])),
    "in a subgraph": with_node(branching(branch([node("Identity", "w", "z")], [OUTSIDE]))),
    "in a constant in a subgraph": with_node(branching(branch([node("Constant", "", "z", value=OUTSIDE)]))),
    "in a sparse weight": changed(lambda proto: proto.graph.sparse_initializer.append(sparse(OUTSIDE))),
    "in a sparse constant": with_node(node("Constant", "", "z", sparse_value=sparse(OUTSIDE))),
    "of 2^62 bytes": with_weight(external("w", location="weights", offset="0", length=str(2**62))),
    "of bytes before the file": with_weight(external("w", location="weights", offset="-4096", length="4")),
    "without a word": setting("graph.initializer.0.data_location", TensorProto.EXTERNAL),
}.items():
    refused(f"external data {_where}", Refusal.EXTERNAL_DATA, _build)
refused(
    "external data in a function",
    Refusal.LOCAL_FUNCTIONS,
    with_function(function(node("Constant", "", "b", value=OUTSIDE))),
)
refused(
    "external data in training information",
    Refusal.TRAINING,
    changed(lambda proto: proto.training_info.add().initialization.initializer.append(OUTSIDE)),
)
for _offset in ("0", "140737488355328", "-1"):
    refused(
        f"memory address {_offset}",
        Refusal.MEMORY_ADDRESS,
        with_weight(external("w", location=MEMORY_ADDRESS, offset=_offset, length="4096")),
    )
refused(
    "memory address in a subgraph",
    Refusal.MEMORY_ADDRESS,
    with_node(branching(branch([], [external("w", location=MEMORY_ADDRESS, offset="64", length="4")]))),
)


# Tensors that lie.


def tensor(dims: Iterable[int], kind: int = TensorProto.FLOAT, **content: Any) -> Build:
    return with_weight(TensorProto(name="w", dims=list(dims), data_type=kind, **content))


for _lie, _build in {
    "too few bytes": tensor([1000, 1000], raw_data=b"\0" * 12),
    "too many bytes": tensor([1], raw_data=b"\0" * 4096),
    "half a value": tensor([1], raw_data=b"\0" * 3),
    "no bytes": tensor([5]),
    "negative": tensor([-1], raw_data=b"\0" * 4),
    "negative twice": tensor([-1, -1], raw_data=b"\0" * 4),
    "product beyond 64 bits": tensor([2**32, 2**32], raw_data=b"\0" * 4),
    "product that wraps to 1": tensor([2**62, 4, 2**62, 4], raw_data=b"\0" * 4),
    "a million dimensions": tensor([1] * 1_000_000, raw_data=b"\0" * 4),
    "a product of a million": tensor([2**62] * 1_000_000, raw_data=b"\0" * 4),
    "most negative": tensor([-(2**63)], raw_data=b"\0" * 4),
    "bytes in one step more": tensor([2**61], kind=TensorProto.DOUBLE, raw_data=b""),
    "too few floats": tensor([8], float_data=[1.0]),
    "too many integers": tensor([1], TensorProto.INT64, int64_data=[1, 2, 3]),
    "in another type's field": tensor([1], TensorProto.INT64, float_data=[1.0]),
    "in two fields": tensor([1], raw_data=b"\0" * 4, float_data=[1.0]),
    "4-bit values": tensor([100], TensorProto.INT4, raw_data=b"\0"),
    "of no type": tensor([1], TensorProto.UNDEFINED, raw_data=b"\0" * 4),
    "of a type nobody knows": tensor([1], 99, raw_data=b"\0" * 4),
    "strings as bytes": tensor([1], TensorProto.STRING, raw_data=b"\0" * 8),
    "2^40 strings": tensor([2**40], TensorProto.STRING, string_data=[b"a"]),
    "a part of a tensor": tensor([1], raw_data=b"\0" * 4, segment=TensorProto.Segment(begin=0, end=2**40)),
    "a sparse one of 2^60 values": changed(
        lambda proto: proto.graph.sparse_initializer.append(sparse(weight("s", [1.0]), dims=[2**60]))
    ),
    "a sparse one of negative size": changed(
        lambda proto: proto.graph.sparse_initializer.append(sparse(weight("s", [1.0]), dims=[-4]))
    ),
    "in a constant": with_node(
        node("Constant", "", "z", value=TensorProto(dims=[9], data_type=1, raw_data=b""))
    ),
    "an input of 2^60 values": setting("graph.input.0.type.tensor_type.shape.dim.0.dim_value", 2**60),
    "an input of negative size": setting("graph.input.0.type.tensor_type.shape.dim.0.dim_value", -5),
    "an input of 200 dimensions": changed(lambda proto: proto.graph.input[0].CopyFrom(value("x", [1] * 200))),
}.items():
    refused(f"lying dimensions: {_lie}", Refusal.DIMENSIONS, _build)


# Too much of everything.


def chain(count: int) -> bytes:
    nodes = [node("Identity", f"v{i}", f"v{i + 1}") for i in range(count)]
    return data(model(nodes, [value("v0", [1])], [value(f"v{count}", [1])]))


def nested_types(depth: int) -> bytes:
    """A sequence of sequences of sequences …"""
    kind = b""
    for _ in range(depth):
        kind = field(4, field(1, kind))
    given = field(1, b"x") + field(2, kind)
    return b"\x08\x08" + field(7, field(1, field(4, b"Identity")) + field(11, given))


def nested_groups(depth: int) -> bytes:
    """Groups, which the format has and nobody uses, in a field that is not known."""
    return data(plain()) + b"\x9b\x06" * depth + b"\x9c\x06" * depth


def many_graphs(count: int) -> onnx.NodeProto:
    wide = helper.make_node("If", ["x"], ["z"])
    attribute = wide.attribute.add(name="branches", type=onnx.AttributeProto.GRAPHS)
    attribute.graphs.extend(onnx.GraphProto() for _ in range(count))
    return wide


refused("200,000 operators", Refusal.TOO_MANY_NODES, lambda: chain(_NODES))
refused("30,000 empty subgraphs", Refusal.TOO_MANY_NODES, with_node(many_graphs(30_000)))
refused(
    "operators in subgraphs",
    Refusal.TOO_MANY_NODES,
    with_node(branching(branch(node("Identity", "x", f"z{i}") for i in range(11_000)))),
)
for _depth in (33, 34, 200, 5_000):
    refused(
        f"{_depth} conditions inside each other",
        Refusal.NESTING,
        lambda depth=_depth: nested(depth + 1),  # type: ignore[misc]
    )
refused("200 loops inside each other", Refusal.NESTING, lambda: nested(200, kind=b"Loop", branch=b"body"))
refused("200 types inside each other", Refusal.NESTING, lambda: nested_types(200))
refused("100,000 groups inside each other", Refusal.NOT_ONNX, lambda: nested_groups(100_000))
refused(
    "too many weights",
    Refusal.TOO_MANY_WEIGHTS,
    changed(lambda proto: proto.graph.initializer.extend([weight("v", 1.0)] * (limits.WEIGHTS_MAX + 1))),
)
refused(
    "2,000 inputs",
    Refusal.INTERFACE,
    changed(lambda proto: proto.graph.input.extend(value(f"v{i}", [1]) for i in range(2_000))),
)
refused(
    "1,000 operator sets",
    Refusal.OPSET,
    changed(lambda proto: proto.opset_import.extend([helper.make_opsetid("a", 1)] * 1_000)),
)
refused(
    "a megabyte of metadata",
    Refusal.METADATA,
    changed(lambda proto: proto.metadata_props.add(key="a", value="b" * limits.MIB)),
)


# Operators that are not to be run.

refused(
    "a custom domain",
    Refusal.OPERATOR_DOMAIN,
    with_node(node("Run", "x", "z", domain="ai.onnx.contrib")),
)
refused(
    "a custom domain in a subgraph",
    Refusal.OPERATOR_DOMAIN,
    with_node(branching(branch([node("PyOp", "x", "z", domain="pyopmulti")]))),
)
refused(
    "onnxruntime's inner domain",
    Refusal.OPERATOR_DOMAIN,
    with_node(node("Conv", "x", "z", domain="com.microsoft.nchwc")),
)
refused(
    "a domain with the end of a line",
    Refusal.NAME,
    with_node(node("Run", "x", "z", domain="a\n.onnx")),
)
for _kind in ("EPContext", "Snpe", "PythonOp", "BeamSearch", "ATen"):
    refused(
        f"com.microsoft.{_kind}",
        Refusal.EMBEDDED_CONTEXT if _kind == "EPContext" else Refusal.OPERATOR,
        with_node(node(_kind, "x", "z", domain="com.microsoft", ep_cache_context="/etc/passwd")),
    )
refused(
    "EPContext in a subgraph",
    Refusal.EMBEDDED_CONTEXT,
    with_node(branching(branch([node("EPContext", "x", "z", domain="com.microsoft", embed_mode=0)]))),
)
refused(
    "a function that calls itself",
    Refusal.LOCAL_FUNCTIONS,
    with_function(function(helper.make_node("Mine", ["a"], ["b"], domain="mine"))),
)
refused(
    "a function that hides a custom operator",
    Refusal.LOCAL_FUNCTIONS,
    with_function(function(helper.make_node("Run", ["a"], ["b"], domain="custom"))),
)
refused(
    "a function in the place of an operator",
    Refusal.LOCAL_FUNCTIONS,
    with_function(helper.make_function("", "Add", ["a"], ["b"], [], [helper.make_opsetid("", 17)])),
)


# Versions.

for _version in (-1, 2, 99, 2**62):
    refused(f"IR version {_version}", Refusal.IR_VERSION, setting("ir_version", _version))
for _version in (-1, 0, limits.OPSET_MIN - 1, limits.OPSET_MAX + 1, 2**62):
    refused(f"opset {_version}", Refusal.OPSET, setting("opset_import.0.version", _version))


# Names.

for _what, _name in {
    "a NUL": "a\0b",
    "the end of a line": "a\nReason: all is well",
    "an escape": "\x1b[2J",
    "a megabyte": "a" * limits.MIB,
}.items():
    for _path in (
        "graph.name",
        "graph.node.0.name",
        "graph.node.0.op_type",
        "graph.node.0.output.0",
        "graph.input.0.name",
        "graph.initializer.0.name",
        "graph.input.0.type.tensor_type.shape.dim.0.dim_param",
        "producer_name",
    ):
        refused(f"{_what} in {_path}", Refusal.NAME, setting(_path, _name))
refused(
    "a name that is not UTF-8",
    Refusal.NAME,
    lambda: data(plain()).replace(b"Add", b"A\xff\xfe"),
)


# What there is to ask it.

refused("no input", Refusal.INTERFACE, changed(lambda proto: proto.graph.ClearField("input")))
refused("no output", Refusal.INTERFACE, changed(lambda proto: proto.graph.ClearField("output")))
refused(
    "an output twice", Refusal.INTERFACE, changed(lambda proto: proto.graph.output.append(value("y", [1])))
)
refused("an input twice", Refusal.INTERFACE, changed(lambda proto: proto.graph.input.append(value("x", [1]))))
refused("an input without a name", Refusal.INTERFACE, setting("graph.input.0.name", ""))
refused(
    "an input of any shape",
    Refusal.INTERFACE,
    changed(lambda proto: proto.graph.input[0].type.tensor_type.ClearField("shape")),
)
refused("a list of dictionaries", Refusal.INTERFACE, onnx_models.zip_map)


# Files of other kinds.


class _Running:
    """Runs a command wherever it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("touch /tmp/unpickled",)


def _zip() -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("../../model.onnx", data(plain()))
            archive.writestr("zeros", bytes(16 * limits.MIB))
        return file.getvalue()


def _tar() -> bytes:
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("../../../etc/cron.d/model"), io.BytesIO())
        return file.getvalue()


def _safetensors() -> bytes:
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    return struct.pack("<Q", len(header)) + header + bytes(4)


ORT: Final = b"\x20\0\0\0ORTM"
refused("an empty file", Refusal.EMPTY, bytes)
refused("a zip archive", Refusal.ARCHIVE, _zip)
refused("a gzip bomb", Refusal.ARCHIVE, lambda: gzip.compress(bytes(64 * limits.MIB)))
refused("a tar archive", Refusal.ARCHIVE, _tar)
refused("a pickle", Refusal.OTHER_FORMAT, lambda: pickle.dumps(_Running()))
refused("an HDF5 file", Refusal.OTHER_FORMAT, lambda: b"\x89HDF\r\n\x1a\n" + bytes(100))
refused("an .ort file", Refusal.OTHER_FORMAT, lambda: ORT + bytes(100))
refused(
    "an ONNX file that is an .ort file too",
    Refusal.OTHER_FORMAT,
    lambda: field(2, b"xxORTMxx") + data(plain()),
)
refused("a safetensors file", Refusal.OTHER_FORMAT, _safetensors)
refused("JSON", Refusal.OTHER_FORMAT, lambda: b'{"graph": {"node": []}}')
refused("HTML", Refusal.OTHER_FORMAT, lambda: b"<!doctype html><p>Not found")
refused("a TensorFlow graph", Refusal.NOT_ONNX, lambda: b"\x08\x01" + field(2, b"\x0a\x00"))
refused("text", Refusal.NOT_ONNX, lambda: b"plain text, no model\n" * 99)
refused("a graph without operators", Refusal.NOT_ONNX, changed(lambda proto: proto.graph.ClearField("node")))
