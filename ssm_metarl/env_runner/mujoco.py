"""Gymnasium's MuJoCo robots, all lanes in MuJoCo's own threads, each task with its own physics."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.actions import into_space
from ssm_metarl.env_runner.environment import Step, lane_tensor
from ssm_metarl.env_runner.failures import FailedEpisodes
from ssm_metarl.env_runner.formula import LaneFormula
from ssm_metarl.env_runner.gymnasium import lane_seeds
from ssm_metarl.env_runner.lane_records import MAX_REWARD
from ssm_metarl.env_runner.mujoco_lanes import make_lanes
from ssm_metarl.env_runner.mujoco_model import MjModel
from ssm_metarl.env_runner.mujoco_robots import Robot, Terms
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.errors import DivergenceError

UNSTABLE = "the simulation became unstable"

Reward = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
"""A task's own reward, from the terms of a step and the values of the task's parameters.

Both are arrays over lanes, or plain numbers: ``info`` of Gymnasium's environment and one task's. A
formula is given what formulas know of a step instead.
"""


class MuJoCoEnvironment:
    """An `Environment` of K x E lanes of one robot.

    Its numbers are those of Gymnasium's own -v5 environment, seeded per lane as
    `GymnasiumEnvironment` seeds it, but that an episode in which the simulation became unstable
    (MuJoCo restarts it without a word) has failed: it is ended, marked and counted.
    """

    def __init__(
        self,
        robot: Robot,
        models: Sequence[MjModel],
        tasks: Tasks,
        lanes: int,
        *,
        autoreset: bool,
        max_episode_steps: int,
        reward: Reward | None = None,
        success: LaneFormula | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Build the simulations.

        Args:
            robot: What is shown and paid, over the K x E lanes.
            models: One for each of the K tasks; not changed afterwards.
            tasks: The K tasks.
            lanes: E, lanes per task.
            autoreset: Whether lanes start a new episode by themselves.
            max_episode_steps: Steps after which an episode is truncated.
            reward: Of a task; None for Gymnasium's.
            success: Whether a step solved the task; None if nothing says so.
            device: Of the tensors handed out.
            dtype: Of observations and rewards.
        """
        self.tasks, self.lanes, self.autoreset = tasks, lanes, autoreset
        self.max_episode_steps = max_episode_steps
        self.device, self._float = torch.device(device), torch.empty(0, dtype=dtype).numpy().dtype
        self._tensor = functools.partial(lane_tensor, tasks=len(tasks), device=self.device)
        space = robot.env.observation_space
        self.observation_space: gymnasium.spaces.Box = gymnasium.spaces.Box(
            -np.inf, np.inf, space.shape, dtype=np.float32
        )
        self.action_space: gymnasium.Space = robot.env.action_space
        self.failures = FailedEpisodes(tasks)
        """Of each task, since the environment was made."""
        self._robot, self._reward, self._success = robot, reward, success
        of_lanes = [model for model in models for _ in range(lanes)]
        skip = robot.env.frame_skip
        self._lanes = make_lanes(of_lanes, skip, robot.reads, forces=robot.forces)
        self._values = {name: np.repeat(column, lanes) for name, column in tasks.values.items()}
        self._elapsed = np.zeros(len(of_lanes), dtype=np.int64)
        self._done = np.zeros(len(of_lanes), dtype=bool)

    def reset(self, seed: SeedSequence) -> Tensor:
        """Start every lane anew, seeded by (seed, task identity, lane); return `[K, E, O]`."""
        seeds = lane_seeds(seed, self.tasks.index, self.lanes)
        self._generators = [np.random.default_rng(number) for number in seeds]
        self._start(np.arange(len(self._done)))
        self._done[:] = False
        return self._tensor(self._robot.observe(self._lanes.fields), self._float)

    def step(self, action: Tensor) -> Step:
        """Advance every lane by actions `[K, E, A]`, clipped to the robot's bounds.

        Raises:
            DivergenceError: An action is not finite.
            EnvironmentFailure: Most of a task's episodes become unstable.
        """
        raw = action.cpu().numpy()
        if not np.isfinite(raw).all():
            raise DivergenceError("an action of the policy is not finite")
        actions = np.asarray(into_space(raw.reshape(-1, raw.shape[-1]), self.action_space))
        fields, robot, resting = self._lanes.fields, self._robot, self._done
        before = np.array(robot.place(fields))
        some = bool(np.count_nonzero(resting))
        unstable = self._lanes.step(actions, np.flatnonzero(~resting) if some else None)
        if some and self.autoreset:
            self._start(np.flatnonzero(resting))
        with np.errstate(all="ignore"):  # of lanes that failed
            observation = robot.observe(fields)
            terms, ended = robot.outcome(fields, before, actions)
            sane = all_finite(observation)
            seen = {"observation": observation, "action": actions, "terminated": ended}
            reward, success = self._paid(terms, seen, going=sane & ~unstable & ~resting)
            if not np.dot(reward, reward) <= MAX_REWARD**2:
                sane &= np.abs(reward) <= MAX_REWARD
        failed = (unstable | ~sane) & ~resting
        if some:
            reward, ended = np.where(resting, 0.0, reward), ended & ~resting
        failing = bool(np.count_nonzero(failed))
        if failing:
            observation = np.where(sane[:, None], observation, 0.0)
            reward, ended = np.where(failed, 0.0, reward), ended | failed
        self._elapsed += ~resting
        truncated = (self._elapsed >= self.max_episode_steps) & ~resting
        self._settle(ended | truncated, failed if failing else None)
        return Step(
            self._tensor(observation, self._float),
            self._tensor(reward, self._float),
            self._tensor(ended),
            self._tensor(truncated),
            self._tensor(failed) if failing else None,
            None if success is None else self._tensor(success != 0.0),
            UNSTABLE if failing else "",
        )

    def close(self) -> None:
        """Stop the threads."""
        self._lanes.close()

    def _start(self, ids: np.ndarray) -> None:
        """Start an episode in the lanes ``ids``."""
        drawn = [self._robot.first_state(self._generators[lane]) for lane in ids.tolist()]
        qpos, qvel = (np.stack(part) for part in zip(*drawn, strict=True))
        self._lanes.start(ids, qpos, qvel)
        self._elapsed[ids] = 0

    def _paid(
        self, terms: Terms, seen: dict[str, np.ndarray], going: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the rewards ``[N]``, and where formulas say so which lanes are successful."""
        formulas: dict[str, Any] = {}
        if self._success or isinstance(self._reward, LaneFormula):
            info = terms | self._robot.details(self._lanes.fields)
            formulas = seen | {"reward": info.pop("reward"), "info": info, "going": going}
        success = self._success(formulas, self._values) if self._success else None
        if self._reward is None:
            return terms["reward"], success
        of_formula = isinstance(self._reward, LaneFormula)
        return self._reward(formulas if of_formula else terms, self._values), success

    def _settle(self, done: np.ndarray, failed: np.ndarray | None) -> None:
        """Note which lanes rest on the next step, and count episodes and failures."""
        self._done = done if self.autoreset else self._done | done
        self.failures.count(done, failed, UNSTABLE)


def all_finite(values: np.ndarray) -> np.ndarray:
    """Return in which lanes ``[N]`` all numbers ``[N, F]`` are finite."""
    if math.isfinite(np.vdot(values, values)):  # nearly always, and quickly found out
        return np.ones(len(values), dtype=bool)
    return np.abs(values).max(-1) < np.inf  # not so where one is NaN, either
