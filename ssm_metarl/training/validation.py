"""What the parameters in training are worth: returns on the validation tasks of the family."""

from collections.abc import Callable
from dataclasses import dataclass

from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.standard import adapt_tasks
from ssm_metarl.core.parameters import Params
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.evaluation.play import mean_returns, play_trials

EPISODES = 5  # or trials, for each task asked for; a family of one task plays all of them on it


@dataclass(frozen=True)
class Validated:
    """Mean undiscounted returns of complete episodes on the validation tasks.

    Before and after adaptation; the best parameters are those with the greatest score.
    """

    before: float
    after: float
    score: float


Validate = Callable[[Agent, TaskFamily, Tasks, int, SeedSequence], Validated]


def by_adaptation(
    agent: Agent, family: TaskFamily, tasks: Tasks, episodes: int, seed: SeedSequence
) -> Validated:
    """Compare returns before and after one gradient step on fresh episodes.

    The score is the return after it; where the memory lasts a trial, which adapts too, the mean of
    both.
    """
    trial = agent.policy.config.memory == "trial"

    def returns(params: Params) -> float:
        own = substream(seed, 1)
        if trial:
            each = agent.config.episodes_per_trial
            trials = play_trials(agent.policy, params, family, tasks, episodes, each, own)
            return float(trials.returns.mean())
        return float(mean_returns(agent.policy, params, family, tasks, episodes, own).mean())

    plan = {"episodes": agent.config.episodes, "steps": 1, "seed": substream(seed, 0)}
    adaptation = adapt_tasks(agent, family, tasks, **plan)
    before, after = (returns(adapted.params) for adapted in adaptation)
    return Validated(before, after, 0.5 * (before + after) if trial else after)


def by_trials(
    agent: Agent, family: TaskFamily, tasks: Tasks, trials: int, seed: SeedSequence
) -> Validated:
    """Compare the first and the last episode of a trial; the score is the mean over all of them."""
    each = agent.config.episodes_per_trial
    played = play_trials(agent.policy, agent.params, family, tasks, trials, each, seed)
    returns = played.returns.mean(1)
    return Validated(float(returns[0]), float(returns[-1]), float(returns.mean()))


VALIDATIONS: dict[str, Validate | None] = {
    "adaptation": by_adaptation,
    "trials": by_trials,
    "training": None,  # the learner's own episodes are whole, and of the task it is for
}
"""By the names of :data:`ssm_metarl.meta_rl.registry.Validation`."""
