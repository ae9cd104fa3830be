"""scikit-learn estimators and pipelines, exported by skl2onnx.

What they answer and take, and what skl2onnx itself does not convert, or not rightly, is in `sklearn_shims`.
"""

from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from modelrocket.convert.exporters import installed
from modelrocket.convert.interface import Attempt, Declared, Source, Target
from modelrocket.convert.sklearn_shims.answers import answers, check_answers
from modelrocket.convert.sklearn_shims.inputs import Form, form
from modelrocket.convert.sklearn_shims.values import computed_before_trees
from modelrocket.errors import ConversionError

if TYPE_CHECKING:
    from onnx import ModelProto

_ASKED_ROWS = 3
_HINT = (
    "Try a simpler estimator, or export it to ONNX yourself and give the file. "
    "The estimators that convert: https://onnx.ai/sklearn-onnx/supported.html"
)


def source(model: Any, declared: Declared) -> Source:
    """Raises `ConversionError` where the estimator is not fitted or the declared input does not fit it."""
    check_answers(model)
    _check_is_fitted(model)
    found = form(model, declared)
    return Source(
        framework=f"scikit-learn {version('scikit-learn')}",
        attempts=_attempts(model, found, declared.target),
        inputs=found.inputs,
        original=lambda feeds: answers(model, found.rows(feeds)),
        hint=_HINT,
        notes=(*found.notes, *_untried(model, declared)),
    )


def _untried(model: Any, declared: Declared) -> tuple[str, ...]:
    """Trees are exact, and what their splits are compared with is not always."""
    if declared.sample is not None:
        return ()
    steps = computed_before_trees(model, getattr(model, "n_features_in_", 0))
    if not steps:
        return ()
    return (
        f"Its trees split what {', '.join(steps)} computes, and rounded otherwise a row that lies on a split "
        "falls on its other side: give sample=X_test[:1000], and it is compared on rows that may.",
    )


def _check_is_fitted(model: Any) -> None:
    try:
        import_module("sklearn.utils.validation").check_is_fitted(model)
    except Exception as error:
        raise ConversionError(
            f"{type(model).__name__} is not fitted yet.", hint="Call fit on it before uploading."
        ) from error


def _attempts(model: Any, found: Form, target: Target) -> tuple[Attempt, ...]:
    """As it is; then, where float32 is too coarse, computing in float64 as most estimators do themselves."""
    exporter = installed("skl2onnx", models="scikit-learn models", extra="sklearn")
    plain = Attempt(exporter, partial(_export, model, found, target))
    if all(spec.dtype in ("float64", "string") for spec in found.inputs.specs):
        return (plain,)
    wide = partial(_export, model, found, target, computed_as="float64")
    return (plain, Attempt(f"{exporter} in float64", wide))


def _export(model: Any, found: Form, target: Target, *, computed_as: str | None = None) -> "ModelProto":
    from modelrocket.convert.sklearn_shims.export import exported, in_our_form

    feeds = found.inputs.rows(_ASKED_ROWS)
    said = answers(model, found.rows(feeds))
    made = exported(model, found.inputs.specs, target, computed_as=computed_as)
    return in_our_form(made, feeds, said)
