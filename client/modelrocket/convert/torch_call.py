"""PyTorch modules as functions of named arrays: how each is called, and what its answer's parts are named.

A module answers in eval mode on the CPU, and is given back as it was.
"""

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum, auto
from importlib import import_module
from typing import Any

import numpy as np

from modelrocket.convert.interface import OUTPUT
from modelrocket.errors import ConversionError
from modelrocket.inputs import Feeds
from modelrocket.tensors import Array, numpy_dtype


class Passing(Enum):
    """How a module takes its inputs."""

    BY_POSITION = auto()
    BY_NAME = auto()
    AS_DICT = auto()
    """One argument that holds them all."""


@dataclass(frozen=True)
class Call:
    """A module and how it is called, one tensor for each of `names`.

    constants: further keyword arguments, the same at every call.
    cast: the dtype that floating inputs are cast to, where it is not their own.
    """

    module: Any
    names: tuple[str, ...]
    passing: Passing = Passing.BY_POSITION
    constants: Mapping[str, Any] = field(default_factory=dict)
    cast: Any = None

    def __call__(self, *tensors: Any) -> dict[str, Any]:
        """Tensors by output name. Raises `ConversionError` where the answer is none of tensors."""
        taken = [self._cast(tensor) for tensor in tensors]
        by_name = dict(zip(self.names, taken, strict=True))
        match self.passing:
            case Passing.BY_POSITION:
                answer = self.module(*taken, **self.constants)
            case Passing.BY_NAME:
                answer = self.module(**by_name, **self.constants)
            case Passing.AS_DICT:
                answer = self.module(by_name, **self.constants)
        return named(answer, besides=self.names)

    def answers(self, feeds: Feeds) -> dict[str, Array]:
        """What the module itself says, by output name."""
        with ready(self.module), torch().no_grad():
            found = self(*(tensor(feeds[name]) for name in self.names))
            return {name: array(value) for name, value in found.items()}

    def _cast(self, value: Any) -> Any:
        return value if self.cast is None or not value.is_floating_point() else value.to(self.cast)


@dataclass(frozen=True)
class Parameters:
    """What a module's `forward` takes.

    further: it takes positional or keyword arguments beyond those, as `*inputs` and `**inputs` do.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    further: bool = False

    @classmethod
    def of(cls, module: Any) -> "Parameters":
        if isinstance(module, torch().jit.ScriptModule):
            said = [one for one in module.forward.schema.arguments if one.name != "self"]
            optional = tuple(one.name for one in said if one.has_default_value())
            return cls(tuple(one.name for one in said if one.name not in optional), optional)
        given = inspect.signature(module.forward).parameters.values()
        single = [one for one in given if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
        return cls(
            required=tuple(one.name for one in single if one.default is one.empty),
            optional=tuple(one.name for one in single if one.default is not one.empty),
            further=len(single) < len(given),
        )

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.required, *self.optional)

    def passing(self, names: Sequence[str]) -> Passing:
        """By name where `forward` knows the names, else all in one argument. Raises `ConversionError`."""
        known = self.further or set(names) <= set(self.names)
        if known and set(self.required) <= set(names):
            return Passing.BY_NAME
        if not known and len(self.required) == 1:
            return Passing.AS_DICT
        raise ConversionError(
            f"The module's forward takes {', '.join(self.required) or 'no input'}"
            f"{self._told_optional()}; the inputs given are {', '.join(names)}.",
            hint="Name the inputs as forward does; optional ones may be left out.",
        )

    def _told_optional(self) -> str:
        return f" (optional: {', '.join(self.optional)})" if self.optional else ""


def torch() -> Any:
    return import_module("torch")


def named(answer: Any, *, besides: Collection[str] = ()) -> dict[str, Any]:
    """Tensors by output name: `modelOutput` and `modelOutput1`, …, or the keys and fields that hold them.

    What is nested is flattened, and None left out; a name of `besides`, the inputs, gets `_output` behind it,
    since a graph has each name once. Raises `ConversionError`.
    """
    found: dict[str, Any] = {}
    for leaf, value in _leaves(answer, OUTPUT):
        stem = f"{leaf}_output" if leaf in besides else leaf
        taken = (f"{stem}{number or ''}" for number in range(len(found) + 1))
        found[next(name for name in taken if name not in found)] = value
    if not found:
        raise _no_tensors(f"a {type(answer).__name__} without any tensor")
    return found


def _leaves(answer: Any, stem: str) -> Iterator[tuple[str, Any]]:
    if torch().is_tensor(answer):
        yield stem, answer
        return
    parts = _fields(answer)
    if parts is not None:
        for name, part in parts.items():
            yield from _leaves(part, str(name) if stem == OUTPUT else f"{stem}.{name}")
    elif isinstance(answer, (tuple, list)):
        for part in answer:
            yield from _leaves(part, stem)
    elif answer is not None:
        where = "" if stem == OUTPUT else f' in "{stem}"'
        raise _no_tensors(f"a {type(answer).__name__}{where}")


def _fields(answer: Any) -> Mapping[Any, Any] | None:
    """The parts that have names of their own."""
    if isinstance(answer, Mapping):
        return answer
    if is_dataclass(answer):
        return {one.name: getattr(answer, one.name) for one in fields(answer)}
    if isinstance(answer, tuple) and hasattr(answer, "_asdict"):
        return dict(answer._asdict())
    return None


def _no_tensors(what: str) -> ConversionError:
    return ConversionError(
        f"The module returns {what}; a deployed one returns tensors.",
        hint="Wrap it in a module that returns a tensor, or a tuple, dict or dataclass of tensors.",
    )


def tensor(rows: Array) -> Any:
    """Raises `ConversionError` for strings."""
    if rows.dtype.kind == "O":
        raise ConversionError("PyTorch has no string tensors.", hint="Give the type of the encoded input.")
    if rows.dtype.name == "bfloat16":
        return torch().from_numpy(rows.astype(np.float32)).to(torch().bfloat16)
    return torch().from_numpy(np.array(rows))


def array(value: Any) -> Array:
    value = value.detach().cpu()
    if value.dtype == torch().bfloat16:
        return np.asarray(value.float().numpy()).astype(numpy_dtype("bfloat16"))
    return np.asarray(value.numpy())


@contextmanager
def ready(module: Any) -> Iterator[None]:
    """In eval mode on the CPU; afterwards every part has the mode and the device that it had before."""
    modes = [(part, part.training) for part in module.modules() if hasattr(part, "training")]
    home = device(module)
    try:
        module.eval().to("cpu")
        yield
    finally:
        for part, training in modes:
            part.training = training
        module.to(home)


def device(module: Any) -> str:
    """Raises `ConversionError` where there is not one device, or no weights yet."""
    held = tensors(module)
    if any(torch().nn.parameter.is_lazy(one) for one in held):
        raise ConversionError(
            "The module has layers that learn their sizes from the first batch, and has seen none.",
            hint="Call it once on a batch, and train it, before uploading.",
        )
    devices = sorted({str(one.device) for one in held})
    if len(devices) > 1:
        raise ConversionError(
            f"The module is spread over {', '.join(devices)}.", hint='Move it to one device: model.to("cpu")'
        )
    if devices == ["meta"]:
        raise ConversionError(
            "The module's weights are on the meta device: they have shapes, but no values.",
            hint="Load the weights first.",
        )
    return devices[0] if devices else "cpu"


def tensors(module: Any) -> list[Any]:
    """Its parameters and buffers."""
    return [*module.parameters(), *module.buffers()]


def floating_dtypes(module: Any) -> set[Any]:
    """Of its parameters."""
    return {one.dtype for one in module.parameters() if one.is_floating_point()}
