"""Several agents measured on unseen tasks: their differences, and the files that hold all of it."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.evaluation.evaluate import EvaluationPlan, summarise
from ssm_metarl.evaluation.figures import budget_curve, write_png
from ssm_metarl.evaluation.report import (
    MODES,
    Evaluation,
    ModeDifference,
    ModeResult,
    Success,
    counted,
    solved,
    with_success,
)
from ssm_metarl.evaluation.statistics import Difference, paired_difference

REPRESENTATIVE = ("hybrid", "in_context", "standard", "from_scratch")  # fixed: not the best mode

ENOUGH = 0.95  # of the gain in return: the least data that reaches it leads


@dataclass
class Measured:
    """The ``rows`` that have been measured so far of what is planned for one run."""

    run: str
    family: TaskFamily
    tasks: Tasks
    split: str
    plan: EvaluationPlan
    rows: list[ModeResult] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many results there will be."""
        return self.plan.results(self.plan.modes or ())

    def evaluation(self) -> Evaluation:
        """Return what was measured as ``ssm-metarl evaluate`` writes it."""
        return summarise(self.family, self.tasks, self.split, self.plan, self.rows)

    def row(self, mode: str) -> ModeResult | None:
        """Return a mode's result from the least data that it adapted from."""
        return least_data(self.rows, mode)

    @property
    def representative(self) -> ModeResult:
        """The result of the first mode of `REPRESENTATIVE` that was measured."""
        return representative(self.rows)

    @property
    def rated(self) -> bool:
        """Whether there are success rates."""
        return any(row.success for row in self.rows)

    @property
    def drawable(self) -> bool:
        """Whether a budget curve has two points."""
        return len({row.shots for row in self.rows if row.shots and row.steps in (0, 1)}) > 1


def least_data(rows: Sequence[ModeResult], mode: str) -> ModeResult | None:
    """Return a mode's result from the least data that it adapted from."""
    own = [row for row in rows if row.mode == mode and (row.shots or mode == "zero_shot")]
    single = [row for row in own if mode != "in_context" or not row.steps]
    return min(single, key=lambda row: row.shots, default=None)


def representative(rows: Sequence[ModeResult]) -> ModeResult:
    """Return the result of the first mode of `REPRESENTATIVE` that was measured."""
    found = (least_data(rows, mode) for mode in REPRESENTATIVE)
    return next((row for row in found if row), rows[0])


def leading(rows: Sequence[ModeResult]) -> ModeResult:
    """Return the result with the least data that reaches nearly all of the gain in return.

    The untrained network is there to compare with, and leads only where it is alone.
    """
    adapted = [row for row in rows if row.shots and row.mode != "from_scratch"]
    adapted = adapted or [row for row in rows if row.shots] or list(rows)
    before, best = rows[0].mean, max(row.mean for row in adapted)
    goal = min(best, before + ENOUGH * (best - before))
    return min((row for row in adapted if row.mean >= goal), key=lambda row: row.shots)


def change(before: ModeResult, after: ModeResult) -> str:
    """Return ``20.7 → 500``, or one number without episodes to adapt from."""
    return f"{before.mean:.4g} → {after.mean:.4g}" if after.shots else f"{after.mean:.4g}"


def summary(before: ModeResult, after: ModeResult) -> str:
    """Say the mean return before and after adapting in one line."""
    if not after.shots:
        return f"Mean return {after.mean:.4g} without adapting.{solved([after])}"
    return (
        f"Mean return {before.mean:.4g} before and {after.mean:.4g} after "
        f"{counted(after.shots, 'episode')} ({MODES[after.mode]}).{solved([before, after])}"
    )


class Gain(NamedTuple):
    """How much better one result is than another on the same tasks, in return and in success."""

    names: str
    episodes: int
    of_return: Difference | ModeDifference
    of_success: Difference | ModeDifference | None


def records(found: Sequence[Measured]) -> list[dict[str, Any]]:
    """Return every result with what it was measured on: the lines of the CSV."""
    rated = any(one.rated for one in found)
    return [
        {
            "run": one.run,
            "family": one.family.name,
            "task_set": one.split,
            "tasks": len(one.tasks),
            "seed": one.plan.seed,
            "mode": row.mode,
            "episodes": row.shots,
            "gradient_steps": row.steps,
            "mean_return": row.mean,
            "ci95_low": row.ci95[0],
            "ci95_high": row.ci95[1],
            "iqm": row.iqm,
            "greedy_mean_return": row.deterministic_mean,
            "adaptation_env_steps": row.adaptation_env_steps,
            **(_success(row.success) if rated else {}),
        }
        for one in found
        for row in with_success(one.rows)
    ]


def _success(success: Success | None) -> dict[str, float | None]:
    return {
        "success_rate": success and success.mean,
        "success_ci95_low": success and success.ci95[0],
        "success_ci95_high": success and success.ci95[1],
        "greedy_success_rate": success and success.deterministic_mean,
    }


def gains(found: Sequence[Measured]) -> list[Gain]:
    """Return the paired differences: between the modes of an agent, and between agents.

    Modes are compared from the least data, and agents of one family by their representatives.
    """
    pairs = []
    for one in found:
        evaluation, least = one.evaluation(), {}
        for gain, of_success in zip_longest(evaluation.differences, evaluation.success_differences):
            names = f"{one.run}: {MODES[gain.mode]} - {MODES[gain.than]}"
            if gain.steps <= 1:
                least.setdefault(names, Gain(names, gain.shots, gain, of_success))
        pairs += least.values()
    for first, *others in by_family(found):
        mine = first.representative
        for other in others:
            theirs = other.representative
            names = f"{other.run} ({MODES[theirs.mode]}) - {first.run} ({MODES[mine.mode]})"
            of_success = None
            if mine.success and theirs.success:
                of_success = _difference(theirs.success, mine.success, first.plan.seed)
            of_return = _difference(theirs, mine, first.plan.seed)
            pairs.append(Gain(names, theirs.shots, of_return, of_success))
    return pairs


def _difference(one: ModeResult | Success, other: ModeResult | Success, seed: int) -> Difference:
    own, theirs = np.array(one.per_task)[None], np.array(other.per_task)[None]
    return paired_difference(own, theirs, seed=seed)


def by_family(found: Sequence[Measured]) -> list[list[Measured]]:
    """Return the agents of each family; only they met the same tasks."""
    names = dict.fromkeys(one.family.name for one in found)
    return [[one for one in found if one.family.name == name] for name in names]


def as_csv(found: Sequence[Measured], folder: Path) -> Path:
    """Write a line for each result."""
    lines = records(found)
    path = folder / "comparison.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*lines[0]], lineterminator="\n")
        table.writeheader()
        table.writerows(lines)
    return path


def as_json(found: Sequence[Measured], folder: Path) -> Path:
    """Write what `ssm-metarl evaluate` writes; of several runs, all of it by their names."""
    evaluations = {one.run: one.evaluation().to_json() for one in found}
    if len(found) == 1:
        path, text = folder / "evaluation.json", evaluations[found[0].run]
    else:
        path = folder / "evaluations.json"
        text = json.dumps({run: json.loads(one) for run, one in evaluations.items()})
    path.write_text(text, encoding="utf-8")
    return path


def as_png(found: Sequence[Measured], folder: Path) -> Path | None:
    """Draw the budget curves, families below each other; None if there is nothing to draw."""
    from PIL import Image

    pictures = []
    for group in by_family([one for one in found if one.drawable]):
        titles, evaluations = [one.run for one in group], [one.evaluation() for one in group]
        best = group[0].family.best_return
        figures = [budget_curve(evaluations, best=best, titles=titles)]
        if all(one.rated for one in group):
            figures.append(budget_curve(evaluations, titles=titles, success=True))
        for figure in figures:
            drawn = write_png(figure, folder / f"{len(pictures)}.png")
            pictures.append(Image.open(drawn).convert("RGB"))
    if not pictures:
        return None
    size = max(part.width for part in pictures), sum(part.height for part in pictures)
    whole, top = Image.new("RGB", size, "white"), 0
    for part in pictures:
        whole.paste(part, (0, top))
        top += part.height
    whole.save(path := folder / "budgets.png")
    return path
