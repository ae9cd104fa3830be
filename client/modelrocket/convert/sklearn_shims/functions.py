"""FunctionTransformer and TransformedTargetRegressor, with the functions of numpy that ONNX has too.

skl2onnx 1.20 knows the first without a function alone, and does not know the second.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from modelrocket.convert.boosters import Answer
from modelrocket.convert.forest import Nodes
from modelrocket.convert.sklearn_shims.nodes import converter
from modelrocket.errors import ConversionError

_NAME = "SklearnFunctionTransformer"
_ALIAS = "ModelRocketTransformedTarget"


def register() -> None:
    registration = import_module("skl2onnx.common._registration")
    identity, shapes = registration.get_converter(_NAME), registration.get_shape_calculator(_NAME)
    ours = converter(_transformed)

    def convert(scope: Any, operator: Any, container: Any) -> None:
        """skl2onnx knows how columns pass as they are."""
        (identity if operator.raw_operator.func is None else ours)(scope, operator, container)

    def set_types(operator: Any) -> None:
        (shapes if operator.raw_operator.func is None else _set_column_types)(operator)

    registration.register_converter(_NAME, convert, overwrite=True)
    registration.register_shape_calculator(_NAME, set_types, overwrite=True)
    import_module("skl2onnx").update_registered_converter(
        import_module("sklearn.compose").TransformedTargetRegressor,
        _ALIAS,
        _set_output_types,
        converter(_untransformed),
        overwrite=True,
        parser=_parse,
    )


def _set_column_types(operator: Any) -> None:
    kind = type(operator.outputs[0].type)
    operator.outputs[0].type = kind([None, operator.raw_operator.n_features_in_])


def _constant(nodes: Nodes, value: Any, dtype: str) -> str:
    return nodes.constant(np.asarray(value, dtype=dtype))


_Function = Callable[[Nodes, str, str], str]
"""Of nodes, a value and its dtype."""

_FUNCTIONS: Mapping[Any, _Function] = {
    None: lambda nodes, x, _: x,
    np.abs: lambda nodes, x, _: nodes.add("Abs", x),
    np.cbrt: lambda nodes, x, d: nodes.add(
        "Mul", nodes.add("Sign", x), nodes.add("Pow", nodes.add("Abs", x), _constant(nodes, 1 / 3, d))
    ),
    np.cos: lambda nodes, x, _: nodes.add("Cos", x),
    np.exp: lambda nodes, x, _: nodes.add("Exp", x),
    np.exp2: lambda nodes, x, d: nodes.add("Pow", _constant(nodes, 2, d), x),
    np.expm1: lambda nodes, x, d: nodes.add("Sub", nodes.add("Exp", x), _constant(nodes, 1, d)),
    np.log: lambda nodes, x, _: nodes.add("Log", x),
    np.log10: lambda nodes, x, d: nodes.add("Mul", nodes.add("Log", x), _constant(nodes, 1 / np.log(10), d)),
    np.log1p: lambda nodes, x, d: nodes.add("Log", nodes.add("Add", x, _constant(nodes, 1, d))),
    np.log2: lambda nodes, x, d: nodes.add("Mul", nodes.add("Log", x), _constant(nodes, 1 / np.log(2), d)),
    np.negative: lambda nodes, x, _: nodes.add("Neg", x),
    np.reciprocal: lambda nodes, x, _: nodes.add("Reciprocal", x),
    np.sign: lambda nodes, x, _: nodes.add("Sign", x),
    np.sin: lambda nodes, x, _: nodes.add("Sin", x),
    np.sqrt: lambda nodes, x, _: nodes.add("Sqrt", x),
    np.square: lambda nodes, x, _: nodes.add("Mul", x, x),
    np.tanh: lambda nodes, x, _: nodes.add("Tanh", x),
}


def _function(model: Any, function: Any, arguments: Any) -> _Function:
    try:
        found = None if arguments else _FUNCTIONS.get(function)
    except TypeError:  # what cannot be hashed
        found = None
    if found is None:
        names = ", ".join(sorted(f"np.{one.__name__}" for one in _FUNCTIONS if one is not None))
        called = getattr(function, "__name__", repr(function))
        raise ConversionError(
            f"{type(model).__name__} calls {called}, of which only Python knows what it computes.",
            hint=f"These convert: {names}. Compute anything else before calling the model.",
        )
    return found


def _transformed(model: Any, nodes: Nodes, rows: str, dtype: str) -> list[Answer]:
    value = _function(model, model.func, model.kw_args)(nodes, rows, dtype)
    return [Answer(value, dtype, (None, None))]


# Targets


def _parse(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """The regressor inside, and an operator of ours on what it predicts."""
    found = import_module("skl2onnx._parse")._parse_sklearn(scope, model.regressor_, inputs, custom_parsers)
    operator = scope.declare_local_operator(_ALIAS, model)
    operator.inputs.append(found[0])
    operator.outputs.append(scope.declare_local_variable("variable", found[0].type.__class__()))
    return operator.outputs


def _set_output_types(operator: Any) -> None:
    operator.outputs[0].type.shape = operator.inputs[0].type.shape


def _untransformed(model: Any, nodes: Nodes, rows: str, dtype: str) -> list[Answer]:
    return [Answer(_inverse(model, nodes, rows, dtype), dtype, (None, None))]


def _inverse(model: Any, nodes: Nodes, rows: str, dtype: str) -> str:
    transformer = model.transformer_
    kind = type(transformer).__name__
    if kind == "FunctionTransformer":
        return _function(model, transformer.inverse_func, transformer.inv_kw_args)(nodes, rows, dtype)
    if kind == "StandardScaler":
        scale = 1.0 if transformer.scale_ is None else transformer.scale_
        mean = 0.0 if transformer.mean_ is None else transformer.mean_
        scaled = nodes.add("Mul", rows, _constant(nodes, scale, dtype))
        return nodes.add("Add", scaled, _constant(nodes, mean, dtype))
    if kind == "MinMaxScaler" and not transformer.clip:
        moved = nodes.add("Sub", rows, _constant(nodes, transformer.min_, dtype))
        return nodes.add("Div", moved, _constant(nodes, transformer.scale_, dtype))
    raise ConversionError(
        f"{type(model).__name__} converts with a StandardScaler, a MinMaxScaler or a function of numpy; "
        f"this one has a {kind}.",
        hint="Fit it with one of these, or give back the transformed target and undo it in the caller.",
    )
