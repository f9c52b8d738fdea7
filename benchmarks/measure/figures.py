"""One figure of each section."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure.race import Row
from ssm_metarl.evaluation.figures.style import COLOURS, GROUPS, QUIET, style, subplots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS = {
    "ours": (COLOURS["standard"], "o"),
    "compiled": (COLOURS["hybrid"], "v"),
    "base": (COLOURS["zero_shot"], ""),
    "jax": (GROUPS[1][0], "D"),
    "copy": (QUIET, ""),
    "python_loop": (GROUPS[0][0], "s"),
    "gru": (GROUPS[2][0], "^"),
    "gymnasium": (GROUPS[0][0], "s"),
    "recurrent_ppo": (GROUPS[2][0], "^"),
    "onnx": (COLOURS["hybrid"], "v"),
    "pt2": (GROUPS[1][0], "D"),
    "c": (GROUPS[0][0], "s"),
}


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Fit ``seconds ~ size^p``; return p."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


@style()
def lines(rows: Sequence[Row], along: str, panels: Sequence[dict[str, object]]) -> "Figure":
    """Draw seconds along one key of the cells, a panel for each choice of the others."""
    figure, axes = subplots(5.0 * len(panels), 4.3, len(panels), sharey=True)
    for at, chosen in zip(axes, panels, strict=True):
        some = [row for row in rows if along in row.cell and chosen.items() <= row.cell.items()]
        for name in dict.fromkeys(row.contestant for row in some):
            own = [row for row in some if row.contestant == name]
            colour, marker = LOOKS[name]
            sizes, seconds = [row.cell[along] for row in own], [row.seconds * 1e6 for row in own]
            at.plot(sizes, seconds, color=colour, marker=marker, label=name)
        title = ", ".join(str(value) for value in chosen.values() if isinstance(value, str))
        at.set(xscale="log", yscale="log", xlabel=along, title=title)
    _finish(figure, axes, "us (an env step, or a call)")
    return figure


@style()
def bars(rows: Sequence[Row]) -> "Figure":
    """Draw how many times as fast ours is than each of the others."""
    others = [row for row in rows if row.contestant != "ours"] or list(rows)
    figure, (at,) = subplots(8.0, 1.2 + 0.36 * len(others))
    texts = [", ".join(f"{v}" for v in row.cell.values()) + f": {row.contestant}" for row in others]
    values = [row.ours_is for row in others]
    drawn = at.barh(texts, values, color=[LOOKS[row.contestant][0] for row in others])
    at.bar_label(drawn, [f"{value:.2f}x" for value in values], padding=3, size="small")
    at.axvline(1.0, color=QUIET, linewidth=1)
    at.invert_yaxis()
    at.grid(visible=False, axis="y")
    at.set(xlabel="how many times as fast ours is")
    return figure


@style()
def growth(rows: Sequence[Row]) -> "Figure":
    """Draw a meta-step's seconds along each axis, with fitted exponents."""
    names = list(dict.fromkeys(next(iter(row.cell)) for row in rows))
    figure, axes = subplots(3.2 * len(names), 3.8, len(names), sharey=True)
    for at, axis in zip(axes, names, strict=True):
        for name in dict.fromkeys(row.contestant for row in rows):
            own = [row for row in rows if axis in row.cell and row.contestant == name]
            sizes = [row.cell[axis] for row in own]
            seconds = [row.extra["seconds_per_meta_step"] for row in own]
            colour, marker = LOOKS[name]
            at.plot(sizes, seconds, color=colour, marker=marker, label=name)
            if name == "ours" and len(sizes) > 1:
                at.set_title(f"exponent {exponent(sizes, seconds):.2f}")
        at.set(xscale="log", yscale="log", xlabel=axis.replace("_", " "))
        at.set_xticks(sizes, map(str, sizes))
        at.set_xticks([], minor=True)
    _finish(figure, axes, "seconds of a meta-step")
    return figure


def _finish(figure: "Figure", axes: "Sequence[Axes]", unit: str) -> None:
    axes[0].set_ylabel(unit)
    found = {}
    for at in axes:
        for handle, label in zip(*at.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure.legend(
        found.values(), found, loc="outside lower center", ncols=len(found), frameon=False
    )


def draw(section: str, rows: Sequence[Row]) -> "Figure":
    """Return the figure of a section."""
    if section == "rollout":
        panels = [{"parameters": kind, "threads": 1} for kind in ("shared", "per task")]
        return lines(rows, "lanes", panels)
    if section == "recurrence":
        orders = ("forward", "backward", "double backward")
        return lines(rows, "T", [{"what": order} for order in orders])
    return growth(rows) if section == "growth" else bars(rows)
