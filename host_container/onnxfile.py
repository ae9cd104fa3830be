"""What can be said about an ONNX file without running it: is it one, and is it one that may be served?

Parses only; no shape inference and no checker, which have had memory errors of
their own. Still meant for the process of `examine`: parsing takes time and memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from chalicelib.contract import limits
from chalicelib.contract.errors import InvalidModel

_FAMILIES: Final = (
    (0, b"PK\x03\x04", "a zip archive (PyTorch, Keras and numpy files are): export the model to ONNX"),
    (0, b"\x80\x02", "a Python pickle: export the model to ONNX"),
    (0, b"\x80\x03", "a Python pickle: export the model to ONNX"),
    (0, b"\x80\x04", "a Python pickle: export the model to ONNX"),
    (0, b"\x80\x05", "a Python pickle: export the model to ONNX"),
    (0, b"\x89HDF", "an HDF5 file (Keras): export the model with tf2onnx"),
    (0, b"\x1f\x8b", "a gzip file: upload the file inside it"),
    (4, b"ORTM", "an .ort file: upload the ONNX file it was made from"),
    (4, b"TFL3", "a TensorFlow Lite file: convert it with tf2onnx"),
    (8, b"{", "a safetensors file, which has weights but no graph: export the model to ONNX"),
    (0, b"{", "JSON: export the model to ONNX"),
    (0, b"<", "XML or HTML: export the model to ONNX"),
)
_OPSETS: Final = {
    "ai.onnx": (limits.OPSET_MIN, limits.OPSET_MAX),
    "ai.onnx.ml": (1, limits.ML_OPSET_MAX),
    "com.microsoft": (1, 1),
}


def check(path: Path) -> None:
    """Raises InvalidModel with a reason that the file's owner can act on."""
    content = path.read_bytes()
    model = _parse(content)
    del content
    for rule in _RULES:
        rule(model)


def external_locations(path: Path) -> set[str]:
    """The files that its weights are in, other than itself. Raises InvalidModel."""
    model = _parse(path.read_bytes())
    return {
        entry.value
        for place in _walk(model.graph)
        for tensor in _tensors(place.graph)
        for entry in tensor.external_data
        if entry.key == "location"
    }


def identity() -> bytes:
    """A model that gives back its input: for warming up."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", [value], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def _parse(content: bytes) -> ModelProto:
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        if "MaxDepth" in str(error):
            raise _too_deep() from error
        raise _not_onnx(content) from error
    if not model.ir_version or not model.HasField("graph") or not model.graph.node:
        raise _not_onnx(content)
    return model


def _not_onnx(content: bytes) -> InvalidModel:
    looks = [text for offset, magic, text in _FAMILIES if content.startswith(magic, offset)]
    if looks:
        return InvalidModel(f"This is not an ONNX file: it looks like {looks[0]}.")
    if not content:
        return InvalidModel("This is not an ONNX file: it is empty.")
    return InvalidModel("This is not an ONNX file, or it was cut short: it holds no graph that can be read.")


def _too_deep() -> InvalidModel:
    return InvalidModel(f"Its graphs are nested more than {limits.SUBGRAPH_DEPTH_MAX} deep.")


def _versions(model: ModelProto) -> None:
    if model.ir_version > limits.IR_VERSION_MAX:
        raise InvalidModel(
            f"It has IR version {model.ir_version}; this platform takes up to {limits.IR_VERSION_MAX}. "
            f"Save it with an older onnx package, or set model.ir_version = {limits.IR_VERSION_MAX}."
        )
    for imported in model.opset_import:
        domain = imported.domain or "ai.onnx"
        lowest, highest = _OPSETS.get(domain, (imported.version, imported.version))
        if not lowest <= imported.version <= highest:
            advice = f"target_opset={highest if imported.version > highest else lowest}"
            raise InvalidModel(
                f"It needs opset {imported.version} of {domain}; this platform takes {lowest} to {highest}. "
                f"Convert it with {advice}."
            )


def _extras(model: ModelProto) -> None:
    if model.training_info:
        raise InvalidModel("It carries training information. Export it for inference.")
    if model.functions:
        raise InvalidModel(
            "It defines functions of its own. Inline them: onnx.inliner.inline_local_functions(model)."
        )


def _operators(model: ModelProto) -> None:
    count = 0
    for place in _walk(model.graph):
        if place.depth > limits.SUBGRAPH_DEPTH_MAX:
            raise _too_deep()
        count += len(place.graph.node)
        if count > limits.GRAPH_NODES_MAX:
            raise InvalidModel(
                f"It has more than {limits.GRAPH_NODES_MAX} operators. Simplify it (constant folding, "
                "fewer unrolled steps) before uploading."
            )
        for node in place.graph.node:
            _operator(node)


def _operator(node: NodeProto) -> None:
    if node.domain not in limits.OPERATOR_DOMAINS:
        raise InvalidModel(
            f'The operator "{_shown(node.op_type)}" is of the domain "{_shown(node.domain)}"; this platform '
            f"runs those of ai.onnx, ai.onnx.ml and com.microsoft. Replace or decompose it."
        )


def _weights(model: ModelProto) -> None:
    for place in _walk(model.graph):
        for tensor in _tensors(place.graph):
            if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
                raise InvalidModel(
                    "Its weights are in another file (external data). Save everything in one file: "
                    "onnx.save(onnx.load(path), new_path, save_as_external_data=False)."
                )


def _interface(model: ModelProto) -> None:
    weights = {tensor.name for tensor in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in weights]
    if not given or not model.graph.output:
        raise InvalidModel("It has no input or no output, so there is nothing to ask it.")
    if len(given) + len(model.graph.output) > limits.TENSORS_MAX:
        raise InvalidModel(f"It has more than {limits.TENSORS_MAX} inputs and outputs.")
    for value in given:
        _tensor(value, "input")
        if not value.type.tensor_type.HasField("shape"):
            raise InvalidModel(
                f'The input "{_shown(value.name)}" has no shape. Declare it; sizes may be left open.'
            )
    for value in model.graph.output:
        _tensor(value, "output")


def _tensor(value: ValueInfoProto, role: str) -> None:
    kind = value.type.WhichOneof("value")
    if kind in ("tensor_type", None) and (kind or role == "output"):  # an output's type may be inferred
        return
    if kind == "sequence_type" and value.type.sequence_type.elem_type.WhichOneof("value") == "map_type":
        what = "a list of dictionaries (ZipMap), not a tensor: convert with options={'zipmap': False}"
    else:
        what = f"a {(kind or 'missing type').removesuffix('_type')}, not a tensor: take it apart in the model"
    raise InvalidModel(f'The {role} "{_shown(value.name)}" is {what}.')


_RULES: Final[Sequence[Callable[[ModelProto], None]]] = (
    _versions,
    _extras,
    _operators,
    _weights,
    _interface,
)


@dataclass(frozen=True, slots=True)
class _Place:
    graph: GraphProto
    depth: int


def _walk(graph: GraphProto) -> Iterator[_Place]:
    """The graph and all in its operators' attributes, without recursion."""
    waiting = [_Place(graph, 0)]
    while waiting:
        place = waiting.pop()
        yield place
        inner = (subgraph for attribute in _attributes(place.graph) for subgraph in _subgraphs(attribute))
        waiting.extend(_Place(subgraph, place.depth + 1) for subgraph in inner)


def _attributes(graph: GraphProto) -> Iterator[AttributeProto]:
    return (attribute for node in graph.node for attribute in node.attribute)


def _subgraphs(attribute: AttributeProto) -> Iterable[GraphProto]:
    own = (attribute.g,) if attribute.HasField("g") else ()
    return (*own, *attribute.graphs)


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for attribute in _attributes(graph):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
        for sparse in attribute.sparse_tensors:
            yield from (sparse.values, sparse.indices)


def _shown(name: str) -> str:
    return name if len(name) <= limits.MODEL_NAME_LENGTH_MAX else name[: limits.MODEL_NAME_LENGTH_MAX] + "…"
