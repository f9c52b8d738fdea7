"""One adaptation, episode by episode."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ssm_metarl.adaptation.online import AdaptProgress
from ssm_metarl.evaluation.figures.panel import name_best
from ssm_metarl.evaluation.figures.style import COLOURS, MARKERS, REFERENCE, style, subplots
from ssm_metarl.evaluation.report import MODES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@style()
def episode_curve(
    records: Sequence[AdaptProgress],
    after: float,
    *,
    family: str,
    best: float | None = None,
    cut: int | None = None,
) -> "Figure":
    """Draw the return of each episode that an adaptation played, and where it took its steps.

    Where the episodes that were learned from are cut at a horizon, whole episodes afterwards are
    another measure, so that they get a scale of their own.

    Args:
        records: The stream of :func:`ssm_metarl.adaptation.online.adapt`.
        after: Mean return of whole episodes afterwards.
        family: Name of the family of the task.
        best: Best possible return of a whole episode, drawn as a line.
        cut: Steps after which the episodes of the adaptation were cut; None if they were whole.
    """
    mode = records[0].mode
    returns = np.concatenate([record.returns for record in records]).tolist()
    numbers = np.arange(1, len(returns) + 1)
    from matplotlib.ticker import MaxNLocator

    figure, (played, whole) = subplots(7.2, 4.3, 2, width_ratios=(4.5, 1.0), sharey=cut is None)
    played.plot(numbers, returns, color=COLOURS[mode], marker=MARKERS[mode] or "o")
    steps = 0
    for record in records:
        if record.steps > steps:
            played.axvline(record.episodes + 0.5, **REFERENCE)
        steps = record.steps
    whole.plot([0], [after], color=COLOURS[mode], marker="*", markersize=16, clip_on=False)
    above = {"xytext": (0, -12), "textcoords": "offset points", "annotation_clip": False}
    star = {"color": COLOURS[mode], "ha": "center", "va": "top", "weight": "bold"}
    whole.annotate(f"{after:.1f}", (0, after), **star, **above)
    ends = [after] if best is None else [after, best]
    _scale(whole, ends)
    _scale(played, returns if cut else [*returns, *ends])  # of whole ones they share the scale
    if best is not None:
        whole.axhline(best, **REFERENCE)
        if cut is None:
            played.axhline(best, **REFERENCE)
            name_best(played, best)
    played.xaxis.set_major_locator(MaxNLocator(integer=True))
    played.set_xlim(0.5, len(returns) + 0.75)
    whole.set_xticks([])
    taken = "; dashed: a gradient step" if steps else ""
    played.set_xlabel(f"episode of the new task{taken}")
    played.set_ylabel("return" if cut is None else f"return within {cut:,} steps")
    whole.set_xlabel("whole episodes\nafterwards")
    played.set_title(f"{family}: adapting, {MODES[mode]}")
    return figure


def _scale(axes: "Axes", shown: Sequence[float]) -> None:
    """Let the vertical axis hold zero and all that is shown, with room above."""
    low, high = min(0.0, *shown), max(0.0, *shown)
    axes.set_ylim(low - 0.04 * (high - low) * (low < 0), high + 0.06 * (high - low))
