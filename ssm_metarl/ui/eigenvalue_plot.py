"""The unit disc as inline SVG: each eigenvalue before and after, and rings of equal memory."""

import math
from collections.abc import Iterable, Sequence
from html import escape

from ssm_metarl.analysis.spectrum import Eigenvalue

SIDE = 340  # pixels of a picture
RIM = 22  # around the drawing
RINGS = (1, 2, 5, 20)  # time constants in steps
FINE_RINGS = (2, 3, 5, 10, 20, 50)
MARGIN = 0.12  # of the eigenvalues' extent, around them in the close-up


def discs(before: Sequence[Eigenvalue], after: Sequence[Eigenvalue]) -> str:
    """Draw the whole disc, and a close-up of where the eigenvalues are.

    Args:
        before: Drawn as rings.
        after: Drawn as dots, one for each of the others.

    Returns:
        HTML.
    """
    values = [one.value for one in (*before, *after)]
    slowest = max(one.time_constant for one in after)
    alt = (
        f"{len(after)} eigenvalues in the unit disc, with time constants from "
        f"{min(one.time_constant for one in after):.3g} to {slowest:.3g} steps"
    )
    whole = _View((-1.0, -1.0), 2.0)
    close = _close_up(values)
    return "".join(
        f'<figure class="disc"><svg viewBox="0 0 {SIDE} {SIDE}" role="img" '
        f'aria-label="{escape(f"{alt}; {name}")}">{"".join(_drawn(view, rings, before, after))}'
        f"</svg><figcaption>{name}</figcaption></figure>"
        for view, rings, name in (
            (whole, RINGS, "The unit disc"),
            (close, FINE_RINGS, "Closer: where the eigenvalues are"),
        )
    )


class _View:
    """From the complex plane to a square picture of a part of it."""

    def __init__(self, corner: tuple[float, float], side: float) -> None:
        self.corner, self.side = corner, side

    def at(self, value: complex) -> tuple[float, float]:
        scale = (SIDE - 2 * RIM) / self.side
        x = RIM + (value.real - self.corner[0]) * scale
        y = SIDE - RIM - (value.imag - self.corner[1]) * scale
        return round(x, 1), round(y, 1)

    def radius(self, length: float) -> float:
        return round(length * (SIDE - 2 * RIM) / self.side, 1)

    def shows(self, value: complex) -> bool:
        x, y = value.real - self.corner[0], value.imag - self.corner[1]
        return 0.0 <= x <= self.side and 0.0 <= y <= self.side


def _close_up(values: Sequence[complex]) -> _View:
    reals, imaginary = [v.real for v in values], [v.imag for v in values]
    side = max(1.0 - min(reals), max(imaginary) - min(0.0, *imaginary), 1e-3)
    room = MARGIN * side
    return _View((1.0 - side - room, min(0.0, *imaginary) - room), side + 2 * room)


def _drawn(
    view: _View, rings: Sequence[int], before: Sequence[Eigenvalue], after: Sequence[Eigenvalue]
) -> Iterable[str]:
    name = f"disc-{len(rings)}"
    inner = SIDE - 2 * RIM
    yield (
        f'<clipPath id="{name}"><rect x="{RIM - 6}" y="{RIM - 6}" width="{inner + 12}" '
        f'height="{inner + 12}"/></clipPath><g clip-path="url(#{name})">'
    )
    x, y = view.at(0j)
    yield f'<circle class="rim" cx="{x}" cy="{y}" r="{view.radius(1.0)}"/>'
    for ring in rings:
        radius = math.exp(-1.0 / ring)
        yield f'<circle class="grid" cx="{x}" cy="{y}" r="{view.radius(radius)}"/>'
    for line in ((-1.1, 1.1), (-1.1j, 1.1j)):
        (x1, y1), (x2, y2) = view.at(complex(line[0])), view.at(complex(line[1]))
        yield f'<line class="grid" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'
    yield "</g>"
    for ring in rings:
        yield from _ring_name(view, ring)
    yield f'<g clip-path="url(#{name})">'
    for old, new in zip(before, after, strict=True):
        (x1, y1), (x2, y2) = view.at(old.value), view.at(new.value)
        yield f'<line class="moved" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'
        yield f'<circle class="before" cx="{x1}" cy="{y1}" r="6"/>'
        yield (
            f'<circle class="after mark-new" cx="{x2}" cy="{y2}" r="3.5">'
            f"<title>{escape(described(new))}</title></circle>"
        )
    yield "</g>"


def _ring_name(view: _View, ring: int) -> Iterable[str]:
    """Write a time constant beside its ring, where the picture shows the ring."""
    radius = math.exp(-1.0 / ring)
    for angle in (100, 80, 60, 45, 30, 20, 12, 6):  # degrees; the first that is in the picture
        place = radius * complex(math.cos(math.radians(angle)), math.sin(math.radians(angle)))
        if view.shows(place):
            x, y = view.at(place)
            yield f'<text x="{x}" y="{y - 3}" text-anchor="middle">{ring}</text>'
            return


def described(one: Eigenvalue) -> str:
    """Say what an eigenvalue does."""
    turns = f", one turn in {one.period:.3g} steps" if math.isfinite(one.period) else ""
    return f"forgets with a time constant of {one.time_constant:.3g} steps{turns}"
