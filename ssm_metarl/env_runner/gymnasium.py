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
from ssm_metarl.env_runner.environment import Step, lane_tensor
from ssm_metarl.env_runner.failures import FailedEpisodes, failures_named
from ssm_metarl.env_runner.lane_records import (
    SUCCESS,
    TERMINATED,
    TOLD,
    TRUNCATED,
    block_type,
    records_of,
    unusable,
)
from ssm_metarl.env_runner.lanes import SEEDS, Lanes
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
        self.tasks, self.lanes = tasks, len(self._lanes.records.reward) // len(tasks)
        self.max_episode_steps = max_episode_steps
        self.device, self._float = torch.device(device), torch.empty(0, dtype=dtype).numpy().dtype
        self._tensor = functools.partial(lane_tensor, tasks=len(tasks), device=self.device)
        self.observation_space = float_box(self._lanes.observation_space)
        self.action_space = self._lanes.action_space
        check_action_space(self.action_space)
        self.failures = FailedEpisodes(tasks)
        """Of each task, since the environment was made."""

    def reset(self, seed: SeedSequence) -> Tensor:
        """Start every lane anew, seeded by (seed, task identity, lane); return `[K, E, O]`."""
        self._lanes.reset(lane_seeds(seed, self.tasks.index, self.lanes))
        return self._tensor(self._lanes.records.observation, self._float)

    def step(self, action: Tensor) -> Step:
        """Advance every lane by actions `[K, E]` or `[K, E, A]`, put into its space.

        Raises:
            EnvironmentFailure: Most of a task's episodes fail.
            DivergenceError: An action is not finite.
        """
        chosen = action.cpu().numpy()
        if chosen.dtype.kind == "f" and not np.isfinite(chosen).all():
            raise DivergenceError("an action of the policy is not finite")
        records = self._lanes.records
        flat = chosen.reshape(-1, *chosen.shape[2:])
        records.action[...] = into_space(flat, self.action_space)
        failed = self._lanes.step()
        told = np.count_nonzero(records.flags[TOLD])
        return Step(
            self._tensor(records.observation, self._float),
            self._tensor(records.reward, self._float),
            self._tensor(records.flags[TERMINATED]),
            self._tensor(records.flags[TRUNCATED]),
            self._count(failed),
            self._tensor(records.flags[SUCCESS]) if told else None,
            next(iter(failed.values()), ""),
        )

    def close(self) -> None:
        """Give every environment back."""
        self._lanes.close()

    def _count(self, failed: dict[int, str]) -> Tensor | None:
        """Count the episodes that ended; return which failed, None if none did."""
        flags = self._lanes.records.flags
        if not np.count_nonzero(flags[:TOLD]):  # nearly always
            return None
        ended = flags[TERMINATED] | flags[TRUNCATED]
        if not failed:
            self.failures.count(ended, None, "")
            return None
        which = np.isin(np.arange(len(ended)), list(failed))
        first, why = next(iter(failed.items()))
        self.failures.count(ended, which, why, first)
        _say(f"{why}; such episodes are dropped")
        return self._tensor(which)


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
        kind = block_type(self.observation_space, self.action_space, envs.num_envs)
        self.records, self._envs = records_of(np.zeros((), kind)), envs

    def reset(self, seeds: Sequence[int]) -> None:
        """Start every lane anew.

        Vector environments that are not made of single ones have one seed for all lanes.
        """
        single = isinstance(self._envs, SyncVectorEnv | AsyncVectorEnv)
        with failures_named("reset"):
            seed: Any = list(seeds) if single else seeds[0]
            observation, _ = self._envs.reset(seed=seed)
        self._show(observation, 0.0)

    def step(self) -> dict[int, str]:
        """Take a step in every lane; none fails."""
        with failures_named("step"):
            observation, reward, terminated, truncated, info = self._envs.step(
                self.records.action.copy()
            )
        success = lanes_succeeded(info)
        told = success is not None
        for row, flags in enumerate((terminated, truncated, told, told and success)):
            self.records.flags[row] = flags
        self._show(observation, reward)
        return {}

    def close(self) -> None:
        """Close every environment."""
        self._envs.close()

    def _show(self, observation: np.ndarray, reward: np.ndarray | float) -> None:
        self.records.observation[...], self.records.reward[...] = observation, reward
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
