"""Asking the original: it may raise anything, and what it refuses is its own affair or its owner's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from modelrocket.agreement import finite
from modelrocket.errors import ConversionError
from modelrocket.inputs import BATCH_SIZES, Feeds, Inputs, Original, row_count, spread, taken
from modelrocket.tensors import Array

_CALLS_TO_FIND_ROWS_MAX = 64
_ERROR_SHOWN = 300
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Answered:
    """The rows that the original takes, what it says of them, and its error where it refuses others."""

    feeds: Feeds
    expected: Mapping[str, Array]
    refused: int = 0
    refusal: str = ""

    @property
    def rows(self) -> int:
        return row_count(self.feeds)

    def with_numbers(self) -> "Answered":
        """Without the rows that it answers with NaN or infinity."""
        counts = finite(self.expected, self.rows)
        if counts.all():
            return self
        expected = {
            name: value[counts] if value.ndim and len(value) == self.rows else value
            for name, value in self.expected.items()
        }
        return replace(self, feeds=taken(self.feeds, counts), expected=expected)


def answers(original: Original, feeds: Feeds) -> Mapping[str, Array]:
    """What the original says; raises `ConversionError` where it fails itself."""
    try:
        return original(feeds)
    except ConversionError:
        raise
    except Exception as error:  # the user's model may raise anything
        raise ConversionError(
            f"The model itself fails on {_told(feeds)}: {in_a_line(error)}",
            hint=(
                "Check input_type and input_shape: the shape is that of a batch, e.g. (None, 64). "
                "If it takes some values only, give rows as callers send them: sample=X_test[:100]."
            ),
        ) from error


def ask_itself(inputs: Inputs, original: Original) -> None:
    """A few rows, before anything is converted. Raises `ConversionError` where the model fails on them."""
    answers(original, first_rows(inputs))


def first_rows(inputs: Inputs) -> Feeds:
    """A few of the sample; made-up ones where there is none."""
    given = sample_of(inputs)
    return inputs.rows(BATCH_SIZES[-1]) if given is None else spread(given, BATCH_SIZES[-1])


def sample_of(inputs: Inputs) -> Feeds | None:
    """Raises `ConversionError` where the inputs have not as many rows each."""
    if inputs.sample is None:
        return None
    counts = {name: len(rows) for name, rows in inputs.sample.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ConversionError(f"sample must hold as many rows for each input; it has {told}.")
    return inputs.sample


def all_answered(original: Original, feeds: Feeds) -> Answered:
    return Answered(feeds, answers(original, feeds))


def some_answered(original: Original, feeds: Feeds) -> Answered:
    """The rows that the original takes, found by halves where it fails on all of them together."""
    rows = row_count(feeds)
    accepted: list[Array] = [np.empty(0, int)]
    refusal = ""
    parts = [np.arange(rows)]
    for _ in range(_CALLS_TO_FIND_ROWS_MAX):
        if not parts:
            break
        part = parts.pop(0)
        try:
            expected = original(taken(feeds, part))
        except Exception as error:  # the user's model may raise anything
            refusal = refusal or first_line(f"{type(error).__name__}: {error}")
            half = len(part) // 2
            parts += [part[:half], part[half:]] if half else []
            continue
        if len(part) == rows:
            return Answered(feeds, expected)
        accepted.append(part)
    which = np.sort(np.concatenate(accepted))
    kept = taken(feeds, which)
    expected = answers(original, kept) if len(which) else {}
    return Answered(kept, expected, rows - len(which), refusal)


def in_a_line(error: BaseException) -> str:
    """Its kind and what it says, without the colours that some frameworks paint their messages in."""
    return " ".join(_COLOURS.sub("", f"{type(error).__name__}: {error}").split())


def first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:_ERROR_SHOWN]


def _told(feeds: Feeds) -> str:
    return ", ".join(f'an input "{name}" of {rows.dtype} {list(rows.shape)}' for name, rows in feeds.items())
