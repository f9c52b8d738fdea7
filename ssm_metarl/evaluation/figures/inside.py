"""What is inside an agent: eigenvalues in the unit disc, and traces of one episode."""

import cmath
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ssm_metarl.evaluation.figures.style import (
    COLOURS,
    FAINT,
    QUIET,
    REFERENCE,
    style,
    subplots,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RINGS, CLOSE_RINGS = (1, 2, 5, 20), (2, 3, 5, 10, 20, 50)  # time constants in steps
RING_ANGLES = (100, 80, 60, 45, 30, 20, 12, 6)  # degrees at which a ring may be labelled
MARGIN = 0.12  # around the close-up, in units of its side
TRACE_LEFT, TRACE_RIGHT = 0.18, 0.97  # of the axes in a trace plot, in units of its width


@style()
def eigenvalue_plot(
    before: Sequence[complex], after: Sequence[complex], *, close: bool = False
) -> "Figure":
    """Draw eigenvalues in the unit disc: open circles before adaptation, dots after.

    The grey rings are labelled with time constants: an eigenvalue of modulus ``exp(-1 / t)``
    forgets all but 1/e (37%) in ``t`` steps. The angle is the phase per step. ``close`` shows no
    more of the disc than where they are.
    """
    figure, (axes,) = subplots(4.2, 4.5)
    if close:
        values = np.array([*before, *after], np.complex128)
        low = min(0.0, values.imag.min())
        side = max(1.0 - values.real.min(), values.imag.max() - low)
        margin = MARGIN * side
        corner = (1.0 - side - margin, low - margin)
        _disc(axes, before, after, CLOSE_RINGS, corner, side + 2 * margin)
    else:
        _disc(axes, before, after, RINGS, (-1.08, -1.08), 2.16)
    axes.set_title("close-up" if close else "unit disc, time constants in steps")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def _disc(
    axes: "Axes",
    before: Sequence[complex],
    after: Sequence[complex],
    rings: Sequence[int],
    corner: tuple[float, float],
    side: float,
) -> None:
    """Draw a square part of the complex plane, from its lower left corner on."""
    (left, bottom), right, top = corner, corner[0] + side, corner[1] + side
    turn = np.exp(1j * np.linspace(0.0, 2 * np.pi, 721)).astype(np.complex128)
    for ring in rings:
        radius = math.exp(-1.0 / ring)
        axes.plot(radius * turn.real, radius * turn.imag, color=FAINT, linewidth=0.7)
        places = [cmath.rect(radius, math.radians(angle)) for angle in RING_ANGLES]
        shown = [p for p in places if left < p.real < right and bottom < p.imag < top]
        for spot in shown[:1]:
            look = {"horizontalalignment": "center", "size": "small", "color": QUIET}
            axes.text(spot.real, spot.imag, f"{ring}", look, verticalalignment="top")
    axes.plot(turn.real, turn.imag, color=QUIET, linewidth=1.4)
    moves = old, new = np.array([before, after], np.complex128)
    axes.plot(moves.real, moves.imag, color=COLOURS["hybrid"], linewidth=1.2)
    circle = {"facecolor": "none", "edgecolor": COLOURS["zero_shot"], "linewidth": 1.4}
    axes.scatter(old.real, old.imag, s=60, **circle, label="before", zorder=3)
    axes.scatter(new.real, new.imag, s=22, c=COLOURS["hybrid"], label="after", zorder=4)
    axes.axhline(0.0, color=FAINT, linewidth=0.7)
    axes.axvline(0.0, color=FAINT, linewidth=0.7)
    axes.set(xticks=[], yticks=[], xlim=(left, right), ylim=(bottom, top), aspect="equal")
    axes.spines[:].set_visible(False)


@style()
def trace_plot(
    lines: Sequence[tuple[str, str, Float[np.ndarray, "_"]]],
    label: str,
    *,
    steps: int,
    low: float | None = None,
    high: float | None = None,
    reference: tuple[float, str] | None = None,
) -> "Figure":
    """Draw one number at each step of one or more episodes.

    The axes go from :data:`TRACE_LEFT` to :data:`TRACE_RIGHT` of the figure's width and from 0 to
    ``steps``, so that whoever shows the figure can mark a step in it.

    Args:
        lines: Name, mode (for the colour) and values of each; the first lies on top.
        label: Of the vertical axis.
        steps: To draw.
        low: Where the vertical axis starts; None follows the values.
        high: Where it ends.
        reference: A value to compare with, and its name.
    """
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rc("figure.constrained_layout", use=False)  # the margins are fixed
    figure = Figure(figsize=(4.6, 2.1), dpi=200)
    axes = figure.add_axes((TRACE_LEFT, 0.23, TRACE_RIGHT - TRACE_LEFT, 0.63))
    for order, (name, mode, values) in enumerate(lines):
        shown = values[: steps + 1]
        line = {"color": COLOURS[mode], "linewidth": 1.3, "zorder": 3 - 0.1 * order}
        axes.plot(np.arange(len(shown)), shown, label=name, **line)
    if reference is not None:
        axes.axhline(reference[0], label=reference[1], **REFERENCE)
    axes.set(xlim=(0, steps), ylim=(low, high), xlabel="step of the episode", ylabel=label)
    place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": 3, "frameon": False}
    axes.legend(fontsize="small", handlelength=1.4, columnspacing=1.0, **place)
    return figure
