"""Evaluation from the command line: measure, show, write and draw."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.arguments import Evaluate
from ssm_metarl.checkpoint.files import check_writable, write_text_atomically
from ssm_metarl.commands.common import attempt, best_return, made, naming_flag, use_one_thread
from ssm_metarl.console import Bar, show
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.errors import UserError, nearest
from ssm_metarl.evaluation.evaluate import EvaluationPlan, evaluate, modes_of, summarise
from ssm_metarl.evaluation.figures import (
    Scatter,
    adaptation_curve,
    budget_curve,
    performance_profile,
    task_scatter,
    trial_curve,
)
from ssm_metarl.evaluation.report import MODES, Evaluation, counted, label
from ssm_metarl.evaluation.table import make_difference_table, make_table
from ssm_metarl.training.loading import agent_family, load, locate
from ssm_metarl.video.before_after import task_groups, write_before_after

FIGURES = ("adaptation", "budgets", "profile", "in-context", "tasks")


def evaluate_run(asked: Evaluate) -> int:
    """Meet unseen tasks in every way; show, write and draw what came out; return the exit code.

    Raises:
        UserError: An unknown mode, or a folder that is not a run.
        CheckpointError: Its checkpoint is missing or damaged.
    """
    use_one_thread()
    modes = _modes(asked)
    asked = replace(asked, run=locate(asked.run))
    agent = load(asked.run, trust_env_code=asked.trust_env_code)
    plan = EvaluationPlan(
        modes,
        asked.budgets,
        asked.steps,
        trial_episodes=agent.config.episodes_per_trial,
        guarded=asked.guard,
        seed=asked.seed,
    )
    family = agent_family(agent, trust_env_code=asked.trust_env_code)
    check_writable(asked.run)
    if asked.json:
        with naming_flag("json"):
            check_writable(asked.json.parent)
    draw: Callable[..., Tasks] = getattr(family, asked.split)
    tasks = draw(asked.tasks)
    if agent.experience is None:  # it was saved by itself
        print(
            f"{asked.run} was saved by itself, perhaps adapted: zero-shot is the agent as saved.\n"
            "Steps start from there, with no experience to recall. To compare it with the agent\n"
            "that it came from, evaluate the run of that one with the same --seed."
        )
    evaluation = _evaluate(agent, family, tasks, asked.split, plan)
    show(make_table(evaluation), whole=True)
    gains = make_difference_table(evaluation)
    if gains:
        show(gains)
    for path in filter(None, (asked.run / "evaluation.json", asked.json)):
        write_text_atomically(path, evaluation.to_json())
        made("numbers", path)
    _draw_evaluation(evaluation, family, tasks, asked.run / "figures")
    if asked.video:
        path = asked.run / "videos" / "before-after.mp4"
        attempt("video", lambda: _film(agent, family, draw(), plan, path))
    return 0


def _modes(asked: Evaluate) -> tuple[str, ...] | None:
    if asked.modes is None:
        return None
    modes = tuple(dict.fromkeys(asked.modes.replace("-", "_").split(",")))
    for mode in modes:
        if mode not in MODES:
            raise UserError(f"--modes: unknown mode {mode!r}; {nearest(mode, MODES)}")
    return modes


def _evaluate(
    agent: Agent, family: TaskFamily, tasks: Tasks, split: str, plan: EvaluationPlan
) -> Evaluation:
    modes = modes_of(agent, plan)
    total, rows = plan.results(modes), []
    with Bar(f"evaluate {family.name}") as bar:
        memory = Memory.of(agent) if "hybrid" in modes else None
        for row in evaluate(agent, family, tasks, plan, memory):
            rows.append(row)
            bar.update(len(rows), total, f"{label(row.mode, row.steps, row.shots)}: {row.mean:.1f}")
    return summarise(family, tasks, split, plan, rows)


def _draw_evaluation(
    evaluation: Evaluation, family: TaskFamily, tasks: Tasks, folder: Path
) -> None:
    """Draw what there are results for."""
    best, rows = best_return(family), evaluation.results
    for name in FIGURES:  # those of an earlier evaluation would say something else
        (folder / f"{name}.png").unlink(missing_ok=True)
    if any(row.steps for row in rows):
        path = folder / "adaptation.png"
        attempt("figure", lambda: adaptation_curve(evaluation, path, best=best))
    if len({row.shots for row in rows if row.steps == 1}) > 1:
        path_of_budgets = folder / "budgets.png"
        attempt("budgets", lambda: budget_curve(evaluation, path_of_budgets, best=best))
        profile = folder / "profile.png"
        attempt("profile", lambda: performance_profile(evaluation, profile))
    if any(row.mode == "in_context" for row in rows):
        path_of_trial = folder / "in-context.png"
        attempt("trial", lambda: trial_curve(evaluation, path_of_trial, best=best))
    panels = _scatters(evaluation, task_groups(family, tasks))
    if panels:
        attempt("tasks", lambda: task_scatter(panels, folder / "tasks.png"))


def _scatters(evaluation: Evaluation, groups: list[str] | None) -> list[Scatter]:
    """Return a panel for the memory at the end of a trial, and one for the first long step."""
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


def _film(agent: Agent, family: TaskFamily, tasks: Tasks, plan: EvaluationPlan, path: Path) -> str:
    shown = write_before_after(agent, family, tasks, plan, path)
    returns = f"return {shown.before:.1f} before adapting, {shown.after:.1f} after"
    return f"{path}\n{'':<18}task {shown.task}: {tasks.describe(shown.task)}\n{'':<18}{returns}"
