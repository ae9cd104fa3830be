"""JAX functions -> ONNX by jax2onnx, with a symbolic batch dimension."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

from modelrocket.convert import graph, rewrites
from modelrocket.convert.exporters import installed, quiet
from modelrocket.convert.interface import Target
from modelrocket.errors import ConversionError
from modelrocket.tensors import TensorSpec, numpy_dtype

if TYPE_CHECKING:
    from onnx import ModelProto

_POOLING: Final = ("flax.linen", "flax.linen.pooling", "flax.nnx")
_POOLING_ARGUMENTS: Final = ("window_shape", "strides", "padding", "count_include_pad")
_RANDOM_SIGNS: Final = ("PRNGKey", "primitive 'random_")
"""In what JAX and jax2onnx raise."""

Function = Callable[..., Mapping[str, Any]]
"""Of arrays, in the order of the inputs, to arrays by output name."""


def exporter(extra: str) -> str:
    """Its name and version. Raises `ConversionError` where it is not installed."""
    return installed("jax2onnx", models="JAX functions", extra=extra)


def exported(function: Function, specs: Sequence[TensorSpec], target: Target) -> "ModelProto":
    """Sizes that are free are one symbol for each axis, the same in all inputs."""
    jax, jax2onnx = import_module("jax"), import_module("jax2onnx")
    shape_of = jax.numpy.shape  # jax2onnx puts one in its place that gives an array, of no use as a shape
    outputs: list[str] = []

    def answers(*arrays: Any) -> tuple[Any, ...]:
        found = function(*arrays)
        outputs[:] = found
        return tuple(found.values())

    def traced(*arrays: Any) -> tuple[Any, ...]:
        shapes = patch.object(jax.numpy, "shape", shape_of)
        with _forward_scans(jax), _pools_by_name(), shapes:
            return _without_idle(jax, answers, arrays)

    given = [f"given_{number}" for number in range(len(specs))]
    with quiet("jax2onnx", "onnx_ir"), _random_numbers_told():
        made = jax2onnx.to_onnx(
            traced,
            inputs=[jax.ShapeDtypeStruct(_symbolic(spec), canonical(spec)) for spec in specs],
            input_names=given,
            opset=target.opset,
            enable_double_precision=bool(jax.config.jax_enable_x64),
        )
    whole = rewrites.with_inputs(rewrites.with_small_pools(rewrites.inlined(made)), given, specs)
    named = graph.with_names(whole, inputs=[spec.name for spec in specs], outputs=outputs)
    return rewrites.with_wide_inputs(named, specs)


@contextmanager
def _random_numbers_told() -> Iterator[None]:
    """Raises `ConversionError` in place of what is raised where the model uses a key."""
    try:
        yield
    except Exception as error:
        if not any(sign in str(error) for sign in _RANDOM_SIGNS):
            raise
        raise ConversionError(
            "The model draws random numbers when it answers, for which jax2onnx knows no operation.",
            hint="Draw them before and give them as an input; let recurrent cells begin with zeros, as they "
            "do unless carry_init says something else.",
        ) from error


def canonical(spec: TensorSpec) -> Any:
    """The dtype that JAX computes in: of 32 bits, unless it was told otherwise."""
    if spec.dtype == "string":
        raise ConversionError("JAX has no arrays of strings.", hint="Give the type of the encoded input.")
    return import_module("jax").dtypes.canonicalize_dtype(numpy_dtype(spec.dtype))


def _symbolic(spec: TensorSpec) -> tuple[int | str, ...]:
    names = ["batch", *(f"size{axis}" for axis in range(1, len(spec.shape)))]
    return tuple(name if size is None else size for size, name in zip(spec.shape, names, strict=False))


@contextmanager
def _forward_scans(jax: Any) -> Iterator[None]:
    """jax2onnx knows scans that go forward: one that goes back is one over what was turned round."""
    scan = jax.lax.scan

    def turned(array: Any) -> Any:
        return jax.numpy.flip(array, axis=0)

    def forward(
        f: Any, init: Any, xs: Any = None, length: Any = None, reverse: Any = False, **further: Any
    ) -> Any:
        if not reverse:
            return scan(f, init, xs, length, **further)
        last, found = scan(f, init, jax.tree.map(turned, xs), length, **further)
        return last, jax.tree.map(turned, found)

    with patch.object(jax.lax, "scan", forward):
        yield


def _without_idle(jax: Any, function: Callable[..., Any], arrays: Sequence[Any]) -> tuple[Any, ...]:
    """What the function gives, without operations that nothing depends on.

    Flax gives its recurrent cells keys of random numbers for first states that are zeros, and jax2onnx knows
    no operation for keys.
    """
    closed = jax.make_jaxpr(function)(*arrays)
    partial_eval = import_module("jax.interpreters.partial_eval")
    kept, _ = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars), instantiate=True)
    return tuple(import_module("jax.core").eval_jaxpr(kept, closed.consts, *arrays))


@contextmanager
def _pools_by_name() -> Iterator[None]:
    """jax2onnx puts functions of its own in place of Flax's pooling; they take arguments by name alone."""
    with ExitStack() as stack:
        for module in map(sys.modules.get, _POOLING):
            for name in ("avg_pool", "max_pool", "min_pool"):
                if hasattr(module, name):
                    stack.enter_context(patch.object(module, name, _taking_any(getattr(module, name))))
        yield


def _taking_any(pool: Callable[..., Any]) -> Callable[..., Any]:
    def taking_any(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return pool(inputs, **dict(zip(_POOLING_ARGUMENTS, args, strict=False)), **kwargs)

    return taking_any
