"""Converters for skl2onnx written as functions from nodes to answers, and how they are registered."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeAlias

from modelrocket.convert.boosters import Answer
from modelrocket.convert.forest import Nodes

Build: TypeAlias = Callable[[Any, Nodes, str, str], Sequence[Answer]]
"""The fitted estimator, where to add nodes, its rows and their dtype -> its outputs in skl2onnx's order."""

CLASSIFIER_OPTIONS: Mapping[str, list[Any]] = {
    "zipmap": [True, False, "columns"],
    "nocl": [True, False],
    "output_class_labels": [False, True],
}


def replace_converter(name: str, build: Build, *, options: Mapping[str, list[Any]] | None = None) -> None:
    """Of an estimator that skl2onnx knows by its class's name, whose outputs it declares itself."""
    registration = import_module("skl2onnx.common._registration")
    registration.register_converter(
        f"Sklearn{name}",
        converter(build),
        overwrite=True,
        options=options,
    )


def converter(build: Build) -> Callable[[Any, Any, Any], None]:
    """As skl2onnx calls it: with its scope, the operator to convert and the container of the nodes."""

    def answers(operator: Any, nodes: Nodes) -> Sequence[Answer]:
        rows, dtype = _joined(nodes, operator.inputs)
        return build(operator.raw_operator, nodes, rows, dtype)

    return _written(answers)


def table_converter(
    build: Callable[[Any, Nodes, Sequence[tuple[str, str]]], Sequence[Answer]],
) -> Callable[[Any, Any, Any], None]:
    """Likewise, of what takes columns: each value, rows x 1, and its dtype."""

    def answers(operator: Any, nodes: Nodes) -> Sequence[Answer]:
        return build(operator.raw_operator, nodes, list(_apart(nodes, operator)))

    return _written(answers)


def _written(answers: Callable[[Any, Nodes], Sequence[Answer]]) -> Callable[[Any, Any, Any], None]:
    def convert(scope: Any, operator: Any, container: Any) -> None:
        from onnx import helper

        nodes = Nodes()
        for answer, output in zip(answers(operator, nodes), operator.outputs, strict=True):
            declared = _as_declared(nodes, answer, output)
            nodes.nodes.append(helper.make_node("Identity", [declared], [output.full_name]))
        outside = [variable.full_name for variable in (*operator.inputs, *operator.outputs)]
        _add(nodes, scope, container, dict(zip(outside, outside, strict=True)))

    return convert


def _apart(nodes: Nodes, operator: Any) -> Iterator[tuple[str, str]]:
    """Columns: an input each, or those of the only one."""
    for one in operator.inputs:
        if len(operator.inputs) > 1:
            yield one.full_name, dtype_of(one)
            continue
        for place in range(operator.raw_operator.n_features_in_):
            yield nodes.columns(one.full_name, place), dtype_of(one)


def dtype_of(variable: Any) -> str:
    name = type(variable.type).__name__.removesuffix("TensorType").lower()
    return {"float": "float32", "double": "float64", "boolean": "bool"}.get(name, name)


def _joined(nodes: Nodes, inputs: Sequence[Any]) -> tuple[str, str]:
    """What comes in, as one matrix of floats (or strings), and its dtype."""
    dtypes = {dtype_of(one) for one in inputs}
    dtype = next((one for one in ("string", "float64") if one in dtypes), "float32")
    values = [one.full_name if dtype_of(one) == dtype else nodes.cast(one.full_name, dtype) for one in inputs]
    return (values[0] if len(values) == 1 else nodes.add("Concat", *values, axis=1)), dtype


def _as_declared(nodes: Nodes, answer: Answer, output: Any) -> str:
    """As skl2onnx has declared the output: numbers, one for each row, are a column there."""
    value = answer.value
    if len(answer.shape) == 1 and len(output.type.shape or ()) > 1:
        value = nodes.reshape(value, -1, 1)
    return value if dtype_of(output) == answer.dtype else nodes.cast(value, dtype_of(output))


def _add(nodes: Nodes, scope: Any, container: Any, names: dict[str, str]) -> None:
    """Under names that nothing else has there; `names` are those that stay."""
    from onnx import helper

    for constant in nodes.constants:
        names[constant.name] = scope.get_unique_variable_name(constant.name)
        constant.name = names[constant.name]
        container.initializers.append(constant)
    for node in nodes.nodes:
        for output in node.output:
            names.setdefault(output, scope.get_unique_variable_name(output))
        container.add_node(
            node.op_type,
            [names[name] for name in node.input],
            [names[name] for name in node.output],
            op_domain=node.domain,
            name=scope.get_unique_operator_name(node.op_type),
            **{attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute},
        )
