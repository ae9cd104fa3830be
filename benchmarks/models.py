"""The models that are served: made here, the same every time, with real shapes and random weights.

tiny         a logistic regression of 4 features and 3 classes, as skl2onnx writes it
mlp          784-256-10
mobilenet    MobileNetV2 (arXiv:1801.04381, table 2), 224 x 224, batch norm folded: 300 M multiply-adds
transformer  an encoder of 4 layers over 64 tokens, width 256
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.wire import Tensors
from modelrocket.tensors import Array

INPUTS: Final = 8
"""How many different inputs the requests rotate through."""
_HEAVY_BYTES: Final = 4_000_000
_OPSET, _IR_VERSION = 17, 8
_SEED: Final = 20_240_607


@dataclass(frozen=True, slots=True)
class Example:
    """A model on disk, inputs for it, and how many connections ask it at once.

    `heavy` ones can use several cores for one request.
    """

    name: str
    title: str
    path: Path
    inputs: tuple[Tensors, ...]
    connections: tuple[int, ...]

    @property
    def heavy(self) -> bool:
        return self.path.stat().st_size > _HEAVY_BYTES


@dataclass(frozen=True, slots=True)
class _Recipe:
    title: str
    build: Callable[[], onnx.ModelProto]
    inputs: Callable[[np.random.Generator], Tensors]
    connections: tuple[int, ...]


def make(name: str, folder: Path) -> Example:
    """Write the model into the folder."""
    recipe = _RECIPES[name]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.onnx"
    path.write_bytes(recipe.build().SerializeToString())
    random = np.random.default_rng(_SEED)
    inputs = tuple(recipe.inputs(random) for _ in range(INPUTS))
    return Example(name, recipe.title, path, inputs, recipe.connections)


def tiny(seed: int = _SEED) -> onnx.ModelProto:
    """Another seed gives another model of the same size."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(seed)
    features = random.normal(size=(90, 4)).astype(np.float32)
    classes = np.arange(90) % 3
    features += classes[:, None]
    model = LogisticRegression(max_iter=200).fit(features, classes)
    converted: onnx.ModelProto = to_onnx(
        model,
        initial_types=[("modelInput", FloatTensorType([None, 4]))],
        options={"zipmap": False},
        target_opset={"": _OPSET, "ai.onnx.ml": 3},
    )
    return converted


def mlp() -> onnx.ModelProto:
    graph = _Graph("mlp")
    hidden = graph.dense("pixels", 784, 256)
    logits = graph.dense(graph.add("Relu", hidden), 256, 10)
    graph.add("Softmax", logits, output="probabilities", axis=-1)
    return graph.model(("pixels", TensorProto.FLOAT, ["n", 784]), ("probabilities", ["n", 10]))


# expansion, channels, repeats, stride
_MOBILENET_V2: Final = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet() -> onnx.ModelProto:
    graph = _Graph("mobilenet")
    value, channels = graph.relu6(graph.conv("image", 3, 32, size=3, stride=2)), 32
    for expansion, width, repeats, stride in _MOBILENET_V2:
        for number in range(repeats):
            value = _inverted_residual(
                graph, value, channels, width, expansion=expansion, stride=1 if number else stride
            )
            channels = width
    value = graph.relu6(graph.conv(value, channels, 1280))
    pooled = graph.add("Flatten", graph.add("GlobalAveragePool", value))
    graph.dense(pooled, 1280, 1000, output="logits")
    return graph.model(("image", TensorProto.FLOAT, ["n", 3, 224, 224]), ("logits", ["n", 1000]))


def _inverted_residual(
    graph: _Graph, value: str, channels: int, width: int, *, expansion: int, stride: int
) -> str:
    inner = channels * expansion
    wide = value if expansion == 1 else graph.relu6(graph.conv(value, channels, inner))
    deep = graph.relu6(graph.conv(wide, inner, inner, size=3, stride=stride, group=inner))
    narrow = graph.conv(deep, inner, width)
    return graph.add("Add", value, narrow) if stride == 1 and channels == width else narrow


_LAYERS, _WIDTH, _HEADS, _TOKENS, _VOCABULARY = 4, 256, 4, 64, 8192


def transformer() -> onnx.ModelProto:
    graph = _Graph("transformer")
    table = graph.weight((_VOCABULARY, _WIDTH), fan_in=_WIDTH)
    positions = graph.weight((_TOKENS, _WIDTH), fan_in=_WIDTH)
    value = graph.add("Add", graph.add("Gather", table, "tokens"), positions)
    for _ in range(_LAYERS):
        value = _encoder_layer(graph, value)
    pooled = graph.add("ReduceMean", value, axes=[1], keepdims=0)
    graph.dense(pooled, _WIDTH, 16, output="scores")
    return graph.model(("tokens", TensorProto.INT64, ["n", _TOKENS]), ("scores", ["n", 16]))


def _encoder_layer(graph: _Graph, value: str) -> str:
    attended = graph.norm(graph.add("Add", value, _attention(graph, value)), _WIDTH)
    inner = _gelu(graph, graph.linear(attended, _WIDTH, 4 * _WIDTH))
    return graph.norm(graph.add("Add", attended, graph.linear(inner, 4 * _WIDTH, _WIDTH)), _WIDTH)


def _attention(graph: _Graph, value: str) -> str:
    heads = graph.constant(np.array([0, 0, _HEADS, _WIDTH // _HEADS], np.int64))
    merged = graph.constant(np.array([0, 0, _WIDTH], np.int64))

    def split(order: list[int]) -> str:
        projected = graph.add("Reshape", graph.linear(value, _WIDTH, _WIDTH), heads)
        return graph.add("Transpose", projected, perm=order)

    queries, keys, values = split([0, 2, 1, 3]), split([0, 2, 3, 1]), split([0, 2, 1, 3])
    scale = graph.constant(np.array((_WIDTH // _HEADS) ** -0.5, np.float32))
    scores = graph.add("Mul", graph.add("MatMul", queries, keys), scale)
    mixed = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), values)
    joined = graph.add("Reshape", graph.add("Transpose", mixed, perm=[0, 2, 1, 3]), merged)
    return graph.linear(joined, _WIDTH, _WIDTH)


def _gelu(graph: _Graph, value: str) -> str:
    def number(of: float) -> str:
        return graph.constant(np.array(of, np.float32))

    bell = graph.add("Erf", graph.add("Mul", value, number(2**-0.5)))
    return graph.add("Mul", graph.add("Mul", value, number(0.5)), graph.add("Add", bell, number(1.0)))


class _Graph:
    """An ONNX graph while it is being written; values are named as they come."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._random = np.random.default_rng(_SEED)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Array) -> str:
        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, shape: tuple[int, ...], *, fan_in: int) -> str:
        """Random, of a size that keeps the values' variance (He et al., arXiv:1502.01852)."""
        values = self._random.normal(size=shape, scale=(2 / fan_in) ** 0.5)
        return self.constant(values.astype(np.float32))

    def dense(self, value: str, width_in: int, width_out: int, *, output: str | None = None) -> str:
        weight = self.weight((width_in, width_out), fan_in=width_in)
        return self.add("Gemm", value, weight, self._zeros(width_out), output=output)

    def linear(self, value: str, width_in: int, width_out: int) -> str:
        """Over the last of several dimensions."""
        product = self.add("MatMul", value, self.weight((width_in, width_out), fan_in=2 * width_in))
        return self.add("Add", product, self._zeros(width_out))

    def conv(
        self, value: str, channels: int, width: int, *, size: int = 1, stride: int = 1, group: int = 1
    ) -> str:
        inner = channels // group
        weight = self.weight((width, inner, size, size), fan_in=inner * size * size)
        shape: dict[str, Any] = {"kernel_shape": [size] * 2, "strides": [stride] * 2, "pads": [size // 2] * 4}
        return self.add("Conv", value, weight, self._zeros(width), group=group, **shape)

    def relu6(self, value: str) -> str:
        low, high = (self.constant(np.array(limit, np.float32)) for limit in (0.0, 6.0))
        return self.add("Clip", value, low, high)

    def norm(self, value: str, width: int) -> str:
        ones = self.constant(np.ones(width, np.float32))
        return self.add("LayerNormalization", value, ones, self._zeros(width), axis=-1)

    def model(
        self, given: tuple[str, int, list[str | int]], result: tuple[str, list[str | int]]
    ) -> onnx.ModelProto:
        name, dtype, shape = given
        graph = helper.make_graph(
            self._nodes,
            self._name,
            [helper.make_tensor_value_info(name, dtype, shape)],
            [helper.make_tensor_value_info(result[0], TensorProto.FLOAT, result[1])],
            self._weights,
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)

    def _zeros(self, width: int) -> str:
        return self.constant(np.zeros(width, np.float32))


def _normal(name: str, *shape: int) -> Callable[[np.random.Generator], Tensors]:
    return lambda random: {name: random.normal(size=(1, *shape)).astype(np.float32)}


def _image(random: np.random.Generator) -> Tensors:
    """Bytes as a camera gives them, brought to 0..1."""
    return {"image": (random.integers(0, 256, size=(1, 3, 224, 224)) / 255).astype(np.float32)}


def _tokens(random: np.random.Generator) -> Tensors:
    return {"tokens": random.integers(0, _VOCABULARY, size=(1, _TOKENS))}


_RECIPES: Final = {
    "tiny": _Recipe("logistic regression 4 → 3", tiny, _normal("modelInput", 4), (1, 8, 32, 64)),
    "mlp": _Recipe("MLP 784-256-10", mlp, _normal("pixels", 784), (1, 32, 64)),
    "mobilenet": _Recipe("MobileNetV2 224²", mobilenet, _image, (1, 8)),
    "transformer": _Recipe("encoder, 4 layers of 256, 64 tokens", transformer, _tokens, (1, 8)),
}
NAMES: Final = tuple(_RECIPES)
