"""Line plots as SVG, without a library: small, readable in light and dark, the numbers in the file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from typing import Final

from benchmarks.simulation.experiment import Plot, Series

_WIDTH: Final = 760
_HEIGHT: Final = 320
_LEFT: Final = 64
_RIGHT: Final = 150
_TOP: Final = 40
_BOTTOM: Final = 52
_TICKS: Final = 5
_LINE_HEIGHT: Final = 18
_STYLE: Final = """
  text { font: 12px ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #475569 }
  .title { font-size: 14px; font-weight: 650; fill: #0f172a }
  .back { fill: #ffffff }
  .grid { stroke: #e2e8f0; stroke-width: 1 }
  .line { fill: none; stroke-width: 1.8; stroke-linejoin: round }
  .a { stroke: #2563eb } .b { stroke: #ea580c } .c { stroke: #059669 }
  .d { stroke: #9333ea } .e { stroke: #64748b } .f { stroke: #db2777 }
  @media (prefers-color-scheme: dark) {
    text { fill: #94a3b8 } .title { fill: #f1f5f9 } .back { fill: #0f172a } .grid { stroke: #334155 }
    .a { stroke: #60a5fa } .b { stroke: #fb923c } .c { stroke: #34d399 }
    .d { stroke: #c084fc } .e { stroke: #94a3b8 } .f { stroke: #f472b6 }
  }
"""
_CLASSES: Final = "abcdef"


class _Scale:
    """Values to places along one axis, from a round number to a round number."""

    def __init__(self, values: list[float], start: float, stop: float) -> None:
        low, high = min([0.0, *values]), max([*values, 1e-9])
        self.step = _round_step((high - low) / _TICKS)
        self.low = math.floor(low / self.step) * self.step
        self.high = math.ceil(high / self.step - 1e-9) * self.step
        self._start, self._ratio = start, (stop - start) / (self.high - self.low)

    def place(self, value: float) -> float:
        return self._start + (value - self.low) * self._ratio

    def ticks(self) -> Iterator[float]:
        for number in range(round((self.high - self.low) / self.step) + 1):
            yield self.low + number * self.step


def drawn(plot: Plot) -> str:
    """The whole file."""
    points = [point for series in plot.series for point in series.points]
    x = _Scale([point[0] for point in points], _LEFT, _WIDTH - _RIGHT)
    y = _Scale([point[1] for point in points], _HEIGHT - _BOTTOM, _TOP)
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
            f"<title>{escape(plot.title)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="back" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>',
            f'<text class="title" x="{_LEFT}" y="24">{escape(plot.title)}</text>',
            *_axes(plot, x, y),
            *(line for number, series in enumerate(plot.series) for line in _series(series, number, x, y)),
            "</svg>\n",
        )
    )


def _axes(plot: Plot, x: _Scale, y: _Scale) -> Iterator[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for value in y.ticks():
        at = y.place(value)
        yield f'<line class="grid" x1="{_LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}"/>'
        yield f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{value:,.6g}</text>'
    for value in x.ticks():
        at = x.place(value)
        yield f'<line class="grid" x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{bottom}"/>'
        yield f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{value:,.6g}</text>'
    middle = (_LEFT + right) / 2
    yield f'<text x="{middle}" y="{_HEIGHT - 12}" text-anchor="middle">{escape(plot.x_axis)}</text>'
    yield f'<text transform="translate(14 {(_TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">'
    yield f"{escape(plot.y_axis)}</text>"


def _series(series: Series, number: int, x: _Scale, y: _Scale) -> Iterator[str]:
    """The line, and its name beside the plot."""
    kind = _CLASSES[number % len(_CLASSES)]
    places = " ".join(f"{x.place(at):.1f},{y.place(value):.1f}" for at, value in series.points)
    yield f'<polyline class="line {kind}" points="{places}"/>'
    at, left = _TOP + 8 + number * _LINE_HEIGHT, _WIDTH - _RIGHT + 12
    yield f'<line class="line {kind}" x1="{left}" y1="{at}" x2="{left + 18}" y2="{at}"/>'
    yield f'<text x="{left + 24}" y="{at + 4}">{escape(series.name)}</text>'


def _round_step(step: float) -> float:
    """The next of 1, 2 or 5 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))
