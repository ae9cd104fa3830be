"""int8 weights for a converted model, never without saying what they cost and what they bring.

quantised(converted)
  ├── quantise    matrix products and embeddings (convert/int8.py); all else stays
  ├── measure     both forms beside the original, and their speed (comparison.py)
  └── judge       beyond `LIMITS` it is refused, unless the loss was accepted; the receipt keeps what was
At every run one scale is found for all rows together, so rows round each other: the platform puts no two
callers' requests into one run of it, and the rows of one request answer less exactly than rows by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from modelrocket import runtime, verify
from modelrocket.comparison import Form, OutputLoss, Sample, measured, trial
from modelrocket.errors import ConversionError, QuantisationLoss

if TYPE_CHECKING:
    from modelrocket.convert import Converted

_SHOWN_MAX: Final = 4
_ADVICE: Final = (
    "It was not uploaded. Measure it on rows as callers send them (sample=X_test); or scale the inputs "
    "before training, so that no feature outweighs the others; or leave quantize out; or take the loss "
    "knowingly with accept_loss=True, which the receipt keeps."
)


@dataclass(frozen=True)
class Limits:
    """What quantisation may cost without being asked about, with each row by itself.

    rel_error: within which a row's floats agree, relative to the output's largest at that magnitude of input.
    agreement_min: part of the rows of each output that must agree: the same label, or floats that close.
    """

    rel_error: float = 0.1
    agreement_min: float = 0.99


LIMITS: Final = Limits()


@dataclass(frozen=True)
class Quantisation:
    """The evidence. `accepted_loss` says what is beyond `limits` and was accepted; empty where nothing is."""

    method: str
    compared_with: str
    rows_from: str
    limits: Limits
    float: Form
    int8: Form
    accepted_loss: tuple[str, ...] = ()


def quantised(
    converted: Converted,
    *,
    show: Callable[[Quantisation], None],
    sample: Sample | None = None,
    accept_loss: bool = False,
) -> Converted:
    """The same model with int8 weights; `show` gets the evidence before it is judged.

    `sample`: rows to compare on, by input name where there are several; without it rows are made up.
    Raises `ConversionError` where nothing can be quantised, `QuantisationLoss` where too much would be lost.
    """
    from modelrocket.convert.int8 import METHOD, with_int8_weights

    if converted.weights is not None:
        raise ConversionError(
            "Only a model that fits into one file (2 GiB) is quantised, and this one does not.",
            hint="It was not uploaded. Leave quantize out, or quantise it yourself and give the .onnx file.",
        )
    float_session = runtime.load(converted.model, threads=1)
    model, opsets = with_int8_weights(converted.model)
    int8_session = runtime.load(model, threads=1)
    asked = trial(converted.source, float_session, sample=sample, rel_error=LIMITS.rel_error)
    float_form, int8_form = measured({converted.model: float_session, model: int8_session}, asked)
    found = Quantisation(METHOD, asked.compared_with, asked.rows_from, LIMITS, float_form, int8_form)
    show(found)
    beyond = _few(list(_beyond(int8_form.outputs)))
    if beyond and not accept_loss:
        told = f"{'; '.join(beyond)}. At least {LIMITS.agreement_min:.0%} are needed"
        raise QuantisationLoss(f"int8 loses too much: {told}.", hint=_ADVICE)
    kept = replace(found, accepted_loss=beyond)
    return replace(converted, model=model, opsets=opsets, quantisation=kept)


def _beyond(outputs: Sequence[OutputLoss]) -> Iterator[str]:
    for one in outputs:
        if one.agreement < LIMITS.agreement_min:
            kept = f"is within {LIMITS.rel_error:.0%} of its largest value"
            if one.dtype not in verify.TOLERANCES:
                kept = "keeps its label"
            yield f'output "{one.name}" {kept} in {one.agreement:.1%} of {one.rows} rows'


def _few(beyond: Sequence[str]) -> tuple[str, ...]:
    """A model may have a thousand outputs."""
    more = [f"and {len(beyond) - _SHOWN_MAX} more outputs"] if len(beyond) > _SHOWN_MAX else []
    return (*beyond[:_SHOWN_MAX], *more)
