"""What there is in an ONNX graph and in the graphs inside its operators: found without recursion.

Knows the format, and judges nothing but whether a tensor holds as much as it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Final

from onnx import AttributeProto, GraphProto, ModelProto, SparseTensorProto, TensorProto, ValueInfoProto

from chalicelib.contract import limits

_INT64_MAX: Final = 2**63 - 1
_SHOWN_DIMENSIONS: Final = 6
_BITS: Final[dict[int, int]] = {
    TensorProto.FLOAT: 32,
    TensorProto.UINT8: 8,
    TensorProto.INT8: 8,
    TensorProto.UINT16: 16,
    TensorProto.INT16: 16,
    TensorProto.INT32: 32,
    TensorProto.INT64: 64,
    TensorProto.BOOL: 8,
    TensorProto.FLOAT16: 16,
    TensorProto.DOUBLE: 64,
    TensorProto.UINT32: 32,
    TensorProto.UINT64: 64,
    TensorProto.COMPLEX64: 64,
    TensorProto.COMPLEX128: 128,
    TensorProto.BFLOAT16: 16,
    TensorProto.FLOAT8E4M3FN: 8,
    TensorProto.FLOAT8E4M3FNUZ: 8,
    TensorProto.FLOAT8E5M2: 8,
    TensorProto.FLOAT8E5M2FNUZ: 8,
    TensorProto.FLOAT8E8M0: 8,
    TensorProto.UINT4: 4,
    TensorProto.INT4: 4,
    TensorProto.FLOAT4E2M1: 4,
    TensorProto.UINT2: 2,
    TensorProto.INT2: 2,
}
"""Of one value in `raw_data`. Strings are never there."""
_TYPED: Final = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_FIELDS: Final = ("raw_data", *_TYPED)
_FIELD_OF: Final[dict[int, str]] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.COMPLEX64: "float_data",
    TensorProto.INT64: "int64_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.COMPLEX128: "double_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
    TensorProto.STRING: "string_data",
}
"""Where values are that are not raw; those of all other types in `int32_data`, small ones packed in bytes."""
_COMPLEX: Final[tuple[int, ...]] = (TensorProto.COMPLEX64, TensorProto.COMPLEX128)
_BYTE_BITS: Final = 8


@dataclass(frozen=True, slots=True)
class Place:
    """A graph, and within how many others it is."""

    graph: GraphProto
    depth: int


def walk(graph: GraphProto) -> Iterator[Place]:
    """The graph and all in its operators' attributes."""
    waiting = [Place(graph, 0)]
    while waiting:
        place = waiting.pop()
        yield place
        inner = (subgraph for attribute in _attributes(place.graph) for subgraph in _subgraphs(attribute))
        waiting.extend(Place(subgraph, place.depth + 1) for subgraph in inner)


def tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Weights and constants of this graph alone, parts of sparse ones included."""
    yield from graph.initializer
    for attribute in _attributes(graph):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
    for sparse in sparse_tensors(graph):
        yield from (sparse.values, sparse.indices)


def sparse_tensors(graph: GraphProto) -> Iterator[SparseTensorProto]:
    yield from graph.sparse_initializer
    for attribute in _attributes(graph):
        if attribute.HasField("sparse_tensor"):
            yield attribute.sparse_tensor
        yield from attribute.sparse_tensors


def names_of_model(model: ModelProto) -> Iterator[str | bytes]:
    """What the model itself is called; bytes where they are not UTF-8."""
    yield from (model.producer_name, model.producer_version, model.domain)
    yield from (imported.domain for imported in model.opset_import)


def names(graph: GraphProto) -> Iterator[str | bytes]:
    """Everything in this graph alone that has a name; bytes where they are not UTF-8."""
    yield graph.name
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, node.overload)
        yield from node.input
        yield from node.output
        for attribute in node.attribute:
            yield from (attribute.name, attribute.ref_attr_name)
    for tensor in tensors(graph):
        yield tensor.name
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
        yield from (size.dim_param for size in value.type.tensor_type.shape.dim)


def weight_bytes(tensor: TensorProto) -> int:
    """What it takes in its file, about."""
    return int(tensor.ByteSize()) if filled(tensor) else (raw_bytes(tensor) or 0)


def filled(tensor: TensorProto) -> str:
    """The fields that hold some of its content; empty when none does."""
    return ", ".join(name for name in _FIELDS if len(getattr(tensor, name)))


def raw_bytes(tensor: TensorProto) -> int | None:
    """What it takes as raw data; None for what cannot be raw, or cannot be at all."""
    values = count(tensor.dims)
    bits = _BITS.get(tensor.data_type)
    if values is None or bits is None or len(tensor.dims) > limits.RANK_MAX:
        return None
    return -(-values * bits // _BYTE_BITS)


def lie(tensor: TensorProto) -> str | None:
    """How its content differs from what it says of itself; None when they agree."""
    if len(tensor.dims) > limits.RANK_MAX:
        return f"has {len(tensor.dims)} dimensions; {limits.RANK_MAX} are allowed"
    shown = shown_dimensions(tensor.dims)
    values = count(tensor.dims)
    if values is None:
        return f"says that its dimensions are {shown}, which nothing can have"
    if tensor.data_type not in _BITS and tensor.data_type != TensorProto.STRING:
        return f"is of the type {tensor.data_type}, which is not known here"
    if tensor.HasField("segment"):
        return "says that it is a part of a tensor"
    sizes = {name: len(getattr(tensor, name)) for name in _FIELDS}  # raw data is copied to be looked at
    filled = {name: size for name, size in sizes.items() if size}
    field, wanted = _expected(tensor.data_type, values, raw="raw_data" in filled)
    if filled == ({field: wanted} if wanted else {}):
        return None
    unit = "bytes" if field == "raw_data" else "values"
    held = " and ".join(f"{size} in {name}" for name, size in filled.items()) or "nothing"
    kind = TensorProto.DataType.Name(tensor.data_type).lower()
    return f"says that it is {shown} of {kind} ({wanted} {unit} in {field}) and holds {held}"


def count(dimensions: Iterable[int]) -> int | None:
    """How many values such a tensor has; None for a negative size, or more values than 64 bits count."""
    values = 1
    for size in dimensions:
        values *= size
        if size < 0 or values > _INT64_MAX:
            return None
    return values


def dense_bytes(sparse: SparseTensorProto) -> int | None:
    """What it takes once it is no longer sparse; None as for `count`."""
    values = count(sparse.dims)
    return None if values is None else values * _BITS.get(sparse.values.data_type, 64) // _BYTE_BITS


def fixed_bytes(value: ValueInfoProto) -> int:
    """The least that a tensor of this declared type takes: sizes that are open count as one."""
    kind = value.type.tensor_type
    sizes = [int(size.dim_value) for size in kind.shape.dim if size.HasField("dim_value")]
    return prod(max(size, 1) for size in sizes) * _BITS.get(kind.elem_type, 64) // _BYTE_BITS


def shown_dimensions(dimensions: Iterable[int]) -> str:
    sizes = tuple(dimensions)
    more = ["…"] if len(sizes) > _SHOWN_DIMENSIONS else []
    return "[" + ", ".join([*map(str, sizes[:_SHOWN_DIMENSIONS]), *more]) + "]"


def _expected(kind: int, values: int, *, raw: bool) -> tuple[str, int]:
    """The field that the content should be in, and how much of it: bytes of raw data, else values."""
    if raw and kind != TensorProto.STRING:
        return "raw_data", -(-values * _BITS[kind] // _BYTE_BITS)
    if kind in _COMPLEX:
        return _FIELD_OF[kind], 2 * values
    if _BITS.get(kind, _BYTE_BITS) < _BYTE_BITS:
        return "int32_data", -(-values * _BITS[kind] // _BYTE_BITS)
    return _FIELD_OF.get(kind, "int32_data"), values


def _attributes(graph: GraphProto) -> Iterator[AttributeProto]:
    return (attribute for node in graph.node for attribute in node.attribute)


def _subgraphs(attribute: AttributeProto) -> Iterable[GraphProto]:
    own = (attribute.g,) if attribute.HasField("g") else ()
    return (*own, *attribute.graphs)
