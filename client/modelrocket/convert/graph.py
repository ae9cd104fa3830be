"""Small, exact edits of ONNX graphs: names, opset imports, traces of the machine that exported them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper


def tidied(model: ModelProto) -> ModelProto:
    """The same model, one import per operator set, without the exporter's notes (source lines, paths)."""
    tidy = ModelProto()
    tidy.CopyFrom(model)
    tidy.graph.name = "model"  # some exporters make up another one each time
    versions: dict[str, int] = {}
    for opset in tidy.opset_import:
        versions[opset.domain] = max(opset.version, versions.get(opset.domain, 0))
    del tidy.opset_import[:]
    tidy.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in versions.items())
    for holder in (tidy, *tidy.functions, *_annotated(tidy)):
        holder.doc_string = ""
        del holder.metadata_props[:]
    return tidy


def opsets(model: ModelProto) -> dict[str, int]:
    """The version of each operator set that the model imports, by domain."""
    return {opset.domain or "ai.onnx": opset.version for opset in model.opset_import}


def with_names(model: ModelProto, *, inputs: Sequence[str], outputs: Sequence[str]) -> ModelProto:
    """The same model with its first inputs and outputs named so; further outputs are dropped.

    A graph whose output is one of its inputs keeps the input's name and gets an Identity for the output.
    """
    named = ModelProto()
    named.CopyFrom(model)
    del named.graph.output[len(outputs) :]
    _separate_outputs(named.graph)
    before = [value.name for value in (*named.graph.input[: len(inputs)], *named.graph.output)]
    _rename(named.graph, dict(zip(before, (*inputs, *outputs), strict=True)))
    return named


def flattened_output(model: ModelProto, name: str) -> ModelProto:
    """The same model with one output as a vector of rows: `(n,)` instead of `(n, 1)`."""
    return _reshaped_output(model, name, -1)


def columned_output(model: ModelProto, name: str) -> ModelProto:
    """The same model with one output as a column: `(n, 1)` instead of `(n,)`."""
    return _reshaped_output(model, name, -1, 1)


def cast_output(model: ModelProto, name: str, *, to: int) -> ModelProto:
    """The same model with one output of this type; as it is where it has it."""
    cast = ModelProto()
    cast.CopyFrom(model)
    output = next(value for value in cast.graph.output if value.name == name)
    if output.type.tensor_type.elem_type == to:
        return model
    before = _fresh(cast.graph, f"{name}_before")
    _rename(cast.graph, {name: before})
    cast.graph.node.append(helper.make_node("Cast", [before], [name], to=to))
    output.name, output.type.tensor_type.elem_type = name, to
    return cast


def _reshaped_output(model: ModelProto, name: str, *sizes: int) -> ModelProto:
    reshaped = ModelProto()
    reshaped.CopyFrom(model)
    graph = reshaped.graph
    output = next(value for value in graph.output if value.name == name)
    before, shape = _fresh(graph, f"{name}_before"), _fresh(graph, f"{name}_shape")
    _rename(graph, {name: before})
    graph.initializer.append(helper.make_tensor(shape, TensorProto.INT64, [len(sizes)], sizes))
    graph.node.append(helper.make_node("Reshape", [before, shape], [name]))
    free = [None if size < 0 else size for size in sizes]
    output.CopyFrom(helper.make_tensor_value_info(name, output.type.tensor_type.elem_type, free))
    return reshaped


def with_input_types(model: ModelProto, types: Mapping[str, int]) -> ModelProto:
    """The same model with inputs of these types, cast to what it takes."""
    cast = ModelProto()
    cast.CopyFrom(model)
    for entry in cast.graph.input:
        taken, wanted = entry.type.tensor_type.elem_type, types.get(entry.name)
        if wanted in (None, taken):
            continue
        name = entry.name
        inside = _fresh(cast.graph, f"{name}_cast")
        _rename(cast.graph, {name: inside})
        entry.name = name
        entry.type.tensor_type.elem_type = wanted
        cast.graph.node.insert(0, helper.make_node("Cast", [name], [inside], to=taken))
    return cast


def with_cast_outputs(model: ModelProto, operators: Sequence[str], *, number: int, to: int) -> ModelProto:
    """The same model with one output of every node of these operators cast before anything else sees it."""
    cast = ModelProto()
    cast.CopyFrom(model)
    del cast.graph.node[:]
    for node in model.graph.node:
        cast.graph.node.append(node)
        if node.op_type in operators and len(node.output) > number:
            name, inside = node.output[number], _fresh(cast.graph, f"{node.output[number]}_inside")
            cast.graph.node[-1].output[number] = inside
            cast.graph.node.append(helper.make_node("Cast", [inside], [name], to=to))
            for output in cast.graph.output:
                if output.name == name:
                    output.type.tensor_type.elem_type = to
    return cast


def without_sequences(model: ModelProto) -> ModelProto:
    """The same model with the members of every output that is a sequence as outputs of their own."""
    flat = ModelProto()
    flat.CopyFrom(model)
    makers = {node.output[0]: node for node in flat.graph.node if node.op_type == "SequenceConstruct"}
    del flat.graph.output[:]
    for output in model.graph.output:
        maker = makers.get(output.name)
        if maker is None or not output.type.HasField("sequence_type"):
            flat.graph.output.append(output)
            continue
        kind = output.type.sequence_type.elem_type.tensor_type.elem_type
        flat.graph.output.extend(
            helper.make_tensor_value_info(member, kind, [None, None]) for member in maker.input
        )
        flat.graph.node.remove(maker)
    return flat


def _rename(graph: GraphProto, names: Mapping[str, str]) -> None:
    """Rename values everywhere at once; whatever held a wanted name before moves out of the way."""
    renames = {old: new for old, new in names.items() if old != new}
    taken = _value_names(graph) - set(renames)
    moved = {name: _fresh(graph, name) for name in set(renames.values()) & taken}
    _apply(graph, renames | moved)


def _apply(graph: GraphProto, renames: Mapping[str, str]) -> None:
    for holder in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        holder.name = renames.get(holder.name, holder.name)
    for sparse in graph.sparse_initializer:
        sparse.values.name = renames.get(sparse.values.name, sparse.values.name)
    for annotation in graph.quantization_annotation:
        annotation.tensor_name = renames.get(annotation.tensor_name, annotation.tensor_name)
    for node in graph.node:
        node.input[:] = [renames.get(name, name) for name in node.input]
        node.output[:] = [renames.get(name, name) for name in node.output]
        for inner in _subgraphs(node):
            _apply(inner, renames)


def _separate_outputs(graph: GraphProto) -> None:
    """Give every output that is also an input, or listed twice, a value of its own."""
    seen = {value.name for value in graph.input}
    for output in graph.output:
        if output.name in seen:
            copy = _fresh(graph, f"{output.name}_copy")
            graph.node.append(helper.make_node("Identity", [output.name], [copy]))
            output.name = copy
        seen.add(output.name)


def _fresh(graph: GraphProto, stem: str) -> str:
    taken = _value_names(graph)
    candidates = (f"{stem}_{number}" for number in range(len(taken) + 1))
    return next(name for name in candidates if name not in taken)


def _value_names(graph: GraphProto) -> set[str]:
    names = {holder.name for holder in (*graph.input, *graph.output, *graph.initializer)}
    names |= {sparse.values.name for sparse in graph.sparse_initializer}
    for node in graph.node:
        names |= {*node.input, *node.output}
        for inner in _subgraphs(node):
            names |= _value_names(inner)
    return names - {""}


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Every node of the graph and of the graphs nested in it."""
    waiting = list(model.graph.node)
    while waiting:
        node = waiting.pop()
        yield node
        for inner in _subgraphs(node):
            waiting.extend(inner.node)


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every constant in the model, wherever it is nested."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
        for inner in _subgraphs(node):
            yield from _graph_tensors(inner)


def _annotated(model: ModelProto) -> Iterator[Any]:
    """Everything in the model that carries notes."""
    yield from _annotated_graph(model.graph)
    for function in model.functions:
        yield from function.node
        yield from function.value_info


def _annotated_graph(graph: GraphProto) -> Iterator[Any]:
    yield graph
    yield from (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for node in graph.node:
        yield node
        for inner in _subgraphs(node):
            yield from _annotated_graph(inner)
