"""Collecting trajectories ``[T, K, E, ...]`` with a policy, all tasks and lanes at once."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.policy import BoundPolicy
from ssm_metarl.env_runner.compiled import STEPS, several_steps
from ssm_metarl.env_runner.environment import Environment
from ssm_metarl.env_runner.simulated import SimulatedEnvironment
from ssm_metarl.env_runner.trajectory import Trajectory as Trajectory
from ssm_metarl.env_runner.trajectory import episode_returns as episode_returns
from ssm_metarl.env_runner.trajectory import episode_successes as episode_successes
from ssm_metarl.env_runner.trajectory import mean_return as mean_return
from ssm_metarl.env_runner.trajectory import per_trial_episode as per_trial_episode
from ssm_metarl.env_runner.trajectory import side_by_side as side_by_side
from ssm_metarl.env_runner.walk import Walk

CHECK_EVERY = 8  # steps: a look at whether every lane is done waits for the device


def collect_episodes(
    bound: BoundPolicy,
    environment: Environment,
    seed: SeedSequence,
    *,
    deterministic: bool = False,
    check_every: int = CHECK_EVERY,
    compiled: bool = False,
) -> Trajectory:
    """Run one episode in every lane, until the last of them ends.

    The environment's horizon bounds the episode and marks it as truncated. The same seed gives
    the same trajectories whatever other tasks are in the batch.

    Args:
        bound: The policy; no gradient reaches it.
        environment: One without autoreset, or whose later episodes may be thrown away.
        seed: Of this rollout; each task draws from a stream of its own.
        deterministic: Take the most likely actions instead of sampling.
        check_every: Steps between looks at whether every lane is done: 1 takes no step too many.
        compiled: Take several steps at once by a compiled function, in native environments. It is
            compiled anew for every shape, which takes half a minute.

    Raises:
        DivergenceError: An observation or reward is not finite.
    """
    walk = Walk(bound, environment, seed, deterministic=deterministic, resets=False, episodes=1)
    _run(walk, environment.max_episode_steps, check_every, compiled)
    return walk.trajectory()


def collect_trials(
    bound: BoundPolicy,
    environment: Environment,
    seed: SeedSequence,
    episodes: int,
    *,
    deterministic: bool = False,
    check_every: int = CHECK_EVERY,
    compiled: bool = False,
) -> Trajectory:
    """Run one trial in every lane: as many episodes of its task, until the last lane is through.

    Between two episodes lies the dead step of the autoreset, in which a memory that lasts the
    trial sees how the episode ended. The same seed gives the same trajectories whatever other
    tasks are in the batch.

    Args:
        bound: The policy; no gradient reaches it.
        environment: One with autoreset.
        seed: Of this rollout; each task draws from a stream of its own.
        episodes: Complete episodes per trial.
        deterministic: Take the most likely actions instead of sampling.
        check_every: As for :func:`collect_episodes`.
        compiled: Likewise.

    Raises:
        DivergenceError: An observation or reward is not finite.
    """
    walk = Walk(
        bound, environment, seed, deterministic=deterministic, resets=True, episodes=episodes
    )
    _run(walk, episodes * (environment.max_episode_steps + 1), check_every, compiled)
    return walk.trajectory()


def _run(walk: Walk, limit: int, check_every: int, compiled: bool) -> None:
    """Act until the limit, or until every lane has had the episodes it was to have."""
    # Not of subclasses, whose step may be their own.
    several = compiled and type(walk.environment) is SimulatedEnvironment
    while walk.length < limit:
        if several and walk.length + STEPS <= limit:
            several_steps(walk)
        else:
            walk.step()
        if walk.length % check_every == 0 and bool((walk.ended >= walk.episodes).all()):
            return


class EndedEpisodes(NamedTuple):
    """The n-th episode of every lane."""

    returns: Float[Tensor, "K E"]
    """NaN for a void episode."""
    lengths: Int[Tensor, "K E"]
    success: Bool[Tensor, "K E"] | None
    """Whether the task was solved on any step; None if the environment has said nothing of it."""


def follow_trials(
    bound: BoundPolicy, environment: Environment, seed: SeedSequence, episodes: int
) -> Iterator[EndedEpisodes]:
    """Run the trials of :func:`collect_trials`, and tell of their episodes as they end.

    The n-th item is of the lanes' n-th episodes, there as soon as the last of these has ended.
    There are fewer items where an episode does not end within the environment's
    ``max_episode_steps``, which somebody's own may ignore.

    Args:
        bound: The policy; no gradient reaches it.
        environment: One with autoreset.
        seed: Of this rollout.
        episodes: Complete episodes per trial.

    Raises:
        DivergenceError: An observation or reward is not finite; what came before has been told.
    """
    walk = Walk(bound, environment, seed, deterministic=False, resets=True, episodes=episodes)
    # A row per episode, and one for what a lane plays while it waits for the others.
    lengths = walk.ended.new_zeros(episodes + 1, *walk.ended.shape)
    returns, told = torch.zeros_like(lengths, dtype=walk.reward.dtype), 0
    success, said = torch.zeros_like(lengths, dtype=torch.bool), False
    while told < episodes and bool((lengths[:-1] <= environment.max_episode_steps).all()):
        number, played = walk.ended.clamp_max(episodes).unsqueeze(0), ~walk.done.unsqueeze(0)
        step = walk.step()
        walk.check_last(number < episodes)
        reward = torch.where(played, step.reward, 0.0)
        if step.failed is not None:
            reward = reward.masked_fill(step.failed, torch.nan)
        returns.scatter_add_(0, number, reward)
        if step.success is not None:
            said = True
            success |= torch.zeros_like(success).scatter(0, number, played & step.success)
        lengths.scatter_add_(0, number, played.long())
        while told < episodes and bool((walk.ended > told).all()):
            solved = success[told] if said else None
            yield EndedEpisodes(returns[told], lengths[told], solved)
            told += 1
