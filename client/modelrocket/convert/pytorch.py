"""PyTorch: modules of every kind, those compiled by TorchScript, and programs that torch.export made.

Outputs are `modelOutput` (`modelOutput1`, … for further ones of a tuple or list), or the keys and fields of
what the module returns. A single input is `modelInput`; several have the names that the caller gives them, or
those of `forward`.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from modelrocket.convert.interface import INPUT, Declared, Source
from modelrocket.convert.torch_call import (
    Call,
    Parameters,
    device,
    floating_dtypes,
    torch,
)
from modelrocket.convert.torch_errors import HINT
from modelrocket.convert.torch_export import Job
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.inputs import Inputs, Values
from modelrocket.tensors import Array, TensorSpec

_EXAMPLE = 'modelrocket.upload(model, "name", np.float32, (None, 3, 224, 224))'
_CHOICES_MAX = 10_000
_TRIED_ROWS = 7
_FLOAT64 = "onnxruntime has few float64 operators: convert model.float(), with input_type=np.float32."
_BFLOAT16 = (
    "Its bfloat16 weights are float32 in the deployed model, which holds them exactly: it was compared with "
    "the module in float32, and rounds less than the one in memory."
)


def source(model: Any, declared: Declared) -> Source:
    """Raises `ConversionError` where the inputs are not known, or the module cannot run as it is."""
    module = unwrapped(model)
    if isinstance(module, torch().export.ExportedProgram):
        from modelrocket.convert import torch_program

        return torch_program.source(module, declared)
    if any(cls.__module__.startswith("transformers.") for cls in type(module).__mro__):
        found: Source = import_module("modelrocket.convert.hugging_face").source(module, declared)
        return found
    return of_module(module, declared)


def of_module(module: Any, declared: Declared) -> Source:
    """Of a module whose inputs nobody but the caller and `forward` knows."""
    if not isinstance(module, torch().nn.Module):
        raise UnsupportedModel(
            f"{type(module).__name__} is not a torch.nn.Module.",
            hint="Give the module itself, or a torch.jit or torch.export form of it.",
        )
    device(module)
    call, specs = _called(module, declared)
    inputs = declared.inputs(*specs)
    return source_of(call, Inputs(specs, _values(call, inputs), inputs.sample), declared)


def source_of(call: Call, inputs: Inputs, declared: Declared, *, framework: str = "") -> Source:
    """Of a module that is called so; `framework`: on top of PyTorch."""
    check_exporter()
    compiled = isinstance(call.module, torch().jit.ScriptModule)
    notes: tuple[str, ...] = ()
    if not compiled:
        call, notes = _with_notes(call, inputs)
    _check_repeats(call, inputs)
    return Source(
        framework=f"{framework}PyTorch {torch().__version__}",
        attempts=Job(call, inputs, declared.target).attempts(dynamo=not compiled),
        inputs=inputs,
        original=call.answers,
        hint=f"{_FLOAT64} {HINT}" if torch().float64 in floating_dtypes(call.module) else HINT,
        notes=notes,
    )


def packed(model: Any, folder: Path) -> Any:
    """What cloudpickle does not take goes into a file of the folder."""
    module = unwrapped(model)
    if isinstance(module, torch().jit.ScriptModule):
        torch().jit.save(module, folder / "module.pt")
        return _Packed("jit", "module.pt")
    if isinstance(module, torch().export.ExportedProgram):
        torch().export.save(module, folder / "program.pt2")
        return _Packed("export", "program.pt2")
    return module


def unpacked(thing: Any, folder: Path) -> Any:
    if not isinstance(thing, _Packed):
        return thing
    return getattr(import_module("torch"), thing.kind).load(folder / thing.name)


@dataclass(frozen=True)
class _Packed:
    """kind: the module of torch that saved it, and loads it."""

    kind: str
    name: str


def unwrapped(model: Any) -> Any:
    """The owner's own module, out of what torch.compile and data parallelism put around it."""
    parallel = (torch().nn.DataParallel, torch().nn.parallel.DistributedDataParallel)
    while hasattr(model, "_orig_mod") or isinstance(model, parallel):
        model = model._orig_mod if hasattr(model, "_orig_mod") else model.module
    return model


def check_exporter() -> None:
    if find_spec("onnxscript") is None:
        hint = 'Install it: pip install "modelrocket[torch]"'
        raise ConversionError("Converting PyTorch models needs onnxscript.", hint=hint)


def _called(module: Any, declared: Declared) -> tuple[Call, tuple[TensorSpec, ...]]:
    parameters = Parameters.of(module)
    if not declared.several:
        if len(parameters.required) > 1:
            raise _asks_for(parameters)
        return Call(module, (INPUT,)), (declared.spec(example=_EXAMPLE),)
    if isinstance(declared.sample, tuple) and len(declared.sample) > len(parameters.names):
        raise ConversionError(
            f"sample has {len(declared.sample)} arrays, and forward takes {len(parameters.names)} inputs: "
            f"{', '.join(parameters.names)}.",
            hint="Give the sample as a dict, by the names of the inputs.",
        )
    specs = declared.specs(example=_example(parameters), names=parameters.names)
    if isinstance(module, torch().jit.ScriptModule):
        specs = _in_order(specs, parameters)
        return Call(module, tuple(spec.name for spec in specs)), specs
    names = tuple(spec.name for spec in specs)
    return Call(module, names, parameters.passing(names)), specs


def _in_order(specs: tuple[TensorSpec, ...], parameters: Parameters) -> tuple[TensorSpec, ...]:
    """TorchScript's exporter takes inputs by position alone: the first ones, without a gap."""
    by_name = {spec.name: spec for spec in specs}
    first = parameters.names[: max(len(specs), len(parameters.required))]
    if set(first) != set(by_name):
        raise ConversionError(
            f"The module's forward takes {', '.join(parameters.names)}, in this order; the inputs given are "
            f"{', '.join(by_name)}.",
            hint="Name its first inputs as forward does, or give the nn.Module itself.",
        )
    return tuple(by_name[name] for name in first)


def _asks_for(parameters: Parameters) -> ConversionError:
    names = ", ".join(parameters.required)
    return ConversionError(
        f"The module's forward takes {len(parameters.required)} inputs: {names}. Say what each of them is.",
        hint=f"For example: {_example(parameters)}\nOr give rows of each: sample=({names})",
    )


def _example(parameters: Parameters) -> str:
    names = parameters.required or ("x",)
    types = ", ".join(f'"{name}": np.float32' for name in names)
    shapes = ", ".join(f'"{name}": (None, 8)' for name in names)
    return f'modelrocket.upload(model, "name", {{{types}}}, {{{shapes}}})'


def _values(call: Call, inputs: Inputs) -> Mapping[str, Values]:
    """Integers are numbers of something: those in the sample, or those that every embedding knows."""
    integers = [spec.name for spec in inputs.specs if spec.dtype.startswith(("int", "uint"))]
    if inputs.sample is not None:
        seen = {name: np.unique(inputs.sample[name]) for name in integers}
        return {name: Values(choices=(one,)) for name, one in seen.items() if len(one) <= _CHOICES_MAX}
    embeddings = (torch().nn.Embedding, torch().nn.EmbeddingBag)
    known = [part.num_embeddings for part in call.module.modules() if isinstance(part, embeddings)]
    if not integers or not known:
        return {}
    values = dict.fromkeys(integers, Values(integers_below=min(known)))
    try:
        call.answers(Inputs(inputs.specs, values).rows(_TRIED_ROWS))
    except Exception:  # the owner's code may raise anything: these integers are none of an embedding's
        return {}
    return values


def _with_notes(call: Call, inputs: Inputs) -> tuple[Call, tuple[str, ...]]:
    """In a precision that deploys, with floating inputs cast to it where they are of another."""
    dtypes = floating_dtypes(call.module)
    if torch().bfloat16 in dtypes:
        return replace(call, module=_in_float32(call.module), cast=torch().float32), (_BFLOAT16,)
    floats = [spec for spec in inputs.specs if "float" in spec.dtype]
    precision = str(next(iter(dtypes), "")).removeprefix("torch.")
    if len(dtypes) != 1 or all(spec.dtype == precision for spec in floats):
        return call, ()
    names = ", ".join(spec.name for spec in floats)
    return replace(call, cast=dtypes.pop()), (f"Cast to {precision}, the precision of the weights: {names}.",)


def _in_float32(module: Any) -> Any:
    try:
        return copy.deepcopy(module).float()
    except Exception as error:  # the owner's classes may refuse to be copied, as they like
        raise ConversionError(
            f"The module's weights are bfloat16, and it cannot be copied as float32: {error}",
            hint="Convert model.float().",
        ) from error


def _check_repeats(call: Call, inputs: Inputs) -> None:
    """Raises `ConversionError` where the module says something else each time it is asked."""
    feeds = inputs.rows(_TRIED_ROWS)
    try:
        first, second = call.answers(feeds), call.answers(feeds)
    except Exception:  # the owner's code may raise anything, which is told when it is asked in earnest
        return
    for name, value in first.items():
        other = second[name]
        if value.shape != other.shape or not np.allclose(_wide(value), _wide(other), equal_nan=True):
            raise ConversionError(
                f'The module answers the same rows differently each time (output "{name}").',
                hint="In eval mode forward must not draw random numbers: F.dropout needs "
                "training=self.training, and noise is an input.",
            )


def _wide(value: Array) -> Array:
    return value.astype(np.complex128)
