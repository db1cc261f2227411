"""Line charts as SVG text, for pages that load nothing."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

Point = tuple[float, float | None]  # None: a gap in the line

WIDTH = 560
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 24, 34


class Line(NamedTuple):
    points: Sequence[Point]
    colour: str
    dashed: bool = False


class Axis(NamedTuple):
    """From ``low`` to ``high``; logarithmic axes begin above 0."""

    title: str
    low: float
    high: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """0..1, also for what is outside."""
        if self.logarithmic:
            low, high = math.log(self.low), math.log(self.high)
            return min(1.0, max(0.0, (math.log(max(value, self.low)) - low) / (high - low)))
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def ticks(self) -> list[float]:
        """Round numbers along it, some five of them."""
        if self.logarithmic:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1, 2, 5) if math.log10(self.high / self.low) < 2.5 else (1,)
            values = [step * 10.0**decade for decade in decades for step in steps]
        else:
            step = round_step((self.high - self.low) / 4)
            values = [n * step for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return [value for value in values if self.low <= value <= self.high * 1.0001]


def round_step(rough: float) -> float:
    """The smallest of 1, 2, 5, 10, ... times a power of ten that is not below it."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.9999)


def round_up(value: float) -> float:
    """An end for an axis: the next round number."""
    return round_step(value) if value > 0 else 1.0


def chart(
    title: str, lines: Sequence[Line], x: Axis, y: Axis, marks: Sequence[float] = (), height: int = 220
) -> str:
    """A line chart with its grid; what lies outside the axes is drawn on their edge. ``marks``: upright lines."""
    wide, high = WIDTH - LEFT - RIGHT, height - TOP - BOTTOM
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">',
        f'<text class="title" x="{LEFT}" y="15">{escape(title)}</text>',
    ]
    for value in x.ticks():
        at = LEFT + x.place(value) * wide
        parts.append(f'<path class="grid" d="M{at:.1f} {TOP}v{high}"/>')
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{TOP + high + 14}" text-anchor="middle">{value:g}</text>'
        )
    for value in y.ticks():
        at = TOP + (1 - y.place(value)) * high
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}h{wide}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">{value:g}</text>')
    parts.extend(f'<path class="mark" d="M{LEFT + x.place(at) * wide:.1f} {TOP}v{high}"/>' for at in marks)
    parts.append(
        f'<text class="axis" x="{LEFT + wide}" y="{height - 5}" text-anchor="end">{escape(x.title)}</text>'
        f'<text class="axis" x="{LEFT + wide}" y="15" text-anchor="end">{escape(y.title)}</text>'
    )
    for line in lines:
        dash = ' stroke-dasharray="5 4" stroke-width="1.5"' if line.dashed else ""
        path = _path(line.points, x, y, wide, high)
        parts.append(f'<path class="line" stroke="{line.colour}"{dash} d="{path}"/>')
    return "".join([*parts, "</svg>"])


def _path(points: Sequence[Point], x: Axis, y: Axis, wide: int, high: int) -> str:
    words = []
    pen = "M"
    for across, up in points:
        if up is None:
            pen = "M"
            continue
        words.append(f"{pen}{LEFT + x.place(across) * wide:.1f} {TOP + (1 - y.place(up)) * high:.1f}")
        pen = "L"
    return "".join(words)
