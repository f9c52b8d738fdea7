"""Where the episodes to adapt from are played: tasks of a family, or any environment."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import gymnasium
import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.core.policy import BoundPolicy
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.env_runner.environment import Step
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.gymnasium import GymnasiumEnvironment, vector_of
from ssm_metarl.env_runner.rollout import Trajectory, collect_episodes, follow_trials
from ssm_metarl.errors import UserError

LONGEST_EPISODE = 10_000  # steps, for environments with no limit of their own


@runtime_checkable
class Source(Protocol):
    """Plays any number of episodes of K tasks, each from an empty memory."""

    def __len__(self) -> int:
        """Return K."""
        ...

    def play(self, bound: BoundPolicy, episodes: int, seed: SeedSequence) -> Trajectory:
        """Play some episodes of each task, one per lane: ``[T, K, E]``."""
        ...


@dataclass(frozen=True)
class TaskSource:
    """Tasks of a family.

    Attributes:
        family: Of the tasks.
        tasks: K tasks.
        horizon: Step limit of an episode.
        device: Where trajectories are.
    """

    family: TaskFamily
    tasks: Tasks
    horizon: int
    device: torch.device

    def __len__(self) -> int:
        """Return K."""
        return len(self.tasks)

    def play(self, bound: BoundPolicy, episodes: int, seed: SeedSequence) -> Trajectory:
        """Play some episodes of each task, all tasks and episodes at once."""
        environment = self.family.make_vec(
            self.tasks, episodes, autoreset=False, horizon=self.horizon, device=self.device
        )
        rollout = collect_episodes(bound, environment, seed)
        environment.close()
        return rollout


class EnvironmentSource:
    """One task: any Gymnasium environment, which stays open.

    Attributes:
        lanes: Episodes played at once, ``E``.
        agent: As it acts there: ``predict`` gives what the environment's space contains.
    """

    def __init__(self, agent: Agent, env: gymnasium.Env | gymnasium.vector.VectorEnv) -> None:
        """Check that the agent can act in the environment.

        Raises:
            UserError: It cannot; the message shows both spaces.
        """
        self.horizon = agent.config.horizon
        sees = f"the agent sees {agent.policy.spaces.describe()}"
        try:
            self._environment = _one_task(env)
        except UserError as error:
            raise UserError(f"{error}; {sees}") from error
        self.lanes = self._environment.lanes
        theirs = self._environment
        if not _can_act(agent, theirs):
            raise UserError(
                "the environment's spaces are not the agent's: it shows "
                f"{theirs.observation_space} and takes {theirs.action_space}; {sees}"
            )
        self.agent = _acting_in(agent, theirs.action_space)

    def play_round(self, bound: BoundPolicy, seed: SeedSequence) -> Trajectory:
        """Play one episode in every lane, cut at the horizon of adaptation: ``[T, 1, E]``."""
        cut = _Cut(self._environment, self.horizon)
        return collect_episodes(bound, cut, seed, check_every=1)

    def play_trial(
        self, bound: BoundPolicy, episodes: int, seed: SeedSequence
    ) -> Iterator[tuple[Float[np.ndarray, "E"], Int[np.ndarray, "E"]]]:
        """Play one trial of several whole episodes in every lane.

        Yields the returns and lengths of the lanes' n-th episodes, once all of these have ended.

        Raises:
            UserError: An episode does not end.
        """
        told = 0
        for returns, lengths in follow_trials(bound, self._environment, seed, episodes):
            told += 1
            yield returns[0].numpy(), lengths[0].numpy()
        if told < episodes:
            raise UserError(
                f"an episode did not end within {LONGEST_EPISODE} steps; give the environment a "
                "time limit"
            )


class _Cut:
    """An environment whose lanes are all cut after some steps, and then reset together."""

    def __init__(self, environment: GymnasiumEnvironment, horizon: int) -> None:
        """Wrap an environment.

        Args:
            environment: Of one task, which stays open.
            horizon: Step limit of its episodes.
        """
        self._environment, self.max_episode_steps = environment, horizon
        self.tasks, self.lanes = environment.tasks, environment.lanes
        self.device = environment.device
        self.observation_space = environment.observation_space
        self.action_space = environment.action_space

    def reset(self, seed: SeedSequence) -> Tensor:
        """Start every lane anew; return first observations ``[1, E, O]``."""
        self._time = 0
        return self._environment.reset(seed)

    def step(self, action: Tensor) -> Step:
        """Advance every lane; at the horizon all are truncated."""
        self._time += 1
        step = self._environment.step(action)
        return step._replace(truncated=step.truncated | (self._time >= self.max_episode_steps))

    def close(self) -> None:
        """Leave the environment open; the user closes it."""


class _LeftOpen(gymnasium.Wrapper):
    """The user's environment, which the user closes."""

    def close(self) -> None:
        """Leave it open."""


def _one_task(env: gymnasium.Env | gymnasium.vector.VectorEnv) -> GymnasiumEnvironment:
    if not isinstance(env, gymnasium.Env | gymnasium.vector.VectorEnv):
        raise UserError(
            f"{env!r} is not an environment; pass one, such as gymnasium.make('CartPole-v1')"
        )
    if isinstance(env, gymnasium.Env):
        single = _LeftOpen(env)
        env = vector_of([lambda: single], 1, LONGEST_EPISODE)
    task = Tasks({}, np.zeros(1, dtype=np.int64))
    return GymnasiumEnvironment(env, task, max_episode_steps=LONGEST_EPISODE)


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
