"""Pipelines as people build them: tables of strings and numbers, texts, searches, steps within steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn import (
    calibration,
    cluster,
    compose,
    decomposition,
    ensemble,
    feature_selection,
    impute,
    kernel_approximation,
    linear_model,
    model_selection,
    naive_bayes,
    neighbors,
    pipeline,
    preprocessing,
    svm,
)
from sklearn.feature_extraction import text

from tests.matrix import sklearn_data as data
from tests.matrix.case import Trained
from tests.matrix.sklearn_answers import trained, trained_on_table

_NUMBERS, _WORDS = ["fare", "age", "siblings"], ["sex", "port"]


def _columns(numbers: Any = None, words: Any = None) -> Any:
    numbers = numbers or pipeline.make_pipeline(
        impute.SimpleImputer(strategy="median"), preprocessing.StandardScaler()
    )
    words = words or preprocessing.OneHotEncoder(handle_unknown="ignore")
    return compose.ColumnTransformer([("numbers", numbers, _NUMBERS), ("words", words, _WORDS)])


def _on_passengers(model: Any) -> Trained:
    table, survived = data.passengers()
    model.fit(table[:300], survived[:300])
    return trained_on_table(model, table, table[300:])


def _on(suited: data.Data, *steps: Any) -> Trained:
    return trained(pipeline.make_pipeline(*steps).fit(*suited.fit), suited)


def _searched() -> Trained:
    steps = pipeline.make_pipeline(_columns(), linear_model.LogisticRegression())
    grid = {"logisticregression__C": [0.1, 1.0]}
    return _on_passengers(model_selection.GridSearchCV(steps, grid, cv=3))


def _on_categorical_dtypes() -> Trained:
    table, survived = data.passengers()
    table = table.astype(dict.fromkeys(_WORDS, "category"))
    model = pipeline.make_pipeline(_columns(), linear_model.LogisticRegression())
    model.fit(table[:300], survived[:300])
    return trained_on_table(model, table, table[300:])


def _histograms_of_categories() -> Trained:
    """Columns by their dtype; some held-out rows have a port that nobody had."""
    table, survived = data.passengers()
    model = ensemble.HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=20)
    model.fit(table[:300].astype(dict.fromkeys(_WORDS, "category")), survived[:300])
    held = table[300:].reset_index(drop=True)
    held.loc[::9, "port"] = "X"
    return trained_on_table(model, table, held)


def _texts_and_numbers() -> Trained:
    import pandas

    texts = data.words()
    table = pandas.DataFrame({"review": texts.fit[0], "stars": np.arange(8.0)})
    columns = compose.ColumnTransformer(
        [("review", text.CountVectorizer(), "review"), ("stars", preprocessing.StandardScaler(), ["stars"])]
    )
    model = pipeline.make_pipeline(columns, linear_model.LogisticRegression()).fit(table, texts.fit[1])
    return trained_on_table(model, table, table)


PIPELINES: Mapping[str, Callable[[], Trained]] = {
    "scaler, PCA, SVC": lambda: _on(
        data.scaled_wine(), preprocessing.StandardScaler(), decomposition.PCA(5), svm.SVC()
    ),
    "imputer, scaler, logistic regression": lambda: _on(
        data.gaps(),
        impute.SimpleImputer(),
        preprocessing.StandardScaler(),
        linear_model.LogisticRegression(),
    ),
    "polynomial features, ridge": lambda: _on(
        data.diabetes(), preprocessing.PolynomialFeatures(2), linear_model.Ridge()
    ),
    "logarithms, ridge": lambda: _on(
        data.positive_diabetes(), preprocessing.FunctionTransformer(np.log1p), linear_model.Ridge()
    ),
    "k-best, k-nearest neighbours": lambda: _on(
        data.scaled_wine(), feature_selection.SelectKBest(k=5), neighbors.KNeighborsClassifier()
    ),
    "union of PCA and scaler, random forest": lambda: _on(
        data.wine(),
        pipeline.make_union(decomposition.PCA(3), preprocessing.MinMaxScaler()),
        ensemble.RandomForestClassifier(20, random_state=0),
    ),
    "scaler, calibrated linear SVC": lambda: _on(
        data.scaled_wine(),
        preprocessing.StandardScaler(),
        calibration.CalibratedClassifierCV(svm.LinearSVC(random_state=0)),
    ),
    "scaler, k-means": lambda: _on(
        data.scaled_wine(), preprocessing.StandardScaler(), cluster.KMeans(3, n_init=2, random_state=0)
    ),
    "scaler, isolation forest": lambda: _on(
        data.scaled_wine(), preprocessing.StandardScaler(), ensemble.IsolationForest(random_state=0)
    ),
    "quantile bins, hist gradient boosting": lambda: _on(
        data.scaled_wine(),
        preprocessing.KBinsDiscretizer(8, encode="ordinal", quantile_method="averaged_inverted_cdf"),
        ensemble.HistGradientBoostingClassifier(max_iter=10, random_state=0),
    ),
    "one-hot, logistic regression": lambda: _on(
        data.categories(),
        preprocessing.OneHotEncoder(handle_unknown="ignore"),
        linear_model.LogisticRegression(),
    ),
    "normal quantiles, ridge": lambda: _on(
        data.diabetes(),
        preprocessing.QuantileTransformer(n_quantiles=50, output_distribution="normal"),
        linear_model.Ridge(),
    ),
    "RBF sampler, SGD": lambda: _on(
        data.scaled_wine(),
        kernel_approximation.RBFSampler(random_state=0),
        linear_model.SGDClassifier(random_state=0),
    ),
    "word counts, naive Bayes": lambda: _on(
        data.words(), text.CountVectorizer(), naive_bayes.MultinomialNB()
    ),
    "TF-IDF, logistic regression": lambda: _on(
        data.words(), text.TfidfVectorizer(), linear_model.LogisticRegression()
    ),
    "TF-IDF of word pairs, ridge": lambda: _on(
        data.words(), text.TfidfVectorizer(ngram_range=(1, 2)), linear_model.Ridge()
    ),
    "TF-IDF of characters, logistic regression": lambda: _on(
        data.words(), text.TfidfVectorizer(analyzer="char"), linear_model.LogisticRegression()
    ),
    "table: columns, logistic regression": lambda: _on_passengers(
        pipeline.make_pipeline(_columns(), linear_model.LogisticRegression())
    ),
    "table: columns, random forest": lambda: _on_passengers(
        pipeline.make_pipeline(_columns(), ensemble.RandomForestClassifier(30, random_state=0))
    ),
    "table: ordinal columns, hist gradient boosting": lambda: _on_passengers(
        pipeline.make_pipeline(
            _columns("passthrough", preprocessing.OrdinalEncoder()),
            ensemble.HistGradientBoostingClassifier(max_iter=20, random_state=0),
        )
    ),
    "table: ordinal columns, gradient boosting": lambda: _on_passengers(
        pipeline.make_pipeline(
            _columns(impute.SimpleImputer(), preprocessing.OrdinalEncoder()),
            ensemble.GradientBoostingClassifier(n_estimators=20, random_state=0),
        )
    ),
    "table: hist gradient boosting of categories": _histograms_of_categories,
    "table: KNN imputer, logistic regression": lambda: _on_passengers(
        pipeline.make_pipeline(_columns(impute.KNNImputer()), linear_model.LogisticRegression(max_iter=1000))
    ),
    "table: grid search over a pipeline": _searched,
    "table: category columns": _on_categorical_dtypes,
    "table: texts and numbers": _texts_and_numbers,
    "table: columns alone": lambda: _on_passengers(_columns()),
    "table: columns, votes of two": lambda: _on_passengers(
        pipeline.make_pipeline(
            _columns(),
            ensemble.VotingClassifier(
                [
                    ("logistic", linear_model.LogisticRegression()),
                    ("forest", ensemble.RandomForestClassifier(10, random_state=0)),
                ],
                voting="soft",
            ),
        )
    ),
}
