"""JAX functions and the modules of Flax and Equinox, exported by jax2onnx.

Given as they are called: a function under jax.jit, an nnx module, a linen module with its variables (as a
pair, or bound), an Equinox module (of one row, as Equinox has it). Modules answer in inference mode.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from modelrocket.convert import by_jax2onnx, cpu
from modelrocket.convert.answers import by_name
from modelrocket.convert.interface import Attempt, Declared, Source
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.inputs import Feeds
from modelrocket.tensors import Array, TensorSpec

_EXAMPLE: Final = 'modelrocket.upload(model, "name", np.float32, (None, 64))'
_INFERENCE: Final = MappingProxyType(
    {
        "deterministic": True,
        "inference": True,
        "is_training": False,
        "train": False,
        "training": False,
        "use_running_average": True,
    }
)
"""Arguments of modules that say what a call is for, and what they are when it is for an answer."""
_HINT: Final = (
    "Replace the operation that it names, take sizes from the array (x.shape[0]) instead of fixing them, "
    "or export it to ONNX yourself and give the file."
)


def source(model: Any, declared: Declared) -> Source:
    """Raises `ConversionError` where type and shape are missing, or the model is none that can be called."""
    jax = import_module("jax")
    function = _function(model)
    specs = _specs(function, declared)
    call = _Call(function, tuple(spec.name for spec in specs))
    inputs = declared.inputs(*specs)
    exporter = by_jax2onnx.exporter("jax")
    return Source(
        framework=f"JAX {jax.__version__}",
        attempts=(Attempt(exporter, partial(by_jax2onnx.exported, call, specs, declared.target)),),
        inputs=inputs,
        original=call.answers,
        hint=_HINT,
        notes=tuple(filter(None, map(_narrowed, specs))),
    )


@dataclass(frozen=True)
class _Packed:
    """What stands for a model: itself, pickled, and whether JAX computes in 64 bits."""

    model: bytes
    wide: bool


def packed(model: Any, folder: Path) -> _Packed:
    """Raises whatever pickling does where the model holds what cannot be copied."""
    import cloudpickle

    del folder
    return _Packed(cloudpickle.dumps(model), bool(import_module("jax").config.jax_enable_x64))


def unpacked(thing: _Packed, folder: Path) -> Any:
    import cloudpickle

    del folder
    cpu.only(JAX_ENABLE_X64=str(int(thing.wide)))
    return cloudpickle.loads(thing.model)


@dataclass(frozen=True)
class _Function:
    """What is called, and the names of the arguments that it needs, where they can be told."""

    call: Callable[..., Any]
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Call:
    """A function of arrays in the order of `names`."""

    function: _Function
    names: tuple[str, ...]

    def __call__(self, *arrays: Any) -> dict[str, Any]:
        """Arrays by output name."""
        kinds = (import_module("jax").Array, np.ndarray)
        return by_name(self._called(arrays), lambda value: isinstance(value, kinds))

    def answers(self, feeds: Feeds) -> Mapping[str, Array]:
        """What the model itself says, by output name."""
        to_array = import_module("jax.numpy").asarray
        found = self(*(to_array(feeds[name]) for name in self.names))
        return {name: np.asarray(value) for name, value in found.items()}

    def _called(self, arrays: tuple[Any, ...]) -> Any:
        if len(arrays) == 1:
            return self.function.call(*arrays)
        named = dict(zip(self.names, arrays, strict=True))
        if set(named) <= {*self.function.required, *self.function.optional}:
            return self.function.call(**named)
        if len(self.function.required) == 1:
            return self.function.call(named)
        return self.function.call(*arrays)


def _specs(function: _Function, declared: Declared) -> tuple[TensorSpec, ...]:
    if declared.several:
        return declared.specs(example=_example(function.required), names=function.required)
    if len(function.required) > 1:
        raise ConversionError(
            f"The function takes {', '.join(function.required)}: each needs a type and a shape.",
            hint=f"For example: {_example(function.required)}",
        )
    return (declared.spec(example=_EXAMPLE),)


def _example(names: tuple[str, ...]) -> str:
    first, *_ = names or ("x",)
    return f'input_type={{"{first}": np.float32, …}}, input_shape={{"{first}": (None, 64), …}}'


def _narrowed(spec: TensorSpec) -> str:
    computed = np.dtype(by_jax2onnx.canonical(spec)).name
    if computed == spec.dtype:
        return ""
    return (
        f'The input "{spec.name}" of {spec.dtype} is cast to {computed}, which JAX computes in '
        "unless jax_enable_x64 is set."
    )


def _function(model: Any) -> _Function:
    if isinstance(model, tuple):
        return _of_pair(*model) if len(model) == 2 else _unknown(model)  # noqa: PLR2004 - a pair
    packages = {cls.__module__.partition(".")[0]: cls.__module__ for cls in type(model).__mro__}
    if "equinox" in packages:
        return _of_equinox(model)
    if "flax" in packages:
        return _of_flax(model)
    if isinstance(model, partial):
        return _function_like(model) if _jitted(model.func) else _unknown(model)
    return _function_like(model) if _jitted(model) else _unknown(model)


def _jitted(model: Any) -> bool:
    return callable(model) and hasattr(model, "lower")


def _unknown(model: Any) -> _Function:
    raise UnsupportedModel(
        f"{type(model).__name__} is nothing that JAX can call.",
        hint="Give a function under jax.jit, a module of flax.nnx, or a linen module with its variables as a "
        "pair: (module, variables).",
    )


def _function_like(model: Any) -> _Function:
    return _Function(model, *_arguments(model))


def _arguments(call: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that must be given, and those that may be; nothing where it cannot be told."""
    try:
        told = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):
        return (), ()
    named = [one for one in told if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    inputs = [one for one in named if one.name not in _INFERENCE]
    return (
        tuple(one.name for one in inputs if one.default is one.empty),
        tuple(one.name for one in inputs if one.default is not one.empty),
    )


def _flags(call: Callable[..., Any]) -> dict[str, bool]:
    """Of those arguments that say what the call is for, the ones that this takes."""
    return {name: _INFERENCE[name] for name in inspect.signature(call).parameters if name in _INFERENCE}


def _of_pair(module: Any, variables: Any) -> _Function:
    if not hasattr(module, "apply") or not isinstance(variables, Mapping):
        return _unknown(module)
    call = partial(module.apply, variables, **_flags(module.__call__))
    return _Function(call, *_arguments(module.__call__))


def _of_flax(model: Any) -> _Function:
    nnx = import_module("flax.nnx")
    if isinstance(model, nnx.Module):
        answering = nnx.clone(model)
        answering.eval()
        flags = _flags(answering.__call__)

        def call(*args: Any, **kwargs: Any) -> Any:
            """Of a copy of its own: a cell counts the keys that it gives away, also while it is traced."""
            return nnx.clone(answering)(*args, **kwargs, **flags)

        return _Function(call, *_arguments(answering.__call__))
    if getattr(model, "scope", None) is not None:
        module, variables = model.unbind()
        return _of_pair(module, variables)
    raise ConversionError(
        f"{type(model).__name__} of Flax comes without its variables.",
        hint='Give both: modelrocket.upload((module, variables), "name", np.float32, (None, 64))',
    )


def _of_equinox(model: Any) -> _Function:
    """An Equinox module is of one row: it is called for each."""
    answering = import_module("equinox").nn.inference_mode(model)
    return _Function(import_module("jax").vmap(answering), _arguments(answering.__call__)[0])
