"""Rows at a model's own decision boundaries, and whether it is undecided of a row.

Undecided: when the row moves by the rounding of float32, the original itself says something else. Two models
that compute the same in another order may then say either, and both are right.
"""

from collections.abc import Callable, Mapping

import numpy as np

from modelrocket.errors import ConversionError
from modelrocket.inputs import Feeds, Original, row_count, taken
from modelrocket.tensors import Array

BRACKETS_MAX = 64
BISECTIONS = (7, 14)
"""After so many the two ends of each bracket are kept: a hundredth and a ten-thousandth of it apart."""
ROUNDING = 1e-6
"""What counts as the same row: each element moved by this share of what its column holds."""
MOVES = 32
_UNDECIDED_SHARE_MAX = 0.05
_UNDECIDED_MIN = 4

Answers = Mapping[str, Array]


def near_boundaries(
    feeds: Feeds, answers: Answers, original: Original, *, brackets_max: int = BRACKETS_MAX
) -> Feeds | None:
    """Rows on both sides of the original's decision boundaries: bisected between rows of different labels.

    `answers`: the original's of `feeds`. None where it gives no labels, where all are the same, or where an
    input cannot be halved.
    """
    labels = _labels(answers, row_count(feeds))
    if labels is None or any(rows.dtype.kind not in "fiu" for rows in feeds.values()):
        return None
    try:
        return _bisected(feeds, labels, original, brackets_max)
    except ConversionError:
        raise
    except Exception:  # the user's model may raise anything; what it does not take is no boundary
        return None


def _bisected(feeds: Feeds, labels: Array, original: Original, brackets_max: int) -> Feeds | None:
    ends = np.arange(len(labels))
    starts = np.concatenate([ends[1:], ends[:1]])
    pairs = np.flatnonzero(labels[starts] != labels[ends])[:brackets_max]
    if not len(pairs):
        return None
    low: Feeds = taken(feeds, starts[pairs])
    high: Feeds = taken(feeds, ends[pairs])
    kept: list[Feeds] = []
    for step in range(1, max(BISECTIONS) + 1):
        middle = {name: _halfway(low[name], high[name]) for name in feeds}
        same = np.asarray(_labels(original(middle), len(pairs)) == labels[starts[pairs]])
        low = _where(same, middle, low)
        high = _where(same, high, middle)
        if step in BISECTIONS:
            kept += [low, high]
    return {name: np.concatenate([one[name] for one in kept]) for name in feeds}


def _labels(answers: Answers, rows: int) -> Array | None:
    """The first output that holds one label per row, if there is one."""
    each = (value for value in answers.values() if value.shape == (rows,))
    return next((value for value in each if value.dtype.kind in "biuOUS"), None)


def _halfway(low: Array, high: Array) -> Array:
    if low.dtype.kind == "f":
        return np.asarray(low / 2 + high / 2, dtype=low.dtype)
    return np.asarray((low & high) + ((low ^ high) >> 1))  # the mean, without overflow


def _where(which: Array, one: Feeds, other: Feeds) -> Feeds:
    return {
        name: np.where(which.reshape(-1, *[1] * (rows.ndim - 1)), rows, other[name])
        for name, rows in one.items()
    }


def excusable(differing: int, rows: int) -> bool:
    """So few that rounding can explain them: data on a grid whose boundary is off by a step has many more."""
    return differing <= max(_UNDECIDED_MIN, _UNDECIDED_SHARE_MAX * rows)


def undecided(
    original: Original,
    feeds: Feeds,
    which: Array,
    says: tuple[Answers, Answers],
    same: Callable[[Answers, Answers], Array],
) -> Array:
    """Of the rows `which`: moved by rounding, the original says now the one, now the other of what both say.

    A value with a meaning of its own, as a zero that stands for a missing one, is no boundary: the original
    says that of nothing beside it, and where it refuses the rows it says nothing. `same` compares answers by
    row. Only floats move.
    """
    heard = np.zeros((len(says), len(which)), bool)
    steps = {name: _step(rows, which) for name, rows in feeds.items() if rows.dtype.kind == "f"}
    if not steps:
        return np.zeros(len(which), bool)
    there = taken(feeds, which)
    random = np.random.default_rng(seed=0)
    for _ in range(MOVES):
        moved = {name: _moved(there[name], step, random) for name, step in steps.items()}
        try:
            answers = original(there | moved)
        except Exception:  # the user's model may raise anything; what it does not take excuses nothing
            continue
        heard |= np.stack([same(answers, one) for one in says])
        if heard.all():
            break
    return np.asarray(heard.all(axis=0))


def _step(rows: Array, which: Array) -> Array:
    sizes = np.abs(np.where(np.isfinite(rows), rows, 0))
    return np.asarray(ROUNDING * np.maximum(sizes[which], sizes.mean(axis=0)))


def _moved(rows: Array, step: Array, random: np.random.Generator) -> Array:
    return np.asarray(rows + step * random.choice([-1, 1], rows.shape), dtype=rows.dtype)
