"""scikit-learn models convert to ONNX that answers the same, or are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_classification
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor, IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import TunedThresholdClassifierCV, train_test_split
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from modelrocket import runtime
from modelrocket.convert import Converted, convert
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.tensors import Array

PIXELS, DIGITS = load_digits(return_X_y=True)
TRAIN_X, TEST_X, TRAIN_Y, TEST_Y = train_test_split(
    PIXELS.astype(np.float32), DIGITS, test_size=0.3, random_state=0
)
WORDS = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])


def run(converted: Converted, rows: Array) -> dict[str, Array]:
    return runtime.load(converted.model).run({"modelInput": rows})


labelling = {
    "logistic regression": LogisticRegression(max_iter=100),
    "random forest": RandomForestClassifier(20, random_state=0),
    "scaler and SVC": make_pipeline(StandardScaler(), SVC(probability=True, random_state=0)),
    "k-means": KMeans(10, n_init=1, random_state=0),
    "no probabilities": LinearSVC(random_state=0),
    "outlier detector": IsolationForest(n_estimators=10, random_state=0),
}


@pytest.mark.parametrize("name", labelling)
@pytest.mark.filterwarnings("ignore")
def test_labels_are_identical_on_the_whole_test_set(name: str) -> None:
    model = labelling[name].fit(TRAIN_X, TRAIN_Y)
    converted = convert(model, np.float32, (None, 64))
    answers = run(converted, TEST_X)
    np.testing.assert_array_equal(answers["modelOutput"], model.predict(TEST_X))
    assert list(answers) == ["modelOutput", "probabilities"][: 1 + hasattr(model, "predict_proba")]
    if "probabilities" in answers:
        np.testing.assert_allclose(answers["probabilities"], model.predict_proba(TEST_X), atol=1e-4)
    assert [spec.name for spec in converted.inputs] == ["modelInput"]
    assert converted.agreement is not None


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (TRAIN_Y, "int64"),
        (WORDS[TRAIN_Y], "string"),
        (TRAIN_Y > 4, "int64"),
        (TRAIN_Y.astype(float), "int64"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_labels_of_every_kind_are_what_predict_returns(labels: Array, dtype: str) -> None:
    model = LogisticRegression(max_iter=20).fit(TRAIN_X, labels)
    converted = convert(model, np.float32, (None, 64))
    assert converted.outputs[0].dtype == dtype
    np.testing.assert_array_equal(run(converted, TEST_X)["modelOutput"], model.predict(TEST_X))


numbers = {
    "linear": (LinearRegression(), TRAIN_Y),
    "two targets": (Ridge(), np.c_[TRAIN_Y, -TRAIN_Y]),
    "boosted trees": (GradientBoostingRegressor(n_estimators=10, random_state=0), TRAIN_Y),
}


@pytest.mark.parametrize("name", numbers)
def test_regressors_give_the_shape_and_values_of_predict(name: str) -> None:
    model, targets = numbers[name]
    model.fit(TRAIN_X, targets)
    answers = run(convert(model, np.float32, (None, 64)), TEST_X)
    assert list(answers) == ["modelOutput"]
    assert answers["modelOutput"].shape == model.predict(TEST_X).shape
    np.testing.assert_allclose(answers["modelOutput"], model.predict(TEST_X), rtol=1e-4, atol=1e-4)


def test_transformers_give_what_transform_returns() -> None:
    model = PCA(3, random_state=0).fit(TRAIN_X)
    answers = run(convert(model, "float32", (None, 64)), TEST_X)
    np.testing.assert_allclose(answers["modelOutput"], model.transform(TEST_X), rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_several_labels_per_row_are_one_matrix() -> None:
    model = MultiOutputClassifier(LogisticRegression(max_iter=20)).fit(
        TRAIN_X, np.c_[TRAIN_Y > 4, TRAIN_Y > 6]
    )
    answers = run(convert(model, np.float32, (None, 64)), TEST_X)
    np.testing.assert_array_equal(answers["modelOutput"], model.predict(TEST_X))


@pytest.mark.parametrize("dtype", [np.float64, "int64", int])
@pytest.mark.filterwarnings("ignore")
def test_the_declared_type_is_the_inputs_type(dtype: Any) -> None:
    model = LogisticRegression(max_iter=20).fit(TRAIN_X, TRAIN_Y)
    converted = convert(model, dtype, (None, 64))
    assert converted.inputs[0].dtype == np.dtype(dtype).name
    np.testing.assert_array_equal(
        run(converted, TEST_X.astype(dtype))["modelOutput"], model.predict(TEST_X.astype(dtype))
    )


@pytest.mark.filterwarnings("ignore")
def test_the_shape_is_known_to_a_fitted_model() -> None:
    model = LogisticRegression(max_iter=20).fit(TRAIN_X, TRAIN_Y)
    assert convert(model, np.float32).inputs[0].shape == (None, 64)


@pytest.mark.parametrize("seed", range(4))
def test_a_conversion_that_is_silently_wrong_is_refused(seed: int) -> None:
    rows, labels = make_classification(400, 10, weights=[0.8], flip_y=0.1, random_state=seed)
    model = TunedThresholdClassifierCV(LogisticRegression(), scoring="balanced_accuracy").fit(rows, labels)
    with pytest.raises(
        ConversionError, match=r"rows differ; first at .* the original says \d, it says \d"
    ) as error:
        convert(model, np.float32, (None, 10))
    assert "not uploaded" in error.value.hint


class Unheard(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    def fit(self, rows: Array, labels: Array) -> Unheard:
        self.classes_ = np.unique(labels)
        return self

    def predict(self, rows: Array) -> Array:
        return np.zeros(len(rows), dtype=np.int64)


@pytest.mark.parametrize(
    ("model", "input_type", "input_shape", "message"),
    [
        pytest.param(
            LinearRegression().fit(TRAIN_X, TRAIN_Y),
            None,
            None,
            r'needs input_type:.*\n.*upload\(model, "name", np.float32, \(None, 64\)\)',
            id="no type",
        ),
        pytest.param(
            LinearRegression().fit(TRAIN_X, TRAIN_Y),
            np.float32,
            (None, 63),
            r"\(None, 63\) does not fit: the model was fitted on 64 features.\n.*\(None, 64\)",
            id="wrong number of features",
        ),
        pytest.param(
            LinearRegression().fit(TRAIN_X, TRAIN_Y),
            np.float32,
            (1, 64),
            r"\(1, 64\) must be a tuple that starts with None",
            id="fixed batch",
        ),
        pytest.param(
            LinearRegression().fit(TRAIN_X, TRAIN_Y), "complex64", None, "no tensor type", id="no such type"
        ),
        pytest.param(LinearRegression(), np.float32, (None, 64), "not fitted yet", id="not fitted"),
        pytest.param(
            Unheard().fit(TRAIN_X, TRAIN_Y),
            np.float32,
            (None, 64),
            r"skl2onnx .* does not convert this model \(scikit-learn .*\n(.*\n)*Try a simpler",
            id="no converter",
        ),
    ],
)
def test_what_cannot_be_converted_says_what_to_do(
    model: Any, input_type: Any, input_shape: Any, message: str
) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(model, input_type, input_shape)


@pytest.mark.parametrize("thing", [object(), {"weights": [1]}, lambda rows: rows])
def test_an_unknown_kind_of_model_is_pointed_to_onnx(thing: object) -> None:
    with pytest.raises(UnsupportedModel, match=r"model\.onnx"):
        convert(thing, np.float32, (None, 64))
