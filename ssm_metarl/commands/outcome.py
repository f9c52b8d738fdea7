"""What adapting to one task was worth: measured on other episodes, laid out and told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from ssm_metarl.commands.common import plain_table
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.errors import EnvironmentFailure
from ssm_metarl.evaluation.report import MODES, counted

if TYPE_CHECKING:  # they import torch
    from ssm_metarl.adaptation.agent import Agent
    from ssm_metarl.adaptation.online import AdaptProgress
    from ssm_metarl.env_runner.family import TaskFamily

MEASURED_EPISODES = 20
MEASURE_STREAM = 3
SHOWN_MATCHES = 3


@dataclass(frozen=True)
class Measured:
    """Returns of episodes, and whether each solved the task where the environment says so."""

    returns: np.ndarray
    success: np.ndarray | None


def measured(
    agent: "Agent", family: "TaskFamily", task: Tasks, seed: int, remembered: int
) -> Measured:
    """Play fresh episodes, or those that come after others in a trial.

    Those that failed are left out.

    Raises:
        EnvironmentFailure: All did.
    """
    from numpy.random import SeedSequence

    from ssm_metarl.env_runner.streams import substream
    from ssm_metarl.evaluation.play import per_task, play_episodes, play_trials

    own = substream(SeedSequence(seed), MEASURE_STREAM)
    lanes = Tasks(
        {name: column.repeat(MEASURED_EPISODES) for name, column in task.values.items()},
        np.arange(MEASURED_EPISODES),
    )
    of_agent = agent.policy, agent.params, family, lanes, 1
    if remembered:
        played = play_trials(*of_agent, remembered + 1, own).episodes[-1]
    else:
        played = play_episodes(*of_agent, own)
    returns = per_task(played.returns)
    sound = ~np.isnan(returns)
    if not sound.any():
        raise EnvironmentFailure(
            f"the environment broke down in all {MEASURED_EPISODES} episodes of the task "
            f"{task.describe(0)}, which has no return then"
        )
    success = None if played.success is None else per_task(played.success)[sound]
    return Measured(returns[sound], success)


def outcome_table(
    title: str,
    mode: str,
    records: Sequence["AdaptProgress"],
    before: Measured,
    after: Measured,
) -> Table:
    """Lay out what the agent earns before and after, and how often it solves the task."""
    table = plain_table(
        title,
        f"Mean return of {MEASURED_EPISODES} complete episodes that nothing is learned from.\n"
        "Episodes and env steps: what adaptation used of the task.",
    )
    table.add_column("Mode")
    rated = before.success is not None or after.success is not None
    success = ("Success",) if rated else ()
    for name in ("Episodes", "Env steps", "Mean return", "Worst", "Best", *success):
        table.add_column(name, justify="right")
    used = (records[-1].episodes, records[-1].environment_steps) if records else (0, 0)
    rows = {"zero_shot": ((0, 0), before)}
    if mode != "zero_shot":
        rows[mode] = used, after
    for name, ((episodes, steps), own) in rows.items():
        returns, solved = own.returns, 0.0 if own.success is None else own.success.mean()
        numbers = [f"{value:.1f}" for value in (returns.mean(), returns.min(), returns.max())]
        numbers += [f"{solved:.0%}"] * rated
        table.add_row(MODES[name], f"{episodes:,}", f"{steps:,}", *numbers)
    return table


def mean_text(returns: np.ndarray) -> str:
    """Return the mean of the returns of episodes that did not fail, for people."""
    sound = returns[~np.isnan(returns)]
    return f"{sound.mean():.1f}" if len(sound) else "unknown: the environment broke down"


def tell_of_failures(records: Sequence["AdaptProgress"], before: Measured, after: Measured) -> None:
    """Say how many episodes failed, if any did."""
    played = sum(int(np.isnan(record.returns).sum()) for record in records)
    measured = 2 * MEASURED_EPISODES - len(before.returns) - len(after.returns)
    if played or measured:
        print(
            f"The environment broke down in {counted(played, 'episode')} of the adaptation, and in "
            f"{measured} of those that measure it: they are left out."
        )


def tell_what_happened(record: "AdaptProgress") -> None:
    """Say what was undone and recalled, where it was."""
    if record.rolled_back:
        episodes = counted(record.episodes, "episode")
        print(f"After {episodes} the last step was seen to do harm and was undone.")
    recalled = record.recalled
    if recalled is None:
        return
    tasks, weights = recalled.tasks[0].tolist(), recalled.weight[0].tolist()
    if not any(weights):
        print("No earlier task resembles this one, so none was recalled.")
        return
    best = list(zip(tasks, weights, strict=True))[:SHOWN_MATCHES]
    named = ", ".join(f"task {task} ({weight:.0%})" for task, weight in best)
    own = float(recalled.own[0])
    print(
        f"Recalled {len(tasks)} earlier tasks, most of all {named}; the own episodes weigh "
        f"{own:.0%}."
    )
