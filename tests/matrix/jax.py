"""JAX functions, Flax and Equinox modules."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from modelrocket.tensors import Array
from tests.matrix.case import Case, Trained
from tests.matrix.digits import FLAT, IMAGES, STEPS, TOKENS

PACKAGES = ("jax", "flax", "equinox", "jax2onnx")
_HELD_OUT = 64
_WEIGHTS = np.random.default_rng(0).standard_normal((64, 10)).astype(np.float32) / 8


def cases() -> list[Case]:
    models: list[tuple[str, str, Callable[[], Trained], str]] = [
        ("jax.jit, weights closed over", "classifier", _closed_over, ""),
        ("functools.partial of jax.jit", "classifier", _partial, ""),
        ("jax.jit of two inputs, dict of two outputs", "classifier", _two, ""),
        ("jax.jit of a dict", "classifier", _dict, ""),
        ("jax.jit of 64-bit integers", "embedding", _lookup, ""),
        ("jax.jit with a scan", "regressor", _scan, ""),
        ("jax.jit with a scan that goes back", "regressor", _scan_back, ""),
        ("nnx MLP with BatchNorm and Dropout", "classifier", _nnx_mlp, ""),
        ("nnx CNN", "classifier", _nnx_cnn, ""),
        ("nnx transformer block", "classifier", _nnx_transformer, ""),
        ("linen MLP with BatchNorm and Dropout", "classifier", _linen_mlp, ""),
        ("linen CNN", "classifier", _linen_cnn, ""),
        ("linen attention, bound to its variables", "classifier", _linen_attention, ""),
        ("linen embedding", "classifier", _linen_embedding, ""),
        *(
            (f"linen {name}", "classifier", partial(_linen_recurrent, build), "")
            for name, build in _RECURRENT.items()
        ),
        ("Equinox MLP", "classifier", _equinox, ""),
        ("jax.jit that draws random numbers", "regressor", _random, "it would answer otherwise"),
        ("plain Python function", "classifier", _plain, "it says nothing of what it computes with"),
    ]
    return [Case(name, kind, partial(_case, build), expected) for name, kind, build, expected in models]


def _case(build: Callable[[], Trained]) -> Trained:
    os.environ |= {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return build()


def _single(model: Any, ask: Callable[[Any], Any], rows: Array = FLAT) -> Trained:
    rows = rows[-_HELD_OUT:]
    return Trained(
        model,
        rows.dtype,
        (None, *rows.shape[1:]),
        None,
        {"modelInput": rows},
        lambda: {"modelOutput": np.asarray(ask(import_module("jax.numpy").asarray(rows)))},
    )


def _several(model: Any, ask: Callable[..., Mapping[str, Any]]) -> Trained:
    rows = {"upper": FLAT[-_HELD_OUT:, :32], "lower": FLAT[-_HELD_OUT:, 32:]}
    return Trained(
        model,
        dict.fromkeys(rows, np.float32),
        dict.fromkeys(rows, (None, 32)),
        None,
        rows,
        lambda: {name: np.asarray(value) for name, value in ask(**rows).items()},
    )


def _mlp(weights: Any, rows: Any) -> Any:
    jax = import_module("jax")
    return jax.nn.softmax(jax.nn.gelu(rows @ weights))


def _closed_over() -> Trained:
    function = import_module("jax").jit(partial(_mlp, _WEIGHTS))
    return _single(function, function)


def _partial() -> Trained:
    function = partial(import_module("jax").jit(_mlp), import_module("jax.numpy").asarray(_WEIGHTS))
    return _single(function, function)


def _halves(upper: Any, lower: Any) -> dict[str, Any]:
    return {"digit": (upper - lower) @ _WEIGHTS[:32], "ink": (upper + lower).sum(axis=1)}


def _two() -> Trained:
    function = import_module("jax").jit(_halves)
    return _several(function, function)


def _dict() -> Trained:
    function = import_module("jax").jit(lambda halves: _halves(**halves))
    return _several(function, lambda **halves: function(halves))


def _lookup() -> Trained:
    jnp = import_module("jax.numpy")
    function = import_module("jax").jit(lambda rows: jnp.take(_WEIGHTS, rows, axis=0).mean(axis=1))
    return _single(function, function, TOKENS.astype(np.int64))


def _scanned(rows: Any, *, reverse: bool) -> Any:
    jax = import_module("jax")

    def step(state: Any, line: Any) -> tuple[Any, Any]:
        state = jax.numpy.tanh(state * 0.5 + line)
        return state, state.sum(axis=-1)

    last, sums = jax.lax.scan(
        step, jax.numpy.zeros_like(rows[:, 0]), rows.transpose(1, 0, 2), reverse=reverse
    )
    return last + sums.T


def _scan() -> Trained:
    function = import_module("jax").jit(partial(_scanned, reverse=False))
    return _single(function, function, STEPS)


def _scan_back() -> Trained:
    function = import_module("jax").jit(partial(_scanned, reverse=True))
    return _single(function, function, STEPS)


def _random() -> Trained:
    jax = import_module("jax")
    function = jax.jit(lambda rows: rows + jax.random.normal(jax.random.key(0), (64,)))
    return _single(function, function)


def _plain() -> Trained:
    def plain(rows: Any) -> Any:
        return rows @ _WEIGHTS

    return _single(plain, plain)


def _answering(model: Any) -> Callable[[Any], Any]:
    """As its owner would ask it: in evaluation mode, which a copy is put into."""
    copied: Any = import_module("flax.nnx").clone(model)
    copied.eval()
    return partial(copied)


def _nnx_mlp() -> Trained:
    nnx: Any = import_module("flax.nnx")

    class Net(nnx.Module):  # type: ignore[misc]
        def __init__(self, rngs: Any) -> None:
            self.hidden = nnx.Linear(64, 32, rngs=rngs)
            self.norm = nnx.BatchNorm(32, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)
            self.last = nnx.Linear(32, 10, rngs=rngs)

        def __call__(self, rows: Any) -> Any:
            return self.last(self.dropout(nnx.relu(self.norm(self.hidden(rows)))))

    model = Net(nnx.Rngs(0))
    model(FLAT[:256])  # in training mode: the statistics are of this batch
    return _single(model, _answering(model))


def _nnx_cnn() -> Trained:
    nnx: Any = import_module("flax.nnx")

    class Net(nnx.Module):  # type: ignore[misc]
        def __init__(self, rngs: Any) -> None:
            self.first = nnx.Conv(1, 8, (3, 3), rngs=rngs)
            self.second = nnx.Conv(8, 8, (3, 3), strides=2, rngs=rngs)
            self.last = nnx.Linear(32, 10, rngs=rngs)

        def __call__(self, rows: Any) -> Any:
            pooled = nnx.max_pool(nnx.relu(self.first(rows)), (2, 2), strides=(2, 2))
            return self.last(nnx.silu(self.second(pooled)).reshape(rows.shape[0], -1))

    model = Net(nnx.Rngs(0))
    return _single(model, _answering(model), IMAGES)


def _nnx_transformer() -> Trained:
    nnx: Any = import_module("flax.nnx")

    class Net(nnx.Module):  # type: ignore[misc]
        def __init__(self, rngs: Any) -> None:
            self.attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
            self.norm = nnx.LayerNorm(8, rngs=rngs)
            self.last = nnx.Linear(8, 10, rngs=rngs)

        def __call__(self, rows: Any) -> Any:
            return self.last(self.norm(rows + self.attention(rows)).mean(axis=1))

    model = Net(nnx.Rngs(0))
    return _single(model, _answering(model), STEPS)


def _linen(build: Callable[[Any], Any], rows: Array) -> tuple[Any, Any]:
    jax = import_module("jax")
    module = build(import_module("flax.linen"))()
    return module, module.init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, rows[:2])


def _linen_mlp() -> Trained:
    def build(nn: Any) -> Any:
        class Net(nn.Module):  # type: ignore[misc]
            @nn.compact  # type: ignore[untyped-decorator]
            def __call__(self, rows: Any, train: bool = True) -> Any:
                hidden = nn.BatchNorm(use_running_average=not train)(nn.Dense(32)(rows))
                return nn.Dense(10)(nn.Dropout(0.5, deterministic=not train)(nn.relu(hidden)))

        return Net

    module, variables = _linen(build, FLAT)
    return _single((module, variables), lambda rows: module.apply(variables, rows, train=False))


def _linen_cnn() -> Trained:
    def build(nn: Any) -> Any:
        class Net(nn.Module):  # type: ignore[misc]
            @nn.compact  # type: ignore[untyped-decorator]
            def __call__(self, rows: Any) -> Any:
                pooled = nn.avg_pool(nn.relu(nn.Conv(8, (3, 3))(rows)), (2, 2), strides=(2, 2))
                return nn.Dense(10)(nn.GroupNorm(num_groups=4)(pooled).reshape(rows.shape[0], -1))

        return Net

    module, variables = _linen(build, IMAGES)
    return _single((module, variables), lambda rows: module.apply(variables, rows), IMAGES)


def _linen_attention() -> Trained:
    def build(nn: Any) -> Any:
        class Net(nn.Module):  # type: ignore[misc]
            @nn.compact  # type: ignore[untyped-decorator]
            def __call__(self, rows: Any) -> Any:
                attended = nn.MultiHeadDotProductAttention(num_heads=2)(nn.LayerNorm()(rows))
                return nn.Dense(10)((rows + attended).mean(axis=1))

        return Net

    module, variables = _linen(build, STEPS)
    return _single(module.bind(variables), lambda rows: module.apply(variables, rows), STEPS)


def _linen_embedding() -> Trained:
    def build(nn: Any) -> Any:
        class Net(nn.Module):  # type: ignore[misc]
            @nn.compact  # type: ignore[untyped-decorator]
            def __call__(self, rows: Any) -> Any:
                return nn.Dense(10)(nn.Embed(17, 6)(rows).mean(axis=1))

        return Net

    module, variables = _linen(build, TOKENS)
    return _single((module, variables), lambda rows: module.apply(variables, rows), TOKENS)


_RECURRENT: Mapping[str, Callable[[Any], Any]] = {
    "LSTM": lambda nn: nn.RNN(nn.LSTMCell(8)),
    "GRU": lambda nn: nn.RNN(nn.GRUCell(8), reverse=True, keep_order=True),
    "LSTM, both ways": lambda nn: nn.Bidirectional(
        nn.RNN(nn.OptimizedLSTMCell(8)), nn.RNN(nn.OptimizedLSTMCell(8))
    ),
}


def _linen_recurrent(layer: Callable[[Any], Any]) -> Trained:
    def build(nn: Any) -> Any:
        class Net(nn.Module):  # type: ignore[misc]
            @nn.compact  # type: ignore[untyped-decorator]
            def __call__(self, rows: Any) -> Any:
                return nn.Dense(10)(layer(nn)(rows)[:, -1])

        return Net

    module, variables = _linen(build, STEPS)
    return _single((module, variables), lambda rows: module.apply(variables, rows), STEPS)


def _equinox() -> Trained:
    jax, equinox = import_module("jax"), import_module("equinox")
    model = equinox.nn.MLP(64, 10, 16, 2, key=jax.random.key(0))
    return _single(model, jax.vmap(model))
