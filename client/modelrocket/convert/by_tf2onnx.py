"""TensorFlow functions -> ONNX by tf2onnx.

The function is traced with a free batch dimension and frozen by TensorFlow; tf2onnx leaves operations that it
does not know as they are, and they are refused here by name.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from modelrocket.convert import graph, rewrites
from modelrocket.convert.exporters import installed, quiet
from modelrocket.convert.interface import Target
from modelrocket.errors import ConversionError
from modelrocket.tensors import TensorSpec

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET_MAX: Final = 18
_TABLES: Final = frozenset({"HashTableV2", "LookupTableFindV2", "StaticRegexReplace", "StringSplitV2"})

Function = Callable[..., Mapping[str, Any]]
"""Of tensors, in the order of the inputs, to tensors by output name."""


def exporter(extra: str) -> str:
    """Its name and version. Raises `ConversionError` where it is not installed."""
    return installed("tf2onnx", models="TensorFlow models", extra=extra)


def exported(function: Function, specs: Sequence[TensorSpec], target: Target) -> "ModelProto":
    """Raises `ConversionError` that names the operations which tf2onnx does not know."""
    tf, tf2onnx = import_module("tensorflow"), import_module("tf2onnx")
    outputs: list[str] = []

    def traced(*tensors: Any) -> list[Any]:
        answers = function(*tensors)
        outputs[:] = answers
        return [tf.identity(value) for value in answers.values()]

    signature = [tf.TensorSpec(spec.shape, tf.as_dtype(spec.dtype)) for spec in specs]
    concrete = tf.function(traced, autograph=False).get_concrete_function(*signature)
    given = [tensor.name for tensor in concrete.inputs[: len(specs)]]
    returned = [tensor.name for tensor in concrete.outputs]
    opset = min(target.opset, OPSET_MAX)
    with quiet("tf2onnx", "tensorflow"):
        frozen = import_module("tf2onnx.tf_loader").from_function(concrete, given, returned)
        _refuse_tables(frozen)
        made, _ = tf2onnx.convert.from_graph_def(
            frozen,
            input_names=given,
            output_names=returned,
            opset=opset,
            custom_op_handlers={"Erfc": (_erfc, [])},
        )
    _refuse_unknown(made)
    whole = rewrites.with_inputs(made, given, specs)
    return graph.with_names(whole, inputs=[spec.name for spec in specs], outputs=outputs)


def _erfc(context: Any, node: Any, *_: object) -> None:
    """1 - erf(x), which ONNX has."""
    import numpy as np

    dtype = {1: np.float32, 10: np.float16, 11: np.float64}[context.get_dtype(node.input[0])]
    one = context.make_const(f"{node.name}_one", np.array(1, dtype))
    erf = context.make_node("Erf", [node.input[0]], name=f"{node.name}_erf")
    shape, kind = context.get_shape(node.output[0]), context.get_dtype(node.output[0])
    output = node.output[0]
    context.remove_node(node.name)
    context.make_node(
        "Sub",
        [one.output[0], erf.output[0]],
        outputs=[output],
        name=node.name,
        shapes=[shape],
        dtypes=[kind],
    )


def _refuse_tables(frozen: Any) -> None:
    found = next((node for node in frozen.node if node.op in _TABLES), None)
    if found is not None:
        raise ConversionError(
            f"The model looks values up in a table or takes texts apart ({found.op} at {found.name}), "
            "which does not convert.",
            hint="Do that before the model, and give the part of it that follows.",
        )


def _refuse_unknown(model: "ModelProto") -> None:
    from onnx import defs

    versions = {opset.domain: opset.version for opset in model.opset_import}
    unknown = sorted(
        {
            f"{node.op_type} at {node.name}"
            for node in graph.nodes(model)
            if not defs.has(node.op_type, versions.get(node.domain, 1), node.domain)
        }
    )
    if unknown:
        raise ConversionError(
            f"tf2onnx does not know these operations: {', '.join(unknown)}.",
            hint="Replace the layer that they are in.",
        )
