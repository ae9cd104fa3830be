"""One case, tried: trained, converted as `upload` does, compared on its held-out rows by onnxruntime alone.

The comparison is its own: nothing of the client's verification is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from modelrocket.convert import Converted, convert
from modelrocket.errors import ConversionError, UnsupportedModel
from modelrocket.tensors import Array
from tests.matrix.case import Case, Trained
from tests.matrix.results import Outcome, Result

RELATIVE, ABSOLUTE = 2e-3, 1e-4
"""Of floats: relative to the value, and to the largest value of the output."""
HALF = 2e-2, 1e-2
"""Of float16."""
TIE = 1e-4
"""Two classes as likely as each other: either label will do."""


def tried(case: Case) -> Result:
    warnings.simplefilter("ignore")
    try:
        trained = case.build()
    except Exception as error:
        return _result(case, Outcome.BROKEN, f"cannot be built: {type(error).__name__}: {error}")
    try:
        converted = convert(trained.model, trained.input_type, trained.input_shape, sample=trained.sample)
    except UnsupportedModel as error:
        return _result(case, Outcome.UNSUPPORTED, error.message)
    except ConversionError as error:
        return _result(case, Outcome.REFUSED, error.message)
    except Exception as error:
        return _result(case, Outcome.BROKEN, f"convert raised {type(error).__name__}: {error}")
    return _compared(case, trained, converted)


def _compared(case: Case, trained: Trained, converted: Converted) -> Result:
    notes = converted.source.notes if converted.source else ()
    try:
        wrong = difference(trained.answers(), _answers(converted, trained.rows))
    except Exception as error:
        wrong = f"it does not run on the held-out rows: {type(error).__name__}: {error}"
    return _result(case, Outcome.WRONG if wrong else Outcome.OK, wrong or "", notes)


def _result(case: Case, outcome: Outcome, reason: str = "", notes: tuple[str, ...] = ()) -> Result:
    remarks = (case.expected,) if case.expected else ()
    return Result(case.name, case.kind, outcome, reason, (*remarks, *notes))


def _answers(converted: Converted, rows: Mapping[str, Array]) -> dict[str, Array]:
    import onnxruntime

    if converted.weights is None:
        model: Any = converted.model
    else:
        from modelrocket.convert.two_files import graph_beside

        model = str(graph_beside(converted.weights))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(rows)), strict=True))


def difference(expected: Mapping[str, Array], got: Mapping[str, Array]) -> str | None:
    """What is other than the model itself says; None where nothing is."""
    decided = _decided(expected.get("probabilities"))
    for name, value in expected.items():
        if name not in got:
            return f"there is no output {name}, only {', '.join(got)}"
        if value.shape != got[name].shape:
            return f"{name}: the model gives {list(value.shape)}, it gives {list(got[name].shape)}"
        other = _other(value, got[name], decided)
        if other.any():
            at = tuple(map(int, np.argwhere(other)[0]))
            rows = int(other.reshape(len(other), -1).any(axis=1).sum())
            return (
                f"{name}: {rows} of {len(other)} held-out rows differ, first at {list(at)}: "
                f"the model says {value[at]}, it says {got[name][at]}"
            )
    return None


def _other(expected: Array, got: Array, decided: Array | None) -> Array:
    if expected.dtype.kind == "f":
        relative, absolute = HALF if expected.dtype == np.float16 else (RELATIVE, ABSOLUTE)
        expected, got = expected.astype(np.float64), got.astype(np.float64)
        largest = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
        close = np.isclose(got, expected, rtol=relative, atol=absolute * largest + 1e-9, equal_nan=True)
        return np.asarray(~close)
    other = np.asarray(expected != got, dtype=bool)
    return other if decided is None else other & decided.reshape(-1, *[1] * (other.ndim - 1))


def _decided(probabilities: Array | None) -> Array | None:
    if probabilities is None or probabilities.ndim != 2 or probabilities.shape[1] < 2:
        return None
    top = np.sort(probabilities, axis=1)
    return np.asarray(top[:, -1] - top[:, -2] > TIE)
