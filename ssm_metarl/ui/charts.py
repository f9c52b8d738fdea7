"""Charts as inline SVG.

They follow the page's light and dark, are read out by screen readers, and replace each other
without flicker while they stream.

Each chart is drawn twice, wide and narrow, and the style sheet shows the one that fits; so letters
keep their size on a phone.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from ssm_metarl.ui.overlap import FEW, Point, cut, dashes, radius, stretches, together

WIDE, NARROW = (720, 300), (380, 280)
SHORT = 110  # pixels less, for charts that are read one under another
LEFT, RIGHT, TOP, BOTTOM = 66, 16, 14, 48  # margins, in pixels


@dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Attributes:
        label: What it shows, with the unit.
        low: Where it starts; None for the smallest value there is.
        high: Where it ends, likewise.
    """

    label: str
    low: float | None = None
    high: float | None = None

    def span(self, values: Sequence[float]) -> Point:
        """Return where the axis starts and ends; what is not fixed follows the values."""
        known = [value for value in values if math.isfinite(value)] or [0.0]
        low = min(known) if self.low is None else self.low
        high = max(known) if self.high is None else self.high
        if high <= low:
            high = low + 1.0
        margin = 0.05 * (high - low)
        return (
            low - margin if self.low is None else low,
            high + margin if self.high is None else high,
        )


@dataclass(frozen=True)
class Line:
    """One line, or some points.

    Attributes:
        name: In the legend.
        style: Suffix of the CSS class that colours it.
        points: ``(x, y)``, from left to right.
        band: ``(low, high)`` at each point, if there is one.
        joined: Whether the points are joined.
        dots: Whether the points are marked.
    """

    name: str
    style: str
    points: Sequence[Point]
    band: Sequence[Point] = ()
    joined: bool = True
    dots: bool = True


@dataclass(frozen=True)
class Rule:
    """A horizontal line to compare with, such as the best possible return."""

    y: float
    name: str


def chart(
    lines: Sequence[Line],
    x: Axis,
    y: Axis,
    alt: str,
    rules: Sequence[Rule] = (),
    *,
    diagonal: str = "",
    short: bool = False,
    cursor: bool = False,
) -> str:
    """Draw lines and points.

    Args:
        lines: What to draw; those without points are in the legend only.
        x: The horizontal axis.
        y: The vertical axis.
        alt: What the chart shows, in words.
        rules: Lines to compare with.
        diagonal: What to write along the line on which both axes say the same; it is drawn if so.
        short: Whether to draw it lower than usual.
        cursor: Whether to draw an upright line, which the page's script moves (traces.js).

    Returns:
        HTML.
    """
    places = [point[0] for line in lines for point in line.points]
    across = x.span(places)
    counts = all(float(end).is_integer() for end in (*places, x.low or 0, x.high or 0))
    heights = [point[1] for line in lines for point in line.points]
    heights += [end for line in lines for pair in line.band for end in pair]
    upward = y.span(heights + [rule.y for rule in rules])
    drawn = ""
    for name, (width, height) in (("wide", WIDE), ("narrow", NARROW)):
        size = (width, height - SHORT * short)
        frame = _Frame(size, across, upward)
        most = 4 if name == "narrow" else 8
        inside = [*frame.grid(x.label, y.label, ticks(*across, most, whole=counts))]
        inside += [frame.rule(rule) for rule in rules]
        inside += [frame.diagonal(diagonal)] * bool(diagonal)
        inside += [*frame.bands(lines), *frame.joined(lines), *frame.dots(lines)]
        inside += [frame.name(rule) for rule in rules]  # last, or lines would cross it out
        inside += [frame.cursor()] * cursor
        drawn += (
            f'<svg class="{name}" viewBox="0 0 {size[0]} {size[1]}" role="img" '
            f'aria-label="{escape(alt)}">{"".join(inside)}</svg>'
        )
    return f'<figure class="chart">{drawn}{legend(lines)}</figure>'


def legend(lines: Iterable[Line]) -> str:
    """Name the lines, each beside its colour."""
    entries = (
        f'<li><span class="key mark-{line.style}"></span>{escape(line.name)}</li>'
        for line in lines
        if line.name
    )
    return f'<ul class="legend">{"".join(entries)}</ul>'


def histogram(values: Sequence[float], x: Axis, y: Axis, alt: str, style: str) -> str:
    """Draw how often values occur, as bars of equal and round widths."""
    low, high = x.span(values)
    edges = ticks(low, high, 16)
    width = edges[1] - edges[0]
    counts = Counter(math.floor(value / width) for value in values)
    steps = [
        point
        for place in range(min(counts), max(counts) + 1)
        for point in [
            (place * width, 0.0),
            (place * width, float(counts[place])),
            ((place + 1) * width, float(counts[place])),
            ((place + 1) * width, 0.0),
        ]
    ]
    floor = [(0.0, height) for _, height in steps]
    bars = Line("", style, steps, floor, dots=False)
    return chart([bars], Axis(x.label), Axis(y.label, 0.0), alt, short=True)


def ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """Return round numbers on an axis, at most so many; whole ones where nothing else is there."""
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(s for s in (step, 2 * step, 5 * step, 10 * step) if (high - low) / s <= most)
    step = max(step, 1.0) if whole else step
    first = math.ceil(low / step - 1e-9)
    return [step * number for number in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class _Frame:
    """From numbers to places in a picture of one size."""

    size: tuple[int, int]
    across: Point
    upward: Point

    def at(self, x: float, y: float) -> Point:
        """Return where a point is drawn."""
        (width, height), (left, right), (low, high) = self.size, self.across, self.upward
        return (
            round(LEFT + (x - left) / (right - left) * (width - LEFT - RIGHT), 1),
            round(height - BOTTOM - (y - low) / (high - low) * (height - TOP - BOTTOM), 1),
        )

    def grid(self, x_label: str, y_label: str, across: Sequence[float]) -> Iterable[str]:
        """Draw the axes."""
        width, height = self.size
        for value in ticks(*self.upward, 5):
            _, y = self.at(self.across[0], value)
            yield f'<line class="grid" x1="{LEFT}" x2="{width - RIGHT}" y1="{y}" y2="{y}"/>'
            yield f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{value:g}</text>'
        for value in across:
            x, _ = self.at(value, self.upward[0])
            yield f'<text x="{x}" y="{height - BOTTOM + 19}" text-anchor="middle">{value:g}</text>'
        middle = (LEFT + width - RIGHT) / 2, (TOP + height - BOTTOM) / 2
        yield (
            f'<text x="{middle[0]}" y="{height - 7}" text-anchor="middle">{escape(x_label)}</text>'
        )
        yield (
            f'<text transform="translate(14 {middle[1]}) rotate(-90)" text-anchor="middle">'
            f"{escape(y_label)}</text>"
        )

    def rule(self, rule: Rule) -> str:
        """Draw a line to compare with."""
        (start, y), (end, _) = self.at(self.across[0], rule.y), self.at(self.across[1], rule.y)
        return f'<line class="rule" x1="{start}" x2="{end}" y1="{y}" y2="{y}"/>'

    def name(self, rule: Rule) -> str:
        """Write what such a line stands for."""
        end, y = self.at(self.across[1], rule.y)
        words = escape(rule.name)
        return f'<text class="said" x="{end - 4}" y="{y - 6}" text-anchor="end">{words}</text>'

    def diagonal(self, name: str) -> str:
        """Draw where both axes say the same."""
        low = max(self.across[0], self.upward[0])
        high = min(self.across[1], self.upward[1])
        (x1, y1), (x2, y2) = self.at(low, low), self.at(high, high)
        x, y = self.at(low + 0.8 * (high - low), low + 0.8 * (high - low))
        return (
            f'<line class="rule" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'
            f'<text x="{x + 10}" y="{y + 12}">{escape(name)}</text>'
        )

    def cursor(self) -> str:
        """Draw an upright line, and say where the axis is that it moves along."""
        (left, bottom), (right, top) = (
            self.at(x, y) for x, y in zip(self.across, self.upward, strict=True)
        )
        axis = f'data-from="{self.across[0]:g}" data-to="{self.across[1]:g}"'
        axis += f' data-left="{left}" data-right="{right}"'
        return f'<line class="cursor" {axis} x1="{left}" x2="{left}" y1="{bottom}" y2="{top}"/>'

    def bands(self, lines: Sequence[Line]) -> Iterable[str]:
        """Draw the bands, under everything else."""
        for line in lines:
            pairs = list(zip(line.points, line.band, strict=bool(line.band)))
            edge = [self.at(point[0], high) for point, (_, high) in pairs]
            edge += [self.at(point[0], low) for point, (low, _) in reversed(pairs)]
            if edge:
                yield f'<polygon class="band mark-{line.style}" points="{_joined(edge)}"/>'

    def joined(self, lines: Sequence[Line]) -> Iterable[str]:
        """Draw the lines; where some share a stretch, in dashes by turns."""
        drawn = [line for line in lines if line.joined]
        if max((len(line.points) for line in drawn), default=0) > FEW:
            for line in drawn:
                yield _polyline(line, [self.at(*point) for point in line.points])
            return
        xs = [x for line in drawn for x, _ in line.points]
        places = [[self.at(*point) for point in cut(line.points, xs)] for line in drawn]
        for number, (line, parts) in enumerate(zip(drawn, stretches(places), strict=True)):
            for sharing, points in parts:
                yield _polyline(line, points, dashes(number, sharing))

    def dots(self, lines: Sequence[Line]) -> Iterable[str]:
        """Draw the points; where some share a place, as rings around each other."""
        marked = [line for line in lines if line.dots]
        places = [[self.at(*point) for point in line.points] for line in marked]
        for number, (line, own) in enumerate(zip(marked, together(places), strict=True)):
            for (x, y), point, sharing in zip(places[number], line.points, own, strict=True):
                yield (
                    f'<circle class="dot mark-{line.style}" cx="{x}" cy="{y}" '
                    f'r="{radius(number, sharing)}"><title>{escape(line.name)}: {point[0]:g}, '
                    f"{point[1]:.4g}</title></circle>"
                )


def _polyline(line: Line, places: Sequence[Point], how: str = "") -> str:
    return f'<polyline class="line mark-{line.style}" points="{_joined(places)}"{how}/>'


def _joined(places: Sequence[Point]) -> str:
    return " ".join(f"{x},{y}" for x, y in places)
