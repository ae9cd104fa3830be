"""Some sixty models as their owners train them, converted as the client does: common kinds, small and large.

Made once and kept; training takes most of the time.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import models
from modelrocket.convert import convert
from modelrocket.errors import ConversionError

_SEED: Final = 20_240_607


@dataclass(frozen=True, slots=True)
class Specimen:
    name: str
    path: Path


def collect(folder: Path, say: Callable[[str], None]) -> Iterator[Specimen]:
    """Those that convert, with the models that are served in the other benches."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in models.NAMES:
        yield Specimen(name, models.make(name, folder.parent / "models").path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, make in _all():
            path = folder / f"{name}.onnx"
            try:
                if not path.exists():
                    say(f"making {name}")
                    path.write_bytes(make())
            except ConversionError as error:
                say(f"{name} is left out: {error}")
                continue
            yield Specimen(name, path)


def _all() -> Iterator[tuple[str, Callable[[], bytes]]]:
    for name, estimator in {**_classifiers(), **_regressors()}.items():
        yield f"sklearn-{name}", _fitted(estimator)
    for name, (module, shape) in _modules().items():
        yield f"torch-{name}", _exported(module, shape)


def _fitted(estimator: Any) -> Callable[[], bytes]:
    from sklearn.base import is_regressor
    from sklearn.datasets import load_diabetes, load_digits

    def make() -> bytes:
        table = load_diabetes() if is_regressor(estimator) else load_digits()
        rows = table.data.astype(np.float32)
        return convert(estimator.fit(rows, table.target), np.float32, (None, rows.shape[1])).model

    return make


def _exported(make_module: Callable[[], Any], shape: tuple[int, ...]) -> Callable[[], bytes]:
    import torch

    def make() -> bytes:
        torch.manual_seed(_SEED)
        return convert(make_module().eval(), np.float32, (None, *shape)).model

    return make


def _classifiers() -> Mapping[str, Any]:
    from sklearn import discriminant_analysis, ensemble, linear_model, naive_bayes, neighbors, svm, tree
    from sklearn.decomposition import PCA
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, StandardScaler

    def logistic() -> Any:
        return linear_model.LogisticRegression(max_iter=50)

    return {
        "logistic-regression": logistic(),
        "ridge-classifier": linear_model.RidgeClassifier(),
        "sgd-classifier": linear_model.SGDClassifier(loss="log_loss", max_iter=20, random_state=0),
        "linear-svc": svm.LinearSVC(max_iter=100),
        "svc": svm.SVC(),
        "gaussian-nb": naive_bayes.GaussianNB(),
        "bernoulli-nb": naive_bayes.BernoulliNB(),
        "multinomial-nb": naive_bayes.MultinomialNB(),
        "neighbours": neighbors.KNeighborsClassifier(),
        "lda": discriminant_analysis.LinearDiscriminantAnalysis(),
        "tree-4": tree.DecisionTreeClassifier(max_depth=4),
        "tree": tree.DecisionTreeClassifier(),
        "forest-10": ensemble.RandomForestClassifier(10, random_state=0),
        "forest-50": ensemble.RandomForestClassifier(50, random_state=0),
        "forest-200": ensemble.RandomForestClassifier(200, random_state=0),
        "extra-trees-50": ensemble.ExtraTreesClassifier(50, random_state=0),
        "extra-trees-150": ensemble.ExtraTreesClassifier(150, random_state=0),
        "boosting-10": ensemble.GradientBoostingClassifier(n_estimators=10),
        "boosting-40": ensemble.GradientBoostingClassifier(n_estimators=40),
        "hist-boosting-20": ensemble.HistGradientBoostingClassifier(max_iter=20),
        "hist-boosting-60": ensemble.HistGradientBoostingClassifier(max_iter=60),
        "ada-boost": ensemble.AdaBoostClassifier(n_estimators=20),
        "bagging": ensemble.BaggingClassifier(n_estimators=10),
        "mlp-32": MLPClassifier(hidden_layer_sizes=(32,), max_iter=5),
        "mlp-256": MLPClassifier(hidden_layer_sizes=(256,), max_iter=5),
        "mlp-512-256": MLPClassifier(hidden_layer_sizes=(512, 256), max_iter=3),
        "mlp-1024-1024": MLPClassifier(hidden_layer_sizes=(1024, 1024), max_iter=2),
        "scaled-pca-logistic": make_pipeline(StandardScaler(), PCA(20), logistic()),
        "polynomial-logistic": make_pipeline(MinMaxScaler(), PCA(10), PolynomialFeatures(2), logistic()),
        "voting": ensemble.VotingClassifier(
            [
                ("a", logistic()),
                ("b", tree.DecisionTreeClassifier(max_depth=8)),
                ("c", naive_bayes.GaussianNB()),
            ]
        ),
    }


def _regressors() -> Mapping[str, Any]:
    from sklearn import ensemble, linear_model, neighbors, svm, tree
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "linear-regression": linear_model.LinearRegression(),
        "ridge": linear_model.Ridge(),
        "lasso": linear_model.Lasso(),
        "elastic-net": linear_model.ElasticNet(),
        "scaled-ridge": make_pipeline(StandardScaler(), linear_model.Ridge()),
        "svr": svm.SVR(),
        "neighbours-regressor": neighbors.KNeighborsRegressor(),
        "tree-regressor": tree.DecisionTreeRegressor(),
        "forest-regressor-50": ensemble.RandomForestRegressor(50, random_state=0),
        "forest-regressor-200": ensemble.RandomForestRegressor(200, random_state=0),
        "extra-trees-regressor": ensemble.ExtraTreesRegressor(100, random_state=0),
        "boosting-regressor": ensemble.GradientBoostingRegressor(n_estimators=100),
        "hist-boosting-regressor": ensemble.HistGradientBoostingRegressor(max_iter=100),
        "mlp-regressor-64": MLPRegressor(hidden_layer_sizes=(64,), max_iter=5),
        "mlp-regressor-512-512": MLPRegressor(hidden_layer_sizes=(512, 512), max_iter=3),
    }


def _modules() -> Mapping[str, tuple[Callable[[], Any], tuple[int, ...]]]:
    from torch import nn

    def perceptron(*widths: int) -> Callable[[], Any]:
        layers = [part for pair in pairwise(widths) for part in (nn.Linear(*pair), nn.ReLU())]
        return lambda: nn.Sequential(*layers[:-1])

    def convolutions(*widths: int) -> Callable[[], Any]:
        def block(into: int, out: int) -> Any:
            return nn.Sequential(nn.Conv2d(into, out, 3, 2, 1), nn.BatchNorm2d(out), nn.ReLU())

        blocks = [block(*pair) for pair in pairwise(widths)]
        return lambda: nn.Sequential(
            *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10)
        )

    def encoder(width: int, layers: int) -> Callable[[], Any]:
        def make() -> Any:
            layer = nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True)
            return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

        return make

    return {
        "mlp-64": (perceptron(16, 64, 4), (16,)),
        "mlp-256": (perceptron(64, 256, 10), (64,)),
        "mlp-1024": (perceptron(256, 1024, 1024, 10), (256,)),
        "mlp-2048": (perceptron(512, 2048, 2048, 10), (512,)),
        "mlp-4096": (perceptron(1024, 4096, 2048, 100), (1024,)),
        "mlp-deep": (perceptron(64, *[128] * 12, 10), (64,)),
        "conv-small": (convolutions(1, 8, 16), (1, 28, 28)),
        "conv-medium": (convolutions(3, 32, 64, 128), (3, 64, 64)),
        "conv-large": (convolutions(3, 64, 128, 256, 512), (3, 96, 96)),
        "encoder-64": (encoder(64, 2), (16, 64)),
        "encoder-128": (encoder(128, 2), (32, 128)),
        "encoder-256": (encoder(256, 3), (32, 256)),
        "encoder-512": (encoder(512, 4), (32, 512)),
    }
