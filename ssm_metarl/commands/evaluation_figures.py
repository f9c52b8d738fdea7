"""The figures that ``ssm-metarl evaluate`` leaves beside its numbers."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ssm_metarl.commands.common import attempt
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.evaluation.report import MODES, Evaluation, counted

if TYPE_CHECKING:  # they import torch
    from matplotlib.figure import Figure

    from ssm_metarl.env_runner.family import TaskFamily
    from ssm_metarl.evaluation.figures import Scatter


def draw_evaluation(
    evaluation: Evaluation, family: "TaskFamily", tasks: Tasks, folder: Path
) -> None:
    """Draw what there are results for; remove the other figures of an earlier evaluation."""
    from ssm_metarl.evaluation import figures
    from ssm_metarl.video.before_after import task_groups

    best, rows = family.best_return, evaluation.results
    panels = _scatters(evaluation, task_groups(family, tasks))
    stepped = any(row.steps for row in rows)
    budgets = len({row.shots for row in rows if row.steps == 1}) > 1
    trials = any(row.mode == "in_context" for row in rows)
    rated = any(row.success for row in rows)
    curves = {
        "adaptation": (stepped, figures.adaptation_curve),
        "budgets": (budgets, figures.budget_curve),
        "in-context": (trials, figures.trial_curve),
    }
    wanted: dict[str, tuple[bool, Callable[[], Figure]]] = {}
    for name, (measured, curve) in curves.items():
        wanted[name] = measured, partial(curve, evaluation, best=best)
        solved = partial(curve, evaluation, success=True)
        wanted[f"{name}-solved"] = measured and rated, solved
    wanted["profile"] = budgets, partial(figures.performance_profile, evaluation)
    wanted["tasks"] = bool(panels), partial(figures.task_scatter, panels)
    for name, (has_results, draw) in wanted.items():
        path = folder / f"{name}.png"
        path.unlink(missing_ok=True)
        if has_results:
            attempt(name, lambda draw=draw, path=path: figures.write_png(draw(), path))


def _scatters(evaluation: Evaluation, groups: list[str] | None) -> list["Scatter"]:
    """Return a panel for the memory at the end of a trial, and one for the first long step."""
    from ssm_metarl.evaluation.figures import Scatter

    rows = {(row.mode, row.steps): row for row in evaluation.results}  # of each, the largest budget
    before = rows.get(("zero_shot", 0))
    shown = [rows[key] for key in (("in_context", 0), ("standard", 1)) if key in rows]
    if before is None:
        return []
    return [
        Scatter(
            f"{evaluation.family}: {MODES[row.mode]}, {counted(row.shots, 'episode')}",
            np.array(before.per_task),
            np.array(row.per_task),
            groups,
        )
        for row in shown
    ]
