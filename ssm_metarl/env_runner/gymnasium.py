"""Any Gymnasium environment behind the same `[K, E]` interface."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.spaces import check_action_space, into_space
from ssm_metarl.env_runner.environment import Step
from ssm_metarl.env_runner.observations import float_box, with_flat_observations
from ssm_metarl.env_runner.pool import CheckedReward
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.env_runner.success import lanes_succeeded
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.errors import DivergenceError, EnvironmentFailure, SsmMetaRLError, UserError

SEEDS = 2**31
"""Reset seeds are below this: some environments keep them in 32 bits with a sign."""

MAX_REWARD = 1e15  # the square of a long episode's return still fits float32


class GymnasiumEnvironment:
    """An `Environment` over Gymnasium's vector API; always with autoreset.

    For worlds that have no tensor-native version. Errors that the environment raises come out as
    `EnvironmentFailure`, so that they can be told from ours.
    """

    def __init__(
        self,
        envs: VectorEnv,
        tasks: Tasks,
        *,
        max_episode_steps: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Take over a vector environment with K x E lanes, those of a task next to each other.

        Args:
            envs: With autoreset on the next step, and flat observations.
            tasks: The K tasks.
            max_episode_steps: Steps after which it truncates an episode.
            device: Of the tensors handed out.
            dtype: Of observations and rewards.

        Raises:
            UserError: An action space or a way of resetting that is not supported.
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
        self.tasks, self.lanes = tasks, envs.num_envs // len(tasks)
        self.max_episode_steps = max_episode_steps
        self.device, self.dtype = torch.device(device), dtype
        self._envs = envs
        self.observation_space = float_box(envs.single_observation_space)
        self.action_space = envs.single_action_space
        check_action_space(self.action_space)

    def reset(self, seed: SeedSequence) -> Tensor:
        """Start every lane anew, seeded by (seed, task identity, lane); return `[K, E, O]`.

        Vector environments that are not made of single ones have one seed for all lanes.
        """
        seeds: Any = lane_seeds(seed, self.tasks.index, self.lanes)
        if not isinstance(self._envs, SyncVectorEnv | AsyncVectorEnv):
            seeds = seeds[0]
        with failures_named("reset"):
            observation, _ = self._envs.reset(seed=seeds)
        return self._finite("an observation", observation)

    def step(self, action: Tensor) -> Step:
        """Advance every lane by actions `[K, E]` or `[K, E, A]`, put into its space.

        Raises:
            EnvironmentFailure: It raised an error, or gave a number that is too large or not one.
            DivergenceError: An action is not finite.
        """
        if not torch.isfinite(action).all():
            raise DivergenceError("an action of the policy is not finite")
        actions = into_space(action.flatten(0, 1).cpu().numpy(), self.action_space)
        with failures_named("step"):
            observation, reward, terminated, truncated, info = self._envs.step(actions)
        rewards = self._finite("a reward", reward)
        largest = rewards.abs().flatten().max(0)
        if largest.values > MAX_REWARD:
            raise EnvironmentFailure(
                f"the environment gave a reward of {largest.values.item():.3g} in size"
                f"{self._in_task(largest.indices)}; it must be at most {MAX_REWARD:g}"
            )
        success = lanes_succeeded(info)
        return Step(
            self._finite("an observation", observation),
            rewards,
            self._lanes(terminated),
            self._lanes(truncated),
            success=None if success is None else self._lanes(success),
        )

    def close(self) -> None:
        """Close every environment."""
        self._envs.close()

    def _finite(self, name: str, values: np.ndarray) -> Tensor:
        numbers = self._lanes(values).to(self.dtype)
        wrong = ~torch.isfinite(numbers).reshape(len(values), -1).all(1)
        if wrong.any():
            where = self._in_task(wrong.int().argmax())
            raise EnvironmentFailure(f"the environment gave {name} that is not finite{where}")
        return numbers

    def _in_task(self, lane: Tensor) -> str:
        """Return the task of a lane in words, to end a sentence with."""
        task = int(lane) // self.lanes
        return f" in the task {self.tasks.describe(task)}" if self.tasks.values else ""

    def _lanes(self, values: np.ndarray) -> Tensor:
        # A copy: Gymnasium reuses its arrays.
        return torch.tensor(values, device=self.device).unflatten(0, (len(self.tasks), self.lanes))


def lane_seeds(seed: SeedSequence, index: np.ndarray, lanes: int) -> list[int]:
    """Return the reset seed of each lane of the tasks ``index``, those of a task side by side."""
    return [
        int(substream(seed, int(task), lane).generate_state(1)[0]) % SEEDS
        for task in index
        for lane in range(lanes)
    ]


def vector_of(
    makers: Sequence[Callable[[], gymnasium.Env]], lanes: int, max_episode_steps: int
) -> SyncVectorEnv:
    """Build a number of lanes of each environment, stepped one after another.

    Args:
        makers: One constructor of an environment per task.
        lanes: E, lanes per task.
        max_episode_steps: Steps after which an episode is truncated.

    Raises:
        UserError: An observation space that is not supported.
    """
    limited = [_limited(make, max_episode_steps) for make in makers for _ in range(lanes)]
    with failures_named("being built"):
        return SyncVectorEnv(limited, autoreset_mode=AutoresetMode.NEXT_STEP)


def _limited(make: Callable[[], gymnasium.Env], steps: int) -> Callable[[], gymnasium.Env]:
    def limited() -> gymnasium.Env:
        flat = with_flat_observations(make())
        return CheckedReward(gymnasium.wrappers.TimeLimit(flat, steps))

    return limited


@contextlib.contextmanager
def failures_named(what: str) -> Iterator[None]:
    """Tell what the environment raises from what we do."""
    try:
        yield
    except SsmMetaRLError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise EnvironmentFailure(
            f"the environment failed in {what}: {type(error).__name__}: {reason}"
        ) from error
