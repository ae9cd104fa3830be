"""What the boosting libraries share: trees or weights that score a row, and what an answer makes of scores.

`register()` makes their scikit-learn classes convert as steps of pipelines. No library is imported here that
its user has not imported.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from math import isnan, nan
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from modelrocket import __version__
from modelrocket.convert.forest import Forest, Linear, Nodes
from modelrocket.convert.interface import INPUT, OUTPUT, PROBABILITIES, Attempt, Declared, Source, Target
from modelrocket.errors import ConversionError
from modelrocket.inputs import Values
from modelrocket.tensors import Array, TensorSpec
from modelrocket.verify import Original

if TYPE_CHECKING:
    from onnx import ModelProto

_ML_OPSETS = (3, 4)
"""That have TreeEnsembleRegressor with thresholds of double precision."""
_READERS = MappingProxyType({"xgboost": "xgb", "lightgbm": "lgbm", "catboost": "cat"})
_ONNX_NAMES = {"float32": "FLOAT", "float64": "DOUBLE"}
_SCORES = "raw_scores"
_TWO = 2

Transform = Callable[[Nodes, str], str]
"""What a library makes of scores, rows x targets."""


@dataclass(frozen=True)
class Answer:
    """A value of the graph that is an output; `None` in the shape is the rows."""

    value: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Booster:
    """A trained model, whichever library it is from.

    answers: what `predict` and, of a classifier, `predict_proba` make of the scores, by output name.
    rounds: the library itself takes its input as float32, whatever it is given.
    missing: the number that stands for a missing value, beside NaN.
    """

    features: int
    scores: Forest | Linear
    answers: Callable[[Nodes, str], Mapping[str, Answer]]
    rounds: bool
    missing: float = nan
    notes: tuple[str, ...] = ()

    def add_to(self, nodes: Nodes, rows: str, dtype: str) -> Mapping[str, Answer]:
        """The outputs by name; `rows` is of any numeric dtype."""
        return self.answers(nodes, self.add_scores(nodes, rows, dtype))

    def add_scores(self, nodes: Nodes, rows: str, dtype: str) -> str:
        """Rows x targets."""
        precise = "float64" if dtype == "float64" else "float32"
        if self.rounds and precise == "float64":
            rows = nodes.cast(nodes.cast(rows, "float32"), precise)
        elif dtype != precise:
            rows = nodes.cast(rows, precise)
        if not isnan(self.missing):
            marked = nodes.add("Equal", rows, nodes.constant(np.array(self.missing, precise)))
            rows = nodes.add("Where", marked, nodes.constant(np.array(nan, precise)), rows)
        return self.scores.add_to(nodes, rows, precise)


def source(booster: Booster, declared: Declared, *, framework: str, original: Original, hint: str) -> Source:
    """Raises `ConversionError` where the declared input does not fit the model."""
    spec = _spec(booster, declared)
    values = Values(thresholds=booster.scores.thresholds(), missing=True)
    return Source(
        framework=framework,
        attempts=(
            attempt(lambda nodes: booster.add_to(nodes, spec.name, spec.dtype), (spec,), declared.target),
        ),
        inputs=declared.inputs(spec, values={INPUT: values}),
        original=original,
        hint=hint,
        notes=booster.notes,
    )


def _spec(booster: Booster, declared: Declared) -> TensorSpec:
    example = f'modelrocket.upload(model, "name", np.float32, (None, {booster.features}))'
    known = (None, booster.features)
    spec = declared.spec(example=example, shape=known, dtype="float32" if booster.rounds else None)
    if spec.shape != known:
        raise ConversionError(
            f"input_shape={spec.shape} does not fit: the model was fitted on {booster.features} features.",
            hint=f"For example: {example}",
        )
    if spec.dtype in ("string", "bfloat16"):
        raise ConversionError(
            f"The model takes numbers, and input_type is {spec.dtype}.", hint=f"For example: {example}"
        )
    return spec


def attempt(
    outputs: Callable[[Nodes], Mapping[str, Answer]], inputs: Sequence[TensorSpec], target: Target
) -> Attempt:
    """To write the graph that `outputs` makes of these inputs, which go by their names."""
    return Attempt(f"modelrocket {__version__}", lambda: _model(outputs, inputs, target))


def _model(
    outputs: Callable[[Nodes], Mapping[str, Answer]], inputs: Sequence[TensorSpec], target: Target
) -> "ModelProto":
    from onnx import helper

    nodes = Nodes()
    found = outputs(nodes)
    for name, answer in found.items():
        nodes.nodes.append(helper.make_node("Identity", [answer.value], [name]))
    graph = helper.make_graph(
        nodes.nodes,
        "model",
        [_value_info(spec.name, spec.dtype, spec.shape) for spec in inputs],
        [_value_info(name, answer.dtype, answer.shape) for name, answer in found.items()],
        nodes.constants,
    )
    ml_opset = min(max(target.ml_opset, _ML_OPSETS[0]), _ML_OPSETS[1])
    opsets = [helper.make_opsetid("", target.opset), helper.make_opsetid("ai.onnx.ml", ml_opset)]
    return helper.make_model(
        graph,
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="modelrocket",
    )


def _value_info(name: str, dtype: str, shape: Sequence[int | None]) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(
        name, getattr(TensorProto, _ONNX_NAMES.get(dtype, dtype.upper())), shape
    )


def notes_on_codes(columns: Sequence[int]) -> tuple[str, ...]:
    """Of columns that were categories of a data frame."""
    if not columns:
        return ()
    told = ", ".join(map(str, columns))
    return (f"Columns of categories ({told}) take the codes that pandas gives them: column.cat.codes.",)


def identity(nodes: Nodes, scores: str) -> str:
    """Scores as they are."""
    return scores


def exponent(nodes: Nodes, scores: str) -> str:
    """Where the trees speak of logarithms."""
    return nodes.add("Exp", scores)


def softmax(nodes: Nodes, scores: str) -> str:
    """Over the targets."""
    return nodes.add("Softmax", scores, axis=1)


def sigmoid(nodes: Nodes, scores: str, *, slope: float = 1.0) -> str:
    """1 / (1 + exp(-slope x)): the Sigmoid of onnxruntime ends at 18, where small probabilities begin."""
    exponents = nodes.add("Exp", nodes.add("Mul", scores, nodes.constant(np.array(-slope, np.float32))))
    return nodes.add("Reciprocal", nodes.add("Add", exponents, nodes.constant(np.ones((), np.float32))))


def both_sigmoids(nodes: Nodes, scores: str, *, slope: float = 1.0) -> str:
    """Of two classes; that of the first is not 1 - p, which would keep few digits of a small one."""
    return sigmoid(nodes, nodes.add("Concat", nodes.add("Neg", scores), scores, axis=1), slope=slope)


def and_the_rest(nodes: Nodes, scores: str, *, transform: Transform) -> str:
    """Of two classes: 1 - p, and p."""
    second = transform(nodes, scores)
    first = nodes.add("Sub", nodes.constant(np.ones((), np.float32)), second)
    return nodes.add("Concat", first, second, axis=1)


def numbers(nodes: Nodes, scores: str, *, transform: Transform, targets: int) -> Mapping[str, Answer]:
    """A vector of a single target, a matrix of several."""
    value = transform(nodes, scores)
    if targets == 1:
        return {OUTPUT: Answer(nodes.reshape(value, -1), "float32", (None,))}
    return {OUTPUT: Answer(value, "float32", (None, targets))}


def two_classes(
    nodes: Nodes, scores: str, *, transform: Transform, classes: Array, above: float = 0.5
) -> Mapping[str, Answer]:
    """The second class is the answer where its probability is above that; `transform`: to rows x 2."""
    probabilities = transform(nodes, scores)
    wins = nodes.add("Greater", nodes.columns(probabilities, 1), nodes.constant(np.array(above, np.float32)))
    index = nodes.reshape(nodes.cast(wins, "int64"), -1)
    return {
        OUTPUT: labels(nodes, index, classes),
        PROBABILITIES: Answer(probabilities, "float32", (None, 2)),
    }


def many_classes(
    nodes: Nodes, scores: str, *, transform: Transform, classes: Array, column: bool = False
) -> Mapping[str, Answer]:
    """The likeliest class is the answer, the first of several; `column`: as rows x 1."""
    probabilities = transform(nodes, scores)
    index = nodes.add("ArgMax", probabilities, axis=1, keepdims=int(column))
    return {
        OUTPUT: labels(nodes, index, classes, column=column),
        PROBABILITIES: Answer(probabilities, "float32", (None, len(classes))),
    }


def many_labels(nodes: Nodes, scores: str, *, targets: int, above: float = 0.5) -> Mapping[str, Answer]:
    """Each target is 1 where its probability is above that, else 0."""
    probabilities = sigmoid(nodes, scores)
    wins = nodes.add("Greater", probabilities, nodes.constant(np.array(above, np.float32)))
    return {
        OUTPUT: Answer(nodes.cast(wins, "int64"), "int64", (None, targets)),
        PROBABILITIES: Answer(probabilities, "float32", (None, targets)),
    }


def labels(nodes: Nodes, index: str, classes: Array, *, column: bool = False) -> Answer:
    """Of the classes with these numbers; `column`: numbers and labels are rows x 1."""
    classes = np.asarray(classes)
    shape = (None, 1) if column else (None,)
    if classes.dtype.kind in "OUS":
        return Answer(nodes.add("Gather", nodes.constant(classes.astype(object)), index), "string", shape)
    whole = classes.dtype.kind != "f" or bool((classes == classes.astype(np.int64)).all())
    dtype = "bool" if classes.dtype.kind == "b" else "int64" if whole else "float32"
    return Answer(nodes.add("Gather", nodes.constant(classes.astype(dtype)), index), dtype, shape)


def thresholds_of(model: object) -> Mapping[int, Array] | None:
    """By column, where a booster splits it; None of anything else, and empty where it does not convert."""
    roots = (cls.__module__.partition(".")[0] for cls in type(model).__mro__)
    library = next((root for root in roots if root in _READERS), None)
    if library is None:
        return None
    try:
        found: Booster = import_module(f"modelrocket.convert.{_READERS[library]}").read(model)
    except ConversionError:
        return {}
    return found.scores.thresholds()


def register() -> None:
    """Tell skl2onnx of the classes of every boosting library that is imported already."""
    skl2onnx, supported = import_module("skl2onnx"), import_module("skl2onnx._supported_operators")
    for library, module in _READERS.items():
        if library not in sys.modules:
            continue
        reader = import_module(f"modelrocket.convert.{module}")
        for kind in reader.estimators():
            classifies = hasattr(kind, "predict_proba")
            if classifies and kind not in supported.sklearn_classifier_list:
                supported.sklearn_classifier_list.append(kind)  # CatBoost's are no ClassifierMixin
            skl2onnx.update_registered_converter(
                kind,
                f"ModelRocket{kind.__name__}",
                _set_output_types,
                _converter(reader.read),
                options=_options(kind) if classifies else None,
            )


def _options(kind: type) -> dict[str, list[Any]]:
    """What those who ask for scores or probabilities may say; scores only where the original has them too."""
    found: dict[str, list[Any]] = {
        "nocl": [True, False],
        "output_class_labels": [False, True],
        "zipmap": [True, False, "columns"],
    }
    return found | ({_SCORES: [True, False]} if hasattr(kind, "decision_function") else {})


def _set_output_types(operator: Any) -> None:
    shapes = import_module("skl2onnx.common.shape_calculator")
    if hasattr(operator.raw_operator, "predict_proba"):
        shapes.calculate_linear_classifier_output_shapes(operator)
    else:
        shapes.calculate_linear_regressor_output_shapes(operator)


def _converter(read: Callable[[Any], Booster]) -> Callable[[Any, Any, Any], None]:
    """Into the graph that skl2onnx makes of a pipeline."""
    nodes_of = import_module("modelrocket.convert.sklearn_shims.nodes").converter

    def convert(scope: Any, operator: Any, container: Any) -> None:
        model = operator.raw_operator
        known = container.has_options(model, _SCORES)
        asked = known and container.get_options(model, {_SCORES: False})[_SCORES]
        nodes_of(partial(_scored if asked else _answered, read))(scope, operator, container)

    return convert


def _answered(
    read: Callable[[Any], Booster], model: Any, nodes: Nodes, rows: str, dtype: str
) -> Sequence[Answer]:
    return tuple(read(model).add_to(nodes, rows, dtype).values())


def _scored(
    read: Callable[[Any], Booster], model: Any, nodes: Nodes, rows: str, dtype: str
) -> Sequence[Answer]:
    """Labels, and scores in the place of probabilities; of two classes the first has the second's negated."""
    booster = read(model)
    scores = booster.add_scores(nodes, rows, dtype)
    labels, probabilities = booster.answers(nodes, scores).values()
    if probabilities.shape[1] == _TWO:
        scores = nodes.add("Concat", nodes.add("Neg", scores), scores, axis=1)
    return labels, replace(probabilities, value=scores)
