"""JAX functions, Flax and Equinox modules convert to ONNX that answers the same, or are refused by reason."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from modelrocket import runtime
from modelrocket.convert import Converted, Limits, convert
from modelrocket.errors import ConversionError, UnsupportedModel

jax = pytest.importorskip("jax")
linen = pytest.importorskip("flax.linen")
nnx = pytest.importorskip("flax.nnx")
pytest.importorskip("jax2onnx")
jnp = jax.numpy

WEIGHTS = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
ROWS = np.random.default_rng(1).standard_normal((5, 6)).astype(np.float32)


def answers(converted: Converted, **rows: Any) -> dict[str, Any]:
    return dict(runtime.load(converted.model).run(rows))


def scores(weights: Any, rows: Any) -> Any:
    return jnp.tanh(rows @ weights)


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(jax.jit(partial(scores, WEIGHTS)), id="jit of a partial"),
        pytest.param(partial(jax.jit(scores), WEIGHTS), id="partial of a jit"),
    ],
)
def test_a_function_converts_with_what_it_holds(function: Any) -> None:
    converted = convert(function, np.float32, (None, 6))
    found = answers(converted, modelInput=ROWS)["modelOutput"]
    np.testing.assert_allclose(found, np.tanh(ROWS @ WEIGHTS), atol=1e-6)
    assert converted.notes == ()


def test_it_is_exported_in_a_process_of_its_own() -> None:
    converted = convert(jax.jit(partial(scores, WEIGHTS)), np.float32, (None, 6), limits=Limits())
    assert converted.notes == ()


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(lambda upper, lower: {"sum": upper + lower, "first": upper}, id="by name"),
        pytest.param(
            lambda both: {"sum": both["upper"] + both["lower"], "first": both["upper"]}, id="one dict"
        ),
    ],
)
def test_several_inputs_and_outputs_keep_their_names(function: Any) -> None:
    types = {"upper": np.float32, "lower": np.float32}
    converted = convert(jax.jit(function), types, {"upper": (None, 6), "lower": (None, 6)})
    found = answers(converted, upper=ROWS, lower=ROWS * 2)
    np.testing.assert_allclose(found["sum"], ROWS * 3, rtol=1e-6)
    np.testing.assert_array_equal(found["first"], ROWS)


def test_wide_inputs_are_taken_and_cast_visibly() -> None:
    converted = convert(jax.jit(lambda rows: jnp.take(WEIGHTS, rows, axis=0)), np.int64, (None,))
    assert (converted.inputs[0].dtype, converted.outputs[0].dtype) == ("int64", "float32")
    assert [note for note in converted.notes if "int64 is cast to int32" in note]
    found = answers(converted, modelInput=np.array([5, 0], dtype=np.int64))
    np.testing.assert_array_equal(found["modelOutput"], WEIGHTS[[5, 0]])


def backwards(rows: Any) -> Any:
    def step(state: Any, column: Any) -> tuple[Any, Any]:
        return state * 0.5 + column, state

    last, states = jax.lax.scan(step, jnp.zeros(rows.shape[0]), rows.T, reverse=True)
    return last[:, None] + states.T


def pooled(rows: Any) -> Any:
    return linen.max_pool(rows, (2, 3), strides=(2, 1), padding="SAME")


def pooled_volume(rows: Any) -> Any:
    return jax.lax.reduce_window(rows, -jnp.inf, jax.lax.max, (1, 2, 3, 2, 1), (1, 2, 1, 2, 1), "SAME")


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        pytest.param(backwards, (6,), id="a scan that goes back"),
        pytest.param(pooled, (6, 6, 2), id="pooling of images"),
        pytest.param(pooled_volume, (4, 6, 4, 2), id="pooling of volumes"),
    ],
)
def test_what_its_exporter_leaves_out_converts(function: Any, shape: tuple[int, ...]) -> None:
    rows = np.random.default_rng(2).standard_normal((3, *shape)).astype(np.float32)
    converted = convert(jax.jit(function), np.float32, (None, *shape))
    found = answers(converted, modelInput=rows)["modelOutput"]
    np.testing.assert_allclose(found, function(jnp.asarray(rows)), atol=1e-6)


class Linen(linen.Module):  # type: ignore[misc, name-defined]
    @linen.compact  # type: ignore[untyped-decorator]
    def __call__(self, rows: Any, train: bool = True) -> Any:
        hidden = linen.BatchNorm(use_running_average=not train)(linen.Dense(4)(rows))
        return linen.Dropout(0.5, deterministic=not train)(hidden)


def test_a_linen_module_answers_in_inference_mode() -> None:
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    variables = Linen().init(keys, ROWS)
    found = answers(convert((Linen(), variables), np.float32, (None, 6)), modelInput=ROWS)
    np.testing.assert_allclose(
        found["modelOutput"], Linen().apply(variables, ROWS, train=False), rtol=1e-4, atol=1e-6
    )


class Recurrent(linen.Module):  # type: ignore[misc, name-defined]
    layer: Any

    @linen.compact  # type: ignore[untyped-decorator]
    def __call__(self, rows: Any) -> Any:
        return linen.Dense(3)(self.layer(rows))


def random_start() -> Any:
    return linen.RNN(linen.LSTMCell(4, carry_init=linen.initializers.normal()))


@pytest.mark.parametrize(
    ("layer", "length"),
    [
        pytest.param(lambda: linen.RNN(linen.LSTMCell(4)), None, id="LSTM"),
        pytest.param(lambda: linen.RNN(linen.GRUCell(4), reverse=True, keep_order=True), 5, id="GRU back"),
        pytest.param(
            lambda: linen.Bidirectional(linen.RNN(linen.OptimizedLSTMCell(4)), linen.RNN(linen.MGUCell(4))),
            5,
            id="both ways",
        ),
    ],
)
def test_recurrent_cells_of_linen_begin_with_zeros(layer: Any, length: int | None) -> None:
    module, rows = Recurrent(layer()), np.random.default_rng(2).standard_normal((7, 5, 6)).astype(np.float32)
    variables = module.init(jax.random.key(0), rows)
    found = answers(convert((module, variables), np.float32, (None, length, 6)), modelInput=rows)
    np.testing.assert_allclose(found["modelOutput"], module.apply(variables, rows), rtol=1e-4, atol=1e-6)


class NnxRecurrent(nnx.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        self.cells = nnx.RNN(nnx.LSTMCell(6, 4, rngs=nnx.Rngs(0)))
        self.last = nnx.Linear(4, 2, rngs=nnx.Rngs(1))

    def __call__(self, rows: Any) -> Any:
        return self.last(self.cells(rows))


def test_recurrent_cells_of_nnx_begin_with_zeros() -> None:
    module, rows = NnxRecurrent(), np.random.default_rng(2).standard_normal((7, 5, 6)).astype(np.float32)
    found = answers(convert(module, np.float32, (None, 5, 6)), modelInput=rows)
    np.testing.assert_allclose(found["modelOutput"], module(rows), rtol=1e-4, atol=1e-6)


def test_recurrent_cells_that_begin_at_random_are_refused_with_the_reason() -> None:
    rows = np.zeros((2, 5, 6), np.float32)
    module = Recurrent(random_start())
    variables = module.init(jax.random.key(0), rows)
    with pytest.raises(ConversionError, match=r"draws random numbers when it answers(.|\n)*carry_init"):
        convert((module, variables), np.float32, (None, 5, 6))


class Nnx(nnx.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        self.dense = nnx.Linear(6, 4, rngs=nnx.Rngs(0))
        self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(1))

    def __call__(self, rows: Any) -> Any:
        return self.dropout(self.dense(rows))


def test_an_nnx_module_answers_in_inference_mode_and_is_given_back_as_it_was() -> None:
    module = Nnx()
    found = answers(convert(module, np.float32, (None, 6)), modelInput=ROWS)
    np.testing.assert_allclose(found["modelOutput"], module.dense(ROWS), rtol=1e-4, atol=1e-6)
    assert module.dropout.deterministic is False


def test_an_equinox_module_is_asked_row_by_row() -> None:
    equinox = pytest.importorskip("equinox")
    module = equinox.nn.Linear(6, 2, key=jax.random.key(0))
    found = answers(convert(module, np.float32, (None, 6)), modelInput=ROWS)
    np.testing.assert_allclose(found["modelOutput"], jax.vmap(module)(ROWS), rtol=1e-5, atol=1e-6)


def noisy(rows: Any) -> Any:
    return rows + jax.random.normal(jax.random.key(0), (6,))


def plain(rows: Any) -> Any:
    return rows


@pytest.mark.parametrize(
    ("model", "kind", "why"),
    [
        pytest.param(plain, UnsupportedModel, r"plain is a plain Python function(?s:.*)jax.jit", id="plain"),
        pytest.param(Linen(), ConversionError, r"without its variables", id="without variables"),
        pytest.param((Linen(), 3), UnsupportedModel, r"nothing that JAX can call", id="not a pair"),
        pytest.param(jax.jit(noisy), ConversionError, r"does not answer like the original", id="random"),
    ],
)
def test_what_does_not_convert_is_refused_with_a_reason(model: Any, kind: type[Exception], why: str) -> None:
    with pytest.raises(kind, match=why):
        convert(model, np.float32, (None, 6))


def test_a_function_needs_a_type_and_a_shape_for_each_input() -> None:
    with pytest.raises(ConversionError, match="needs input_type and input_shape"):
        convert(jax.jit(plain))
    with pytest.raises(ConversionError, match=r"takes upper, lower(?s:.*)input_type=\{"):
        convert(jax.jit(lambda upper, lower: upper + lower), np.float32, (None, 6))
