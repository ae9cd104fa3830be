"""Estimators that only stand for the one inside, which skl2onnx 1.20 does not look into."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

_WRAPPERS = {
    ("sklearn.model_selection", "RandomizedSearchCV"): "best_estimator_",
    ("sklearn.model_selection", "GridSearchCV"): "best_estimator_",
    ("sklearn.frozen", "FrozenEstimator"): "estimator",
    ("sklearn.semi_supervised", "SelfTrainingClassifier"): "estimator_",
}


def register() -> None:
    parsers = import_module("skl2onnx._parse").sklearn_parsers_map
    for (module, name), inside in _WRAPPERS.items():
        kind = getattr(import_module(module), name, None)
        if kind is not None:
            parsers[kind] = _parser(inside)


def _parser(inside: str) -> Callable[..., Any]:
    def parse(scope: Any, model: Any, inputs: Any, custom_parsers: Any = None) -> Any:
        found = getattr(model, inside)
        options = scope.get_options(model, fail=False)
        if options:
            scope.add_options(id(found), options)
        return import_module("skl2onnx._parse")._parse_sklearn(scope, found, inputs, custom_parsers)

    return parse
