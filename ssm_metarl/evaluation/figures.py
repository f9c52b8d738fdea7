"""The figures: one style, one colour per way of meeting a task, names on the lines, no legends.

Every function writes a PNG at twice screen density (to a temporary name, then renamed) and returns
its path. matplotlib is an extra, imported only when a figure is drawn; pyplot's global state is
never touched.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from ssm_metarl.adaptation.online import AdaptProgress
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.report import MODES, Evaluation, ModeResult, counted, describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# After Okabe and Ito (https://jfly.uni-koeln.de/color/): told apart by every common kind of colour
# vision. The marker says the same again for grey print.
LOOKS = {
    "zero_shot": ("#6b7280", ""),
    "in_context": ("#aa4a86", "v"),
    "standard": ("#0072b2", "o"),
    "hybrid": ("#007f5f", "^"),
    "from_scratch": ("#d55e00", "s"),
}
# Groups of tasks have colours that are no mode's.
GROUPS = (("#3b9bd6", "o"), ("#e0a000", "D"), ("#8a63b8", "^"), ("#4b5563", "s"))
INK, QUIET, FAINT = "#1f2937", "#6b7280", "#9ca3af"
REFERENCE = {"color": QUIET, "linewidth": 1.2, "linestyle": (0, (4, 3)), "zorder": 1}
SCREEN_DPI = 100
FEW_POINTS = 10  # a line of fewer is drawn with markers
STEPPING = ("standard", "hybrid", "from_scratch")


@contextmanager
def style() -> Iterator[None]:
    """Draw in the project's style inside this block, whatever the user's matplotlibrc says.

    Raises:
        UserError: matplotlib is not installed; names the extra.
    """
    try:
        import matplotlib
    except ImportError:
        raise UserError("figures need matplotlib: pip install 'ssm-metarl[figures]'") from None
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rc("figure.constrained_layout", use=True, w_pad=0.1, h_pad=0.1)
        matplotlib.rc("font", size=11)
        matplotlib.rc("text", color=INK)
        matplotlib.rc("axes", titlesize=12, titleweight="bold", titlelocation="left", titlepad=12)
        matplotlib.rc(
            "axes", labelcolor=INK, labelpad=6, edgecolor=FAINT, grid=True, axisbelow=True
        )
        matplotlib.rc("axes.spines", top=False, right=False)
        matplotlib.rc("grid", color="#e5e7eb", linewidth=0.8)
        matplotlib.rc("xtick", color=FAINT, labelcolor=INK)
        matplotlib.rc("ytick", color=FAINT, labelcolor=INK)
        matplotlib.rc("lines", linewidth=2.2, markersize=7, markeredgecolor="white")
        yield


def adaptation_curve(
    evaluations: Evaluation | Sequence[Evaluation],
    path: str | Path,
    *,
    best: float | None = None,
    titles: Sequence[str] | None = None,
) -> Path:
    """Draw mean return against gradient steps on the new task, with 95% intervals.

    The meta-trained agent starts at its zero-shot return, the untrained one at its own. Where an
    evaluation has several data budgets for one number of steps, the largest is shown. Modes that
    take no gradient steps are in `budget_curve`.

    Args:
        evaluations: One, or several that are drawn side by side on one scale.
        path: The PNG to write.
        best: Best possible return of the task, drawn as a line (500 for CartPole).
        titles: One per evaluation; otherwise its family, task set and seed.

    Raises:
        UserError: Nothing to draw, or matplotlib is missing.
    """
    with style():
        figure, panels = _panels(evaluations, titles)
        for evaluation, panel in panels:
            hybrid = any(row.mode == "hybrid" for row in evaluation.results)
            names = {} if hybrid else {"standard": "meta-trained"}
            episodes: dict[int, set[int]] = {}
            for mode in STEPPING:
                curve = _largest_budgets(evaluation, mode)
                if any(row.steps for row in curve):
                    panel.line(mode, [row.steps for row in curve], curve, names.get(mode))
                    for row in curve:
                        episodes.setdefault(row.steps, set()).add(row.shots)
            panel.axes.set_xticks(list(episodes), [_tick(*pair) for pair in episodes.items()])
            panel.axes.set_xlabel("gradient steps on the new task")
        _finish([panel for _, panel in panels], best)
        return _save(figure, path)


def budget_curve(
    evaluations: Evaluation | Sequence[Evaluation],
    path: str | Path,
    *,
    steps: int = 1,
    best: float | None = None,
    titles: Sequence[str] | None = None,
) -> Path:
    """Draw mean return against the episodes that adaptation used, with 95% intervals.

    Args:
        evaluations: One, or several that are drawn side by side on one scale.
        path: The PNG to write.
        steps: Show the results after this many gradient steps (and in-context ones, of 0 steps).
        best: Best possible return of the task, drawn as a line.
        titles: One per evaluation; otherwise its family, task set and seed.

    Raises:
        UserError: Fewer than two budgets, or matplotlib is missing.
    """
    with style():
        from matplotlib.ticker import NullLocator

        figure, panels = _panels(evaluations, titles)
        for evaluation, panel in panels:
            rows = [row for row in evaluation.results if row.shots and row.steps in (0, steps)]
            budgets = sorted({row.shots for row in rows})
            if len(budgets) < 2:
                raise UserError(f"a budget curve needs results at 2 data budgets, not {budgets}")
            for row in evaluation.results:
                if row.mode == "zero_shot":
                    panel.line("zero_shot", [budgets[0], budgets[-1]], [row, row])
            for mode in ("in_context", "standard", "hybrid", "from_scratch"):
                curve = sorted((row for row in rows if row.mode == mode), key=lambda row: row.shots)
                if curve:
                    panel.line(mode, [row.shots for row in curve], curve)
            panel.axes.set_xscale("log")
            panel.axes.set_xticks(budgets, [f"{budget:,}" for budget in budgets])
            panel.axes.xaxis.set_minor_locator(NullLocator())
            panel.axes.set_xlabel("episodes of the new task used to adapt")
        _finish([panel for _, panel in panels], best)
        return _save(figure, path)


def trial_curve(
    evaluations: Evaluation | Sequence[Evaluation],
    path: str | Path,
    *,
    best: float | None = None,
    titles: Sequence[str] | None = None,
) -> Path:
    """Draw mean return against the episodes of a trial, with 95% intervals.

    Args:
        evaluations: One, or several that are drawn side by side on one scale.
        path: The PNG to write.
        best: Best possible return of the task, drawn as a line.
        titles: One per evaluation; otherwise its family, task set and seed.

    Raises:
        UserError: Nothing to draw, or matplotlib is missing.
    """
    with style():
        figure, panels = _panels(evaluations, titles)
        for evaluation, panel in panels:
            curve = [
                row for row in evaluation.results if row.mode == "in_context" and not row.steps
            ]
            if curve:
                panel.line("in_context", [row.shots + 1 for row in curve], curve)
            panel.axes.set_xticks([row.shots + 1 for row in curve])
            panel.axes.set_xlabel("episode of the trial")
        _finish([panel for _, panel in panels], best)
        return _save(figure, path)


def episode_curve(
    records: Sequence[AdaptProgress],
    after: float,
    path: str | Path,
    *,
    best: float | None = None,
) -> Path:
    """Draw the return of each episode that an adaptation played, and where it took its steps.

    Args:
        records: The stream of :func:`ssm_metarl.adaptation.online.adapt`.
        after: Mean return of whole episodes afterwards, drawn as the last point.
        path: The PNG to write.
        best: Best possible return of the task, drawn as a line.

    Raises:
        UserError: matplotlib is missing.
    """
    returns = np.concatenate([record.returns for record in records])
    numbers = np.arange(1, len(returns) + 1)
    with style():
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        figure = Figure(figsize=(7.2, 4.3))
        axes = figure.subplots()
        colour, marker = LOOKS[records[0].mode]
        axes.plot(numbers, returns, color=colour, marker=marker or "o")
        steps, last = 0, len(returns) + 1
        for record in records:
            if record.steps > steps:
                axes.axvline(record.episodes + 0.5, **REFERENCE)
            steps = record.steps
        axes.plot([last], [after], color=colour, marker="*", markersize=16, clip_on=False)
        beside = {"xytext": (10, 0), "textcoords": "offset points", "annotation_clip": False}
        name = f"afterwards\n{after:.1f}"
        axes.annotate(name, (last, after), color=colour, va="center", weight="bold", **beside)
        if best is not None:
            axes.axhline(best, **REFERENCE)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(0.5, last)
        axes.set_ylim(bottom=min(0.0, returns.min(), after))
        taken = "; dashed: a gradient step" if steps else ""
        axes.set_xlabel(f"episode of the new task{taken}")
        axes.set_ylabel("return (adaptation: within its horizon)")
        axes.set_title(f"Adapting: {MODES[records[0].mode]}")
        return _save(figure, path)


def performance_profile(evaluation: Evaluation, path: str | Path) -> Path:
    """Draw, for each mode, the share of tasks on which it reaches at least some return.

    Each mode is shown with its smallest data budget after one step, where modes differ most
    (Agarwal et al. 2021, arXiv:2108.13264, who draw it over runs).

    Args:
        evaluation: What to draw.
        path: The PNG to write.

    Raises:
        UserError: matplotlib is missing.
    """
    rows = sorted(evaluation.results, key=lambda row: row.shots, reverse=True)
    smallest = {row.mode: row for row in rows if row.steps == (row.mode in STEPPING)}
    shown = {mode: smallest[mode] for mode in MODES if mode in smallest}
    with style():
        from matplotlib.figure import Figure
        from matplotlib.ticker import PercentFormatter

        figure = Figure(figsize=(8.4, 4.3))
        axes = figure.subplots()
        low = min(min(row.per_task) for row in shown.values())
        for mode, row in shown.items():
            returns = np.sort(np.array(row.per_task))
            share = 1.0 - np.arange(len(returns)) / len(returns)
            name = f"{MODES[mode]}, {counted(row.shots, 'episode')}" if row.shots else MODES[mode]
            axes.step([low, *returns], [1.0, *share], where="pre", color=LOOKS[mode][0], label=name)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_ylim(0.0, 1.03)
        axes.set_xlabel("return")
        axes.set_ylabel("tasks that reach it")
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        axes.set_title(describe(evaluation))
        return _save(figure, path)


def task_scatter(
    before: Shaped[np.ndarray, " N"],
    after: Shaped[np.ndarray, " N"],
    path: str | Path,
    *,
    groups: Sequence[str] | None = None,
) -> Path:
    """Draw each task's return after adaptation against its return before, a point per task.

    Args:
        before: Return of each task before adaptation.
        after: Return of each task after it.
        path: The PNG to write.
        groups: A word per task, such as ``"swapped"``: tasks of a group share a colour. At most 4.

    Raises:
        UserError: More groups than colours, or matplotlib is missing.
    """
    named = np.array(["task"] * len(before) if groups is None else groups)
    names = list(dict.fromkeys(named.tolist()))
    if len(names) > len(GROUPS):
        raise UserError(f"at most {len(GROUPS)} groups of tasks can be told apart, not {names}")
    low, high = min(before.min(), after.min()), max(before.max(), after.max())
    margin = 0.04 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.4, 5.4))
        axes = figure.subplots()
        axes.plot(limits, limits, **REFERENCE)
        spot = (low + 0.75 * (high - low),) * 2
        below = {"xytext": (4, -4), "textcoords": "offset points", "rotation": 45}
        axes.annotate("no change", spot, color=QUIET, size="small", ha="center", va="top", **below)
        for name, (colour, marker) in zip(names, GROUPS, strict=False):
            x, y = before[named == name], after[named == name]
            axes.scatter(x, y, s=40, c=colour, marker=marker, ec="white", lw=0.7, label=name)
        if groups is not None:  # above the axes, where no point can be
            row = {"ncols": len(names), "columnspacing": 1.2, "handletextpad": 0.1}
            axes.legend(loc="lower left", bbox_to_anchor=(-0.03, 1.0), frameon=False, **row)
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        axes.set_xlabel("return before adaptation")
        axes.set_ylabel("return after adaptation")
        title = f"Better after adaptation on {(after > before).sum()} of {len(before)} tasks"
        axes.set_title(title, pad=12 if groups is None else 34)
        return _save(figure, path)


def learning_curve(
    metrics: Sequence[Mapping[str, object]], path: str | Path, *, best: float | None = None
) -> Path:
    """Draw return before and after adaptation against the environment steps of training.

    Thin lines are the returns as recorded, thick ones their centred mean over a tenth of them.
    Iterations that did not look at a return are passed over; training without adaptation has one
    return only.

    Args:
        metrics: Records with ``environment_steps``, ``return_before`` and ``return_after``
            (metrics.jsonl).
        path: The PNG to write.
        best: Best possible return of the task, drawn as a line.

    Raises:
        UserError: No returns, a record without these keys, or matplotlib is missing.
    """
    for row, record in enumerate(metrics):
        for key in ("environment_steps", "return_before", "return_after"):
            if key not in record:
                raise UserError(f"training metrics, record {row}: no {key!r}")
    looks = [record for record in metrics if record["return_before"] is not None]
    if not looks:
        raise UserError("no training metrics to draw")
    with style():
        from matplotlib.figure import Figure
        from matplotlib.ticker import EngFormatter

        figure = Figure(figsize=(7.2, 4.3))
        panel = _Panel(figure.subplots())
        env_steps = np.array([record["environment_steps"] for record in looks], np.float64)
        reach = len(looks) // 20
        adapts = looks[0]["return_after"] is not None
        for mode, when in (("zero_shot", "before"), ("standard", "after"))[: 1 + adapts]:
            returns = np.array([record[f"return_{when}"] for record in looks], np.float64)
            smooth = np.convolve(returns, np.full(2 * reach + 1, 1 / (2 * reach + 1)), "valid")
            colour, _ = LOOKS[mode]
            panel.axes.plot(env_steps, returns, color=colour, alpha=0.35, linewidth=1.0)
            marker = "o" if len(looks) < FEW_POINTS else ""
            middle = env_steps[reach : len(looks) - reach]
            panel.axes.plot(middle, smooth, color=colour, marker=marker)
            name = f"{when} adaptation" if adapts else "return"
            panel.ends.append((env_steps[-1], smooth[-1], name, colour))
        if env_steps[-1] > 0:
            panel.axes.set_xlim(left=0.0)
        panel.axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.axes.set_xlabel("environment steps of training")
        panel.axes.set_title("Return during training")
        _finish([panel], best)
        return _save(figure, path)


class _Panel:
    """One pair of axes, and the ends of its lines, which are named once the scale is known."""

    def __init__(self, axes: "Axes") -> None:
        self.axes = axes
        self.ends: list[tuple[float, float, str, str]] = []  # x, y, name, colour

    def line(
        self, mode: str, x: Sequence[int], curve: Sequence[ModeResult], name: str | None = None
    ) -> None:
        """Draw one mode's means with their 95% band, to be named with its last mean."""
        colour, marker = LOOKS[mode]
        low, high = zip(*(row.ci95 for row in curve), strict=True)
        means = [row.mean for row in curve]
        self.axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        self.axes.plot(x, means, color=colour, marker=marker, clip_on=False)
        last = f"{means[-1]:.{1 if abs(means[-1]) >= 10 else 2}f}".replace("-", "\N{MINUS SIGN}")
        self.ends.append((x[-1], means[-1], f"{name or MODES[mode]}  {last}", colour))


def _panels(
    evaluations: Evaluation | Sequence[Evaluation], titles: Sequence[str] | None
) -> tuple["Figure", list[tuple[Evaluation, _Panel]]]:
    """Lay out one panel per evaluation, side by side."""
    from matplotlib.figure import Figure

    several = [evaluations] if isinstance(evaluations, Evaluation) else evaluations
    figure = Figure(figsize=(1.8 + 5.4 * len(several), 4.3))
    row = figure.subplots(1, len(several), sharey=True, squeeze=False)[0]
    for axes, title in zip(row, titles or map(describe, several), strict=True):
        axes.set_title(title)
    return figure, [(one, _Panel(axes)) for one, axes in zip(several, row, strict=True)]


def _finish(panels: Sequence[_Panel], best: float | None) -> None:
    """Draw the best possible return, then name each line at its right end, clear of the others."""
    if not all(panel.ends for panel in panels):
        raise UserError("nothing to draw: no result of this evaluation belongs in this figure")
    panels[0].axes.set_ylabel("mean return of an episode")
    for panel in panels:
        if best is not None:
            panel.axes.axhline(best, **REFERENCE)
    low, high = panels[0].axes.get_ylim()  # of all panels: they share the scale
    bounds = [panel.axes.dataLim for panel in panels]
    low = 0.0 if min(bound.y0 for bound in bounds) >= 0 else low
    for panel, bound in zip(panels, bounds, strict=True):
        panel.axes.set_ylim(low, high + 0.03 * (high - low))
        panel.axes.set_xlim(right=bound.x1)  # so that no line runs through the names
        heights = _spread([y for _, y, _, _ in panel.ends], 0.065 * (high - low))
        for (x, _, name, colour), height in zip(panel.ends, heights, strict=True):
            beside = {"xytext": (10, 0), "textcoords": "offset points", "annotation_clip": False}
            panel.axes.annotate(name, (x, height), c=colour, va="center", weight="bold", **beside)
        if best is not None:
            above = {"xytext": (6, 4), "textcoords": "offset points", "size": "small"}
            place = {"xy": (0, best), "xycoords": ("axes fraction", "data")}
            panel.axes.annotate(f"best possible: {best:g}", color=QUIET, **place, **above)


def _spread(heights: Sequence[float], gap: float) -> list[float]:
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


def _largest_budgets(evaluation: Evaluation, mode: str) -> list[ModeResult]:
    """Return a mode's result of the largest data budget after 0, 1, 2, ... steps."""
    start = "from_scratch" if mode == "from_scratch" else "zero_shot"
    rows = [row for row in evaluation.results if row.mode == (mode if row.steps else start)]
    largest = {row.steps: row for row in sorted(rows, key=lambda row: row.shots)}
    return [largest[steps] for steps in sorted(largest)]


def _tick(steps: int, episodes: set[int]) -> str:
    """Say what a number of steps cost, if all lines agree on it."""
    if not steps:
        return "before"
    return f"{steps}\n{counted(max(episodes), 'episode')}" if len(episodes) == 1 else str(steps)


def _save(figure: "Figure", path: str | Path) -> Path:
    """Write under a temporary name and rename, so that no half-written PNG is ever seen."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        figure.savefig(temporary, format="png", dpi=2 * SCREEN_DPI)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
