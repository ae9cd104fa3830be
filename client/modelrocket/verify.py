"""Does the converted model answer like the original? Both run on the same rows, and a difference refuses it.

compare
  ├── sample       the owner's rows: 1, 2, 3 and 7, which shows that the batch is really dynamic, and many
  ├── ordinary     made-up rows, as many, at several magnitudes
  ├── size         of other lengths, where a dimension beside the rows takes any
  ├── boundary     on both sides of the original's decision boundaries, where a wrong threshold shows
  └── edges        each kind by itself (edges.py); some are judged, the others only recorded
What came of each is in the `Agreement`; its `mismatch` is what refuses the model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

import numpy as np

from modelrocket import agreement as facts
from modelrocket.agreement import (
    TOLERANCES,
    Agreement,
    Difference,
    KindAgreement,
    Outcome,
    OutputAgreement,
    Yardstick,
    rows_in,
)
from modelrocket.asking import (
    Answered,
    all_answered,
    answers,
    ask_itself,
    first_line,
    first_rows,
    sample_of,
    some_answered,
)
from modelrocket.boundaries import BISECTIONS, BRACKETS_MAX, excusable, near_boundaries, undecided
from modelrocket.edges import MISSING, EdgeRows, edge_rows
from modelrocket.errors import ConversionError
from modelrocket.inputs import BATCH_SIZES, Feeds, Inputs, Original, row_count, sha256, shapes, spread
from modelrocket.runtime import Session
from modelrocket.tensors import Array

__all__ = [
    "TOLERANCES",
    "Agreement",
    "Original",
    "answers",
    "ask_itself",
    "compare",
    "refusal",
    "rows_in",
    "run_alone",
]

SAMPLE, ORDINARY, SIZE, BOUNDARY = "sample", "ordinary", "size", "boundary"
OTHER_SIZES = (48, 20)
"""A tracer keeps the size that it saw, and answers others wrongly."""
SAMPLE_ROWS_MAX = 2048
EDGE_ROWS_MAX = 36
SECONDS_MAX = 12.0
"""About what all runs of both models may take together; there are fewer rows where they would take more."""
_TIMED_MAX = 3
_TIMED_SECONDS_MAX = 0.1
_ROWS_OF_A_CALL = 50
"""A call costs as much as at most so many rows."""
_DIFFERENCES_SHOWN = 3


@dataclass(frozen=True)
class _Room:
    """How many rows of each sort are affordable."""

    sample: int
    ordinary: int
    brackets: int
    edge: int
    thresholds: int


@dataclass(frozen=True)
class _Found:
    """What came of one kind: for the record, and for the outputs' summary."""

    kind: KindAgreement
    outputs: tuple[OutputAgreement, ...]
    feeds: tuple[Feeds, ...]


def compare(session: Session, inputs: Inputs, original: Original) -> Agreement:
    """Raises `ConversionError` where they cannot be compared at all, or where the original fails itself."""
    comparison = _Comparison(session, inputs, original)
    with np.errstate(all="ignore"):  # rows at the edges overflow
        found = list(comparison.found())
    judged = [one.outputs for one in found if one.kind.judged and one.outputs]
    return Agreement(
        rows=sum(one.kind.rows for one in found),
        outputs=_over_all(judged),
        kinds=tuple(one.kind for one in found),
        tolerance=comparison.tolerance,
        seed=inputs.seed,
        rows_sha256=sha256([feeds for one in found for feeds in one.feeds]),
        sample_rows=0 if inputs.sample is None else row_count(inputs.sample),
        sample_sha256=None if inputs.sample is None else sha256([inputs.sample]),
    )


def refusal(agreement: Agreement, inputs: Inputs) -> ConversionError | None:
    """What its owner is told of a mismatch; None where there is none."""
    if not agreement.mismatch:
        return None
    shown = " Also: ".join(str(one) for one in agreement.mismatch[:_DIFFERENCES_SHOWN])
    more = len(agreement.mismatch) - _DIFFERENCES_SHOWN
    told = f"{shown} And {more} more." if more > 0 else shown
    return ConversionError(
        f"The converted model does not answer like the original. {told}", hint=_advice(inputs)
    )


def _advice(inputs: Inputs) -> str:
    steps = []
    if any(spec.dtype in ("float16", "bfloat16", "float32") for spec in inputs.specs):
        steps.append("If it is float rounding: input_type=np.float64.")
    if inputs.sample is None:
        steps.append("If the rows are unlike yours: give rows as callers send them, sample=X_test[:100].")
    steps.append("If the converter is at fault: another version of it, or an ONNX file of your own.")
    steps.append("If you can live with it: allow_mismatch=True uploads it, and its receipt says so for ever.")
    return f"It was not uploaded. {' '.join(steps)}"


def run_alone(session: Session) -> None:
    """Run a model that has no original, at every batch size it allows. Raises `ConversionError`."""
    inputs = Inputs(session.inputs)
    for count in BATCH_SIZES if inputs.batched else BATCH_SIZES[:1]:
        feeds = inputs.rows(count)
        try:
            session.run(feeds)
        except Exception as error:  # onnxruntime raises a dozen unrelated types
            raise ConversionError(
                f"The model does not run on generated inputs {shapes(feeds)}: {error}",
                hint="If a dimension is fixed in truth, export the model with that dimension fixed.",
            ) from error


class _Comparison:
    """One conversion beside its original."""

    def __init__(self, session: Session, inputs: Inputs, original: Original) -> None:
        self._session, self._inputs, self._original = session, inputs, original
        self.tolerance = max(TOLERANCES.get(spec.dtype, TOLERANCES["float32"]) for spec in inputs.specs)
        """The loosest that any input's precision calls for."""
        self._yardstick = Yardstick(self.tolerance, {})

    def found(self) -> Iterator[_Found]:
        inputs, original = self._inputs, self._original
        room = self._room(first_rows(inputs))
        given = sample_of(inputs)
        made = [inputs.rows(count) for count in (*BATCH_SIZES, room.ordinary)]
        if given is None:
            asked = [all_answered(original, feeds) for feeds in made]
            yield self._judged(ORDINARY, asked)
        else:
            parts = [*_first_few(given), spread(given, room.sample)]
            asked = [all_answered(original, feeds) for feeds in parts]
            yield self._judged(SAMPLE, asked)
            yield self._judged(ORDINARY, [some_answered(original, feeds) for feeds in made])
        if inputs.resizable:
            others = [inputs.rows(BATCH_SIZES[1], free=size) for size in OTHER_SIZES]
            yield self._judged(SIZE, [some_answered(original, feeds) for feeds in others])
        around, answers_around = asked[-1].feeds, asked[-1].expected
        near = near_boundaries(around, answers_around, original, brackets_max=room.brackets)
        if near is not None:
            yield self._judged(BOUNDARY, [all_answered(original, near)])
        edges = edge_rows(inputs, around, rows_max=room.edge, threshold_rows_max=room.thresholds)
        yield from map(self._of_edge, edges)

    def _room(self, feeds: Feeds) -> _Room:
        """By how long the two take at best for one row and for a few; the first runs of both do not count."""
        first: Feeds = {name: rows[:1] for name, rows in feeds.items()}
        self._timed(first)
        expected, few_seconds = self._timed(feeds)
        one_seconds = self._timed(first)[1]
        if few_seconds < _TIMED_SECONDS_MAX:
            few_seconds = min(self._timed(feeds)[1] for _ in range(_TIMED_MAX))
            one_seconds = min(self._timed(first)[1] for _ in range(_TIMED_MAX))
        self._yardstick = Yardstick(self.tolerance, expected)
        more = max(row_count(feeds) - 1, 1)
        row_seconds = max((few_seconds - one_seconds) / more, few_seconds / _ROWS_OF_A_CALL)
        rows = int(SECONDS_MAX / max(row_seconds, 1e-7))
        return _Room(
            sample=_affordable(rows // 4, least=BATCH_SIZES[-1], most=SAMPLE_ROWS_MAX),
            ordinary=_affordable(rows // 4, least=BATCH_SIZES[-1], most=self._inputs.rows_max),
            brackets=_affordable(rows // (8 * max(BISECTIONS)), least=1, most=BRACKETS_MAX),
            edge=_affordable(rows // 20, least=1, most=min(EDGE_ROWS_MAX, self._inputs.rows_max)),
            thresholds=_affordable(rows // 8, least=BATCH_SIZES[-1], most=self._inputs.rows_max),
        )

    def _timed(self, feeds: Feeds) -> tuple[Mapping[str, Array], float]:
        begun = perf_counter()
        expected = answers(self._original, feeds)
        self._run(feeds, expected)
        return expected, perf_counter() - begun

    def _judged(self, kind: str, asked: Sequence[Answered]) -> _Found:
        parts = [part for part in asked if part.rows]
        compared = [self._compared(kind, part, self._run(part.feeds, part.expected)) for part in parts]
        differences = [one for _, found in compared for one in found]
        told = KindAgreement(
            kind=kind,
            judged=True,
            rows=sum(part.rows for part in parts),
            refused=sum(part.refused for part in asked),
            outcome=_outcome(bool(parts), bool(differences)),
            refusal=next((part.refusal for part in asked if part.refusal), ""),
            differences=_worst_by_output(differences),
        )
        return _Found(
            told, _over_all([outputs for outputs, _ in compared]), tuple(part.feeds for part in parts)
        )

    def _of_edge(self, edge: EdgeRows) -> _Found:
        """Where it is judged, those rows count that the original answers with numbers, if there are any.

        Of missing values all do: NaN is then what it says of them.
        """
        part = some_answered(self._original, edge.feeds)
        record = KindAgreement(
            edge.kind, edge.judged, part.rows, part.refused, Outcome.REFUSED, refusal=part.refusal
        )
        if not part.rows:
            return _Found(record, (), ())
        counted = part.with_numbers() if edge.judged and edge.kind != MISSING else part
        record = replace(record, judged=edge.judged and counted.rows > 0)
        part = counted if counted.rows else part
        try:
            got = self._run(part.feeds, part.expected)
        except ConversionError as error:
            failed = Difference("", edge.kind, part.rows, part.rows, first_line(error.message))
            record = replace(record, outcome=Outcome.FAILS, differences=(failed,))
            return _Found(record, (), (part.feeds,))
        outputs, differences = self._compared(edge.kind, part, got)
        outcome = _outcome(True, bool(differences))
        record = replace(record, rows=part.rows, outcome=outcome, differences=tuple(differences))
        return _Found(record, outputs, (part.feeds,))

    def _compared(
        self, kind: str, part: Answered, got: Mapping[str, Array]
    ) -> tuple[tuple[OutputAgreement, ...], list[Difference]]:
        wrong = self._wrong(part, got)
        ties = np.asarray(facts.tied(part.expected, part.rows).any(axis=1))
        excused = self._undecided(kind, part, got, wrong)
        if excused.any():
            ties = ties | excused
            wrong = {name: _without(elements, excused) for name, elements in wrong.items()}
        outputs = tuple(
            facts.output_agreement(name, value, got[name], undecided=ties, yardstick=self._yardstick)
            for name, value in part.expected.items()
        )
        told = [
            facts.difference(name, kind, elements, part.expected[name], got[name], part.feeds)
            for name, elements in wrong.items()
            if elements.any()
        ]
        if kind in (SAMPLE, ORDINARY):
            told += self._imprecise(kind, part, got)
        return outputs, told

    def _wrong(self, part: Answered, got: Mapping[str, Array]) -> dict[str, Array]:
        """By output, element by element: beyond tolerance, or another label where there is no tie."""
        ties = facts.tied(part.expected, part.rows)
        found = {}
        for name, value in part.expected.items():
            elements = facts.wrong(name, value, got[name], self._yardstick)
            found[name] = elements if facts.is_float(value) else facts.without_ties(elements, ties)
        return found

    def _undecided(
        self, kind: str, part: Answered, got: Mapping[str, Array], wrong: Mapping[str, Array]
    ) -> Array:
        """By row: it differs, and lies so near a boundary that the original says now this, now that."""
        differing = np.zeros(part.rows, bool)
        for elements in wrong.values():
            differing |= facts.by_row(elements, part.rows)
        found = np.zeros(part.rows, bool)
        which = np.flatnonzero(differing)
        many = kind != BOUNDARY and not excusable(len(which), part.rows)
        if not len(which) or many or self._inputs.compares:
            return found
        says = (_answers_of(part.expected, which, part.rows), _answers_of(got, which, part.rows))
        found[which] = undecided(self._original, part.feeds, which, says, partial(self._same, len(which)))
        return found

    def _same(self, rows: int, expected: Mapping[str, Array], got: Mapping[str, Array]) -> Array:
        """By row."""
        differing = np.zeros(rows, bool)
        for name, value in expected.items():
            differing |= facts.by_row(facts.wrong(name, value, got[name], self._yardstick), rows)
        return ~differing

    def _imprecise(self, kind: str, part: Answered, got: Mapping[str, Array]) -> list[Difference]:
        told = {
            name: facts.imprecise(value, got[name], self.tolerance) for name, value in part.expected.items()
        }
        return [Difference(name, kind, part.rows, part.rows, what) for name, what in told.items() if what]

    def _run(self, feeds: Feeds, expected: Mapping[str, Array]) -> dict[str, Array]:
        """Raises `ConversionError` where it does not run, or what it says cannot be compared."""
        try:
            got = self._session.run(feeds)
        except Exception as error:  # onnxruntime raises a dozen unrelated types
            raise ConversionError(
                f"The converted model fails on {row_count(feeds)} rows, where the original answers: {error}",
                hint="A size that depends on the batch was probably fixed in conversion (reshape, view…).",
            ) from error
        for name, value in expected.items():
            if why := facts.incomparable(value, got.get(name)):
                raise ConversionError(
                    f'The converted model cannot be compared with the original. Output "{name}": {why}.',
                    hint="It was not uploaded: the converter does not support this model.",
                )
        return got


def _affordable(count: int, *, least: int, most: int) -> int:
    """The most, halved until it fits: so it is the same again on a machine that is a little slower."""
    found = most
    while found > max(count, least):
        found //= 2
    return max(found, min(least, most))


def _first_few(feeds: Feeds) -> list[Feeds]:
    sizes = sorted({min(size, row_count(feeds)) for size in BATCH_SIZES})
    return [{name: rows[:size] for name, rows in feeds.items()} for size in sizes]


def _without(elements: Array, rows: Array) -> Array:
    """What is wrong in other rows; of an output without rows, all of it."""
    if not elements.ndim or len(elements) != len(rows):
        return elements
    return np.asarray(elements & ~rows.reshape(-1, *[1] * (elements.ndim - 1)))


def _answers_of(answers: Mapping[str, Array], which: Array, rows: int) -> dict[str, Array]:
    """Of some rows; an output that has none stays."""
    return {
        name: value[which] if value.ndim and len(value) == rows else value for name, value in answers.items()
    }


def _outcome(answered: bool, differs: bool) -> Outcome:
    if not answered:
        return Outcome.REFUSED
    return Outcome.DIFFERS if differs else Outcome.AGREES


def _over_all(found: Sequence[Sequence[OutputAgreement]]) -> tuple[OutputAgreement, ...]:
    return tuple(facts.over_all(same) for same in zip(*found, strict=True))


def _worst_by_output(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    worst: dict[str, Difference] = {}
    for one in differences:
        before = worst.get(one.output, one)
        if (one.rows_differing, one.rows) >= (before.rows_differing, before.rows):
            worst[one.output] = one
    return tuple(worst.values())
