"""Keras models and TensorFlow graphs convert to ONNX that answers the same, or are refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from modelrocket import runtime
from modelrocket.convert import Converted, Limits, convert, saved_model
from modelrocket.errors import ConversionError

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
layers = keras.layers

IMAGES = (load_digits().images / 16).astype(np.float32)[..., None]


def answers(converted: Converted, **rows: Any) -> dict[str, Any]:
    return dict(runtime.load(converted.model).run(rows))


def cnn() -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, activation="gelu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )


def test_labels_are_identical_on_all_digits() -> None:
    model = cnn()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(IMAGES[:512], load_digits().target[:512], verbose=0)
    before = [weight.copy() for weight in model.get_weights()]
    converted = convert(model)
    answer = answers(converted, modelInput=IMAGES)["modelOutput"]
    original = model.predict(IMAGES, verbose=0)
    np.testing.assert_array_equal(answer.argmax(axis=1), original.argmax(axis=1))
    np.testing.assert_allclose(answer, original, atol=1e-5)
    assert converted.framework == f"Keras {keras.__version__} on TensorFlow"
    assert all(map(np.array_equal, model.get_weights(), before))


def two(named: bool, as_dict: bool) -> Any:
    age = keras.Input((4,), name="age" if named else None)
    kind = keras.Input((3,), name="kind" if named else None)
    hidden = layers.Concatenate()([age, kind])
    price = layers.Dense(1, name="price" if named else None)(hidden)
    risk = layers.Dense(2, name="risk" if named else None)(hidden)
    if as_dict:
        return keras.Model({"a": age, "b": kind}, {"first": price, "second": risk})
    return keras.Model([age, kind], [price, risk])


@pytest.mark.parametrize(
    ("named", "as_dict", "inputs", "outputs"),
    [
        pytest.param(True, False, ["age", "kind"], ["price", "risk"], id="the owner's"),
        pytest.param(True, True, ["a", "b"], ["first", "second"], id="keys of a dict"),
        pytest.param(
            False,
            False,
            ["modelInput", "modelInput1"],
            ["modelOutput", "modelOutput1"],
            id="made up by Keras",
        ),
    ],
)
def test_inputs_and_outputs_have_names_that_stay(
    named: bool, as_dict: bool, inputs: list[str], outputs: list[str]
) -> None:
    converted = convert(two(named, as_dict))
    assert [spec.name for spec in converted.inputs] == inputs
    assert [spec.name for spec in converted.outputs] == outputs


def test_captured_constants_stay_inside_the_graph() -> None:
    """Those of Normalization are tensors that the graph captures, not variables."""
    normalisation = layers.Normalization()
    normalisation.adapt(IMAGES[:, :, 0, 0])
    converted = convert(keras.Sequential([keras.Input((8,)), normalisation, layers.Dense(2)]))
    assert [spec.name for spec in converted.inputs] == ["modelInput"]


@keras.saving.register_keras_serializable("tests")
class Scaled(layers.Layer):  # type: ignore[misc, name-defined]
    def __init__(self, by: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.by = by

    def call(self, rows: Any) -> Any:
        return rows * self.by

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "by": self.by}


def test_a_model_with_a_layer_of_its_owners_is_exported_in_a_process_of_its_own() -> None:
    model = keras.Sequential([keras.Input((4,)), Scaled(2.0), layers.Dense(2)])
    converted = convert(model, limits=Limits())
    assert converted.notes == ()
    rows = np.eye(4, dtype=np.float32)
    np.testing.assert_allclose(
        answers(converted, modelInput=rows)["modelOutput"], model.predict(rows, verbose=0), atol=1e-6
    )


def test_a_model_on_the_torch_backend_converts() -> None:
    """Keras chooses its backend when it is imported, so in another process."""
    script = (
        "import keras\n"
        "from modelrocket.convert import convert\n"
        "layers = keras.layers\n"
        "model = keras.Sequential([keras.Input((4, 4, 1)), layers.MaxPooling2D(), layers.Flatten(),\n"
        "    layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(3)])\n"
        "found = convert(model)\n"
        "print(found.framework, found.inputs[0], found.outputs[0], sep=' | ')\n"
    )
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=paths, check=False
    )
    assert done.stdout.strip().endswith("on PyTorch | float32 [*, 4, 4, 1] | float32 [*, 3]"), done.stderr


def stateful() -> Any:
    return keras.Sequential([keras.Input((3, 4), batch_size=1), layers.LSTM(2, stateful=True, name="memory")])


def words() -> Any:
    text = keras.Input((1,), dtype="string")
    return keras.Model(text, layers.StringLookup(vocabulary=["a"], name="vocabulary")(text))


@pytest.mark.parametrize(
    ("build", "why"),
    [
        pytest.param(stateful, r'"memory" \(LSTM\) keeps state', id="stateful"),
        pytest.param(words, r'"vocabulary" \(StringLookup\) looks values up', id="a table"),
        pytest.param(lambda: keras.Sequential([layers.Dense(2)]), "not built yet", id="not built"),
        pytest.param(lambda: layers.Dense(2), "part of a Keras model", id="a layer"),
    ],
)
def test_what_does_not_convert_is_refused_by_name(build: Any, why: str) -> None:
    with pytest.raises(ConversionError, match=why):
        convert(build())


class Halves(tf.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(np.eye(2, dtype=np.float32) * 3)

    @tf.function(input_signature=[tf.TensorSpec((None, 2)), tf.TensorSpec((None, 2))])  # type: ignore[untyped-decorator]
    def serve(self, upper: Any, lower: Any) -> Any:
        return {"sum": upper @ self.weights + lower, "same": tf.equal(upper, lower)}


def test_a_saved_model_answers_under_the_names_of_its_signature(tmp_path: Path) -> None:
    model = Halves()
    tf.saved_model.save(model, str(tmp_path), signatures=model.serve)
    converted = convert(saved_model.from_folder(tmp_path), limits=Limits())
    assert [note for note in converted.notes if "without limits" in note] == []
    ones = np.ones((3, 2), dtype=np.float32)
    found = answers(converted, upper=ones, lower=ones * 2)
    np.testing.assert_array_equal(found["sum"], ones * 5)
    assert not found["same"].any()


def test_a_function_of_tensorflow_needs_a_type_and_a_shape() -> None:
    function = tf.function(partial(tf.math.erfc))
    with pytest.raises(ConversionError, match="needs input_type and input_shape"):
        convert(function)
    found = answers(convert(function, np.float32, (None, 2)), modelInput=np.zeros((1, 2), np.float32))
    np.testing.assert_array_equal(found["modelOutput"], [[1, 1]])


def test_an_operation_without_a_conversion_is_told_by_name() -> None:
    with pytest.raises(ConversionError, match="does not know these operations: EagerPyFunc"):
        convert(tf.function(lambda x: tf.py_function(lambda y: y, [x], tf.float32)), np.float32, (None, 2))


def test_a_folder_that_is_no_saved_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"no saved_model\.pb"):
        saved_model.from_folder(tmp_path)
