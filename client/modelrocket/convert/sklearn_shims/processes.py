"""GaussianProcessRegressor and GaussianProcessClassifier, computed in double precision throughout.

For skl2onnx 1.20, which knows the classifier of two classes alone, and rounds its error functions to float32:
their weighted sum loses half of the digits that are left. It also lacks some kernels.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from math import erfc, inf, log, pi, sqrt
from typing import Any

import numpy as np

from modelrocket.convert.boosters import Answer, labels
from modelrocket.convert.forest import Nodes
from modelrocket.convert.sklearn_shims.nodes import CLASSIFIER_OPTIONS, replace_converter
from modelrocket.errors import ConversionError
from modelrocket.tensors import Array

_ERF_MAX = 6.0
"""Beyond it the error function is 1."""
_ERF_DEGREE = 20
_MEAN_ALONE: Mapping[str, list[Any]] = {"return_cov": [False], "return_std": [False]}
"""skl2onnx asks for these options of a regressor."""


def register() -> None:
    replace_converter("GaussianProcessRegressor", _regressor, options=_MEAN_ALONE)
    replace_converter("GaussianProcessClassifier", _classifier, options=CLASSIFIER_OPTIONS)


def _regressor(model: Any, nodes: Nodes, rows: str, dtype: str) -> list[Answer]:
    known = np.asarray(model.X_train_, np.float64)
    covariance = _kernel(model.kernel_, _Cross(nodes, nodes.cast(rows, "float64"), known))
    weights = np.asarray(model.alpha_, np.float64).reshape(len(known), -1)
    mean = nodes.add("MatMul", covariance, nodes.constant(weights))
    mean = nodes.add("Mul", mean, nodes.constant(np.atleast_1d(model._y_train_std).astype(np.float64)))
    mean = nodes.add("Add", mean, nodes.constant(np.atleast_1d(model._y_train_mean).astype(np.float64)))
    return [Answer(mean, "float64", (None, weights.shape[1]))]


def _classifier(model: Any, nodes: Nodes, rows: str, dtype: str) -> list[Answer]:
    """Of two classes the second where its latent mean is above 0; of more the likeliest."""
    wide, base = nodes.cast(rows, "float64"), model.base_estimator_
    if not hasattr(base, "estimators_"):
        mean, second = _latent(base, nodes, wide)
        above = nodes.add("Greater", mean, nodes.constant(np.array(0.0)))
        index = nodes.reshape(nodes.cast(above, "int64"), -1)
        first = nodes.add("Sub", nodes.constant(np.array(1.0)), second)
        probabilities = nodes.add("Concat", first, second, axis=1)
    else:  # one versus the rest: scikit-learn has no probabilities of one versus one
        each = [_latent(one, nodes, wide)[1] for one in base.estimators_]
        together = nodes.add("Concat", *each, axis=1)
        index = nodes.add("ArgMax", together, axis=1, keepdims=0)
        total = nodes.add("ReduceSum", together, nodes.constant(np.array([1])), keepdims=1)
        probabilities = nodes.add("Div", together, total)
    return [
        labels(nodes, index, model.classes_),
        Answer(probabilities, "float64", (None, len(model.classes_))),
    ]


def _latent(binary: Any, nodes: Nodes, rows: str) -> tuple[str, str]:
    """The mean of the latent function, and the probability of the second class; both rows x 1.

    Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), algorithm 3.2; the integral over
    the logistic function by five error functions, as scikit-learn has it.
    """
    functions = import_module("sklearn.gaussian_process._gpc")
    slopes, weights = functions.LAMBDAS.reshape(1, -1), functions.COEFS.reshape(1, -1)
    known = np.asarray(binary.X_train_, np.float64)
    covariance = _kernel(binary.kernel_, _Cross(nodes, rows, known))
    mean = nodes.add("MatMul", covariance, nodes.constant((binary.y_train_ - binary.pi_).reshape(-1, 1)))
    reduced = np.linalg.solve(binary.L_, np.diag(binary.W_sr_)).T
    spread = nodes.add("MatMul", covariance, nodes.constant(reduced))
    axis = nodes.constant(np.array([1]))
    known_part = nodes.add("ReduceSumSquare", spread, axis, keepdims=1)
    variance = nodes.add("Sub", _kernel(binary.kernel_, _Own(nodes, rows)), known_part)
    squares = nodes.add("Mul", variance, nodes.constant(2.0 * slopes**2))
    widened = nodes.add("Sqrt", nodes.add("Add", squares, nodes.constant(np.array(1.0))))
    arguments = nodes.add("Div", nodes.add("Mul", mean, nodes.constant(slopes)), widened)
    weighted = nodes.add("Mul", _erf(nodes, arguments), nodes.constant(0.5 * weights))
    summed = nodes.add("ReduceSum", weighted, axis, keepdims=1)
    return mean, nodes.add("Add", summed, nodes.constant(np.array(0.5 * weights.sum())))


def _erf(nodes: Nodes, value: str) -> str:
    """In double precision, which onnxruntime lacks: erfc(x) = t exp(-x² + p(t)), t = 2 / (2 + x), x > 0.

    The polynomial p is fitted here, over Chebyshev's points; its error is 1e-15.
    """
    one, least = np.array(1.0), 2.0 / (2.0 + _ERF_MAX)
    size = nodes.add("Min", nodes.add("Abs", value), nodes.constant(np.array(_ERF_MAX)))
    turned = nodes.add(
        "Reciprocal", nodes.add("Add", nodes.add("Mul", size, _half(nodes)), nodes.constant(one))
    )
    middle, scale = (least + 1.0) / 2.0, 2.0 / (1.0 - least)
    place = nodes.add("Sub", turned, nodes.constant(np.array(middle)))
    place = nodes.add("Mul", place, nodes.constant(np.array(scale)))
    factors = _erf_polynomial(least)
    found = nodes.constant(np.array(factors[-1]))
    for factor in factors[-2::-1]:
        found = nodes.add("Add", nodes.add("Mul", found, place), nodes.constant(np.array(factor)))
    exponent = nodes.add("Sub", found, nodes.add("Mul", size, size))
    rest = nodes.add("Mul", turned, nodes.add("Exp", exponent))
    return nodes.add("Mul", nodes.add("Sign", value), nodes.add("Sub", nodes.constant(one), rest))


def _half(nodes: Nodes) -> str:
    return nodes.constant(np.array(0.5))


def _erf_polynomial(least: float) -> Array:
    """Its factors, the constant first, where t from `least` to 1 is mapped to -1 to 1."""

    def logarithm(t: Array) -> Array:
        return np.array([log(erfc(2.0 / one - 2.0) / one) + (2.0 / one - 2.0) ** 2 for one in t.tolist()])

    fitted = np.polynomial.Chebyshev.interpolate(logarithm, _ERF_DEGREE, domain=[least, 1.0])
    return np.asarray(np.polynomial.chebyshev.cheb2poly(fitted.coef))


# Kernels


class _Cross:
    """What kernels compute with of the rows and of those known, rows x known."""

    def __init__(self, nodes: Nodes, rows: str, known: Array) -> None:
        self.nodes, self._rows, self._known = nodes, rows, known

    def squared(self, length: Any = 1.0) -> str:
        """Squared distances over this length, or one for each column; about the middle, to keep digits."""
        middle, scale = self._known.mean(axis=0), np.asarray(length, np.float64)
        known = (self._known - middle) / scale
        rows = self.nodes.add("Sub", self._rows, self.nodes.constant(middle))
        rows = self.nodes.add("Div", rows, self.nodes.constant(scale))
        own = self.nodes.add("ReduceSumSquare", rows, self.nodes.constant(np.array([1])), keepdims=1)
        products = self.nodes.add("MatMul", rows, self.nodes.constant(-2.0 * known.T))
        theirs = self.nodes.constant((known**2).sum(axis=1).reshape(1, -1))
        summed = self.nodes.add("Add", self.nodes.add("Add", own, products), theirs)
        return self.nodes.add("Max", summed, self.nodes.constant(np.array(0.0)))

    def inner(self) -> str:
        return self.nodes.add("MatMul", self._rows, self.nodes.constant(self._known.T))

    def constant(self, value: float) -> str:
        return _filled(self.nodes, self._rows, len(self._known), value)

    def noise(self, level: float) -> str:
        """Of different rows none."""
        del level
        return self.constant(0.0)


class _Own:
    """The same of each row and itself, rows x 1."""

    def __init__(self, nodes: Nodes, rows: str) -> None:
        self.nodes, self._rows = nodes, rows

    def squared(self, length: Any = 1.0) -> str:
        del length
        return self.constant(0.0)

    def inner(self) -> str:
        return self.nodes.add("ReduceSumSquare", self._rows, self.nodes.constant(np.array([1])), keepdims=1)

    def constant(self, value: float) -> str:
        return _filled(self.nodes, self._rows, 1, value)

    def noise(self, level: float) -> str:
        return self.constant(level)


def _filled(nodes: Nodes, rows: str, columns: int, value: float) -> str:
    from onnx import numpy_helper

    count = nodes.add("Slice", nodes.add("Shape", rows), *(nodes.constant(np.array([at])) for at in (0, 1)))
    shape = nodes.add("Concat", count, nodes.constant(np.array([columns])), axis=0)
    return nodes.add("ConstantOfShape", shape, value=numpy_helper.from_array(np.array([float(value)])))


_Rows = _Cross | _Own
_Kernel = Callable[[Any, _Rows], str]


def _kernel(kernel: Any, rows: _Rows) -> str:
    """Raises `ConversionError` for one that has no form here."""
    name = type(kernel).__name__
    found = _KERNELS.get(name)
    if found is None:
        raise _unknown(f"The kernel {name}")
    return found(kernel, rows)


def _unknown(what: str) -> ConversionError:
    return ConversionError(
        f"{what} of a Gaussian process does not convert.",
        hint=f"These do, their sums, products and powers too: {', '.join(sorted(_KERNELS))}.",
    )


def _scaled(rows: _Rows, value: str, factor: float, more: float = 0.0) -> str:
    found = rows.nodes.add("Mul", value, rows.nodes.constant(np.array(float(factor))))
    return rows.nodes.add("Add", found, rows.nodes.constant(np.array(float(more)))) if more else found


def _power(rows: _Rows, value: str, exponent: float) -> str:
    return rows.nodes.add("Pow", value, rows.nodes.constant(np.array(float(exponent))))


def _rbf(kernel: Any, rows: _Rows) -> str:
    return rows.nodes.add("Exp", _scaled(rows, rows.squared(kernel.length_scale), -0.5))


def _matern(kernel: Any, rows: _Rows) -> str:
    """(1 + …) exp(-k), where k is the distance times the square root of 2 nu."""
    if kernel.nu == inf:
        return _rbf(kernel, rows)
    if kernel.nu not in _MATERN:
        raise _unknown(f"The kernel Matern(nu={kernel.nu})")
    nodes, distance = rows.nodes, rows.nodes.add("Sqrt", rows.squared(kernel.length_scale))
    distance = _scaled(rows, distance, sqrt(2.0 * kernel.nu))
    decay = nodes.add("Exp", nodes.add("Neg", distance))
    factors = _MATERN[kernel.nu]
    found = nodes.constant(np.array(factors[-1]))
    for factor in factors[-2::-1]:
        found = nodes.add("Add", nodes.add("Mul", found, distance), nodes.constant(np.array(factor)))
    return nodes.add("Mul", found, decay)


_MATERN: Mapping[float, tuple[float, ...]] = {0.5: (1.0,), 1.5: (1.0, 1.0), 2.5: (1.0, 1.0, 1.0 / 3.0)}
"""By nu: what the exponential is multiplied with, a polynomial of k, the constant first."""


def _rational_quadratic(kernel: Any, rows: _Rows) -> str:
    scaled = _scaled(rows, rows.squared(), 1.0 / (2.0 * kernel.alpha * kernel.length_scale**2), 1.0)
    return _power(rows, scaled, -kernel.alpha)


def _exp_sine_squared(kernel: Any, rows: _Rows) -> str:
    distance = rows.nodes.add("Sqrt", rows.squared())
    sine = rows.nodes.add("Sin", _scaled(rows, distance, pi / kernel.periodicity))
    return rows.nodes.add(
        "Exp", _scaled(rows, rows.nodes.add("Mul", sine, sine), -2.0 / kernel.length_scale**2)
    )


def _dot_product(kernel: Any, rows: _Rows) -> str:
    return _scaled(rows, rows.inner(), 1.0, kernel.sigma_0**2)


def _pairwise(kernel: Any, rows: _Rows) -> str:
    more = kernel.pairwise_kernels_kwargs or {}
    if kernel.metric == "linear":
        return rows.inner()
    if kernel.metric == "rbf":
        return rows.nodes.add("Exp", _scaled(rows, rows.squared(), -kernel.gamma))
    if kernel.metric in ("poly", "polynomial", "sigmoid"):
        found = _scaled(rows, rows.inner(), kernel.gamma, more.get("coef0", 1))
        return (
            rows.nodes.add("Tanh", found)
            if kernel.metric == "sigmoid"
            else _power(rows, found, more.get("degree", 3))
        )
    raise _unknown(f"The kernel PairwiseKernel(metric={kernel.metric!r})")


def _both(operator: str) -> _Kernel:
    def of(kernel: Any, rows: _Rows) -> str:
        return rows.nodes.add(operator, _kernel(kernel.k1, rows), _kernel(kernel.k2, rows))

    return of


_KERNELS: Mapping[str, _Kernel] = {
    "ConstantKernel": lambda kernel, rows: rows.constant(kernel.constant_value),
    "DotProduct": _dot_product,
    "ExpSineSquared": _exp_sine_squared,
    "Exponentiation": lambda kernel, rows: _power(rows, _kernel(kernel.kernel, rows), kernel.exponent),
    "Matern": _matern,
    "PairwiseKernel": _pairwise,
    "Product": _both("Mul"),
    "RBF": _rbf,
    "RationalQuadratic": _rational_quadratic,
    "Sum": _both("Add"),
    "WhiteKernel": lambda kernel, rows: rows.noise(kernel.noise_level),
}
