"""How soon something is likely to be asked for again, by how long it was left alone before.

What has been idle for a while is judged by the gaps it has survived: of those at least as long,
how many end within the next so many seconds, for each second that it stays till then (hit density;
Beckmann, Chen and Cidon, 2018). So what comes every five minutes is kept for five minutes and not
much longer, and what came an hour apart makes room at once. What little is known of something new
is made up for by what is known of everything.

Arithmetic only; seconds are passed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

GAP_SECONDS_MIN: Final = 1.0
"""What is asked for again sooner is one bout of asking."""
_BINS: Final = 34
"""Of half an octave each: up to a day and a half, the last is for all above."""
_COUNT_MAX: Final = 100
"""Gaps that are counted before all count half: what was long ago matters less."""
_EVERYTHING_COUNT_MAX: Final = 10_000
_SHARED: Final = 0.1
"""Gaps that what is known of everything counts for."""
_NEVER: Final = 0.3 * _SHARED
"""Gaps that have no end: perhaps it is never asked for again."""
_MEAN_STEP: Final = 0.2
_LOWS: Final = tuple(GAP_SECONDS_MIN * 2 ** (number / 2) for number in range(_BINS))
_HIGHS: Final = tuple(GAP_SECONDS_MIN * 2 ** ((number + 1) / 2) for number in range(_BINS))
_MIDDLES: Final = tuple((low + high) / 2 for low, high in zip(_LOWS, _HIGHS, strict=True))
_SHARE_MIN: Final = 0.02


class Gaps:
    """Between uses of one thing. `mean` moves; 0 while there is none."""

    __slots__ = ("_count", "counts", "mean")

    def __init__(self) -> None:
        self.counts = bytearray(_BINS)
        self.mean = 0.0
        self._count = 0

    def saw(self, seconds: float) -> None:
        """One of at least `GAP_SECONDS_MIN`."""
        self.mean += (seconds - self.mean) * (_MEAN_STEP if self.mean else 1.0)
        self.counts[_bin(seconds)] += 1
        self._count += 1
        if self._count >= _COUNT_MAX:
            self.counts = bytearray(count // 2 for count in self.counts)
            self._count = sum(self.counts)


class Everything:
    """The gaps of all things together; any gap is as likely as another, as long as nothing is known."""

    __slots__ = ("_counts", "_total")

    def __init__(self) -> None:
        self._counts = [1.0] * _BINS
        self._total = float(_BINS)

    def saw(self, seconds: float) -> None:
        """As of one."""
        self._counts[_bin(seconds)] += 1
        self._total += 1
        if self._total >= _EVERYTHING_COUNT_MAX:
            self._counts = [count / 2 for count in self._counts]
            self._total /= 2

    def chances(self) -> tuple[float, ...]:
        """For `hit_density`, as of now."""
        return tuple([_SHARED * count / self._total for count in self._counts])


def hit_density(gaps: Gaps | None, chances: Sequence[float], *, idle: float) -> float:
    """Uses to be had for each second that it is kept from now on, if it is kept for the best time.

    `idle`: seconds for which it has been left alone. `gaps`: its own, None for none yet; `chances`: those
    of everything.
    """
    idle = max(idle, GAP_SECONDS_MIN)
    first = _bin(idle)
    left = max(_HIGHS[first] - idle, GAP_SECONDS_MIN)
    own: Sequence[int] = gaps.counts if gaps is not None else _NO_COUNTS
    likely = [count + chance for count, chance in zip(own[first:], chances[first:], strict=True)]
    likely[0] *= max((_HIGHS[first] - idle) / (_HIGHS[first] - _LOWS[first]), _SHARE_MIN)
    later = sum(likely) + _NEVER
    hits = likely[0]
    spent = hits * left / 2
    best = hits / (spent + (later - hits) * left)
    for chance, middle, high in zip(likely[1:], _MIDDLES[first + 1 :], _HIGHS[first + 1 :], strict=True):
        hits += chance
        spent += chance * (middle - idle)
        density = hits / (spent + (later - hits) * (high - idle))
        best = max(best, density)
    return best


_NO_COUNTS: Final = bytes(_BINS)


def _bin(seconds: float) -> int:
    return min(_BINS - 1, int(2 * math.log2(seconds)))
