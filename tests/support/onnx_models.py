"""Small real ONNX models: well-behaved ones whose answers say who answered, and hostile ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dimensions = Sequence[int | str | None]

DTYPES: Final = {
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
}


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Sequence[onnx.TensorProto] = (),
    *,
    opset: int = 17,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "test", inputs, outputs, list(weights))
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def value(name: str, shape: Dimensions, dtype: str = "float32") -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, DTYPES[dtype], shape)


def weight(name: str, content: object, dtype: str = "float32") -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(content, dtype=dtype), name)


def data(proto: onnx.ModelProto) -> bytes:
    return bytes(proto.SerializeToString())


def identity(dtype: str, shape: Dimensions = (None,)) -> bytes:
    """Gives back its input `x` as `y`."""
    return data(
        model(
            [helper.make_node("Identity", ["x"], ["y"])],
            [value("x", shape, dtype)],
            [value("y", shape, dtype)],
        )
    )


def marked(mark: float, *, padding_bytes: int = 0, name: str = "x") -> bytes:
    """`[n, 1] → [n, 2]`: the mark and the row's own value. Padding makes it as large as wanted."""
    padding = np.zeros(padding_bytes // 4, np.float32)
    nodes = [
        helper.make_node("Mul", [name, "zero"], ["nothing"]),
        helper.make_node("ReduceSum", ["padding"], ["none"], keepdims=0),
        helper.make_node("Add", ["nothing", "mark"], ["marks"]),
        helper.make_node("Add", ["marks", "none"], ["same"]),
        helper.make_node("Concat", ["same", name], ["y"], axis=1),
    ]
    weights = [weight("zero", [0]), weight("mark", [mark]), weight("padding", padding)]
    return data(model(nodes, [value(name, ["n", 1])], [value("y", ["n", 2])], weights))


def dense(width: int = 1024, *, seed: int = 1) -> bytes:
    """Two layers of weights, large enough to be mapped."""
    generator = np.random.default_rng(seed)
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w1", "b1"], ["y"]),
    ]
    weights = [
        weight(f"{name}{layer}", generator.standard_normal(shape) / width)
        for layer in (0, 1)
        for name, shape in (("w", (width, width)), ("b", (width,)))
    ]
    return data(model(nodes, [value("x", ["n", width])], [value("y", ["n", width])], weights))


def centred() -> bytes:
    """Each row less the largest of all: what one caller gets depends on the others."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], axes=[0]),
        helper.make_node("Sub", ["x", "largest"], ["y"]),
    ]
    return data(model(nodes, [value("x", ["n", 2])], [value("y", ["n", 2])]))


def two_inputs() -> bytes:
    """`a` and `b`, added."""
    shape: Dimensions = ["n", 2]
    return data(
        model(
            [helper.make_node("Add", ["a", "b"], ["sum"])],
            [value("a", shape), value("b", shape)],
            [value("sum", shape)],
        )
    )


def two_outputs() -> bytes:
    """`double` and `negative` of a column."""
    return data(
        model(
            [helper.make_node("Add", ["x", "x"], ["double"]), helper.make_node("Neg", ["x"], ["negative"])],
            [value("x", ["n", 1])],
            [value("double", ["n", 1]), value("negative", ["n", 1])],
        )
    )


def reshaping() -> bytes:
    """Runs on any multiple of six values, and fails on others."""
    return data(
        model(
            [helper.make_node("Reshape", ["x", "shape"], ["y"])],
            [value("x", [None])],
            [value("y", [None, 6])],
            [weight("shape", [-1, 6], "int64")],
        )
    )


def rows_baked_in() -> bytes:
    """Says that it takes any number of rows, and takes one."""
    shapes = [value("x", ["n", 4]), value("y", ["n", 4])]
    reshape = helper.make_node("Reshape", ["x", "shape"], ["y"])
    return data(model([reshape], shapes[:1], shapes[1:], [weight("shape", [1, 4], "int64")]))


def looking_up() -> bytes:
    """Fails on an index beyond 3."""
    return data(
        model(
            [helper.make_node("Gather", ["table", "x"], ["y"])],
            [value("x", [None], "int64")],
            [value("y", [None])],
            [weight("table", [10, 11, 12, 13])],
        )
    )


def turning() -> bytes:
    """Takes as many turns of a loop as its input says."""
    body = _loop_body(value("v", [1]), value("w", [1]))
    loop = helper.make_node("Loop", ["x", "always", "start"], ["y"], body=body)
    weights = [weight("always", True, "bool"), weight("start", [3])]
    return data(model([loop], [value("x", [1], "int64")], [value("y", [1])], weights))


def growing() -> bytes:
    """Takes as much memory as the square of its input: 4 bytes times x times x."""
    return data(
        model(
            [
                helper.make_node("Concat", ["x", "x"], ["shape"], axis=0),
                helper.make_node("ConstantOfShape", ["shape"], ["square"], value=weight("", [1.0])),
                helper.make_node("ReduceSum", ["square"], ["y"], keepdims=0),
            ],
            [value("x", [1], "int64")],
            [value("y", [])],
        )
    )


def slow(turns: int) -> bytes:
    """Gives back its input after so many turns of a loop: tens of milliseconds per hundred thousand."""
    return data(_loop(weight("turns", turns, "int64")))


def endless() -> bytes:
    """Its run never ends, unless it has no rows."""
    return data(_loop(None))


def endless_constant() -> bytes:
    """The same, of constants alone: whoever folds constants folds for ever."""
    body = _loop_body(value("v", [1]), value("w", [1]))
    nodes = [
        helper.make_node("Loop", ["", "always", "start"], ["never"], body=body),
        helper.make_node("Add", ["x", "never"], ["y"]),
    ]
    weights = [weight("always", True, "bool"), weight("start", [3])]
    return data(model(nodes, [value("x", [1])], [value("y", [1])], weights))


def _loop(turns: onnx.TensorProto | None) -> onnx.ModelProto:
    body = _loop_body(value("v", [None]), value("w", [None]))
    loop = helper.make_node("Loop", ["turns" if turns else "", "always", "x"], ["y"], body=body)
    weights = [weight("always", True, "bool"), *([turns] if turns else [])]
    return model([loop], [value("x", [None])], [value("y", [None])], weights)


def _loop_body(taken: onnx.ValueInfoProto, given: onnx.ValueInfoProto) -> onnx.GraphProto:
    return helper.make_graph(
        [helper.make_node("Identity", ["go"], ["goes"]), helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [value("i", [], "int64"), value("go", [], "bool"), taken],
        [value("goes", [], "bool"), given],
    )


def folding_bomb(size: int = 6000, length: int = 40) -> bytes:
    """About a kilobyte that keeps the optimiser multiplying constant matrices."""
    filled = helper.make_node("ConstantOfShape", ["size"], ["c0"], value=weight("", [0.001]))
    products = [helper.make_node("MatMul", [f"c{i}", "c0"], [f"c{i + 1}"]) for i in range(length)]
    rest = [
        helper.make_node("ReduceSum", [f"c{length}"], ["total"], keepdims=0),
        helper.make_node("Add", ["x", "total"], ["y"]),
    ]
    sizes = [weight("size", [size, size], "int64")]
    return data(model([filled, *products, *rest], [value("x", [None])], [value("y", [None])], sizes))


def memory_bomb(size: int = 40_000) -> bytes:
    """Asks for 6.4 GB when it is loaded."""
    return folding_bomb(size, length=0)


def nested(depth: int, *, kind: bytes = b"If", branch: bytes = b"then_branch") -> bytes:
    """`If` inside `If` inside `If`, written byte by byte: the library itself refuses to."""
    graph = b""
    for _ in range(depth):
        attribute = field(1, branch) + field(6, graph) + b"\xa0\x01\x05"  # its type is GRAPH
        graph = field(1, field(4, kind) + field(5, attribute))
    return b"\x08\x08" + field(7, graph)  # IR version 8


def field(number: int, content: bytes) -> bytes:
    length, size = b"", len(content)
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def external_data() -> bytes:
    """Its weights are said to be in /etc/passwd."""
    proto = model(
        [helper.make_node("Add", ["x", "w"], ["y"])], [value("x", [1])], [value("y", [1])], [weight("w", [1])]
    )
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="passwd")
    return data(proto)


def zip_map() -> bytes:
    """What a classifier converted with ZipMap gives: a list of dictionaries."""
    node = helper.make_node(
        "ZipMap", ["x"], ["output_probability"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]
    )
    entry = helper.make_map_type_proto(
        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    output = helper.make_value_info("output_probability", helper.make_sequence_type_proto(entry))
    return data(model([node], [value("x", [None, 2])], [output]))
