"""Curves as inline SVG, which follows the colors of the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from .bands import Band
from .curves import ITERATIONS, Curve

# In units of the picture, which is as wide as its place on the page.
_WIDTH, _HEIGHT = 480, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 12, 34
_MAX_POINTS = 300  # of a line: more are not to be seen
_COLORS = 8  # of lines, in the style sheet


class Axis(NamedTuple):
    """A scale from values to a place in the picture."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Give the place of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Give round numbers from low to high, about ``count`` of them."""
    raw = (high - low) / count
    step = 10.0 ** math.floor(math.log10(raw))
    step *= next(m for m in (1, 2, 5, 10) if m * step >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def number(value: float) -> str:
    """Write a number short: four digits that count."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        text = f'{value:.4g}' if abs(value) < 1e4 else f'{value:,.0f}'
        return text
    return f'{value:.3g}'.replace('e-0', 'e-').replace('e+0', 'e')


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep few points of many: the lowest and the highest of each stretch, the ends."""
    if len(points) <= _MAX_POINTS:
        return [*points]
    length = 2 * len(points) / _MAX_POINTS
    kept = {points[0], points[-1]}
    for i in range(_MAX_POINTS // 2):
        stretch = points[int(i * length) : int((i + 1) * length)]
        kept |= (
            {f(stretch, key=lambda p: p[1]) for f in (min, max)} if stretch else {*()}
        )
    return sorted(kept)


def draw_chart(
    title: str,
    lines: Mapping[str, Curve],
    band: Band | None = None,
    resumed_at: Sequence[float] = (),
) -> Markup:
    """Draw curves of one unit.

    Args:
        title (str): what is drawn, for those who do not see it.
        lines (Mapping[str, Curve]): by name.
        band (Band, optional): in which healthy runs lie.
        resumed_at (Sequence[float]): iterations, marked where the unit is that.

    Returns:
        Markup: an ``svg`` element; empty if there is no finite number.
    """
    drawn = {name: thinned(curve.finite) for name, curve in lines.items()}
    xs = [x for points in drawn.values() for x, _ in points]
    ys = [y for points in drawn.values() for _, y in points]
    if not xs:
        return Markup()
    unit = next(iter(lines.values())).unit
    # A band of a longer run than this one goes on, but not by much.
    left, right = min(xs), max(xs)
    shown = [row for row in band or () if row[0] <= left + 1.3 * (right - left or 1)]
    if len(shown) < 2:  # nothing to be seen of it
        shown = []
    if shown:
        left, right = min(left, shown[0][0]), max(right, shown[-1][0])
    bottom, top = min(ys), max(ys)
    if shown:
        low, high = min(r[1] for r in shown), max(r[2] for r in shown)
        bottom, top = min(bottom, low), max(top, high)
    room = 0.06 * (top - bottom) or 0.1 * abs(top) or 1.0
    x = Axis(*_apart(left, right), _LEFT, _WIDTH - _RIGHT)
    y = Axis(bottom - room, top + room, _HEIGHT - _BOTTOM, _TOP)
    parts = []
    for value in ticks(y.low, y.high):
        at = y(value)
        parts.append(f'<path class="grid" d="M{_LEFT} {at}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at + 4}" class="end">{number(value)}')
        parts.append('</text>')
    for value in ticks(x.low, x.high):
        if value != int(value):
            continue
        at = x(value)
        parts.append(f'<path class="grid" d="M{at} {_HEIGHT - _BOTTOM}v4"/>')
        parts.append(f'<text x="{at}" y="{_HEIGHT - _BOTTOM + 16}" class="middle">')
        parts.append(f'{value:,.0f}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 3}" class="middle">{unit}</text>')
    if shown:
        there = [(x(r[0]), y(r[2])) for r in shown]
        back = [(x(r[0]), y(r[1])) for r in reversed(shown)]
        parts.append(f'<polygon class="band" points="{_places(there + back)}"/>')
    if unit == ITERATIONS:
        for at in (x(value) for value in resumed_at if left <= value <= right):
            parts.append(
                f'<path class="resumed" d="M{at} {_TOP}V{_HEIGHT - _BOTTOM}"/>'
            )
    for i, points in enumerate(drawn.values()):
        places = [(x(a), y(b)) for a, b in points]
        color = f'line c{i % _COLORS}'
        if len(places) > 1:
            parts.append(f'<polyline class="{color}" points="{_places(places)}"/>')
        if 0 < len(places) <= 30:
            parts += [
                f'<circle class="{color}" cx="{a}" cy="{b}" r="2.5"/>'
                for a, b in places
            ]
    spoken = escape(f'{title}: {_spoken(lines)}')
    points = next(iter(drawn.values()))
    hover = ''
    if len(drawn) == 1:
        values = ' '.join(f'{a:.10g}:{b:.5g}' for a, b in points)
        where = _places([(x(a), y(b)) for a, b in points])
        hover = f' data-values="{values}" data-places="{where}" tabindex="0"'
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{spoken}"'
        f'{hover}>{"".join(parts)}</svg>'
    )


def _apart(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 1, high + 1)


def _places(points: Sequence[tuple[float, float]]) -> str:
    return ' '.join(f'{x:g},{y:g}' for x, y in points)


def _spoken(lines: Mapping[str, Curve]) -> str:
    texts = []
    for name, curve in lines.items():
        points = curve.finite
        if points:
            (a, first), (b, last) = points[0], points[-1]
            texts.append(
                f'{name} from {number(first)} at {a:g} to {number(last)} at {b:g} '
                f'{curve.unit}'
            )
    return '; '.join(texts)
