"""What some exporters leave undone in their graphs, each rewritten into what means the same."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, inliner

from modelrocket.convert.graph import with_names
from modelrocket.tensors import TensorSpec, numpy_dtype

_POOLED_MAX = 3
"""Dimensions that onnxruntime pools over."""


def inlined(model: ModelProto) -> ModelProto:
    """Local functions put in place of their calls."""
    if not model.functions:
        return model
    whole: ModelProto = inliner.inline_local_functions(model)
    return whole


def with_inputs(model: ModelProto, given: Sequence[str], specs: Sequence[TensorSpec]) -> ModelProto:
    """The inputs in this order, those included that the graph does not use and the exporter left out.

    given: the exporter's names for the inputs that `specs` describe.
    """
    whole = ModelProto()
    whole.CopyFrom(model)
    held = {value.name: value for value in model.graph.input}
    missing = {
        name: helper.make_tensor_value_info(name, element_type(spec.dtype), spec.shape)
        for name, spec in zip(given, specs, strict=True)
    }
    del whole.graph.input[:]
    whole.graph.input.extend(held.get(name, missing[name]) for name in given)
    return whole


def with_wide_inputs(model: ModelProto, specs: Sequence[TensorSpec]) -> ModelProto:
    """Inputs of the types that the specs say, cast to those that the graph computes in."""
    inputs = [
        spec.name if _fits(value, spec) else f"{spec.name}_narrow" for value, spec in _paired(model, specs)
    ]
    cast = with_names(model, inputs=inputs, outputs=[value.name for value in model.graph.output])
    for value, spec in _paired(cast, specs):
        if not _fits(value, spec):
            narrow = value.type.tensor_type.elem_type
            cast.graph.node.insert(0, helper.make_node("Cast", [spec.name], [value.name], to=narrow))
            value.name = spec.name
            value.type.tensor_type.elem_type = element_type(spec.dtype)
    return cast


def _paired(model: ModelProto, specs: Sequence[TensorSpec]) -> Iterator[tuple[ValueInfoProto, TensorSpec]]:
    return zip(model.graph.input, specs, strict=True)


def _fits(value: ValueInfoProto, spec: TensorSpec) -> bool:
    return bool(value.type.tensor_type.elem_type == element_type(spec.dtype))


def element_type(dtype: str) -> int:
    """The wire's dtype name as ONNX numbers it."""
    if dtype == "string":
        return int(TensorProto.STRING)
    return int(helper.np_dtype_to_tensor_dtype(numpy_dtype(dtype)))


def with_small_pools(model: ModelProto) -> ModelProto:
    """MaxPool over the pooled dimensions alone, where windows of one also cover the batch and the channels.

    jax2onnx pools a batch of images as one volume, in more dimensions than onnxruntime can.
    """
    small = ModelProto()
    small.CopyFrom(model)
    found = [
        (index, pool) for index, node in enumerate(model.graph.node) if (pool := _pool(node)) is not None
    ]
    for index, pool in reversed(found):
        replaced, weights = pool.small()
        del small.graph.node[index]
        for offset, node in enumerate(replaced):
            small.graph.node.insert(index + offset, node)
        small.graph.initializer.append(weights)
    return small


@dataclass(frozen=True)
class _Pool:
    """A MaxPool of which `kept` are the dimensions that its windows leave alone."""

    node: NodeProto
    attributes: Mapping[str, list[int]]
    kept: tuple[int, ...]

    def small(self) -> tuple[list[NodeProto], TensorProto]:
        """Nodes in place of it, and the constant that they need."""
        (source,), (target,) = self.node.input, self.node.output
        rank = len(self.attributes["kernel_shape"])
        pooled = [axis for axis in range(rank) if axis not in self.kept]
        order = [0, 1, *(2 + axis for axis in (*self.kept, *pooled))]
        back = [order.index(axis) for axis in range(rank + 2)]
        axes = helper.make_tensor(f"{target}_axes", TensorProto.INT64, [2], [0, 1])
        steps = [f"{target}_{step}" for step in ("ordered", "flat", "pooled", "whole")]
        attributes: dict[str, Any] = {
            name: [values[axis] for axis in _halves(name, pooled, rank)]
            for name, values in self.attributes.items()
        }
        nodes = [
            helper.make_node("Transpose", [source], [steps[0]], perm=order),
            helper.make_node("Squeeze", [steps[0], axes.name], [steps[1]]),
            helper.make_node("MaxPool", [steps[1]], [steps[2]], **attributes),
            helper.make_node("Unsqueeze", [steps[2], axes.name], [steps[3]]),
            helper.make_node("Transpose", [steps[3]], [target], perm=back),
        ]
        return nodes, axes


def _pool(node: NodeProto) -> _Pool | None:
    """A MaxPool in too many dimensions, of which two are the batch and the channels in truth."""
    attributes = {one.name: list(one.ints) for one in node.attribute if one.ints}
    kernel = attributes.get("kernel_shape", [])
    if node.op_type != "MaxPool" or len(kernel) <= _POOLED_MAX:
        return None
    begins, ends = _pads(attributes, len(kernel))
    strides = attributes.get("strides", [1] * len(kernel))
    each = zip(kernel, strides, begins, ends, strict=True)
    kept = tuple(axis for axis, said in enumerate(each) if said == (1, 1, 0, 0))
    return _Pool(node, attributes, kept) if len(kept) == 2 else None  # noqa: PLR2004 - batch and channels


def _pads(attributes: Mapping[str, list[int]], rank: int) -> tuple[list[int], list[int]]:
    pads = attributes.get("pads", [0] * 2 * rank)
    return pads[:rank], pads[rank:]


def _halves(name: str, axes: Sequence[int], rank: int) -> list[int]:
    """Where an attribute says something of these axes; pads say of their beginnings, then of their ends."""
    return [*axes, *(rank + axis for axis in axes)] if name == "pads" else list(axes)
