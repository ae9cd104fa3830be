"""The rules that a model file must keep before anything loads it.

Each rule looks at what the file says, and at nothing else: no shape inference and no
checker, which have had memory errors of their own. The first broken one is the
verdict. Functions of the file's own are refused rather than inlined: what is
checked is what is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from chalicelib.contract import limits
from chalicelib.contract.errors import InvalidModel
from chalicelib.contract.findings import Findings, Refusal
from host_container import apart, onnxgraph
from host_container.onnxgraph import walk

_NAME_SHOWN: Final = 60
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MEMORY_ADDRESS: Final = "_ORT_MEM_ADDR_"
"""onnxruntime's own marker for weights that are already in the memory of its process."""
_ONE_FILE: Final = (
    "Save everything in one file: onnx.save(onnx.load(path), new_path, save_as_external_data=False)."
)

_BY_THE_CLIENT: Final = "Upload it with the client, which writes both files: modelrocket.upload(path, name)."


class Refused(InvalidModel):
    """A file that is not served: the message is for its owner, the refusal for machines."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


def admit(model: ModelProto, *, bytes_apart: int | None = None) -> None:
    """Raises Refused with what was found, what is allowed and what to do.

    `bytes_apart`: of the file of weights that was uploaded beside the graph; None where there is none.
    """
    for rule in _RULES:
        rule(model)
    _weights(model, bytes_apart)
    _interface(model)


def findings(model: ModelProto, *, size: int) -> Findings:
    """What an admitted model is made of; `size`: of its file in bytes."""
    places = list(walk(model.graph))
    operators: dict[str, dict[str, int]] = {}
    for place in places:
        for node in place.graph.node:
            counts = operators.setdefault(_domain(node.domain), {})
            counts[node.op_type] = counts.get(node.op_type, 0) + 1
    weights = [tensor for place in places for tensor in onnxgraph.tensors(place.graph)]
    return Findings(
        bytes=size,
        ir_version=model.ir_version,
        opsets={_domain(imported.domain): imported.version for imported in model.opset_import},
        operators=operators,
        nodes=sum(len(place.graph.node) for place in places),
        depth=max(place.depth for place in places),
        weights=len(weights),
        weight_bytes=sum(map(onnxgraph.weight_bytes, weights)),
        inputs=len(_inputs(model)),
        outputs=len(model.graph.output),
        metadata_bytes=_metadata_bytes(model),
    )


def too_deep() -> Refused:
    return Refused(
        Refusal.NESTING,
        f"Its graphs or types are nested more than {limits.SUBGRAPH_DEPTH_MAX} deep. "
        "Put fewer conditions and loops inside each other.",
    )


def shown(name: str | bytes) -> str:
    """A name as it may be printed: short, on one line."""
    text = name if isinstance(name, str) else name.decode(errors="replace")
    short = text if len(text) <= _NAME_SHOWN else text[:_NAME_SHOWN] + "…"
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", short)


def _versions(model: ModelProto) -> None:
    lowest, highest = limits.IR_VERSION_MIN, limits.IR_VERSION_MAX
    if not lowest <= model.ir_version <= highest:
        raise Refused(
            Refusal.IR_VERSION,
            f"It has IR version {model.ir_version}; this platform takes {lowest} to {highest}. "
            f"Save it with another version of onnx, or set model.ir_version = {highest}.",
        )
    if len(model.opset_import) > limits.OPSET_IMPORTS_MAX:
        raise Refused(
            Refusal.OPSET,
            f"It imports {len(model.opset_import)} operator sets; {limits.OPSET_IMPORTS_MAX} are allowed. "
            "Leave out those that it does not use.",
        )
    for imported in model.opset_import:
        _opset(_domain(imported.domain), imported.version)


def _opset(domain: str, version: int) -> None:
    lowest, highest = limits.OPSETS.get(domain, (version, version))
    if not lowest <= version <= highest:
        advice = f"target_opset={highest if version > highest else lowest}"
        raise Refused(
            Refusal.OPSET,
            f"It needs opset {version} of {domain}; this platform takes {lowest} to {highest}. "
            f"Convert it with {advice}.",
        )


def _extras(model: ModelProto) -> None:
    if model.training_info:
        raise Refused(Refusal.TRAINING, "It carries training information. Export it for inference.")
    if model.functions:
        raise Refused(
            Refusal.LOCAL_FUNCTIONS,
            f'It defines {len(model.functions)} functions of its own ("{shown(model.functions[0].name)}"), '
            "inside which operators are not seen; none are allowed. "
            "Inline them: onnx.inliner.inline_local_functions(model).",
        )
    if (size := _metadata_bytes(model)) > limits.METADATA_BYTES_MAX:
        raise Refused(
            Refusal.METADATA,
            f"Its metadata takes {size} bytes; {limits.METADATA_BYTES_MAX} are allowed. "
            "Shorten it: del model.metadata_props[:].",
        )


def _graphs(model: ModelProto) -> None:
    nodes = 0
    for place in walk(model.graph):
        if place.depth > limits.SUBGRAPH_DEPTH_MAX:
            raise too_deep()
        nodes += len(place.graph.node) + (1 if place.depth else 0)  # a graph without any counts too
        if nodes > limits.GRAPH_NODES_MAX:
            raise Refused(
                Refusal.TOO_MANY_NODES,
                f"It has more than {limits.GRAPH_NODES_MAX} operators. Simplify it (constant folding, "
                "fewer unrolled steps) before uploading.",
            )


def _names(model: ModelProto) -> None:
    for name in onnxgraph.names_of_model(model):
        _name(name)
    for place in walk(model.graph):
        for name in onnxgraph.names(place.graph):
            _name(name)


def _name(name: str | bytes) -> None:
    if isinstance(name, bytes):
        what = "is not UTF-8"
    elif len(name) > limits.NAME_LENGTH_MAX:
        what = f"is {len(name)} characters long; {limits.NAME_LENGTH_MAX} are allowed"
    elif _UNPRINTABLE.search(name):
        what = "has characters that cannot be printed, like the end of a line"
    else:
        return
    raise Refused(Refusal.NAME, f'A name in it ("{shown(name)}") {what}. Rename it.')


def _operators(model: ModelProto) -> None:
    for place in walk(model.graph):
        for node in place.graph.node:
            _operator(node)


def _operator(node: NodeProto) -> None:
    domain = _domain(node.domain)
    if domain not in limits.OPSETS:
        raise Refused(
            Refusal.OPERATOR_DOMAIN,
            f'The operator "{shown(node.op_type)}" is of the domain "{shown(domain)}"; this platform '
            f"runs those of {', '.join(limits.OPSETS)}. Replace or decompose it.",
        )
    if node.op_type in limits.EMBEDDED_CONTEXT_OPERATORS:
        raise Refused(
            Refusal.EMBEDDED_CONTEXT,
            f"It holds code compiled for one kind of device ({node.op_type}), which cannot be checked. "
            "Upload the ONNX file that it was compiled from.",
        )
    if domain == "com.microsoft" and node.op_type not in limits.MICROSOFT_OPERATORS:
        raise Refused(
            Refusal.OPERATOR,
            f'The operator "{shown(node.op_type)}" of com.microsoft is not among those that this platform '
            "runs (GET /v1/limits lists them). Replace or decompose it.",
        )


def _weights(model: ModelProto, bytes_apart: int | None) -> None:
    """Of weights in another file only the graph's own initializers may be."""
    total = 0
    for place in walk(model.graph):
        initializers = 0 if place.depth else len(place.graph.initializer)
        for index, tensor in enumerate(onnxgraph.tensors(place.graph)):
            total += 1
            _weight(tensor, bytes_apart if index < initializers else None)
        for sparse in onnxgraph.sparse_tensors(place.graph):
            size = onnxgraph.dense_bytes(sparse)
            if size is None or size > limits.MODEL_BYTES_MAX:
                raise _lying(sparse.values, f"says that it fills {onnxgraph.shown_dimensions(sparse.dims)}")
        if total > limits.WEIGHTS_MAX:
            raise Refused(
                Refusal.TOO_MANY_WEIGHTS,
                f"It has more than {limits.WEIGHTS_MAX} weights and constants. Fold or join some.",
            )
    if (names := apart.overlap(filter(apart.is_apart, model.graph.initializer))) is not None:
        one, other = map(shown, names)
        raise Refused(
            Refusal.EXTERNAL_DATA,
            f'The weights "{one}" and "{other}" overlap in their file. {_BY_THE_CLIENT}',
        )


def _weight(tensor: TensorProto, bytes_apart: int | None) -> None:
    if any(_MEMORY_ADDRESS in shown(entry.value) for entry in tensor.external_data):
        raise Refused(
            Refusal.MEMORY_ADDRESS,
            f'The weight "{shown(tensor.name)}" is said to be at an address in memory. {_ONE_FILE}',
        )
    if apart.is_apart(tensor):
        _weight_apart(tensor, bytes_apart)
        return
    if (difference := onnxgraph.lie(tensor)) is not None:
        raise _lying(tensor, difference)


def _weight_apart(tensor: TensorProto, bytes_apart: int | None) -> None:
    if bytes_apart is None:
        raise Refused(
            Refusal.EXTERNAL_DATA,
            f'The weight "{shown(tensor.name)}" is in another file (external data). {_ONE_FILE}',
        )
    if (fault := apart.fault(tensor, file_bytes=bytes_apart)) is not None:
        raise Refused(Refusal.EXTERNAL_DATA, f'The weight "{shown(tensor.name)}" {fault}. {_BY_THE_CLIENT}')


def _lying(tensor: TensorProto, difference: str) -> Refused:
    return Refused(
        Refusal.DIMENSIONS, f'The weight "{shown(tensor.name)}" {difference}. Export the model again.'
    )


def _interface(model: ModelProto) -> None:
    given, outputs = _inputs(model), model.graph.output
    if not given or not outputs:
        raise Refused(Refusal.INTERFACE, "It has no input or no output, so there is nothing to ask it.")
    if len(given) + len(outputs) > limits.TENSORS_MAX:
        raise Refused(
            Refusal.INTERFACE,
            f"It has {len(given)} inputs and {len(outputs)} outputs; {limits.TENSORS_MAX} are allowed "
            "together. Join some (Concat).",
        )
    for value in given:
        _tensor(value, "input")
        if not value.type.tensor_type.HasField("shape"):
            raise Refused(
                Refusal.INTERFACE,
                f'The input "{shown(value.name)}" has no shape. Declare it; sizes may be left open.',
            )
        _sizes(value)
    for value in outputs:
        _tensor(value, "output")
    _distinct(given, "inputs")
    _distinct(outputs, "outputs")


def _tensor(value: ValueInfoProto, role: str) -> None:
    kind = value.type.WhichOneof("value")
    if kind in ("tensor_type", None) and (kind or role == "output"):  # an output's type may be inferred
        return
    if kind == "sequence_type" and value.type.sequence_type.elem_type.WhichOneof("value") == "map_type":
        what = "a list of dictionaries (ZipMap), not a tensor: convert with options={'zipmap': False}"
    else:
        what = f"a {(kind or 'missing type').removesuffix('_type')}, not a tensor: take it apart in the model"
    raise Refused(Refusal.INTERFACE, f'The {role} "{shown(value.name)}" is {what}.')


def _sizes(value: ValueInfoProto) -> None:
    """Numbers that an array can have. Some converters write -1 for an open size."""
    sizes = [size.dim_value for size in value.type.tensor_type.shape.dim]
    if len(sizes) > limits.RANK_MAX:
        what = f"has {len(sizes)} dimensions; {limits.RANK_MAX} are allowed"
    elif any(size < -1 for size in sizes) or onnxgraph.fixed_bytes(value) > limits.MODEL_BYTES_MAX:
        what = f"has the shape {onnxgraph.shown_dimensions(sizes)}, which is negative or too large to be sent"
    else:
        return
    raise Refused(Refusal.DIMENSIONS, f'The input "{shown(value.name)}" {what}. Declare a smaller one.')


def _distinct(values: Sequence[ValueInfoProto], role: str) -> None:
    names = [value.name for value in values]
    if len(set(names)) < len(names) or "" in names:
        raise Refused(
            Refusal.INTERFACE, f"Two of its {role} have the same name, or one has none. Rename them."
        )


_RULES: Final[Sequence[Callable[[ModelProto], None]]] = (
    _versions,
    _extras,
    _graphs,
    _names,
    _operators,
)


def _domain(name: str) -> str:
    return name or "ai.onnx"


def _inputs(model: ModelProto) -> list[ValueInfoProto]:
    """What a caller gives; old exporters list every weight among the inputs."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def _metadata_bytes(model: ModelProto) -> int:
    return sum(len(entry.key) + len(entry.value) for entry in model.metadata_props)
