"""What the parameters in training are worth: returns on the validation tasks of the family."""

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.standard import adapt_tasks
from ssm_metarl.core.parameters import Params
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import mean_return
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.evaluation.play import Trials, play_episodes, play_trials

EPISODES = 5  # or trials, for each task asked for; a family of one task plays all of them on it


@dataclass(frozen=True)
class Validated:
    """Mean undiscounted returns of complete episodes on the validation tasks.

    Before and after adaptation; the best parameters are those with the greatest score. All are NaN
    where a task has no return, since the environment broke down in all its episodes: a mean over
    the other tasks is not one to compare.
    """

    before: float
    after: float
    score: float
    failed_episodes: int = 0
    """How many are left out, since the environment broke down in them."""


Validate = Callable[[Agent, TaskFamily, Tasks, int, SeedSequence], Validated]


def pooled(parts: Sequence[Validated], tasks: Sequence[int]) -> Validated:
    """Return the result on all tasks, from those on parts of so many tasks each."""
    if len(parts) == 1:
        return parts[0]

    def average(values: Iterable[float]) -> float:
        return sum(v * n for v, n in zip(values, tasks, strict=True)) / sum(tasks)

    before, after, score, failed = zip(*map(dataclasses.astuple, parts), strict=True)
    return Validated(average(before), average(after), average(score), sum(failed))


def by_adaptation(
    agent: Agent, family: TaskFamily, tasks: Tasks, episodes: int, seed: SeedSequence
) -> Validated:
    """Compare returns before and after one gradient step on fresh episodes.

    The score is the return after it; where the memory lasts a trial, which adapts too, the mean of
    both.
    """
    trial = agent.policy.config.memory == "trial"

    def returns(params: Params) -> Float[Tensor, "*episodes K E"]:
        played = agent.policy, params, family, tasks, episodes
        own = substream(seed, 1)
        if not trial:
            return play_episodes(*played, own).returns
        return _returns(play_trials(*played, agent.config.episodes_per_trial, own))

    plan = {"episodes": agent.config.episodes, "steps": 1, "seed": substream(seed, 0)}
    adaptation = adapt_tasks(agent, family, tasks, **plan)
    first, second = (returns(adapted.params) for adapted in adaptation)
    before, after = _mean(first, tasks), _mean(second, tasks)
    score = 0.5 * (before + after) if trial else after
    return Validated(before, after, score, _failed(first) + _failed(second))


def by_trials(
    agent: Agent, family: TaskFamily, tasks: Tasks, trials: int, seed: SeedSequence
) -> Validated:
    """Compare the first and the last episode of a trial; the score is the mean over all of them."""
    each = agent.config.episodes_per_trial
    played = play_trials(agent.policy, agent.params, family, tasks, trials, each, seed)
    returns = _returns(played)
    before, after = _mean(returns[0], tasks), _mean(returns[-1], tasks)
    return Validated(before, after, _mean(returns, tasks), _failed(returns))


def _returns(trials: Trials) -> Float[Tensor, "episodes K E"]:
    return torch.stack([each.returns for each in trials.episodes])


def _mean(returns: Float[Tensor, "*episodes K E"], tasks: Tasks) -> float:
    """Return the mean over all tasks; NaN, with a warning, where one of them has no return."""
    means = mean_return(returns).double()
    without = means.isnan().view(-1, len(tasks)).any(0)
    if without.any():
        task = tasks.describe(int(without.int().argmax()))
        warnings.warn(
            f"all validation episodes of the task {task} failed, so that these parameters have no "
            "score",
            stacklevel=4,
        )
    return float(means.mean())


def _failed(returns: Tensor) -> int:
    return int(returns.isnan().sum())


VALIDATIONS: dict[str, Validate | None] = {
    "adaptation": by_adaptation,
    "trials": by_trials,
    "training": None,  # the learner's own episodes are whole, and of the task it is for
}
"""By the names of :data:`ssm_metarl.meta_rl.registry.Validation`."""
