"""Programs that torch.export made: their inputs, outputs and free sizes are their own."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelrocket.convert.exporters import quiet
from modelrocket.convert.interface import INPUT, Attempt, Declared, Source, Target, dtype_name
from modelrocket.convert.torch_call import array, named, tensor, torch
from modelrocket.convert.torch_errors import HINT, refusal
from modelrocket.convert.torch_export import DYNAMO, LOGGERS, finished
from modelrocket.errors import ConversionError
from modelrocket.inputs import Feeds
from modelrocket.tensors import Array, Shape, TensorSpec

if TYPE_CHECKING:
    from onnx import ModelProto

_FIXED_ROWS = (
    "It takes exactly {rows} rows at a time, as it was exported; for any number of rows export it with "
    "dynamic_shapes, e.g. {{0: torch.export.Dim.DYNAMIC}} for each input."
)


def source(exported: Any, declared: Declared) -> Source:
    """Type and shape are the program's own, whatever was declared. Raises `ConversionError`."""
    program = Program(exported)
    specs = program.specs
    inputs = declared.inputs(*specs)
    fixed = {spec.shape[0] for spec in specs if spec.shape} - {None}
    return Source(
        framework=f"PyTorch {torch().__version__}",
        attempts=(Attempt(DYNAMO, lambda: program.onnx(declared.target)),),
        inputs=inputs,
        original=program.answers,
        hint=HINT,
        notes=tuple(_FIXED_ROWS.format(rows=rows) for rows in sorted(map(int, filter(None, fixed)))[:1]),
    )


@dataclass(frozen=True)
class Program:
    """An ExportedProgram as a function of named arrays."""

    exported: Any

    @cached_property
    def specs(self) -> tuple[TensorSpec, ...]:
        """In the order of its flat inputs, the constants among them left out."""
        known = {node.name: node for node in self.exported.graph.nodes if node.op == "placeholder"}
        names = [one.arg.name for one in self._given if not hasattr(one.arg, "value")]
        shown = [INPUT] if len(names) == 1 else names
        return tuple(_spec(name, known[node].meta["val"]) for name, node in zip(shown, names, strict=True))

    def answers(self, feeds: Feeds) -> Mapping[str, Array]:
        """What the program itself says, by output name."""
        tensors = iter([tensor(feeds[spec.name]) for spec in self.specs])
        flat = [one.arg.value if hasattr(one.arg, "value") else next(tensors) for one in self._given]
        arguments, keywords = torch().utils._pytree.tree_unflatten(flat, self.exported.call_spec.in_spec)
        with torch().no_grad():
            found = named(self._module(*arguments, **keywords), besides=[spec.name for spec in self.specs])
            return {name: array(value) for name, value in found.items()}

    def onnx(self, target: Target) -> "ModelProto":
        try:
            with quiet(*LOGGERS):
                made = torch().onnx.export(
                    self.exported, dynamo=True, opset_version=target.opset, verbose=False
                )
                model = made.model_proto
        except Exception as error:  # exporters raise anything at all
            names = [spec.name for spec in self.specs]
            raise refusal(error, exporter=DYNAMO, module=self._module, names=names) from error
        example = {spec.name: rows for spec, rows in zip(self.specs, self._example(), strict=True)}
        return finished(model, self.specs, list(self.answers(example)))

    def _example(self) -> list[Array]:
        from modelrocket.inputs import generated

        return [generated(spec, 2) for spec in self.specs]

    @property
    def _given(self) -> list[Any]:
        """What the signature says of each flat input that a caller gives."""
        kind = torch().export.graph_signature.InputKind.USER_INPUT
        return [one for one in self.exported.graph_signature.input_specs if one.kind == kind]

    @cached_property
    def _module(self) -> Any:
        """Without its guards where torch can leave them out: the comparison asks at many sizes."""
        guards = "check_guards" in inspect.signature(self.exported.module).parameters
        return self.exported.module(**({"check_guards": False} if guards else {}))


def _spec(name: str, value: Any) -> TensorSpec:
    if not torch().is_tensor(value):
        raise ConversionError(
            f'The program\'s input "{name}" is a {type(value).__name__}; a deployed one takes tensors.',
            hint="Export it with tensors alone, or with constants in place of numbers.",
        )
    shape: Shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return TensorSpec(name, dtype_name(value.dtype), shape)
