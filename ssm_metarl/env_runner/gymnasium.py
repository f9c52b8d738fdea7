"""Any Gymnasium environment behind the same `[K, E]` interface."""

import functools
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.actions import check_action_space, into_space
from ssm_metarl.env_runner.environment import Step
from ssm_metarl.env_runner.failures import FailedEpisodes, failures_named
from ssm_metarl.env_runner.lanes import MAX_REWARD as MAX_REWARD
from ssm_metarl.env_runner.lanes import SEEDS, Lanes, lane_type, unusable
from ssm_metarl.env_runner.observations import float_box
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.env_runner.success import lanes_succeeded
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.errors import DivergenceError, EnvironmentFailure, UserError

log = logging.getLogger(__name__)


class GymnasiumEnvironment:
    """An `Environment` of ordinary environments, for worlds without a tensor-native version.

    An episode in which one of them raised an error, gave a number that is not finite, or took its
    process with it has failed: it is ended, marked and counted.
    """

    def __init__(
        self,
        lanes: Lanes | VectorEnv,
        tasks: Tasks,
        *,
        max_episode_steps: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Take over K x E lanes, those of a task next to each other.

        Args:
            lanes: What steps the environments. In Gymnasium's vector environments nothing may fail.
            tasks: The K tasks.
            max_episode_steps: Steps after which it truncates an episode.
            device: Of the tensors handed out.
            dtype: Of observations and rewards.

        Raises:
            UserError: An action space or a way of resetting that is not supported.
        """
        self._lanes = VectorLanes(lanes) if isinstance(lanes, VectorEnv) else lanes
        self.tasks, self.lanes = tasks, len(self._lanes.records) // len(tasks)
        self.max_episode_steps = max_episode_steps
        self.device, self.dtype = torch.device(device), dtype
        self.observation_space = float_box(self._lanes.observation_space)
        self.action_space = self._lanes.action_space
        check_action_space(self.action_space)
        self.failures = FailedEpisodes(tasks)
        """Of each task, since the environment was made."""

    def reset(self, seed: SeedSequence) -> Tensor:
        """Start every lane anew, seeded by (seed, task identity, lane); return `[K, E, O]`."""
        self._lanes.reset(lane_seeds(seed, self.tasks.index, self.lanes))
        return self._tensor("observation", self.dtype)

    def step(self, action: Tensor) -> Step:
        """Advance every lane by actions `[K, E]` or `[K, E, A]`, put into its space.

        Raises:
            EnvironmentFailure: Most of a task's episodes fail.
            DivergenceError: An action is not finite.
        """
        if action.is_floating_point() and not torch.isfinite(action).all():
            raise DivergenceError("an action of the policy is not finite")
        records = self._lanes.records
        records["action"] = into_space(action.flatten(0, 1).cpu().numpy(), self.action_space)
        failed = self._lanes.step()
        return Step(
            self._tensor("observation", self.dtype),
            self._tensor("reward", self.dtype),
            self._tensor("terminated"),
            self._tensor("truncated"),
            self._count(failed),
            self._tensor("success") if records["told"].any() else None,
            next(iter(failed.values()), ""),
        )

    def close(self) -> None:
        """Give every environment back."""
        self._lanes.close()

    def _count(self, failed: dict[int, str]) -> Tensor | None:
        """Count the episodes that ended; return which failed, None if none did."""
        records = self._lanes.records
        ended = records["terminated"] | records["truncated"]
        if not failed:
            self.failures.count(ended, None, "")
            return None
        which = np.isin(np.arange(len(records)), list(failed))
        first, why = next(iter(failed.items()))
        self.failures.count(ended, which, why, first)
        _say(f"{why}; such episodes are dropped")
        return self._grid(torch.from_numpy(which).to(self.device))

    def _tensor(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """Return a field of the lanes' records: a copy, as they are filled in again."""
        return self._grid(torch.from_numpy(self._lanes.records[name].copy()).to(self.device, dtype))

    def _grid(self, values: Tensor) -> Tensor:
        return values.view(len(self.tasks), self.lanes, *values.shape[1:])


class VectorLanes:
    """The lanes of one of Gymnasium's vector environments, which somebody else built."""

    def __init__(self, envs: VectorEnv) -> None:
        """Take them over.

        Args:
            envs: With autoreset on the next step, and flat observations.

        Raises:
            UserError: A way of resetting that is not supported, or observations that are not flat.
        """
        own = envs.unwrapped
        if isinstance(own, AsyncVectorEnv) and not own.shared_memory:
            raise UserError(
                "AsyncVectorEnv(shared_memory=False) is not supported, since its reset leaves "
                "lanes whose episode has just ended to be reset again; valid: shared_memory=True"
            )
        mode = envs.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.NEXT_STEP:
            raise UserError(f"autoreset mode {mode} is not supported; valid: NEXT_STEP")
        self.observation_space = envs.single_observation_space
        self.action_space = envs.single_action_space
        float_box(self.observation_space)
        check_action_space(self.action_space)
        kind = lane_type(self.observation_space, self.action_space)
        self.records, self._envs = np.zeros(envs.num_envs, kind), envs

    def reset(self, seeds: Sequence[int]) -> None:
        """Start every lane anew.

        Vector environments that are not made of single ones have one seed for all lanes.
        """
        single = isinstance(self._envs, SyncVectorEnv | AsyncVectorEnv)
        with failures_named("reset"):
            seed: Any = list(seeds) if single else seeds[0]
            observation, _ = self._envs.reset(seed=seed)
        self._fill(observation=observation, reward=0.0)

    def step(self) -> dict[int, str]:
        """Take a step in every lane; none fails."""
        with failures_named("step"):
            observation, reward, terminated, truncated, info = self._envs.step(
                self.records["action"].copy()
            )
        success = lanes_succeeded(info)
        told = success is not None
        self._fill(observation=observation, reward=reward, told=told, success=told and success)
        self.records["terminated"], self.records["truncated"] = terminated, truncated
        return {}

    def close(self) -> None:
        """Close every environment."""
        self._envs.close()

    def _fill(self, **values: Any) -> None:  # noqa: ANN401
        for name, value in values.items():
            self.records[name] = value
        for why in unusable(self.records).values():
            raise EnvironmentFailure(why)


@functools.cache
def _say(line: str) -> None:
    """Write a line to the log, once."""
    log.warning(line)


def lane_seeds(seed: SeedSequence, index: np.ndarray, lanes: int) -> list[int]:
    """Return the reset seed of each lane of the tasks ``index``, those of a task side by side."""
    return [
        int(substream(seed, int(task), lane).generate_state(1)[0]) % SEEDS
        for task in index
        for lane in range(lanes)
    ]
