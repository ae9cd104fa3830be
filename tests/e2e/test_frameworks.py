"""One model of each family of frameworks: trained here, deployed by one line, and asked over HTTP."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from modelrocket import Client

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

CANCER = load_breast_cancer()
ROWS = CANCER.data.astype(np.float32)
IMAGES = (load_digits().images / 16).astype(np.float32)
DIGITS = load_digits().target


@dataclass(frozen=True)
class Trained:
    """What is uploaded, how, and what it answers itself: by output name where there are several."""

    model: Any
    rows: Any
    answers: Any
    declared: dict[str, Any]


def scikit_learn() -> Trained:
    """A table with columns of numbers and of words."""
    table = pd.DataFrame(
        {
            "radius": ROWS[:, 0],
            "texture": ROWS[:, 1],
            "size": np.where(ROWS[:, 3] > 600, "large", "small").astype(object),
        }
    )
    columns = ColumnTransformer([("words", OneHotEncoder(), ["size"])], remainder=StandardScaler())
    model = make_pipeline(columns, LogisticRegression()).fit(table, CANCER.target)
    answers = {"modelOutput": model.predict(table[:9]), "probabilities": model.predict_proba(table[:9])}
    return Trained(model, table[:9], answers, {"sample": table[:50]})


def words() -> Trained:
    """It lower-cases what it is given, by a locale that the enclosed worker has to find."""
    texts = np.array(["Cheap pills NOW", "meeting at noon", "WIN money fast", "Check the SIZE", "Free MONEY"])
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(
        texts, ["spam", "ham", "spam", "ham", "spam"]
    )
    answers = {"modelOutput": model.predict(texts), "probabilities": model.predict_proba(texts)}
    return Trained(model, texts, answers, {"input_type": np.str_, "input_shape": (None, 1)})


def of_estimator(model: Any, **declared: Any) -> Trained:
    """Trained on rows of which some have no third number, and to say words."""
    rows = ROWS.copy()
    rows[::7, 3] = np.nan
    model.fit(rows, CANCER.target_names[CANCER.target])
    answers = {
        "modelOutput": np.ravel(model.predict(rows[:9])),
        "probabilities": model.predict_proba(rows[:9]),
    }
    return Trained(model, rows[:9], answers, declared)


def histograms() -> Trained:
    return of_estimator(HistGradientBoostingClassifier(max_iter=10))


def lightgbm() -> Trained:
    from lightgbm import LGBMClassifier

    return of_estimator(LGBMClassifier(n_estimators=10, verbose=-1), input_type=np.float64)


def catboost() -> Trained:
    from catboost import CatBoostClassifier

    return of_estimator(CatBoostClassifier(iterations=10, verbose=False, allow_writing_files=False))


def xgboost() -> Trained:
    import xgboost

    model = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(ROWS, CANCER.target), 10)
    return Trained(model, ROWS[:9], model.predict(xgboost.DMatrix(ROWS[:9])), {})


def pytorch() -> Trained:
    import torch

    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.joined = torch.nn.Linear(20, 3)

        def forward(self, left: Any, right: Any) -> Any:
            return {"score": self.joined(torch.cat([left, right], 1)), "sum": left.sum(1)}

    module: Any = Both()
    module.eval()
    left, right = torch.randn(9, 12), torch.randn(9, 8)
    with torch.no_grad():
        answers = {name: value.numpy() for name, value in module(left, right).items()}
    rows = {"left": left.numpy(), "right": right.numpy()}
    return Trained(module, rows, answers, {"sample": (left, right)})


def hugging_face() -> Trained:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    module: Any = BertForSequenceClassification(config)
    module.eval()
    rows = {
        "input_ids": torch.randint(0, 50, (3, 7)),
        "attention_mask": torch.ones(3, 7).long(),
        "token_type_ids": torch.zeros(3, 7).long(),
    }
    with torch.no_grad():
        answers = module(**rows).logits.numpy()
    return Trained(module, {name: value.numpy() for name, value in rows.items()}, answers, {})


def keras() -> Trained:
    import keras as framework

    layers = framework.layers
    model = framework.Sequential(
        [
            framework.Input((8, 8)),
            layers.Reshape((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    return Trained(model, IMAGES[:9], model.predict(IMAGES[:9], verbose=0), {})


def tensorflow() -> Trained:
    import tensorflow as framework

    class Product(framework.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = framework.Variable(
                np.random.default_rng(0).standard_normal((30, 2)), dtype="float32"
            )

        @framework.function(  # type: ignore[untyped-decorator]
            input_signature=[framework.TensorSpec((None, 30), "float32", name="rows")]
        )
        def __call__(self, rows: Any) -> Any:
            return framework.tanh(rows @ self.weights)

    module = Product()
    rows = ROWS[:9] / 1000
    return Trained(module, rows, module(rows).numpy(), {})


def jax() -> Trained:
    import jax as framework

    weights = np.random.default_rng(0).standard_normal((30, 2)).astype(np.float32)

    def scores(weights: Any, rows: Any) -> Any:
        return framework.nn.softmax(rows @ weights)

    model = framework.jit(partial(scores, weights))
    rows = ROWS[:9] / 1000
    declared = {"input_type": np.float32, "input_shape": (None, 30)}
    return Trained(model, rows, np.asarray(model(rows)), declared)


@pytest.mark.parametrize(
    "train",
    [
        scikit_learn,
        words,
        histograms,
        xgboost,
        lightgbm,
        catboost,
        pytorch,
        hugging_face,
        keras,
        tensorflow,
        jax,
    ],
)
def test_what_is_deployed_answers_like_what_was_trained(train: Callable[[], Trained], client: Client) -> None:
    trained = train()
    deployed = client.upload(trained.model, f"family {train.__name__}", **trained.declared, progress=False)
    got = deployed.predict(trained.rows)
    expected = trained.answers
    assert isinstance(got, dict) == isinstance(expected, dict)
    for name, value in expected.items() if isinstance(expected, dict) else [("", expected)]:
        answer = got[name] if isinstance(got, dict) else got
        if value.dtype.kind == "f":
            np.testing.assert_allclose(answer, value, rtol=1e-3, atol=1e-5)
        else:
            np.testing.assert_array_equal(answer, value)
