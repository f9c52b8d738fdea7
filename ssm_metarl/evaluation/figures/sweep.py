"""What a search of settings has found."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ssm_metarl.evaluation.figures.style import COLOURS, FAINT, style, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
BEST, REST = COLOURS["from_scratch"], COLOURS["standard"]


@dataclass(frozen=True)
class TrialPoint:
    """A trial: its return, or the best one that it had reached when it was pruned."""

    number: int
    value: float
    params: Mapping[str, Any]
    pruned: bool


@style()
def sweep_figure(
    trials: Sequence[TrialPoint],
    importance: Mapping[str, float],
    logarithmic: Collection[str] = (),
    *,
    title: str,
) -> "Figure":
    """Draw the returns in the order of the trials, then over each setting, what matters first.

    Args:
        trials: Those that have a return, at least one of them complete.
        importance: The share of the variance of returns that each setting explains.
        logarithmic: Settings that were searched on such a scale.
        title: Of the first panel.
    """
    from matplotlib.ticker import MaxNLocator

    names = sorted(importance, key=lambda name: -importance[name])
    count = 1 + len(names)
    rows = math.ceil(count / COLUMNS)
    figure, grid = subplots(4.4 * math.ceil(count / rows), 3.8 * rows, count, rows=rows)
    complete = sorted((one for one in trials if not one.pruned), key=lambda one: one.number)
    best = np.maximum.accumulate([one.value for one in complete])
    grid[0].step([one.number for one in complete], best, where="post", color=BEST, zorder=1)
    _scatter(grid[0], trials, [one.number for one in trials])
    grid[0].set(title=title, xlabel="trial")
    grid[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    grid[0].legend(frameon=False, fontsize="small", markerscale=0.8)
    for axes, name in zip(grid[1:], names, strict=True):
        values = [one.params[name] for one in trials]
        if not all(type(value) in (int, float) for value in values):
            labels = sorted({str(value) for value in values})
            aside = np.random.default_rng(0).uniform(-0.15, 0.15, len(values))
            values = [labels.index(str(value)) for value in values] + aside
            axes.set(xlim=(-0.5, len(labels) - 0.5))
            axes.set_xticks(range(len(labels)), labels)
        elif name in logarithmic:
            axes.set_xscale("log")
        elif all(type(value) is int for value in values):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _scatter(axes, trials, values)
        axes.set(title=f"explains {importance[name]:.0%} of the variance", xlabel=name)
    for axes in grid[:: math.ceil(count / rows)]:
        axes.set_ylabel("best validation return")
    return figure


def _scatter(axes: "Axes", trials: Sequence[TrialPoint], x: Sequence[Any] | np.ndarray) -> None:
    """Draw the trials: pruned ones hollow, the best one in its own colour."""
    top = max((one for one in trials if not one.pruned), key=lambda one: one.value)
    looks = {
        "pruned": {"facecolor": "none", "edgecolor": FAINT},
        "complete": {"color": REST, "edgecolor": "white"},
        "best": {"color": BEST, "edgecolor": "white", "s": 90},
    }
    kinds = ["best" if one is top else "pruned" if one.pruned else "complete" for one in trials]
    values = [one.value for one in trials]
    for kind, look in looks.items():
        shown = [row[:2] for row in zip(x, values, kinds, strict=True) if row[2] == kind]
        if shown:
            axes.scatter(*zip(*shown, strict=True), label=kind, **{"s": 40, "lw": 0.9, **look})
