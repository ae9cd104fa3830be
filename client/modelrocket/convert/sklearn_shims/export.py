"""A fitted scikit-learn estimator -> ONNX by skl2onnx, under our names and in the shapes of its answers."""

import copy
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from modelrocket.convert import boosters, graph
from modelrocket.convert.interface import Target
from modelrocket.convert.sklearn_shims import parts
from modelrocket.convert.sklearn_shims.answers import NEIGHBOURS
from modelrocket.convert.sklearn_shims.parameters import parameters_that_convert
from modelrocket.convert.sklearn_shims.trees import missing_values_kept
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.inputs import Feeds
from modelrocket.tensors import Array, TensorSpec, numpy_dtype

if TYPE_CHECKING:
    from onnx import ModelProto

SHIMS = (
    "bins",
    "functions",
    "histograms",
    "isolation",
    "neighbours",
    "powers",
    "processes",
    "quantiles",
    "radius",
    "scalers",
    "thresholds",
    "wrappers",
)
"""Modules here whose `register()` tells skl2onnx of more estimators, or better of those that it knows."""

_TABLES = (
    "skl2onnx.common._registration._converter_pool",
    "skl2onnx.common._registration._shape_calculator_pool",
    "skl2onnx._supported_operators.sklearn_operator_name_map",
    "skl2onnx._supported_operators.sklearn_classifier_list",
    "skl2onnx._parse.sklearn_parsers_map",
)
"""Where skl2onnx keeps what is registered."""
_SCORES_IN_FLOAT32 = ("LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier")
"""Whatever their input is, which skl2onnx does not think of when it computes in float64."""
_COLUMN = 2
_REASON_MAX = 300
_LOCALE = "C.UTF-8"
_HINT_FAILED = (
    "Other parameters of that estimator may convert, or another estimator; what converts is listed at "
    "https://onnx.ai/sklearn-onnx/supported.html. Or export the model to ONNX yourself and give the file."
)
_HINT_UNKNOWN = (
    "Replace it by an estimator that converts (https://onnx.ai/sklearn-onnx/supported.html), "
    "compute that step before calling the model, or export the model to ONNX yourself and give the file."
)


def exported(
    model: Any, specs: Sequence[TensorSpec], target: Target, *, computed_as: str | None = None
) -> "ModelProto":
    """As skl2onnx has it; numbers are cast to `computed_as` before anything is computed.

    Raises `UnsupportedModel` that names what skl2onnx does not know, and whatever skl2onnx raises.
    """
    skl2onnx = import_module("skl2onnx")
    with _shims(), missing_values_kept(), parameters_that_convert(model):
        _check_known(model)
        try:
            made: ModelProto = skl2onnx.convert_sklearn(
                model,
                initial_types=[(spec.name, _tensor_type(spec)) for spec in _cast(specs, computed_as)],
                target_opset={"": target.opset, "ai.onnx.ml": target.ml_opset},
                options=_options(model),
            )
        except ConversionError:
            raise
        except Exception as error:  # skl2onnx raises anything at all
            raise _failed(model, error) from error
    made = _without_functions(made)
    for node in made.graph.node:
        if node.op_type == "StringNormalizer":
            _set_locale(node)
    if computed_as is not None:
        made = graph.with_cast_outputs(made, _SCORES_IN_FLOAT32, number=1, to=_elem_type(computed_as))
    return graph.with_input_types(made, {spec.name: _elem_type(spec.dtype) for spec in specs})


def _failed(model: Any, error: Exception) -> ConversionError:
    """Names the estimator whose converter it was; skl2onnx itself does not say so."""
    at = model
    frames = traceback.walk_tb(error.__traceback__)
    for operator in (frame.f_locals.get("operator") for frame, _ in frames):
        at = getattr(operator, "raw_operator", None) or at
    path = next((path for path, part in parts.named_parts(model) if part is at), "")
    cause = error.__cause__ or error
    reason = f"{type(cause).__name__}: {cause}"
    shown = reason if len(reason) <= _REASON_MAX else f"{reason[:_REASON_MAX]} …"
    return ConversionError(
        f"skl2onnx {version('skl2onnx')} does not convert {type(at).__name__}{_where(path)} "
        f"(scikit-learn {version('scikit-learn')}): {shown}",
        hint=_HINT_FAILED,
    )


def in_our_form(made: "ModelProto", feeds: Feeds, answers: Mapping[str, Array]) -> "ModelProto":
    """Under our names, the outputs in the shapes of the estimator's own `answers` to these `feeds`."""
    names = list(answers)
    if NEIGHBOURS in names:
        names.reverse()  # skl2onnx gives which rows first
    made = graph.without_sequences(made)
    outputs = names[: len(made.graph.output)]
    named = graph.with_names(made, inputs=list(feeds), outputs=outputs)
    for name, shape in _shapes(named, feeds).items():
        wanted = answers[name].shape
        if len(shape) == _COLUMN and 1 in shape and len(wanted) == 1:
            named = graph.flattened_output(named, name)
        elif len(shape) == 1 and len(wanted) == _COLUMN and wanted[1] == 1:
            named = graph.columned_output(named, name)
    for name in outputs:
        if answers[name].dtype == np.bool_:  # classes, of which skl2onnx makes 0 and 1
            named = graph.cast_output(named, name, to=_elem_type("bool"))
    return named


def _cast(specs: Sequence[TensorSpec], dtype: str | None) -> list[TensorSpec]:
    return [spec if dtype is None or spec.dtype == "string" else replace(spec, dtype=dtype) for spec in specs]


def _elem_type(dtype: str) -> int:
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(numpy_dtype(dtype))


def _set_locale(node: Any) -> None:
    """onnxruntime's own choice, en_US.UTF-8, is missing on most servers; this one is everywhere."""
    from onnx import helper

    kept = [attribute for attribute in node.attribute if attribute.name != "locale"]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("locale", _LOCALE)])


def _without_functions(made: "ModelProto") -> "ModelProto":
    from onnx import inliner

    return inliner.inline_local_functions(made) if made.functions else made


def _shapes(model: "ModelProto", feeds: Feeds) -> dict[str, tuple[int, ...]]:
    """Of its outputs on these rows: what skl2onnx declares is not always so."""
    from modelrocket import runtime

    try:
        found = runtime.load(bytes(model.SerializeToString()), threads=1).run(feeds)
    except Exception:  # then the comparison will say so, with rows to show for it
        return {}
    return {name: array.shape for name, array in found.items()}


def _options(model: Any) -> dict[int, dict[str, Any]]:
    """Probabilities as a matrix, of every classifier in the model."""
    is_classifier = import_module("sklearn.base").is_classifier
    allowed = import_module("skl2onnx.common._registration")._converter_pool
    aliases = import_module("skl2onnx._supported_operators").sklearn_operator_name_map
    found = {}
    for _, part in parts.named_parts(model):
        converter = allowed.get(aliases.get(type(part)))
        options = converter.get_allowed_options() if converter is not None else {}
        if is_classifier(part) and (hasattr(part, "steps") or "zipmap" in (options or {})):
            found[id(part)] = {"zipmap": False}
    return found


def _check_known(model: Any) -> None:
    known = import_module("skl2onnx._supported_operators").sklearn_operator_name_map
    parsed = import_module("skl2onnx._parse").sklearn_parsers_map
    for path, part in parts.named_parts(model):
        if type(part) in known or type(part) in parsed or hasattr(part, "onnx_converter"):
            continue
        kin = next((base.__name__ for base in type(part).__mro__[1:] if base in known), None)
        based = f" It knows {kin}, which this one is based on, but not what it changes." if kin else ""
        raise UnsupportedModel(
            f"skl2onnx {version('skl2onnx')} does not know {type(part).__name__}{_where(path)}.{based}",
            hint=_HINT_UNKNOWN,
        )


def _where(path: str) -> str:
    return f', the step "{path}" of the model' if path else ""


@contextmanager
def _shims() -> Iterator[None]:
    """skl2onnx with what is registered here, and afterwards as it was."""
    import_module("skl2onnx")
    tables = [_found(path) for path in _TABLES]
    before = [copy.copy(table) for table in tables]
    try:
        boosters.register()
        for shim in SHIMS:
            import_module(f"{__package__}.{shim}").register()
        yield
    finally:
        for table, kept in zip(tables, before, strict=True):
            table.clear()
            (table.extend if isinstance(table, list) else table.update)(kept)


def _found(path: str) -> Any:
    """A dict or a list."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def _tensor_type(spec: TensorSpec) -> Any:
    types = import_module("skl2onnx.common.data_types")
    names = {"float32": "Float", "float64": "Double", "bool": "Boolean", "string": "String"}
    name = names.get(spec.dtype, spec.dtype.capitalize().replace("Uint", "UInt"))
    if not hasattr(types, f"{name}TensorType"):
        raise ConversionError(f"skl2onnx takes no {spec.dtype} input.", hint="Try input_type=np.float32.")
    return getattr(types, f"{name}TensorType")(list(spec.shape))
