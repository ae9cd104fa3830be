"""scikit-learn.

Every estimator of `all_estimators`, and pipelines, each on a data set that suits it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
from sklearn import base, linear_model, preprocessing, tree
from sklearn.utils import all_estimators

from tests.matrix import sklearn_data as data
from tests.matrix.case import Case, Trained
from tests.matrix.sklearn_answers import trained
from tests.matrix.sklearn_pipelines import PIPELINES

PACKAGES = ("scikit-learn", "skl2onnx", "scipy", "pandas")

_logistic = partial(linear_model.LogisticRegression, max_iter=200)
_ridge = linear_model.Ridge
_tree = partial(tree.DecisionTreeClassifier, max_depth=3, random_state=0)
_regression_tree = partial(tree.DecisionTreeRegressor, max_depth=3, random_state=0)
_scaler = preprocessing.StandardScaler


def _arguments(name: str) -> dict[str, Any]:
    """What an estimator cannot be built without, and what makes its training short and repeatable."""
    given: dict[str, Callable[[], dict[str, Any]]] = {
        "ClassifierChain": lambda: {"estimator": _logistic()},
        "ColumnTransformer": lambda: {
            "transformers": [("scale", _scaler(), [0, 2]), ("half", preprocessing.Binarizer(), [1])],
            "remainder": "passthrough",
        },
        "CategoricalNB": lambda: {"min_categories": 17},
        "DecisionTreeClassifier": lambda: {"max_depth": 5},
        "FeatureHasher": lambda: {"input_type": "string", "n_features": 16},
        "FeatureUnion": lambda: {
            "transformer_list": [("scale", _scaler()), ("clip", preprocessing.MinMaxScaler())]
        },
        "FixedThresholdClassifier": lambda: {"estimator": _logistic(), "threshold": 0.3},
        "FrozenEstimator": lambda: {"estimator": _logistic().fit(*data.scaled_wine().fit)},
        "GaussianRandomProjection": lambda: {"n_components": 4},
        "GridSearchCV": lambda: {"estimator": _logistic(), "param_grid": {"C": [0.1, 1.0]}},
        "LocalOutlierFactor": lambda: {"novelty": True},
        "LatentDirichletAllocation": lambda: {"n_components": 3},
        "MLPClassifier": lambda: {"max_iter": 100},
        "MLPRegressor": lambda: {"max_iter": 100},
        "MiniBatchNMF": lambda: {"n_components": 3},
        "MultiOutputClassifier": lambda: {"estimator": _logistic()},
        "MultiOutputRegressor": lambda: {"estimator": _ridge()},
        "NMF": lambda: {"n_components": 3, "max_iter": 1000},
        "OneHotEncoder": lambda: {"handle_unknown": "ignore"},
        "OneVsOneClassifier": lambda: {"estimator": _logistic()},
        "OneVsRestClassifier": lambda: {"estimator": _logistic()},
        "OrdinalEncoder": lambda: {"handle_unknown": "use_encoded_value", "unknown_value": -1},
        "OutputCodeClassifier": lambda: {"estimator": _logistic()},
        "Pipeline": lambda: {"steps": [("scale", _scaler()), ("logistic", _logistic())]},
        "QuantileTransformer": lambda: {"n_quantiles": 50},
        "RFE": lambda: {"estimator": _logistic()},
        "RFECV": lambda: {"estimator": _logistic()},
        "RandomizedSearchCV": lambda: {
            "estimator": _logistic(),
            "param_distributions": {"C": [0.1, 1.0]},
            "n_iter": 2,
        },
        "RegressorChain": lambda: {"estimator": _ridge()},
        "RadiusNeighborsClassifier": lambda: {"radius": 5.0, "outlier_label": "most_frequent"},
        "SelfTrainingClassifier": lambda: {"estimator": _logistic()},
        "SVC": lambda: {"probability": True},
        "NuSVC": lambda: {"probability": True},
        "SelectFromModel": lambda: {"estimator": _tree()},
        "SequentialFeatureSelector": lambda: {"estimator": _logistic(), "n_features_to_select": 3},
        "SparseCoder": lambda: {"dictionary": np.eye(13)},
        "SparseRandomProjection": lambda: {"n_components": 4},
        "StackingClassifier": lambda: {"estimators": [("logistic", _logistic()), ("tree", _tree())]},
        "StackingRegressor": lambda: {"estimators": [("ridge", _ridge()), ("tree", _regression_tree())]},
        "TransformedTargetRegressor": lambda: {
            "regressor": _ridge(),
            "func": np.log1p,
            "inverse_func": np.expm1,
        },
        "TunedThresholdClassifierCV": lambda: {"estimator": _logistic()},
        "VotingClassifier": lambda: {
            "estimators": [("logistic", _logistic()), ("tree", _tree())],
            "voting": "soft",
        },
        "VotingRegressor": lambda: {"estimators": [("ridge", _ridge()), ("tree", _regression_tree())]},
    }
    return given.get(name, dict)()


_DATA: Mapping[str, Callable[[], data.Data]] = {
    **dict.fromkeys(("DecisionTreeClassifier", "ExtraTreeClassifier", "RandomForestClassifier"), data.wine),
    **dict.fromkeys(("ExtraTreesClassifier", "AdaBoostClassifier", "BaggingClassifier"), data.wine),
    **dict.fromkeys(("GradientBoostingClassifier", "RandomTreesEmbedding"), data.wine),
    **dict.fromkeys(("HistGradientBoostingClassifier", "KNNImputer", "SimpleImputer"), data.gaps),
    **dict.fromkeys(("IterativeImputer", "MissingIndicator"), data.gaps),
    **dict.fromkeys(("MultinomialNB", "CategoricalNB", "TfidfTransformer"), data.digits),
    **dict.fromkeys(("LatentDirichletAllocation", "BernoulliRBM"), data.digits),
    **dict.fromkeys(("NMF", "MiniBatchNMF", "AdditiveChi2Sampler", "SkewedChi2Sampler"), data.unit_wine),
    **dict.fromkeys(("ComplementNB", "PowerTransformer", "GenericUnivariateSelect"), data.unit_wine),
    **dict.fromkeys(("FixedThresholdClassifier", "TunedThresholdClassifierCV"), data.cancer),
    **dict.fromkeys(("CCA", "PLSCanonical", "PLSRegression", "PLSSVD"), data.linnerud),
    **dict.fromkeys(("MultiTaskElasticNet", "MultiTaskElasticNetCV"), data.several_targets),
    **dict.fromkeys(("MultiTaskLasso", "MultiTaskLassoCV", "MultiOutputRegressor"), data.several_targets),
    "RegressorChain": data.several_targets,
    **dict.fromkeys(("GammaRegressor", "PoissonRegressor"), data.positive_diabetes),
    **dict.fromkeys(("MultiOutputClassifier",), data.two_labels),
    "ClassifierChain": data.two_answers,
    **dict.fromkeys(("OneHotEncoder", "OrdinalEncoder", "TargetEncoder"), data.categories),
    **dict.fromkeys(("CountVectorizer", "TfidfVectorizer", "HashingVectorizer"), data.words),
    **dict.fromkeys(("LabelBinarizer", "LabelEncoder"), data.labels),
    "IsotonicRegression": data.body_mass,
    "KernelCenterer": data.kernels,
    "DictVectorizer": data.named_values,
    "MultiLabelBinarizer": data.several_tags,
    "FeatureHasher": data.hashed,
    "PatchExtractor": data.images,
}


_EXPECTED = {
    "table: KNN imputer, logistic regression": "Of neighbours as near as each other any may be taken.",
}


def cases() -> list[Case]:
    estimators = [Case(name, _kind(cls), partial(_trained, name, cls)) for name, cls in all_estimators()]
    return [
        *estimators,
        *(Case(name, "pipeline", build, _EXPECTED.get(name, "")) for name, build in PIPELINES.items()),
    ]


def _kind(cls: Any) -> str:
    kinds = {
        "classifier": base.ClassifierMixin,
        "regressor": base.RegressorMixin,
        "clusterer": base.ClusterMixin,
        "outlier detector": base.OutlierMixin,
        "transformer": base.TransformerMixin,
    }
    return next((kind for kind, mixin in kinds.items() if issubclass(cls, mixin)), "other")


def _trained(name: str, cls: Any) -> Trained:
    suited = _data(name, cls)
    arguments = _arguments(name)
    if "random_state" in signature(cls).parameters:
        arguments["random_state"] = 0
    return trained(cls(**arguments).fit(*suited.fit), suited)


def _data(name: str, cls: Any) -> data.Data:
    default = data.diabetes if issubclass(cls, base.RegressorMixin) else data.scaled_wine
    return _DATA.get(name, default)()
