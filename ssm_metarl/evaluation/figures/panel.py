"""A pair of axes with lines that are named at their right ends, clear of each other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.figures.style import COLOURS, QUIET, REFERENCE, look, subplots
from ssm_metarl.evaluation.report import MODES, Evaluation, ModeResult, describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Panel:
    """One pair of axes, and the ends of its lines, which are named once the scale is known."""

    def __init__(self, axes: "Axes", success: bool = False) -> None:
        self.axes, self.success = axes, success
        self.ends: list[tuple[float, float, str, str]] = []  # x, y, name, colour

    def line(
        self, mode: str, x: Sequence[int], curve: Sequence[ModeResult], name: str | None = None
    ) -> None:
        """Draw one mode's means with their 95% band, to be named with its last mean."""
        low, high = zip(*(row.ci95 for row in curve), strict=True)
        means = [row.mean for row in curve]
        after_steps = mode == "in_context" and curve[-1].steps > 0
        self.axes.fill_between(x, low, high, color=COLOURS[mode], alpha=0.18, linewidth=0)
        self.axes.plot(x, means, clip_on=False, **look(mode, after_steps=after_steps))
        last = f"{means[-1]:.{1 if abs(means[-1]) >= 10 else 2}f}".replace("-", "\N{MINUS SIGN}")
        last = f"{means[-1]:.0%}" if self.success else last
        self.ends.append((x[-1], means[-1], f"{name or MODES[mode]}  {last}", COLOURS[mode]))


def panels(
    evaluations: Evaluation | Sequence[Evaluation], titles: Sequence[str] | None, *, success: bool
) -> tuple["Figure", list[tuple[Evaluation, Panel]]]:
    """Lay out one panel per evaluation, side by side: of returns, or of success rates."""
    several = [evaluations] if isinstance(evaluations, Evaluation) else evaluations
    figure, row = subplots(1.8 + 5.4 * len(several), 4.3, len(several), sharey=True)
    for axes, title in zip(row, titles or map(describe, several), strict=True):
        axes.set_title(title)
    drawn = [one.of_success for one in several] if success else several
    return figure, [(one, Panel(axes, success)) for one, axes in zip(drawn, row, strict=True)]


def finish(several: Sequence[Panel], best: float | None) -> None:
    """Draw the best possible return, then name each line at its right end, clear of the others."""
    if not all(panel.ends for panel in several):
        raise UserError("nothing to draw: no result of this evaluation belongs in this figure")
    several[0].axes.set_ylabel("mean return of an episode")
    if several[0].success:
        from matplotlib.ticker import PercentFormatter

        several[0].axes.set_ylabel("success rate")
        several[0].axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        several[0].axes.set_ylim(0.0, 1.0)
    for panel in several:
        if best is not None:
            panel.axes.axhline(best, **REFERENCE)
    low, high = several[0].axes.get_ylim()  # of all panels: they share the scale
    bounds = [panel.axes.dataLim for panel in several]
    low = 0.0 if min(bound.y0 for bound in bounds) >= 0 else low
    for panel, bound in zip(several, bounds, strict=True):
        panel.axes.set_ylim(low, high + 0.03 * (high - low))
        panel.axes.set_xlim(right=bound.x1)  # so that no line runs through the names
        heights = spread([y for _, y, _, _ in panel.ends], 0.08 * (high - low))
        for (_, _, name, colour), height in zip(panel.ends, heights, strict=True):
            beside = {"xytext": (10, 0), "textcoords": "offset points", "annotation_clip": False}
            end = (bound.x1, height)
            panel.axes.annotate(name, end, c=colour, va="center", weight="bold", **beside)
        if best is not None:
            name_best(panel.axes, best)


def name_best(axes: "Axes", best: float) -> None:
    """Say what the line of the best possible return is, at its left end."""
    above = {"xytext": (6, 4), "textcoords": "offset points", "size": "small"}
    place = {"xy": (0, best), "xycoords": ("axes fraction", "data")}
    axes.annotate(f"best possible: {best:g}", color=QUIET, **place, **above)


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move heights at least `gap` apart, as little as possible in the sum of squares.

    Less `gap` times the rank, this is isotonic regression, solved by pooling adjacent violators.
    """
    order = sorted(range(len(heights)), key=heights.__getitem__)
    pools: list[list[float]] = []
    for rank, index in enumerate(order):
        pools.append([heights[index] - gap * rank])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    flat = [float(np.mean(pool)) for pool in pools for _ in pool]
    placed = np.empty(len(heights))
    placed[order] = np.add(flat, gap * np.arange(len(heights)))
    return placed.tolist()
