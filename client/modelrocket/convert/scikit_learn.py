"""scikit-learn estimators and pipelines, exported by skl2onnx.

A classifier gives `modelOutput` (what `predict` returns) and `probabilities`; anything else gives
`modelOutput`: what `predict` returns, or `transform` where there is no `predict`.
"""

import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from modelrocket.convert import graph
from modelrocket.convert.interface import INPUT, OUTPUT, PROBABILITIES, Attempt, Declared, Source, Target
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.inputs import Inputs, Values
from modelrocket.tensors import Array, Shape, TensorSpec

if TYPE_CHECKING:
    from onnx import ModelProto

_INTEGERS_BELOW = 256
_HINT = (
    "Try a simpler estimator, or export it to ONNX yourself and give the file. "
    "The estimators that convert: https://onnx.ai/sklearn-onnx/supported.html"
)


def source(model: Any, declared: Declared) -> Source:
    """Raises `ConversionError` where the estimator is not fitted or the declared input does not fit it."""
    _check_is_fitted(model)
    spec = _spec(model, declared)
    inputs = declared.inputs(spec, values={INPUT: Values(integers_below=_INTEGERS_BELOW)})
    skl2onnx = _skl2onnx()
    return Source(
        framework=f"scikit-learn {import_module('sklearn').__version__}",
        attempts=(
            Attempt(f"skl2onnx {skl2onnx.__version__}", lambda: _export(model, inputs, declared.target)),
        ),
        inputs=inputs,
        original=lambda feeds: _answers(model, feeds[INPUT]),
        hint=_HINT,
    )


def _check_is_fitted(model: Any) -> None:
    if not hasattr(model, "predict") and not hasattr(model, "transform"):
        raise UnsupportedModel(
            f"{type(model).__name__} has neither predict nor transform.", hint="Give a fitted estimator."
        )
    try:
        import_module("sklearn.utils.validation").check_is_fitted(model)
    except Exception as error:
        raise ConversionError(
            f"{type(model).__name__} is not fitted yet.", hint="Call fit on it before uploading."
        ) from error


def _spec(model: Any, declared: Declared) -> TensorSpec:
    features = getattr(model, "n_features_in_", None)
    known: Shape | None = None if features is None else (None, int(features))
    example = f'modelrocket.upload(model, "name", np.float32, (None, {features or 64}))'
    spec = declared.spec(example=example, shape=known)
    if known is not None and spec.shape != known:
        raise ConversionError(
            f"input_shape={spec.shape} does not fit: the model was fitted on {features} features.",
            hint=f"For example: {example}",
        )
    return spec


def _skl2onnx() -> Any:
    try:
        return import_module("skl2onnx")
    except ImportError as error:
        hint = 'Install it: pip install "modelrocket[sklearn]"'
        raise ConversionError("Converting scikit-learn models needs skl2onnx.", hint=hint) from error


def _export(model: Any, inputs: Inputs, target: Target) -> "ModelProto":
    answers = _answers(model, inputs.rows(2)[INPUT])
    exported = _exported(model, inputs.specs[0], target)
    outputs = [name for name, _ in zip(answers, exported.graph.output, strict=False)]
    named = graph.with_names(exported, inputs=[INPUT], outputs=outputs)
    if answers[OUTPUT].ndim == 1 and len(named.graph.output[0].type.tensor_type.shape.dim) != 1:
        return graph.flattened_output(named, OUTPUT)
    return named


def _exported(model: Any, spec: TensorSpec, target: Target) -> "ModelProto":
    arguments: dict[str, Any] = {
        "initial_types": [(INPUT, _tensor_type(spec))],
        "target_opset": {"": target.opset, "ai.onnx.ml": target.ml_opset},
    }
    if hasattr(model, "predict_proba"):
        arguments["options"] = {id(model): {"zipmap": False}}
    exported: ModelProto = _skl2onnx().convert_sklearn(model, **arguments)
    return exported


def _tensor_type(spec: TensorSpec) -> Any:
    types = import_module("skl2onnx.common.data_types")
    names = {"float32": "Float", "float64": "Double", "bool": "Boolean", "string": "String"}
    name = names.get(spec.dtype, spec.dtype.capitalize().replace("Uint", "UInt"))
    if not hasattr(types, f"{name}TensorType"):
        raise ConversionError(f"skl2onnx takes no {spec.dtype} input.", hint="Try input_type=np.float32.")
    return getattr(types, f"{name}TensorType")(list(spec.shape))


def _answers(model: Any, rows: Array) -> Mapping[str, Array]:
    """What the estimator itself says, by output name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # feature names, which plain arrays do not have
        return _answered(model, rows)


def _answered(model: Any, rows: Array) -> Mapping[str, Array]:
    if not hasattr(model, "predict"):
        return {OUTPUT: _dense(model.transform(rows))}
    answers = {OUTPUT: _dense(model.predict(rows))}
    probabilities = model.predict_proba(rows) if hasattr(model, "predict_proba") else None
    if isinstance(probabilities, np.ndarray):
        answers[PROBABILITIES] = probabilities
    return answers


def _dense(answer: Any) -> Array:
    return np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)
