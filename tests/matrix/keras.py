"""Keras 3.

Each architecture on each backend: Keras chooses it when it is imported, in the process of the case.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from modelrocket.tensors import Array
from tests.matrix.case import Case, Trained
from tests.matrix.digits import DIGITS, IMAGES, STEPS, TOKENS

PACKAGES = ("keras", "tensorflow-cpu", "jax", "torch", "tf2onnx", "jax2onnx")
BACKENDS = ("tensorflow", "jax", "torch")
_HELD_OUT = 64
_TRAINED_ON = 256


def cases() -> list[Case]:
    return [
        Case(f"{name}, {backend}", kind, partial(_case, build, kind, backend, rows), expected)
        for backend in BACKENDS
        for name, kind, build, rows, expected in _ARCHITECTURES
    ]


def _case(build: Callable[[Any], Any], kind: str, backend: str, rows: Array) -> Trained:
    os.environ |= {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    keras = import_module("keras")
    keras.utils.set_random_seed(0)
    model = build(keras)
    if build is _two_in_two_out:
        return _named(model)
    held_out = rows[-_HELD_OUT:]
    _fit(keras, model, kind, rows[:_TRAINED_ON])
    return Trained(
        model,
        None,
        None,
        None,
        {"modelInput": held_out},
        lambda: {"modelOutput": np.asarray(model.predict(held_out, verbose=0))},
    )


def _fit(keras: Any, model: Any, kind: str, rows: Array) -> None:
    if kind == "autoencoder":
        model.compile("adam", "mse")
        model.fit(rows, rows, verbose=0)
    elif kind == "classifier":
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(rows, DIGITS[: len(rows)], verbose=0)


def _named(model: Any) -> Trained:
    rows = {"upper": IMAGES[-_HELD_OUT:, :4], "lower": IMAGES[-_HELD_OUT:, 4:]}

    def answers() -> dict[str, Array]:
        digit, ink = model.predict(rows, verbose=0)
        return {"digit": np.asarray(digit), "ink": np.asarray(ink)}

    return Trained(model, None, None, None, rows, answers)


def _mlp(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )


def _cnn(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(8, 3, activation="swish"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


def _depthwise(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.SeparableConv2D(8, 3, strides=2, padding="same", activation="relu6"),
            layers.DepthwiseConv2D(3, padding="same"),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    )


def _residual(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input((8, 8, 1))
    first = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    second = layers.Conv2D(8, 3, padding="same")(first)
    joined = layers.Activation("relu")(layers.Add()([first, second]))
    return keras.Model(image, layers.Dense(10)(layers.GlobalMaxPooling2D()(joined)))


def _recurrent(keras: Any, *, kind: str) -> Any:
    layers = keras.layers
    return keras.Sequential([keras.Input((8, 8)), getattr(layers, kind)(12), layers.Dense(10)])


def _bidirectional(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([keras.Input((8, 8)), layers.Bidirectional(layers.LSTM(8)), layers.Dense(10)])


def _temporal(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8)),
            layers.Conv1D(8, 3, padding="causal", activation="elu"),
            layers.MaxPooling1D(),
            layers.GlobalAveragePooling1D(),
            layers.Dense(10),
        ]
    )


def _transformer(keras: Any) -> Any:
    layers = keras.layers
    steps = keras.Input((8, 8))
    attended = layers.LayerNormalization()(steps + layers.MultiHeadAttention(2, 4)(steps, steps))
    passed = layers.Dense(8)(layers.Dense(16, activation="gelu")(attended))
    whole = layers.LayerNormalization()(attended + passed)
    return keras.Model(steps, layers.Dense(10)(layers.GlobalAveragePooling1D()(whole)))


def _embedding(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((64,), dtype="int32"),
            layers.Embedding(17, 6),
            layers.GlobalAveragePooling1D(),
            layers.Dense(10),
        ]
    )


def _autoencoder(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu"),
            layers.UpSampling2D(),
            layers.Conv2D(1, 3, strides=2, padding="same", activation="sigmoid"),
        ]
    )


def _normalised(keras: Any) -> Any:
    layers = keras.layers
    normalisation = layers.Normalization()
    normalisation.adapt(IMAGES)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            normalisation,
            layers.Rescaling(0.5, offset=0.1),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


def _subclassed(keras: Any) -> Any:
    class Subclassed(keras.Model):  # type: ignore[misc]
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.flat = keras.layers.Flatten()
            self.hidden = keras.layers.Dense(16, activation="tanh")
            self.dropout = keras.layers.Dropout(0.3)
            self.last = keras.layers.Dense(10)

        def call(self, rows: Any, training: bool = False) -> Any:
            return self.last(self.dropout(self.hidden(self.flat(rows)), training=training))

    model = Subclassed()
    model(IMAGES[:2])
    return model


def _two_in_two_out(keras: Any) -> Any:
    layers = keras.layers
    upper, lower = keras.Input((4, 8, 1), name="upper"), keras.Input((4, 8, 1), name="lower")
    joined = layers.Concatenate()([layers.Flatten()(upper), layers.Flatten()(lower)])
    hidden = layers.Dense(16, activation="relu")(joined)
    digit = layers.Dense(10, activation="softmax", name="digit")(hidden)
    return keras.Model([upper, lower], [digit, layers.Dense(1, name="ink")(hidden)])


def _stateful(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((8, 8), batch_size=32), layers.LSTM(8, stateful=True), layers.Dense(10)]
    )


_ARCHITECTURES: tuple[tuple[str, str, Callable[[Any], Any], Array, str], ...] = (
    ("MLP with BatchNormalization and Dropout", "classifier", _mlp, IMAGES, ""),
    ("CNN with pooling", "classifier", _cnn, IMAGES, ""),
    ("separable and depthwise CNN", "classifier", _depthwise, IMAGES, ""),
    ("residual CNN", "classifier", _residual, IMAGES, ""),
    ("LSTM", "classifier", partial(_recurrent, kind="LSTM"), STEPS, ""),
    ("GRU", "classifier", partial(_recurrent, kind="GRU"), STEPS, ""),
    ("bidirectional LSTM", "classifier", _bidirectional, STEPS, ""),
    ("temporal CNN", "classifier", _temporal, STEPS, ""),
    ("transformer block", "classifier", _transformer, STEPS, ""),
    ("embedding of integers", "classifier", _embedding, TOKENS, ""),
    ("convolutional autoencoder", "autoencoder", _autoencoder, IMAGES, ""),
    ("Normalization and Rescaling", "classifier", _normalised, IMAGES, ""),
    ("subclassed model", "classifier", _subclassed, IMAGES, ""),
    ("two inputs, two outputs", "classifier", _two_in_two_out, IMAGES, ""),
    ("stateful LSTM", "encoder", _stateful, STEPS, "it keeps state between calls"),
)
