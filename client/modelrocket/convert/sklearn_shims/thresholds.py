"""TunedThresholdClassifierCV and FixedThresholdClassifier: a classifier of two classes and its own threshold.

Of the first, skl2onnx 1.20 gives the label of the classifier inside, which is wrong; it does not know
the other.
"""

from importlib import import_module
from typing import Any

import numpy as np

from modelrocket.convert.boosters import Answer, labels
from modelrocket.convert.forest import Nodes
from modelrocket.convert.sklearn_shims.nodes import converter
from modelrocket.errors import ConversionError

_ALIAS = "ModelRocketThreshold"


def register() -> None:
    skl2onnx = import_module("skl2onnx")
    selection = import_module("sklearn.model_selection")
    for kind in (selection.TunedThresholdClassifierCV, selection.FixedThresholdClassifier):
        skl2onnx.update_registered_converter(
            kind,
            f"{_ALIAS}{kind.__name__}",
            _set_output_types,
            converter(_build),
            overwrite=True,
            parser=_parse,
        )


def _parse(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
    """The classifier inside, and an operator of ours on its probabilities."""
    parse, types = import_module("skl2onnx._parse"), import_module("skl2onnx.common.data_types")
    scope.add_options(id(model.estimator_), {"zipmap": False})
    found = parse.parse_sklearn(scope, model.estimator_, inputs, custom_parsers=custom_parsers)
    for variable in found:
        variable.init_status(is_leaf=False)
    operator = scope.declare_local_operator(f"{_ALIAS}{type(model).__name__}", model)
    operator.inputs.append(found[1])
    label = types.Int64TensorType if model.classes_.dtype.kind in "iub" else types.StringTensorType
    operator.outputs.append(scope.declare_local_variable("label", label()))
    operator.outputs.append(scope.declare_local_variable("probabilities", found[1].type.__class__()))
    return operator.outputs


def _set_output_types(operator: Any) -> None:
    operator.outputs[0].type.shape = [None]
    operator.outputs[1].type.shape = [None, 2]


def _build(model: Any, nodes: Nodes, rows: str, dtype: str) -> list[Answer]:
    second = nodes.columns(rows, _positive(model))
    wins = nodes.add("GreaterOrEqual", second, nodes.constant(np.array(_threshold(model), dtype)))
    index = nodes.reshape(nodes.cast(wins, "int64"), -1)
    classes = model.classes_ if _positive(model) else model.classes_[::-1]
    return [labels(nodes, index, classes), Answer(rows, dtype, (None, 2))]


def _positive(model: Any) -> int:
    """Which class the threshold is of."""
    scorer = getattr(model, "_curve_scorer", None)
    wanted = model.pos_label if scorer is None else scorer._get_pos_label()
    if wanted is None:
        return 1
    return int(np.flatnonzero(model.classes_ == wanted)[0])


def _threshold(model: Any) -> float:
    scores = _scores_of(model)
    if scores != "predict_proba":
        raise ConversionError(
            f"{type(model).__name__} converts with a threshold of probabilities; this one's is of {scores}.",
            hint='Fit it with response_method="predict_proba".',
        )
    found = getattr(model, "best_threshold_", None)
    if found is None:
        found = 0.5 if model.threshold == "auto" else model.threshold
    return float(found)


def _scores_of(model: Any) -> str:
    if model.response_method != "auto":
        return str(model.response_method)
    return "predict_proba" if hasattr(model.estimator_, "predict_proba") else "decision_function"
