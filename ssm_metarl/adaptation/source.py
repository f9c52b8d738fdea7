"""Any environment as a task to adapt to."""

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import gymnasium
import numpy as np
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.core.policy import BoundPolicy
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.env_runner.environment import Step
from ssm_metarl.env_runner.family import Tasks
from ssm_metarl.env_runner.gymnasium import GymnasiumEnvironment, VectorLanes
from ssm_metarl.env_runner.lanes import Lanes, LocalLanes
from ssm_metarl.env_runner.observations import with_flat_observations
from ssm_metarl.env_runner.pool import Builder, EnvironmentPool
from ssm_metarl.env_runner.rollout import (
    EndedEpisodes,
    Trajectory,
    collect_episodes,
    follow_trials,
)
from ssm_metarl.errors import UserError

ONE_TASK = Tasks({}, np.zeros(1, dtype=np.int64))
LONGEST_EPISODE = 10_000  # steps, for environments with no limit of their own


class EnvironmentSource:
    """One task: any Gymnasium environment, which stays open.

    Attributes:
        lanes: Episodes played at once, ``E``.
        agent: As it acts there: ``predict`` gives what the environment's space contains.

    Raises:
        UserError: The agent cannot act in the environment; where only the spaces differ, the
            message shows both.
    """

    def __init__(self, agent: Agent, env: gymnasium.Env | gymnasium.vector.VectorEnv) -> None:
        lanes = _lanes_of(env)
        theirs = GymnasiumEnvironment(lanes, ONE_TASK, max_episode_steps=LONGEST_EPISODE)
        if not _can_act(agent, theirs):
            raise UserError(
                "the environment's spaces are not the agent's: it shows "
                f"{theirs.observation_space} and takes {theirs.action_space}; the agent sees "
                f"{agent.policy.spaces.describe()}"
            )
        self._environment = theirs
        self._cut = _Cut(lanes, ONE_TASK, max_episode_steps=agent.config.horizon)
        self.lanes = theirs.lanes
        self.agent = _acting_in(agent, theirs.action_space)

    def play_round(self, bound: BoundPolicy, seed: SeedSequence) -> Trajectory:
        """Play one episode in every lane, cut at the horizon of adaptation: ``[T, 1, E]``."""
        return collect_episodes(bound, self._cut, seed, check_every=1)

    def play_trial(
        self, bound: BoundPolicy, episodes: int, seed: SeedSequence
    ) -> Iterator[EndedEpisodes]:
        """Play one trial of several whole episodes in every lane: ``K`` is 1.

        Yields the lanes' n-th episodes, once all of these have ended.

        Raises:
            UserError: An episode does not end.
        """
        told = 0
        for ended in follow_trials(bound, self._environment, seed, episodes):
            told += 1
            yield ended
        if told < episodes:
            raise UserError(
                f"an episode did not end within {LONGEST_EPISODE} steps; give the environment a "
                "time limit"
            )


class _Cut(GymnasiumEnvironment):
    """An environment whose lanes are all cut after some steps, and then reset together."""

    def reset(self, seed: SeedSequence) -> Tensor:
        self._time = 0
        return super().reset(seed)

    def step(self, action: Tensor) -> Step:
        self._time += 1
        step = super().step(action)
        return step._replace(truncated=step.truncated | (self._time >= self.max_episode_steps))


class _LeftOpen(gymnasium.Wrapper):
    """The user's environment, which the user closes."""

    def close(self) -> None:
        """Leave it open."""


def _lanes_of(env: gymnasium.Env | gymnasium.vector.VectorEnv) -> Lanes:
    if isinstance(env, gymnasium.vector.VectorEnv):
        return VectorLanes(env)
    if not isinstance(env, gymnasium.Env):
        raise UserError(
            f"{env!r} is not an environment; pass one, such as gymnasium.make('CartPole-v1')"
        )
    flat = with_flat_observations(_LeftOpen(env))
    space = cast(gymnasium.spaces.Box, flat.observation_space)
    pool = EnvironmentPool(Builder(lambda _: flat, space, flat.action_space))
    return LocalLanes(pool, [{}], max_episode_steps=LONGEST_EPISODE, forgiving=False)


def _acting_in(agent: Agent, space: gymnasium.Space) -> Agent:
    """Return the agent with the start and the type of a space's actions as its own."""
    mine = agent.policy.spaces
    theirs = mine.acting_in(space)
    # Agents of a former version have no bounds where a space lacks some, and act without scaling.
    if theirs == mine or bool(mine.action_low) != bool(theirs.action_low):
        return agent
    return replace(agent, policy=replace(agent.policy, spaces=theirs))


def _can_act(agent: Agent, environment: GymnasiumEnvironment) -> bool:
    mine = agent.policy.spaces
    scale = np.asarray(mine.observation_scale)
    theirs = Spaces.of(scale, environment.action_space)
    return environment.observation_space.shape == scale.shape and mine.same_actions(theirs)
