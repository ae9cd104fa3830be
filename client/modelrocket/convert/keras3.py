"""Keras 3 models, exported by what knows the backend that they run on: tf2onnx, jax2onnx or torch.onnx.

A model answers in inference mode. A single input is `modelInput` and a single output `modelOutput`; several
have the names that their owner gave to their layers, or the keys of the dict that the model takes or gives.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import Any, Final

import numpy as np

from modelrocket.convert import by_jax2onnx, by_tf2onnx, cpu, torch_call, torch_export
from modelrocket.convert.answers import by_name, numbered
from modelrocket.convert.interface import INPUT, Attempt, Declared, Source, Target, dtype_name
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.inputs import Feeds, Inputs, Values
from modelrocket.tensors import Array, Shape, TensorSpec

_EXAMPLE: Final = 'modelrocket.upload(model, "name", np.float32, (None, 64))'
_INTEGERS_BELOW: Final = 256
_FILE: Final = "model.keras"
_LOOKING_UP: Final = frozenset(
    {"HashedCrossing", "Hashing", "IntegerLookup", "StringLookup", "TextVectorization"}
)
_BACKENDS: Final = MappingProxyType({"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"})
_HINT: Final = (
    "Replace the layer by simpler ones, or load the model's .keras file with another backend, for example "
    "KERAS_BACKEND=tensorflow: each backend's exporter knows other operations."
)


def source(model: Any, declared: Declared) -> Source:
    """Raises `ConversionError` where the model is not built, keeps state between calls or looks values up."""
    keras = import_module("keras")
    if not isinstance(model, keras.Model):
        raise UnsupportedModel(
            f"{type(model).__name__} is part of a Keras model.",
            hint="Put it in a model: keras.Sequential([…])",
        )
    _check(model)
    call = _call(model, declared)
    inputs = declared.inputs(*call.specs, values=_values(model, call.specs))
    backend = keras.backend.backend()
    return Source(
        framework=f"Keras {keras.__version__} on {_BACKENDS.get(backend, backend)}",
        attempts=_attempts(backend, call, inputs, declared.target),
        inputs=inputs,
        original=call.answers,
        hint=_HINT,
    )


@dataclass(frozen=True)
class _Packed:
    """What stands for a model that lies in a .keras file.

    custom: pickled, the classes and functions of its owner that it is made of, by the names that Keras uses.
    """

    backend: str
    custom: bytes


def packed(model: Any, folder: Path) -> _Packed:
    """Raises whatever Keras does where a part of the model cannot be saved."""
    import cloudpickle

    keras = import_module("keras")
    model.save(folder / _FILE)
    return _Packed(keras.backend.backend(), cloudpickle.dumps(_custom(model)))


def unpacked(thing: _Packed, folder: Path) -> Any:
    """The backend is chosen when Keras is imported, which must not have happened before."""
    import cloudpickle

    cpu.only(KERAS_BACKEND=thing.backend)
    saving = import_module("keras").saving
    custom = cloudpickle.loads(thing.custom)
    return saving.load_model(folder / _FILE, custom_objects=custom, compile=False, safe_mode=False)


def _custom(model: Any) -> dict[str, Any]:
    registered = import_module("keras").saving.get_registered_name
    found: dict[str, Any] = {}
    for layer in _layers(model):
        for part in (layer, *vars(layer).values()):
            kind = part if isinstance(part, FunctionType) else type(part)
            if not kind.__module__.startswith("keras.") and (
                isinstance(part, FunctionType) or hasattr(kind, "get_config")
            ):
                found |= {kind.__name__: kind, registered(kind): kind}
    return found


@dataclass(frozen=True)
class _Call:
    """A model and how it is called.

    structure: the keys of a model that takes a dict, the type of a sequence, None of one tensor.
    outputs: the names of the members of a list that it gives; none where they are numbered.
    """

    model: Any
    specs: tuple[TensorSpec, ...]
    structure: tuple[str, ...] | type | None
    outputs: tuple[str, ...] = ()

    def __call__(self, *tensors: Any) -> dict[str, Any]:
        """Tensors by output name, in inference mode."""
        answer = self.model(self._arranged(tensors), training=False)
        return by_name(answer, import_module("keras").ops.is_tensor, names=self.outputs)

    def answers(self, feeds: Feeds) -> Mapping[str, Array]:
        """What the model itself says, by output name."""
        ops = import_module("keras").ops
        with _without_gradients():
            found = self(*(ops.convert_to_tensor(feeds[spec.name]) for spec in self.specs))
            return {name: np.asarray(ops.convert_to_numpy(value)) for name, value in found.items()}

    def _arranged(self, tensors: Sequence[Any]) -> Any:
        if self.structure is None:
            return tensors[0]
        if isinstance(self.structure, tuple):
            return dict(zip(self.structure, tensors, strict=True))
        return self.structure(tensors)


def _without_gradients() -> AbstractContextManager[Any]:
    if import_module("keras").backend.backend() == "torch":
        context: AbstractContextManager[Any] = import_module("torch").no_grad()
        return context
    return nullcontext()


def _check(model: Any) -> None:
    if not model.built:
        raise ConversionError(
            "The Keras model is not built yet: it has no weights.",
            hint="Call fit on it, or build(input_shape).",
        )
    for layer in _layers(model):
        told = f'The layer "{layer.name}" ({type(layer).__name__})'
        if getattr(layer, "stateful", False):
            raise ConversionError(
                f"{told} keeps state from one call to the next, which a deployed model does not.",
                hint="Build the model with stateful=False, and take over the weights: "
                "new.set_weights(old.get_weights())",
            )
        if type(layer).__name__ in _LOOKING_UP and type(layer).__module__.startswith("keras."):
            raise ConversionError(
                f"{told} looks values up in a table outside the model's graph, which does not convert.",
                hint="Apply it before the model, and give the model that follows it.",
            )


def _layers(model: Any) -> list[Any]:
    """The model's, and those inside of its layers."""
    found, waiting = list[Any](), [model]
    while waiting:
        layer = waiting.pop()
        found.append(layer)
        waiting.extend(getattr(layer, "_layers", ()))
    return found


def _call(model: Any, declared: Declared) -> _Call:
    symbolic = getattr(model, "inputs", None)
    if not symbolic:
        return _subclassed(model, declared)
    structure = getattr(model, "input", None)
    if isinstance(structure, Mapping):
        known = {str(name): _Known.of(tensor) for name, tensor in structure.items()}
        return _Call(model, _specs(declared, known), tuple(structure), _output_names(model))
    single = len(symbolic) == 1
    names = (INPUT,) if single else _own_names(symbolic) or numbered(INPUT, len(symbolic))
    known = dict(zip(names, map(_Known.of, symbolic), strict=True))
    shape = type(structure) if isinstance(structure, (list, tuple)) else None
    return _Call(model, _specs(declared, known), shape, _output_names(model))


def _subclassed(model: Any, declared: Declared) -> _Call:
    """What is known is the shapes that the model was built with, the rows of that batch among them."""
    shape = (model.get_build_config() or {}).get("input_shape")
    dtype = dtype_name(model.input_dtype)
    if isinstance(shape, Mapping):
        known = {str(name): _Known(_free_batch(one), dtype) for name, one in shape.items()}
        return _Call(model, _specs(declared, known), tuple(known))
    if isinstance(shape, (list, tuple)) and all(isinstance(one, (list, tuple)) for one in shape):
        names = numbered(INPUT, len(shape))
        known = {name: _Known(_free_batch(one), dtype) for name, one in zip(names, shape, strict=True)}
        return _Call(model, _specs(declared, known), list)
    return _Call(model, _specs(declared, {INPUT: _Known(shape and _free_batch(shape), dtype)}), None)


@dataclass(frozen=True)
class _Known:
    """What the model knows of an input."""

    shape: Shape | None
    dtype: str

    @classmethod
    def of(cls, tensor: Any) -> "_Known":
        return cls(_free_batch(tensor.shape), dtype_name(tensor.dtype))


def _free_batch(shape: Sequence[int | None]) -> Shape:
    return (None, *shape[1:])


def _specs(declared: Declared, known: Mapping[str, _Known]) -> tuple[TensorSpec, ...]:
    """What was declared of an input goes before what the model knows of it."""
    if not declared.several:
        if len(known) > 1 and (declared.input_type is not None or declared.input_shape is not None):
            raise _other_names(known)
        said = [(declared.input_type, declared.input_shape, declared.sample)] * len(known)
    else:
        given = [
            one if isinstance(one, Mapping) else {} for one in (declared.input_type, declared.input_shape)
        ]
        samples = declared.samples(tuple(known))
        if any(set(one) - set(known) for one in (*given, samples)):
            raise _other_names(known)
        said = [(given[0].get(name), given[1].get(name), samples.get(name)) for name in known]
    return tuple(
        replace(
            Declared(*one).spec(example=_EXAMPLE, shape=known[name].shape, dtype=known[name].dtype), name=name
        )
        for name, one in zip(known, said, strict=True)
    )


def _other_names(known: Mapping[str, _Known]) -> ConversionError:
    return ConversionError(
        f"The model's inputs are {', '.join(known)}: input_type, input_shape and sample must name these.",
        hint="Leave input_type and input_shape out: the model knows them.",
    )


def _own_names(tensors: Sequence[Any]) -> tuple[str, ...]:
    """Of the layers that the tensors are from, where their owner named them; nothing where Keras did."""
    layers = [tensor._keras_history.operation for tensor in tensors]
    names = tuple(str(layer.name) for layer in layers)
    snakes = [re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(layer).__name__).lower() for layer in layers]
    made_up = any(re.fullmatch(rf"{snake}(_\d+)?", name) for snake, name in zip(snakes, names, strict=True))
    return () if made_up or len(set(names)) < len(names) else names


def _output_names(model: Any) -> tuple[str, ...]:
    outputs = getattr(model, "output", None)
    return _own_names(outputs) if isinstance(outputs, (list, tuple)) else ()


def _values(model: Any, specs: Sequence[TensorSpec]) -> dict[str, Values]:
    """Integers are drawn below the fewest that a layer tells apart, and floats that a layer embeds."""
    vocabularies = _vocabularies(model)
    below = min(vocabularies, default=_INTEGERS_BELOW)
    embedded = bool(vocabularies) and len(specs) == 1
    return {
        spec.name: Values(choices=(np.arange(below),))
        if embedded and spec.dtype.startswith("float")
        else Values(integers_below=below)
        for spec in specs
    }


def _vocabularies(model: Any) -> list[int]:
    layers = import_module("keras").layers
    sizes = [
        layer.input_dim if isinstance(layer, layers.Embedding) else layer.num_tokens
        for layer in _layers(model)
        if isinstance(layer, (layers.Embedding, layers.CategoryEncoding))
    ]
    return [int(size) for size in sizes if size]


def _attempts(backend: str, call: _Call, inputs: Inputs, target: Target) -> tuple[Attempt, ...]:
    if backend == "torch":
        return _by_torch(call, inputs, target)
    exporters: Mapping[str, Any] = {"jax": by_jax2onnx, "tensorflow": by_tf2onnx}
    if backend not in exporters:
        raise UnsupportedModel(
            f"The Keras backend {backend} exports no ONNX.", hint="Load the model with another KERAS_BACKEND."
        )
    exporter = exporters[backend]
    return (
        Attempt(
            exporter.exporter("jax" if backend == "jax" else "keras"),
            partial(exporter.exported, call, inputs.specs, target),
        ),
    )


def _by_torch(call: _Call, inputs: Inputs, target: Target) -> tuple[Attempt, ...]:
    class Called(import_module("torch").nn.Module):  # type: ignore[misc]
        """The model with a tensor for each input."""

        def __init__(self) -> None:
            super().__init__()
            self.model = call.model

        def forward(self, *tensors: Any) -> dict[str, Any]:
            return call(*tensors)

    names = tuple(spec.name for spec in inputs.specs)
    return torch_export.Job(torch_call.Call(Called(), names), inputs, target).attempts()
