"""Complete episodes of the original length on K tasks, alone or in trials, and what they bring."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.parameters import Params, device_of
from ssm_metarl.core.policy import BoundPolicy, Policy
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import (
    Trajectory,
    collect_episodes,
    collect_trials,
    episode_returns,
    episode_successes,
    mean_return,
    per_trial_episode,
)


@dataclass(frozen=True)
class Episodes:
    """What E episodes of each of K tasks brought."""

    returns: Float[Tensor, "K E"]
    """Undiscounted sums of rewards; NaN where the environment broke down."""
    success: Float[Tensor, "K E"] | None = None
    """1 where the task was solved, else 0, or NaN; None if the environment says nothing of it."""

    @property
    def failed(self) -> int:
        """How many are void, since the environment broke down in them."""
        return int(self.returns.isnan().sum())

    def tasks(self, tasks: Int[np.ndarray, "chosen"]) -> "Episodes":
        """Return those of some of the tasks."""
        success = None if self.success is None else self.success[tasks]
        return Episodes(self.returns[tasks], success)


@dataclass(frozen=True)
class Trials:
    """What each episode of a trial brought, in E trials of each of K tasks."""

    episodes: tuple[Episodes, ...]
    """The first of every trial, the second of every trial, and so on."""
    environment_steps: Float[np.ndarray, "episodes K"]
    """Lengths of the episodes, averaged over trials; NaN where none was sound."""

    @property
    def returns(self) -> Float[np.ndarray, "episodes K"]:
        """Returns of the episodes, averaged over trials."""
        return np.stack([per_task(each.returns) for each in self.episodes])


def play_episodes(
    policy: Policy,
    params: Params,
    family: TaskFamily,
    tasks: Tasks,
    episodes: int,
    seed: SeedSequence,
    *,
    deterministic: bool = False,
) -> Episodes:
    """Play complete episodes of the original length."""
    rollout = _rollout(policy.bind(params), family, tasks, episodes, seed, deterministic)
    success = episode_successes(rollout, 1)
    return Episodes(episode_returns(rollout), None if success is None else success[0])


def mean_returns(
    policy: Policy,
    params: Params,
    family: TaskFamily,
    tasks: Tasks,
    episodes: int,
    seed: SeedSequence,
    *,
    deterministic: bool = False,
) -> Float[np.ndarray, "K"]:
    """Return each task's mean return over complete episodes of the original length.

    It is NaN where all of them failed.
    """
    played = policy, params, family, tasks, episodes, seed
    return per_task(play_episodes(*played, deterministic=deterministic).returns)


def play_trials(
    policy: Policy,
    params: Params,
    family: TaskFamily,
    tasks: Tasks,
    trials: int,
    episodes: int,
    seed: SeedSequence,
    *,
    deterministic: bool = False,
) -> Trials:
    """Play trials of complete episodes of the original length, from an empty memory each."""
    rollout = _rollout(policy.bind(params), family, tasks, trials, seed, deterministic, episodes)
    returns = per_trial_episode(rollout.reward, rollout, episodes)
    success = episode_successes(rollout, episodes)
    lengths = per_trial_episode(torch.ones_like(rollout.reward), rollout, episodes)
    played = zip(returns, [None] * episodes if success is None else success, strict=True)
    return Trials(tuple(Episodes(*each) for each in played), per_task(lengths))


def _rollout(
    bound: BoundPolicy,
    family: TaskFamily,
    tasks: Tasks,
    lanes: int,
    seed: SeedSequence,
    deterministic: bool,
    episodes: int = 0,
) -> Trajectory:
    """Play one episode in every lane, or a trial of several."""
    device = device_of(bound.params)
    environment = family.make_vec(tasks, lanes, autoreset=episodes > 0, device=device)
    if episodes:
        rollout = collect_trials(bound, environment, seed, episodes, deterministic=deterministic)
    else:
        rollout = collect_episodes(bound, environment, seed, deterministic=deterministic)
    environment.close()
    return rollout


def per_task(values: Float[Tensor, "*batch K E"]) -> Float[np.ndarray, "*batch K"]:
    """Average over the sound episodes or trials; return NumPy's float64, NaN where none was."""
    return mean_return(values).cpu().double().numpy()
