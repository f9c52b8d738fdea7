"""What a visitor asks to compare, and the tables of what was measured."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd

from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.env_runner.family import Tasks
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.comparison import Measured, gains
from ssm_metarl.evaluation.evaluate import EvaluationPlan, evaluate
from ssm_metarl.evaluation.report import label, with_success
from ssm_metarl.ui.limits import EPISODES, EVALUATION_TASKS, SEED, STEPS
from ssm_metarl.ui.query import able_modes, budgets_up_to, checked_modes
from ssm_metarl.ui.store import RunStore, checked_id
from ssm_metarl.ui.widgets import percent

MOST_RUNS = 4
TRIAL_EPISODES = 10  # at most, whatever a run was trained with
SPLITS = {
    "held_out": "unseen, from the training ranges",
    "shifted": "outside the training ranges",
}


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
    count, budgets = EVALUATION_TASKS.check(tasks), budgets_up_to(EPISODES.check(episodes))
    steps, seed = STEPS.check(steps), SEED.check(seed)
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


def results_table(found: Sequence[Measured]) -> pd.DataFrame:
    """Return the measurements as the page shows them; the CSV has all."""
    rated = any(one.rated for one in found)
    rows = [
        {
            "Agent": one.run,
            "Mode": label(row.mode, row.steps),
            "Episodes": row.shots,
            "Env steps": round(row.adaptation_env_steps),
            "Mean return": rounded(row.mean),
            "95% interval": interval(row.ci95),
        }
        | (
            {
                "Success": row.success and percent(row.success.mean),
                "95% of success": row.success and interval(row.success.ci95, percent),
            }
            if rated
            else {"IQM": rounded(row.iqm), "Greedy": rounded(row.deterministic_mean)}
        )
        for one in found
        for row in with_success(one.rows)
    ]
    table = pd.DataFrame(rows)
    return table if len(found) > 1 else table.drop(columns="Agent")


def differences_table(found: Sequence[Measured]) -> pd.DataFrame:
    """Return the paired differences as the page shows them."""
    rows = [
        {
            "Paired by task": one.names,
            "Episodes": one.episodes,
            "Difference": rounded(one.of_return.mean),
            "95% interval": interval(one.of_return.ci95),
            "Success": one.of_success and percent(one.of_success.mean),
            "95% of success": one.of_success and interval(one.of_success.ci95, percent),
        }
        for one in gains(found)
    ]
    return pd.DataFrame(rows).dropna(axis="columns", how="all")


def rounded(value: float) -> float:
    """Return four significant digits."""
    return float(f"{value:.4g}")


def interval(ends: tuple[float, float], written: Callable[[float], str] = "{:.4g}".format) -> str:
    """Return an interval as text."""
    return " to ".join(map(written, ends))
