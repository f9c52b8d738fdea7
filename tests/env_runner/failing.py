"""Pendulums that break down: a family whose episodes fail where it is told to."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from ssm_metarl.env_runner.environment import Environment, Step
from ssm_metarl.env_runner.families import PENDULUM
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.simulated import SimulatedEnvironment
from ssm_metarl.env_runner.simulators.pendulum import Pendulum
from ssm_metarl.env_runner.world import SimulatedWorld, VecOptions

STEPS, FAILS_AT = 12, 4
Fails = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Whether the first episode fails, of tasks ``[K, 1]`` by identity and lanes ``[1, E]``."""


class _Failing(SimulatedEnvironment):
    fails = torch.zeros(0)

    def step(self, action: torch.Tensor) -> Step:
        step = super().step(action)
        if self.time != FAILS_AT or not self.fails.any():
            return step
        lanes, self._any_done = self.lane_state, True
        self.lane_state = lanes._replace(done=lanes.done | self.fails)
        reward = step.reward.masked_fill(self.fails, 0.0)
        ended = step.terminated | self.fails
        return step._replace(reward=reward, terminated=ended, failed=self.fails)


class _World(SimulatedWorld):
    def __init__(self, fails: Fails) -> None:
        super().__init__(Pendulum())
        object.__setattr__(self, "fails", fails)

    def make_vec(self, tasks: Tasks, lanes: int, options: VecOptions) -> Environment:
        env = _Failing(self.simulator, tasks, lanes, **vars(options))
        fails = getattr(self, "fails")(tasks.index[:, None], np.arange(lanes)[None])  # noqa: B009
        env.fails = torch.from_numpy(np.broadcast_to(fails, (len(tasks), lanes)).copy())
        return env


def failing(fails: Fails) -> TaskFamily:
    """Return pendulums whose rewards are negative, so that an episode cut short looks good."""
    return replace(PENDULUM, simulator=None, world=_World(fails), max_episode_steps=STEPS)


SOUND = failing(lambda task, lane: (task < 0) & (lane < 0))
SOME = failing(lambda task, lane: (task + lane) % 3 == 0)
"""A third of the episodes fail, other lanes in other tasks."""
HOPELESS = failing(lambda task, lane: (task == 1) & (lane >= 0))
"""Every first episode of the task of identity 1 fails."""
