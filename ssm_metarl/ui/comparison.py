"""What a visitor asks to compare, the measurements of the command line, and their tables."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.checkpoint.files import write_json_atomically
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.evaluate import EvaluationPlan, evaluate, summarise
from ssm_metarl.evaluation.figures import budget_curve, write_png
from ssm_metarl.evaluation.report import (
    MODES,
    Evaluation,
    ModeDifference,
    ModeResult,
    Success,
    label,
    with_success,
)
from ssm_metarl.evaluation.statistics import Difference, paired_difference
from ssm_metarl.ui.limits import EPISODES, EVALUATION_TASKS, SEED, STEPS, integer
from ssm_metarl.ui.query import able_modes, budgets_up_to, checked_modes
from ssm_metarl.ui.store import RunStore, checked_id
from ssm_metarl.ui.widgets import percent

MOST_RUNS = 4
TRIAL_EPISODES = 10  # at most, whatever a run was trained with
SPLITS = {
    "held_out": "unseen, from the training ranges",
    "shifted": "outside the training ranges",
}
REPRESENTATIVE = ("hybrid", "in_context", "standard", "from_scratch")  # fixed: not the best mode


Gain = Difference | ModeDifference


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
        own = [row for row in self.rows if row.mode == mode and (row.shots or mode == "zero_shot")]
        single = [row for row in own if mode != "in_context" or not row.steps]
        return min(single, key=lambda row: row.shots, default=None)

    @property
    def representative(self) -> ModeResult:
        """The result of the first mode of `REPRESENTATIVE` that was measured."""
        return next((row for mode in REPRESENTATIVE if (row := self.row(mode))), self.rows[0])

    @property
    def drawable(self) -> bool:
        """Whether a budget curve has two points."""
        return len({row.shots for row in self.rows if row.shots and row.steps in (0, 1)}) > 1

    @property
    def rated(self) -> bool:
        """Whether there are success rates."""
        return any(row.success for row in self.rows)


def measure(
    store: RunStore,
    runs: Any,
    modes: Any,
    split: Any,
    tasks: Any,
    episodes: Any,
    steps: Any,
    seed: Any,
) -> Iterator[list[Measured]]:
    """Evaluate the agents of runs one after another; yield all there is after each measurement.

    Each agent is measured in those of the modes that it knows. All inputs come from the page or its
    API, whatever they are.

    Raises:
        UserError: An input is not valid, or there is no such run or task set.
    """
    if not isinstance(runs, list) or not 1 <= len(runs) <= MOST_RUNS:
        raise UserError(f"choose 1 to {MOST_RUNS} agents to compare")
    if split not in SPLITS:
        raise UserError(f"the tasks are one of: {', '.join(SPLITS)}")
    runs, wanted = [checked_id(run) for run in runs], checked_modes(modes)
    count = integer(EVALUATION_TASKS, "tasks", tasks)
    budgets = budgets_up_to(integer(EPISODES, "episodes", episodes))
    steps, seed = integer(STEPS, "steps", steps), integer(SEED, "seed", seed)
    found: list[Measured] = []
    for run in dict.fromkeys(runs):
        agent, family = store.agent(run)
        able = [mode for mode in wanted if mode in able_modes(agent)]
        trial_episodes = min(store.config(run).episodes_per_trial, TRIAL_EPISODES)
        plan = EvaluationPlan(
            ("zero_shot", *able), budgets, steps, trial_episodes=trial_episodes, seed=seed
        )
        drawn: Tasks = getattr(family, split)(count)
        memory = Memory.of(agent) if "hybrid" in able else None
        found.append(Measured(run, family, drawn, split, plan))
        for measurement in evaluate(agent, family, drawn, plan, memory):
            found[-1].rows.append(measurement.result)
            yield found


def by_family(found: Sequence[Measured]) -> list[list[Measured]]:
    """Return the agents of each family; only they met the same tasks."""
    names = dict.fromkeys(one.family.name for one in found)
    return [[one for one in found if one.family.name == name] for name in names]


def results(found: Sequence[Measured]) -> pd.DataFrame:
    """Return a row for each measurement; this is the CSV."""
    rows = [
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
            "success_rate": row.success and row.success.mean,
            "success_ci95_low": row.success and row.success.ci95[0],
            "success_ci95_high": row.success and row.success.ci95[1],
            "greedy_success_rate": row.success and row.success.deterministic_mean,
        }
        for one in found
        for row in with_success(one.rows)
    ]
    return _without_empty(pd.DataFrame(rows))


def _without_empty(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out the columns of success where nothing is said of it."""
    return table.dropna(axis="columns", how="all")


def results_table(found: Sequence[Measured]) -> pd.DataFrame:
    """Return the measurements as the page shows them."""
    rows = [
        {
            "Agent": one.run,
            "Mode": label(row.mode, row.steps),
            "Episodes": row.shots,
            "Env steps": round(row.adaptation_env_steps),
            "Mean return": rounded(row.mean),
            "95% interval": interval(row.ci95),
            "Success": row.success and percent(row.success.mean),
            "95% of success": row.success and interval(row.success.ci95, percent),
            "IQM": rounded(row.iqm),
            "Greedy": rounded(row.deterministic_mean),
        }
        for one in found
        for row in with_success(one.rows)
    ]
    table = _without_empty(pd.DataFrame(rows))
    if "Success" in table:  # there is room for as many columns; the CSV has all
        table = table.drop(columns=["IQM", "Greedy"])
    return table if len(found) > 1 else table.drop(columns="Agent")


def differences_table(found: Sequence[Measured]) -> pd.DataFrame:
    """Return the paired differences: between the modes of an agent, and between agents."""
    pairs: list[tuple[str, int, Gain, Gain | None]] = []
    for one in found:
        evaluation = one.evaluation()
        gains = zip_longest(evaluation.differences, evaluation.success_differences)
        least: dict[tuple[str, str], Any] = {}
        for gain, of_success in gains:
            if gain.steps <= 1:
                least.setdefault((gain.mode, gain.than), (gain.shots, gain, of_success))
        for (mode, than), gain in least.items():
            pairs.append((f"{one.run}: {MODES[mode]} - {MODES[than]}", *gain))
    for first, *others in by_family(found):
        for other in others:
            mine, theirs = first.representative, other.representative
            names = f"{other.run} ({MODES[theirs.mode]}) - {first.run} ({MODES[mine.mode]})"
            pairs.append((names, theirs.shots, *_gains(theirs, mine, first.plan.seed)))
    rows = [
        {
            "Paired by task": names,
            "Episodes": shots,
            "Difference": rounded(gain.mean),
            "95% interval": interval(gain.ci95),
            "Success": of_success and percent(of_success.mean),
            "95% of success": of_success and interval(of_success.ci95, percent),
        }
        for names, shots, gain, of_success in pairs
    ]
    return _without_empty(pd.DataFrame(rows))


def _gains(a: ModeResult, b: ModeResult, seed: int) -> tuple[Gain, Gain | None]:
    """Return by how much one result is better than another: in return, and in success."""

    def gain(one: ModeResult | Success, other: ModeResult | Success) -> Difference:
        own, theirs = np.array(one.per_task)[None], np.array(other.per_task)[None]
        return paired_difference(own, theirs, seed=seed)

    return gain(a, b), gain(a.success, b.success) if a.success and b.success else None


def rounded(value: float) -> float:
    """Return four significant digits."""
    return float(f"{value:.4g}")


def interval(ends: tuple[float, float], written: Callable[[float], str] = "{:.4g}".format) -> str:
    """Return an interval as text."""
    return " to ".join(map(written, ends))


def as_csv(found: Sequence[Measured], folder: Path) -> Path:
    """Write a line for each measurement."""
    path = folder / "comparison.csv"
    results(found).to_csv(path, index=False, lineterminator="\n")
    return path


def as_json(found: Sequence[Measured], folder: Path) -> Path:
    """Write what `ssm-metarl evaluate` writes; of several runs, all of it by their names."""
    evaluations = {one.run: json.loads(one.evaluation().to_json()) for one in found}
    several = len(found) > 1
    path = folder / ("evaluations.json" if several else "evaluation.json")
    write_json_atomically(path, evaluations if several else evaluations[found[0].run])
    return path


def as_png(found: Sequence[Measured], folder: Path) -> Path | None:
    """Draw the budget curves, families below each other; None if there is nothing to draw."""
    from PIL import Image

    pictures = []
    for group in by_family([one for one in found if one.drawable]):
        drawn = folder / f"{len(pictures)}.png"
        titles, evaluations = [one.run for one in group], [one.evaluation() for one in group]
        best = group[0].family.best_return
        figures = [budget_curve(evaluations, best=best, titles=titles)]
        if all(one.rated for one in group):
            figures.append(budget_curve(evaluations, titles=titles, success=True))
        for figure in figures:
            write_png(figure, drawn)
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
