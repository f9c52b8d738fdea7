"""What the mean over tasks hides: each task for itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.figures.style import GROUPS, QUIET, REFERENCE, look, style, subplots
from ssm_metarl.evaluation.report import MODES, Evaluation, counted, describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_COLUMNS = 3


@style()
def performance_profile(evaluation: Evaluation, *, title: str | None = None) -> "Figure":
    """Draw, for each mode, the share of tasks on which it reaches at least some return.

    Each mode is shown with its smallest data budget, after one step where it takes any: there the
    modes differ most (Agarwal et al. 2021, arXiv:2108.13264, who draw it over runs).
    """
    rows = sorted(evaluation.results, key=lambda row: row.shots, reverse=True)
    steps = {"zero_shot": 0, "in_context": 0}
    smallest = {
        row.mode: row
        for row in rows
        if row.steps == steps.get(row.mode, 1) and (row.shots or row.mode == "zero_shot")
    }
    shown = {mode: smallest[mode] for mode in MODES if mode in smallest}
    from matplotlib.ticker import PercentFormatter

    figure, (axes,) = subplots(8.4, 4.3)
    low = min(min(row.per_task) for row in shown.values())
    for mode, row in shown.items():
        returns = np.sort(np.array(row.per_task))
        share = 1.0 - np.arange(len(returns)) / len(returns)
        name = f"{MODES[mode]}, {counted(row.shots, 'episode')}" if row.shots else MODES[mode]
        line = {**look(mode), "marker": ""}
        axes.step([low, *returns], [1.0, *share], where="pre", label=name, **line)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(0.0, 1.03)
    axes.set_xlabel("return")
    axes.set_ylabel("tasks that reach it")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_title(title or describe(evaluation))
    return figure


@dataclass(frozen=True)
class Scatter:
    """A panel of :func:`task_scatter`: the return of each task before and after adaptation.

    Tasks of a group, such as ``"swapped"``, share a colour. ``noun`` says what a point is.
    """

    title: str
    before: Shaped[np.ndarray, " N"]
    after: Shaped[np.ndarray, " N"]
    groups: Sequence[str] | None = None
    noun: str = "task"


@style()
def task_scatter(panels: Sequence[Scatter]) -> "Figure":
    """Draw each task's return after adaptation against its return before, a point per task.

    Panels are side by side, up to three in a row, each on a scale of its own.

    Raises:
        UserError: More groups than colours, or matplotlib is missing.
    """
    names = list(dict.fromkeys(name for panel in panels for name in panel.groups or ()))
    if len(names) > len(GROUPS):
        raise UserError(f"at most {len(GROUPS)} groups of tasks can be told apart, not {names}")
    looks = dict(zip(names or [""], GROUPS, strict=False))
    rows = math.ceil(len(panels) / MOST_COLUMNS)
    columns, height = math.ceil(len(panels) / rows), 5.8 * rows + (0.6 if names else 0.0)
    figure, grid = subplots(5.4 * columns, height, len(panels), rows=rows)
    for axes, panel in zip(grid, panels, strict=True):
        _draw_tasks(axes, panel, looks)
    for axes in grid[::columns]:
        axes.set_ylabel("return after adaptation")
    if names:
        from matplotlib.lines import Line2D

        dots = [
            Line2D([], [], color=colour, marker=marker, linestyle="", label=name)
            for name, (colour, marker) in looks.items()
        ]
        figure.legend(handles=dots, loc="outside lower center", ncols=len(dots), frameon=False)
    return figure


def _draw_tasks(axes: "Axes", panel: Scatter, looks: dict[str, tuple[str, str]]) -> None:
    before, after = panel.before, panel.after
    low, high = min(before.min(), after.min()), max(before.max(), after.max())
    margin = 0.04 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, **REFERENCE)
    spot = (low + 0.75 * (high - low),) * 2
    below = {"xytext": (4, -4), "textcoords": "offset points", "rotation": 45}
    axes.annotate("no change", spot, color=QUIET, size="small", ha="center", va="top", **below)
    of_task = np.array([""] * len(before) if panel.groups is None else panel.groups)
    for name, (colour, marker) in looks.items():
        x, y = before[of_task == name], after[of_task == name]
        axes.scatter(x, y, s=40, c=colour, marker=marker, ec="white", lw=0.7, label=name)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.set_xlabel("return before adaptation")
    better = f"better on {(after > before).sum()} of {counted(len(before), panel.noun)}"
    axes.set_title(f"{panel.title}\n{better}".strip())
