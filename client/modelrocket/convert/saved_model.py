"""TensorFlow SavedModels, modules and functions, exported by tf2onnx as far as it knows their operations.

Given as they are called: what tf.saved_model.load returned (its serving signature is taken), one signature of
it, a tf.function, or a tf.Module with `__call__`.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelrocket.convert import by_tf2onnx, cpu
from modelrocket.convert.answers import by_name
from modelrocket.convert.interface import INPUT, OUTPUT, Attempt, Declared, Source, dtype_name
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.inputs import Feeds
from modelrocket.tensors import Array, TensorSpec

_EXAMPLE: Final = 'modelrocket.upload(model, "name", np.float32, (None, 64))'
_EXAMPLE_OF_SEVERAL: Final = 'input_type={"x": np.float32, …}, input_shape={"x": (None, 64), …}'
_FOLDER: Final = "saved_model"
_SERVING: Final = "serving_default"
_BEST_EFFORT: Final = (
    "TensorFlow graphs convert as far as tf2onnx knows their operations; "
    "the comparison says whether this one did."
)
_HINT: Final = "Save the part of the model that computes, without what reads and looks up, and give that."


def source(model: Any, declared: Declared) -> Source:
    """Raises `ConversionError` where type and shape are missing, or several signatures could be meant."""
    tf = import_module("tensorflow")
    call = _call(model, declared)
    inputs = declared.inputs(*call.specs)
    exporter = by_tf2onnx.exporter("tensorflow")
    return Source(
        framework=f"TensorFlow {tf.__version__}",
        attempts=(Attempt(exporter, partial(by_tf2onnx.exported, call, call.specs, declared.target)),),
        inputs=inputs,
        original=call.answers,
        hint=_HINT,
        notes=(_BEST_EFFORT,),
    )


def from_folder(path: Path) -> Any:
    """The SavedModel that lies in a folder. Raises `ConversionError` where there is none."""
    if not (path / "saved_model.pb").is_file():
        raise ConversionError(f"{path} is no SavedModel: it has no saved_model.pb.")
    try:
        tf = import_module("tensorflow")
    except ImportError as error:
        hint = 'Install it: pip install "modelrocket[tensorflow]"'
        raise ConversionError("Reading a SavedModel needs tensorflow.", hint=hint) from error
    try:
        return tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises its own for anything that is damaged
        raise ConversionError(f"TensorFlow does not read {path}: {error}") from error


def packed(model: Any, folder: Path) -> str:
    """Raises whatever TensorFlow does where the model cannot be saved, as a bare function cannot."""
    saving = import_module("tensorflow").saved_model
    signatures = dict(getattr(model, "signatures", {}))
    if not signatures and not (callable(model) and _traceable(model.__call__)):
        raise TypeError(f"a {type(model).__name__} cannot be saved by itself")
    saving.save(model, str(folder / _FOLDER), signatures=signatures or None)
    return _FOLDER


def unpacked(thing: str, folder: Path) -> Any:
    cpu.only()
    return from_folder(folder / thing)


@dataclass(frozen=True)
class _Call:
    """A function of tensors in the order of `specs`; `keys` are the arguments that are given by name."""

    function: Callable[..., Any]
    specs: tuple[TensorSpec, ...]
    keys: tuple[str, ...] = ()

    def __call__(self, *tensors: Any) -> dict[str, Any]:
        """Tensors by output name; a dict of one is a single output, whose key TensorFlow made up."""
        positional = tensors[: len(tensors) - len(self.keys)]
        named = dict(zip(self.keys, tensors[len(positional) :], strict=True))
        answers = by_name(self.function(*positional, **named), import_module("tensorflow").is_tensor)
        return answers if len(answers) > 1 else {OUTPUT: next(iter(answers.values()))}

    def answers(self, feeds: Feeds) -> Mapping[str, Array]:
        """What the model itself says, by output name."""
        to_tensor = import_module("tensorflow").convert_to_tensor
        found = self(*(to_tensor(feeds[spec.name]) for spec in self.specs))
        return {name: np.asarray(value.numpy()) for name, value in found.items()}


def _call(model: Any, declared: Declared) -> _Call:
    if getattr(model, "signatures", None):
        return _of_signature(_serving(model.signatures), declared)
    if hasattr(model, "structured_input_signature"):
        return _of_signature(model, declared)
    if _traceable(model):
        return _of_function(model, declared)
    if callable(model):
        called = model.__call__
        traced = called if _traceable(called) else import_module("tensorflow").function(called)
        return _of_function(traced, declared)
    raise UnsupportedModel(
        f"{type(model).__name__} of TensorFlow cannot be called.",
        hint="Give a loaded SavedModel with a signature, or a tf.Module whose __call__ is a tf.function.",
    )


def _traceable(function: Any) -> bool:
    return hasattr(function, "get_concrete_function")


def _serving(signatures: Mapping[str, Any]) -> Any:
    if _SERVING in signatures or len(signatures) == 1:
        return signatures.get(_SERVING) or next(iter(signatures.values()))
    raise ConversionError(
        f"The SavedModel has the signatures {', '.join(signatures)}, and none of them is {_SERVING}.",
        hint='Give the one that is meant: modelrocket.upload(model.signatures["…"], …)',
    )


def _of_signature(concrete: Any, declared: Declared) -> _Call:
    """A function that was traced: it knows its inputs."""
    positional, keywords = concrete.structured_input_signature
    named = dict(sorted(keywords.items()))
    known = {spec.name or f"{INPUT}{number}": spec for number, spec in enumerate(positional)} | named
    return _Call(concrete, _known_specs(known, declared), tuple(named))


def _of_function(function: Any, declared: Declared) -> _Call:
    signature = getattr(function, "input_signature", None)
    arguments = _arguments(function)
    if signature:
        known = dict(zip(arguments, signature, strict=False))
        return _Call(function, _known_specs(known, declared))
    if declared.several:
        specs = declared.specs(example=_EXAMPLE_OF_SEVERAL, names=arguments)
        return _Call(function, specs, tuple(spec.name for spec in specs))
    return _Call(function, (declared.spec(example=_EXAMPLE),))


def _arguments(function: Any) -> tuple[str, ...]:
    told = inspect.signature(getattr(function, "python_function", function)).parameters.values()
    return tuple(one.name for one in told if one.kind is one.POSITIONAL_OR_KEYWORD and one.name != "self")


def _known_specs(known: Mapping[str, Any], declared: Declared) -> tuple[TensorSpec, ...]:
    """As the function was traced; what was declared may say more of one input, and not something else."""
    if len(known) == 1 and not declared.several:
        ((_, spec),) = known.items()
        return (_said(INPUT, spec, declared),)
    return tuple(_said(name, spec, Declared()) for name, spec in known.items())


def _said(name: str, spec: Any, declared: Declared) -> TensorSpec:
    dtype = dtype_name(spec.dtype.name)
    if spec.shape.rank is None or (spec.shape and spec.shape[0] is None):
        shape = None if spec.shape.rank is None else tuple(spec.shape)
        return replace(declared.spec(example=_EXAMPLE, shape=shape, dtype=dtype), name=name, dtype=dtype)
    return TensorSpec(name, dtype, tuple(spec.shape))
