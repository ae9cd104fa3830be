"""scikit-learn models convert to ONNX that answers the same, or are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import DBSCAN, KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    ExpSineSquared,
    Matern,
    PairwiseKernel,
    RationalQuadratic,
    WhiteKernel,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import (
    KNeighborsClassifier,
    NearestNeighbors,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from modelrocket import runtime
from modelrocket.convert import Converted, convert
from modelrocket.convert.interface import Declared
from modelrocket.convert.scikit_learn import source
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.inputs import Values
from modelrocket.tensors import Array, TensorSpec
from tests.matrix import scikit_learn, sklearn_data
from tests.matrix.results import Outcome
from tests.matrix.trial import tried

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
FURTHER = {
    **dict.fromkeys(("logistic regression", "random forest", "scaler and SVC"), ("probabilities",)),
    "outlier detector": ("scores",),
}


@pytest.mark.parametrize("name", labelling)
@pytest.mark.filterwarnings("ignore")
def test_labels_are_identical_on_the_whole_test_set(name: str) -> None:
    model = labelling[name].fit(TRAIN_X, TRAIN_Y)
    converted = convert(model, np.float32, (None, 64))
    answers = run(converted, TEST_X)
    np.testing.assert_array_equal(answers["modelOutput"], model.predict(TEST_X))
    assert list(answers) == ["modelOutput", *FURTHER.get(name, ())]
    if "probabilities" in answers:
        np.testing.assert_allclose(answers["probabilities"], model.predict_proba(TEST_X), atol=1e-4)
    if "scores" in answers:
        np.testing.assert_allclose(answers["scores"], model.decision_function(TEST_X), atol=1e-5)
    assert [spec.name for spec in converted.inputs] == ["modelInput"]
    assert converted.agreement is not None


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (TRAIN_Y, "int64"),
        (WORDS[TRAIN_Y], "string"),
        (TRAIN_Y > 4, "bool"),
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
def test_several_targets_have_their_labels_in_one_matrix_and_probabilities_each() -> None:
    model = MultiOutputClassifier(LogisticRegression(max_iter=20)).fit(TRAIN_X, np.c_[TRAIN_Y, TRAIN_Y > 6])
    answers = run(convert(model, np.float32, (None, 64)), TEST_X)
    assert list(answers) == ["modelOutput", "probabilities", "probabilities1"]
    np.testing.assert_array_equal(answers["modelOutput"], model.predict(TEST_X))
    for name, expected in zip(["probabilities", "probabilities1"], model.predict_proba(TEST_X), strict=True):
        np.testing.assert_allclose(answers[name], expected, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float64, "int64", int])
@pytest.mark.filterwarnings("ignore")
def test_the_declared_type_is_the_inputs_type(dtype: Any) -> None:
    model = LogisticRegression(max_iter=20).fit(TRAIN_X, TRAIN_Y)
    converted = convert(model, dtype, (None, 64))
    assert converted.inputs[0].dtype == np.dtype(dtype).name
    np.testing.assert_array_equal(
        run(converted, TEST_X.astype(dtype))["modelOutput"], model.predict(TEST_X.astype(dtype))
    )


def noted(converted: Converted) -> str:
    assert converted.source is not None
    return " ".join(converted.source.notes)


@pytest.mark.filterwarnings("ignore")
def test_type_and_shape_are_known_to_a_fitted_model_and_its_type_is_told() -> None:
    model = LogisticRegression(max_iter=20).fit(TRAIN_X, TRAIN_Y)
    converted = convert(model)
    assert converted.inputs == (TensorSpec("modelInput", "float32", (None, 64)),)
    assert "float32: nothing else was said with input_type=" in noted(converted)
    assert "computed with as float32" in noted(convert(model, np.int64))
    assert noted(convert(model, np.float32)) == ""


@pytest.mark.filterwarnings("ignore")
def test_a_conversion_that_is_silently_wrong_is_refused() -> None:
    model = LogisticRegression(max_iter=20).fit(TRAIN_X, TRAIN_Y)
    model.predict = lambda rows: (model.decision_function(rows).argmax(axis=1) + 1) % 10
    with pytest.raises(ConversionError, match=r"the original says \d, it says \d") as error:
        convert(model, np.float32)
    assert "not uploaded" in error.value.hint


def test_what_float32_is_too_coarse_for_is_computed_in_float64() -> None:
    suited = sklearn_data.scaled_wine()
    model = GaussianNB().fit(*suited.fit)
    converted = convert(model)
    assert converted.inputs[0].dtype == "float32"
    assert converted.producer["exporter"].endswith("in float64")
    answers = run(converted, suited.rows)
    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(suited.rows), atol=1e-6)


@pytest.mark.parametrize("method", ["yeo-johnson", "box-cox"])
def test_powers_of_what_is_missing_are_missing(method: str) -> None:
    rows = np.abs(TRAIN_X[:, 2:6]) + 0.5
    model = PowerTransformer(method=method).fit(rows)
    model.lambdas_[:2] = 0, 2
    asked = rows if method == "box-cox" else rows - 4
    asked[:3] = np.nan
    converted = convert(model)
    np.testing.assert_allclose(
        run(converted, asked)["modelOutput"], model.transform(asked), rtol=1e-4, atol=1e-5
    )
    assert converted.agreement is not None
    outcomes = {one.kind: (one.judged, one.outcome.value) for one in converted.agreement.kinds}
    assert outcomes["NaN"] == (True, "agrees")


def test_rows_at_the_edges_of_bins_fall_on_the_same_side() -> None:
    suited = sklearn_data.wine()
    model = KBinsDiscretizer(5, quantile_method="averaged_inverted_cdf").fit(suited.fit[0])
    answers = run(convert(model), suited.rows)
    np.testing.assert_array_equal(answers["modelOutput"], model.transform(suited.rows).toarray())


# Tables, texts


def passengers() -> tuple[Any, Array]:
    table, survived = sklearn_data.passengers()
    return table[["sex", "fare", "port", "siblings"]].assign(unused="x"), survived


def columns() -> ColumnTransformer:
    return ColumnTransformer(
        [
            ("words", OneHotEncoder(handle_unknown="ignore"), ["sex", "port"]),
            ("fare", StandardScaler(), ["fare"]),
        ],
        remainder="drop",
    )


def by_column(table: Any) -> dict[str, Array]:
    dtypes = {"fare": np.float32, "siblings": np.float32}
    return {name: table[[name]].to_numpy(dtype=dtypes.get(name, object)) for name in ("sex", "fare", "port")}


def test_each_column_of_a_table_is_an_input_and_those_dropped_are_none() -> None:
    table, survived = passengers()
    model = make_pipeline(columns(), LogisticRegression()).fit(table, survived)
    converted = convert(model, sample=table.head(40))
    assert sorted((spec.name, spec.dtype, spec.shape) for spec in converted.inputs) == [
        ("fare", "float32", (None, 1)),
        ("port", "string", (None, 1)),
        ("sex", "string", (None, 1)),
    ]
    rows = table.astype({"fare": np.float32})
    answers = runtime.load(converted.model).run(by_column(rows))
    np.testing.assert_array_equal(answers["modelOutput"], model.predict(rows))
    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(rows), atol=1e-5)
    said = {"sex": str, "fare": np.float32, "port": str}
    assert convert(model, said).model == converted.model


def test_whole_numbers_of_a_table_are_cast_and_it_is_told() -> None:
    table, survived = passengers()
    steps = ColumnTransformer([("numbers", StandardScaler(), ["fare", "siblings"])])
    model = make_pipeline(steps, LogisticRegression()).fit(table, survived)
    converted = convert(model, sample=table)
    assert {spec.dtype for spec in converted.inputs} == {"float32"}
    assert 'columns "siblings" are taken as float32' in noted(converted)


def test_a_table_says_what_is_needed_of_it() -> None:
    table, survived = passengers()
    model = make_pipeline(columns(), LogisticRegression()).fit(table, survived)
    with pytest.raises(ConversionError, match=r'(?s)"sex", "fare", "port" are.*sample=X_train\.head\(100\)'):
        convert(model)
    with pytest.raises(ConversionError, match=r'"fare" is\.'):
        convert(model, {"sex": str, "port": str})
    gap = table.head(3).assign(sex=["male", None, "male"])
    with pytest.raises(ConversionError, match=r'(?s)nan at 1 .*"sex" is a string.*fillna'):
        convert(model, sample=gap)


def test_texts_are_one_string_for_each_row() -> None:
    suited = sklearn_data.words()
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(*suited.fit)
    converted = convert(model)
    assert converted.inputs == (TensorSpec("modelInput", "string", (None,)),)
    np.testing.assert_array_equal(run(converted, suited.rows)["modelOutput"], model.predict(suited.rows))
    with pytest.raises(ConversionError, match="takes texts, one for each row"):
        convert(model, np.float32, (None, 3))


# What the model knows of its input


def values(model: Any, sample: Any = None) -> Mapping[str, Values]:
    return source(model, Declared(sample=sample)).inputs.values


def test_categories_splits_and_gaps_are_known() -> None:
    table, survived = sklearn_data.passengers()
    encoder = ColumnTransformer(
        [("words", OrdinalEncoder(), ["sex"]), ("rest", "passthrough", ["fare"])], remainder="drop"
    )
    model = make_pipeline(encoder, DecisionTreeClassifier(max_depth=3, random_state=0)).fit(table, survived)
    found = values(model, table)
    assert [list(column) for column in found["sex"].choices] == [["female", "male"]]
    tree = model[-1].tree_
    splits = tree.threshold[(tree.children_left >= 0) & (tree.feature == 1)]
    np.testing.assert_array_equal(found["fare"].thresholds[0], np.unique(splits))
    scaled = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)).fit(TRAIN_X, TRAIN_Y)
    assert values(scaled)["modelInput"].thresholds == {}
    assert values(make_pipeline(SimpleImputer(), Ridge()).fit(TRAIN_X, TRAIN_Y))["modelInput"].missing
    assert not values(Ridge().fit(TRAIN_X, TRAIN_Y))["modelInput"].missing


def test_describing_a_model_does_not_import_its_exporter() -> None:
    """It is done twice, here and in the process that exports."""
    script = (
        "import sys, numpy as np\n"
        "from sklearn.linear_model import Ridge\n"
        "from modelrocket.convert.interface import Declared\n"
        "from modelrocket.convert.scikit_learn import source\n"
        "source(Ridge().fit(np.eye(3), np.arange(3)), Declared())\n"
        "print([name for name in ('skl2onnx', 'onnx', 'onnxruntime') if name in sys.modules])\n"
    )
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]}
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("step", "told"), [(PCA(2), "Its trees split what PCA computes"), (OneHotEncoder(), "")]
)
def test_trees_behind_arithmetic_ask_for_a_sample(step: Any, told: str) -> None:
    rows = TRAIN_X[:50, 20:22]
    model = make_pipeline(step, DecisionTreeClassifier(max_depth=3)).fit(rows, TRAIN_Y[:50])
    assert "".join(source(model, Declared(np.float32)).notes).startswith(told)
    assert bool(source(model, Declared(np.float32)).notes) is bool(told)
    assert source(model, Declared(np.float32, sample=rows)).notes == ()


def test_columns_behind_a_step_of_unknown_width_are_unknown() -> None:
    model = make_pipeline(FunctionTransformer(np.log1p), SelectKBest(k=8), LogisticRegression(max_iter=20))
    with pytest.warns(Warning):
        model.fit(TRAIN_X, TRAIN_Y)
    converted = convert(model)
    np.testing.assert_array_equal(run(converted, TEST_X)["modelOutput"], model.predict(TEST_X))


# Shims


def test_the_exporter_and_the_model_are_left_as_they_were() -> None:
    from skl2onnx import _parse, _supported_operators
    from skl2onnx.common import _registration
    from skl2onnx.operator_converters import random_forest

    def state() -> list[Any]:
        return [
            dict(_registration._converter_pool),
            dict(_supported_operators.sklearn_operator_name_map),
            dict(_parse.sklearn_parsers_map),
            list(_supported_operators.sklearn_classifier_list),
            random_forest.add_tree_to_attribute_pairs,
        ]

    before = state()
    model = NearestNeighbors(n_neighbors=3).fit(TRAIN_X)
    convert(model)
    assert model.radius == 1.0
    assert state() == before


def test_the_exporter_is_left_as_it_was_where_it_is_of_another_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from skl2onnx.operator_converters import decision_tree, random_forest

    before = decision_tree.add_tree_to_attribute_pairs
    monkeypatch.delattr(random_forest, "add_tree_to_attribute_pairs")
    with pytest.raises(ConversionError, match="add_tree_to_attribute_pairs"):
        convert(DecisionTreeClassifier(max_depth=2).fit(TRAIN_X, TRAIN_Y))
    assert decision_tree.add_tree_to_attribute_pairs is before


def test_categories_and_gaps_in_histograms_of_boosted_trees_go_where_they_went() -> None:
    random = np.random.default_rng(0)
    rows = np.c_[random.integers(0, 6, 600) * 3.0, random.standard_normal((600, 2))]
    rows[random.random(rows.shape) < 0.1] = np.nan
    labels = np.isin(rows[:, 0], (3, 9)) ^ (rows[:, 1] > 0)
    model = HistGradientBoostingClassifier(max_iter=20, categorical_features=[0], random_state=0).fit(
        rows, labels
    )
    asked = rows.astype(np.float32)
    asked[:50, 0] = random.choice([-1, 0.5, 4, 100, np.nan], 50)  # never seen
    answers = run(convert(model), asked)
    np.testing.assert_array_equal(answers["modelOutput"], model.predict(asked))
    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(asked), atol=1e-5)


def test_gaps_go_to_the_side_of_a_tree_that_they_went_to() -> None:
    rows = np.where(np.random.default_rng(0).random(TRAIN_X.shape) < 0.2, np.nan, TRAIN_X)
    model = RandomForestClassifier(10, random_state=0).fit(rows, TRAIN_Y)
    asked = rows.astype(np.float32)
    answers = run(convert(model), asked)
    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(asked), atol=1e-5)


WINES, CULTIVARS = load_wine(return_X_y=True)
SCALED = StandardScaler().fit_transform(WINES)
SHUFFLED = np.random.default_rng(0).permutation(len(WINES))
LEARNT, BEYOND = SHUFFLED[:120], np.concatenate([SCALED, SCALED * 1.5, SCALED * 1e3]).astype(np.float32)


@pytest.mark.parametrize("load", [load_wine, load_breast_cancer, load_diabetes])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_quantiles_of_a_normal_distribution_are_as_precise_as_its_own(load: Any, dtype: type) -> None:
    rows, _ = load(return_X_y=True)
    model = QuantileTransformer(n_quantiles=50, output_distribution="normal").fit(rows)
    at = model.quantiles_
    near = [at, at - 5e-8, at + 1e-7, np.nextafter(at, np.inf), at * (1 - 1e-7), -at, 10 * at]
    asked: Array = np.concatenate([rows, *near]).astype(dtype)
    asked[::17, 0] = np.nan
    answers = run(convert(model, dtype, sample=rows), asked)
    np.testing.assert_allclose(answers["modelOutput"], model.transform(asked), rtol=1e-12, atol=1e-14)


kernels = {
    "none": None,
    "RBF": 2.0 * RBF(2.0) + WhiteKernel(0.1),
    "RBF by column": RBF(np.linspace(1.0, 3.0, 13)),
    "Matern 0.5": Matern(nu=0.5),
    "Matern 1.5": Matern(2.0, nu=1.5),
    "Matern 2.5": Matern(2.0, nu=2.5),
    "Matern of any": Matern(2.0, nu=np.inf),
    "rational quadratic": RationalQuadratic(2.0, 0.7),
    "periodic": ExpSineSquared(5.0, 4.0) + WhiteKernel(10.0),
    "dot product": DotProduct() ** 2 + ConstantKernel(0.5),
    "pairs, rbf": PairwiseKernel(metric="rbf", gamma=0.1),
    "pairs, polynomial": PairwiseKernel(metric="polynomial", gamma=0.1),
}


THREE, TWO = CULTIVARS, np.array(["red", "white"])[CULTIVARS // 2]


@pytest.mark.parametrize(
    ("name", "labels"),
    [*((name, TWO) for name in kernels), *((name, THREE) for name in ("none", "RBF", "Matern 1.5"))],
)
@pytest.mark.filterwarnings("ignore")
def test_gaussian_processes_classify_as_they_do(name: str, labels: Array) -> None:
    model = GaussianProcessClassifier(kernels[name], optimizer=None).fit(SCALED[LEARNT], labels[LEARNT])
    answers = run(convert(model, np.float32, sample=SCALED), BEYOND)
    np.testing.assert_array_equal(answers["modelOutput"], model.predict(BEYOND))
    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(BEYOND), atol=1e-6)


@pytest.mark.parametrize("name", kernels)
@pytest.mark.filterwarnings("ignore")
def test_gaussian_processes_regress_as_they_do(name: str) -> None:
    model = GaussianProcessRegressor(kernels[name], alpha=0.1, optimizer=None, normalize_y=True)
    model.fit(SCALED[LEARNT], np.c_[CULTIVARS, WINES[:, 0]][LEARNT])
    expected = model.predict(BEYOND)
    answers = run(convert(model, np.float64, sample=SCALED), BEYOND.astype(np.float64))
    np.testing.assert_allclose(answers["modelOutput"], expected, rtol=1e-5, atol=1e-9)


NEIGHBOURS: dict[str, dict[str, Any]] = {
    "usual": {},
    "manhattan": {"p": 1, "radius": 6.0},
    "chebyshev": {"metric": "chebyshev", "radius": 1.5},
    "cubes": {"p": 3, "radius": 2.0},
    "all compared": {"algorithm": "brute"},
}


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("outlier", ["most_frequent", -7])
@pytest.mark.parametrize("name", NEIGHBOURS)
@pytest.mark.filterwarnings("ignore")
def test_neighbours_within_a_radius_vote_as_they_do(name: str, weights: str, outlier: Any) -> None:
    said = {"radius": 3.0, "weights": weights, "outlier_label": outlier} | NEIGHBOURS[name]
    doubled = np.concatenate([LEARNT, LEARNT[:40]])  # the same rows with other labels
    labels = np.concatenate([CULTIVARS[LEARNT], (CULTIVARS[LEARNT[:40]] + 1) % 3])
    model = RadiusNeighborsClassifier(**said).fit(SCALED[doubled].astype(np.float32), labels)
    answers = run(convert(model, np.float32, sample=SCALED), BEYOND)
    expected = model.predict(BEYOND)
    assert outlier == "most_frequent" or (expected == outlier).any()
    np.testing.assert_array_equal(answers["modelOutput"], expected)
    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(BEYOND), atol=1e-6)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.filterwarnings("ignore")
def test_a_neighbour_at_the_radius_itself_counts(weights: str) -> None:
    known = np.array([[0, 0], [3, 4], [6, 8], [6, 8]])
    model = RadiusNeighborsRegressor(5.0, weights=weights).fit(known, [1.0, 2.0, 4.0, 8.0])
    asked = np.array([[0, 0], [3, 4], [6, 8], [9, 12], [0, -5], [0, -5.000001]], np.float32)
    answers = run(convert(model, np.float32, sample=known), asked)
    np.testing.assert_allclose(answers["modelOutput"], model.predict(asked), rtol=1e-6)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("targets", [WINES[:, 0], WINES[:, :2], CULTIVARS], ids=["one", "two", "integers"])
@pytest.mark.filterwarnings("ignore")
def test_neighbours_within_a_radius_have_the_mean_that_they_have(targets: Array, weights: str) -> None:
    model = RadiusNeighborsRegressor(3.0, weights=weights).fit(SCALED[LEARNT], targets[LEARNT])
    answers = run(convert(model, np.float32, sample=SCALED), BEYOND)
    np.testing.assert_allclose(answers["modelOutput"], model.predict(BEYOND), rtol=1e-5, atol=1e-6)


PINNED = (
    "FixedThresholdClassifier",
    "HistGradientBoostingRegressor",
    "KNNImputer",
    "NearestNeighbors",
    "QuantileTransformer",
    "TransformedTargetRegressor",
    "TunedThresholdClassifierCV",
    "table: ordinal columns, hist gradient boosting",
)


@pytest.mark.parametrize("name", PINNED)
def test_models_of_the_conformance_table_stay_converted(name: str) -> None:
    case = next(case for case in scikit_learn.cases() if case.name == name)
    assert tried(case).outcome is Outcome.OK


# What does not convert


class Unheard(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    def fit(self, rows: Array, labels: Array) -> Unheard:
        self.classes_ = np.unique(labels)
        return self

    def predict(self, rows: Array) -> Array:
        return np.zeros(len(rows), dtype=np.int64)


class Kin(LinearRegression):  # type: ignore[misc]
    pass


def _mine(rows: Array) -> Array:
    return rows + 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "input_type", "input_shape", "message"),
    [
        pytest.param(
            Unheard().fit(TRAIN_X, TRAIN_Y),
            None,
            None,
            r'needs input_type and input_shape:.*\n.*upload\(model, "name", np.float32, \(None, 64\)\)',
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
            r"skl2onnx 1\.\S+ does not know Unheard\.\nReplace it by an estimator that converts",
            id="no converter",
        ),
        pytest.param(
            make_pipeline(StandardScaler(), Unheard()).fit(TRAIN_X, TRAIN_Y),
            None,
            None,
            'does not know Unheard, the step "unheard" of the model',
            id="no converter of a step",
        ),
        pytest.param(
            Kin().fit(TRAIN_X, TRAIN_Y),
            None,
            None,
            "does not know Kin. It knows LinearRegression, which this one is based on",
            id="a class of one's own",
        ),
        pytest.param(
            make_pipeline(FunctionTransformer(_mine), LinearRegression()).fit(TRAIN_X, TRAIN_Y),
            None,
            None,
            "FunctionTransformer calls _mine, of which only Python knows(.*\n)*.*np.log1p",
            id="a function of one's own",
        ),
        pytest.param(
            DBSCAN().fit(TRAIN_X[:20]), None, None, "DBSCAN speaks only of the rows that", id="no predict"
        ),
        pytest.param(
            GaussianProcessRegressor(Matern(nu=3.3)).fit(TRAIN_X[:40], TRAIN_Y[:40]),
            None,
            None,
            r"Matern\(nu=3\.3\) of a Gaussian process does not convert.\n.*ConstantKernel, DotProduct",
            id="a kernel without a form",
        ),
        pytest.param(
            GaussianProcessClassifier(multi_class="one_vs_one").fit(TRAIN_X[:40], TRAIN_Y[:40]),
            None,
            None,
            "one_vs_one multi-class mode does not support predicting probability estimates",
            id="a Gaussian process without probabilities",
        ),
        pytest.param(
            RadiusNeighborsClassifier(1e6).fit(TRAIN_X, TRAIN_Y),
            None,
            None,
            'without an outlier label refuses rows(.|\n)*outlier_label="most_frequent"',
            id="neighbours that may be none",
        ),
        pytest.param(
            RadiusNeighborsRegressor(500.0, metric="canberra").fit(TRAIN_X, TRAIN_Y),
            None,
            None,
            r"RadiusNeighborsRegressor\(metric='canberra'\) does not convert.\n.*euclidean, manhattan",
            id="a metric without a form",
        ),
        pytest.param(
            KNeighborsClassifier(weights=_mine).fit(TRAIN_X, TRAIN_Y),
            None,
            None,
            r"skl2onnx \S+ does not convert KNeighborsClassifier \(scikit-learn 1\.",
            id="the exporter's own refusal",
        ),
    ],
)
def test_what_cannot_be_converted_says_what_to_do(
    model: Any, input_type: Any, input_shape: Any, message: str
) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(model, input_type, input_shape)


@pytest.mark.parametrize("thing", [object(), {"weights": [1]}])
def test_an_unknown_kind_of_model_is_pointed_to_onnx(thing: object) -> None:
    with pytest.raises(UnsupportedModel, match=r"model\.onnx"):
        convert(thing, np.float32, (None, 64))
