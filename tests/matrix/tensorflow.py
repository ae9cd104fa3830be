"""TensorFlow SavedModels, modules and functions (best effort).

A SavedModel is written, and loaded again as its owner would.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from modelrocket.tensors import Array
from tests.matrix.case import Case, Trained
from tests.matrix.digits import FLAT, IMAGES

PACKAGES = ("tensorflow-cpu", "keras", "tf2onnx")
_HELD_OUT = 64
_WEIGHTS = np.random.default_rng(0).standard_normal((64, 10)).astype(np.float32) / 8


def cases() -> list[Case]:
    return [
        Case(name, kind, partial(_case, build), expected)
        for name, kind, build, expected in (
            ("SavedModel of a module", "classifier", _saved_module, ""),
            ("SavedModel of a Keras model", "classifier", _saved_keras, ""),
            ("SavedModel of two inputs and two outputs", "classifier", _saved_two, ""),
            ("tf.Module whose __call__ is a tf.function", "classifier", _module, ""),
            ("tf.Module whose __call__ is Python", "classifier", _plain_module, ""),
            ("tf.function of two outputs", "classifier", _function, ""),
            ("tf.function with a loop", "regressor", _loop, ""),
            ("SavedModel that looks words up", "classifier", _words, "tables do not convert"),
            ("tf.function that calls Python", "regressor", _python, "Python does not convert"),
        )
    ]


def _case(build: Callable[[Any], Trained]) -> Trained:
    os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return build(import_module("tensorflow"))


def _single(model: Any, ask: Callable[[Array], Any], *, known: bool = False) -> Trained:
    rows = FLAT[-_HELD_OUT:]
    return Trained(
        model,
        None if known else np.float32,
        None if known else (None, 64),
        None,
        {"modelInput": rows},
        lambda: {"modelOutput": ask(rows).numpy()},
    )


def _linear(tf: Any) -> Any:
    class Linear(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(_WEIGHTS)

        @tf.function(input_signature=[tf.TensorSpec((None, 64), tf.float32)])  # type: ignore[untyped-decorator]
        def __call__(self, rows: Any) -> Any:
            return tf.nn.softmax(rows @ self.weights)

    return Linear()


def _reloaded(tf: Any, model: Any, **said: Any) -> Any:
    folder = tempfile.mkdtemp()
    tf.saved_model.save(model, folder, **said)
    return tf.saved_model.load(folder)


def _saved_module(tf: Any) -> Trained:
    model = _linear(tf)
    return _single(_reloaded(tf, model, signatures=model.__call__), model, known=True)


def _module(tf: Any) -> Trained:
    model = _linear(tf)
    return _single(model, model, known=True)


def _saved_keras(tf: Any) -> Trained:
    keras = import_module("keras")
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    folder = tempfile.mkdtemp()
    model.export(folder, verbose=False)
    rows = IMAGES[-_HELD_OUT:]
    return Trained(
        tf.saved_model.load(folder),
        None,
        None,
        None,
        {"modelInput": rows},
        lambda: {"modelOutput": model.predict(rows, verbose=0)},
    )


def _saved_two(tf: Any) -> Trained:
    half = tf.TensorSpec((None, 32), tf.float32)

    class Halves(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(_WEIGHTS[:32])

        @tf.function(input_signature=[half, half])  # type: ignore[untyped-decorator]
        def serve(self, upper: Any, lower: Any) -> Any:
            scores = (upper - lower) @ self.weights
            return {"digit": tf.argmax(scores, 1), "ink": tf.reduce_sum(upper + lower, 1)}

    model = Halves()
    rows = {"upper": FLAT[-_HELD_OUT:, :32], "lower": FLAT[-_HELD_OUT:, 32:]}
    return Trained(
        _reloaded(tf, model, signatures=model.serve),
        None,
        None,
        None,
        rows,
        lambda: {name: value.numpy() for name, value in model.serve(**rows).items()},
    )


def _plain_module(tf: Any) -> Trained:
    class Plain(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(_WEIGHTS)

        def __call__(self, rows: Any) -> Any:
            return tf.nn.gelu(rows @ self.weights)

    model = Plain()
    return _single(model, model)


def _function(tf: Any) -> Trained:
    function = tf.function(lambda rows: (rows @ _WEIGHTS, tf.reduce_max(rows, 1)))
    rows = FLAT[-_HELD_OUT:]

    def answers() -> dict[str, Array]:
        scores, largest = function(rows)
        return {"modelOutput": scores.numpy(), "modelOutput1": largest.numpy()}

    return Trained(function, np.float32, (None, 64), None, {"modelInput": rows}, answers)


def _loop(tf: Any) -> Trained:
    def halved(rows: Any) -> Any:
        step = tf.constant(0)
        while step < 5:
            rows, step = rows * 0.5 + 1.0, step + 1
        return rows

    function = tf.function(halved)
    return _single(function, function)


def _words(tf: Any) -> Trained:
    class Words(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            pairs = tf.lookup.KeyValueTensorInitializer(["red", "green"], [1, 2])
            self.table = tf.lookup.StaticHashTable(pairs, 0)

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])  # type: ignore[untyped-decorator]
        def __call__(self, rows: Any) -> Any:
            return self.table.lookup(rows)

    model = Words()
    rows = np.array(["red", "blue"], dtype=object)
    return Trained(
        _reloaded(tf, model, signatures=model.__call__),
        None,
        None,
        None,
        {"modelInput": rows},
        lambda: {"modelOutput": model(rows).numpy()},
    )


def _python(tf: Any) -> Trained:
    function = tf.function(lambda rows: tf.py_function(lambda some: some * 2, [rows], tf.float32))
    return _single(function, function)
