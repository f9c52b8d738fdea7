"""Return or success rate against what adaptation took: steps, episodes, or those of a trial."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.figures.panel import finish, panels
from ssm_metarl.evaluation.figures.style import style
from ssm_metarl.evaluation.report import MODES, Evaluation, ModeResult, counted, label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPPING = ("standard", "hybrid", "from_scratch")
TICK_RATIO = 1.5  # budgets closer than that on a log axis have labels that touch


@style()
def adaptation_curve(
    evaluations: Evaluation | Sequence[Evaluation],
    *,
    best: float | None = None,
    titles: Sequence[str] | None = None,
    success: bool = False,
) -> "Figure":
    """Draw mean return against gradient steps on the new task, with 95% intervals.

    The meta-trained agent starts at its zero-shot return, the untrained one at its own, and a
    memory at the last episode of a trial. Of several data budgets for one number of steps, the
    largest is shown.

    Args:
        evaluations: One, or several that are drawn side by side on one scale.
        best: Best possible return of the task, drawn as a line (500 for CartPole).
        titles: One per evaluation; otherwise its family, task set and seed.
        success: Draw success rates, where the results have them, in place of returns.

    Raises:
        UserError: Nothing to draw.
    """
    figure, drawn = panels(evaluations, titles, success=success)
    for evaluation, panel in drawn:
        modes = {row.mode for row in evaluation.results if row.steps}
        names = {
            "standard": "standard" if modes & {"hybrid", "in_context"} else "meta-trained",
            "in_context": "steps + in-context",
        }
        episodes: dict[int, set[int]] = {}
        for mode in ("in_context", *STEPPING):
            if mode not in modes:
                continue
            curve = _largest_budgets(evaluation, mode)
            panel.line(mode, [row.steps for row in curve], curve, names.get(mode))
            for row in curve if mode in STEPPING else ():
                episodes.setdefault(row.steps, set()).add(row.shots)
        panel.axes.set_xticks(list(episodes), [_tick(*pair) for pair in episodes.items()])
        panel.axes.set_xlabel("gradient steps on the new task")
    finish([panel for _, panel in drawn], best)
    return figure


@style()
def budget_curve(
    evaluations: Evaluation | Sequence[Evaluation],
    *,
    steps: int = 1,
    best: float | None = None,
    titles: Sequence[str] | None = None,
    success: bool = False,
) -> "Figure":
    """Draw mean return against the episodes that adaptation used, with 95% intervals.

    The results are those after a number of gradient steps. In-context results are one line without
    gradient steps, and another, dotted, after them. The other arguments are those of
    :func:`adaptation_curve`.

    Raises:
        UserError: Fewer than two budgets, or matplotlib is missing.
    """
    from matplotlib.ticker import NullLocator

    figure, drawn = panels(evaluations, titles, success=success)
    for evaluation, panel in drawn:
        rows = [row for row in evaluation.results if row.shots and row.steps in (0, steps)]
        budgets = sorted({row.shots for row in rows})
        if len(budgets) < 2:
            raise UserError(f"a budget curve needs results at 2 data budgets, not {budgets}")
        for row in evaluation.results:
            if row.mode == "zero_shot":
                panel.line("zero_shot", [budgets[0], budgets[-1]], [row, row])
        for mode, taken in (("in_context", 0), *((mode, steps) for mode in MODES)):
            curve = [row for row in rows if (row.mode, row.steps) == (mode, taken)]
            curve.sort(key=lambda row: row.shots)
            if curve:
                name = label(mode, steps) if taken and mode == "in_context" else None
                panel.line(mode, [row.shots for row in curve], curve, name)
        panel.axes.set_xscale("log")
        shown = _apart(budgets)
        panel.axes.set_xticks(shown, [f"{budget:,}" for budget in shown])
        panel.axes.xaxis.set_minor_locator(NullLocator())
        panel.axes.set_xlabel("episodes used to adapt")
    finish([panel for _, panel in drawn], best)
    return figure


@style()
def trial_curve(
    evaluations: Evaluation | Sequence[Evaluation],
    *,
    best: float | None = None,
    titles: Sequence[str] | None = None,
    success: bool = False,
) -> "Figure":
    """Draw mean return against the episodes of a trial; otherwise as :func:`adaptation_curve`."""
    figure, drawn = panels(evaluations, titles, success=success)
    for evaluation, panel in drawn:
        curve = [row for row in evaluation.results if row.mode == "in_context" and not row.steps]
        if curve:
            panel.line("in_context", [row.shots + 1 for row in curve], curve)
        panel.axes.set_xticks([row.shots + 1 for row in curve])
        panel.axes.set_xlabel("episode of the trial")
    finish([panel for _, panel in drawn], best)
    return figure


def _largest_budgets(evaluation: Evaluation, mode: str) -> list[ModeResult]:
    """Return a mode's result of the largest data budget after 0, 1, 2, ... steps."""
    start = "zero_shot" if mode in ("standard", "hybrid") else mode
    rows = [row for row in evaluation.results if row.mode == (mode if row.steps else start)]
    largest = {row.steps: row for row in sorted(rows, key=lambda row: row.shots)}
    return [largest[steps] for steps in sorted(largest)]


def _apart(budgets: Sequence[int]) -> list[int]:
    """Return those of growing budgets whose labels have room on a log axis, the last included."""
    shown: list[int] = []
    for budget in reversed(budgets):
        if not shown or shown[-1] >= TICK_RATIO * budget:
            shown.append(budget)
    return shown[::-1]


def _tick(steps: int, episodes: set[int]) -> str:
    """Say what a number of steps cost, if all lines agree on it."""
    if not steps:
        return "before"
    return f"{steps}\n{counted(max(episodes), 'episode')}" if len(episodes) == 1 else str(steps)
