"""Any Gymnasium environment behind the same `[K, E]` interface."""

from collections.abc import Callable, Sequence

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.env_runner.environment import Step
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.errors import UserError


def with_flat_observations(env: gymnasium.Env) -> gymnasium.Env:
    """Flatten what the environment shows to one axis (discrete observations to one-hot).

    Raises:
        UserError: The observation cannot be flattened to a fixed number of numbers.
    """
    space = env.observation_space
    if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1:
        return env
    if not space.is_np_flattenable:
        raise UserError(f"observation space {space} is not supported; valid: one of fixed size")
    return gymnasium.wrappers.FlattenObservation(env)


def flat_observation_space(env: gymnasium.Env) -> gymnasium.spaces.Box:
    """Return the float32 `[O]` box of what `with_flat_observations(env)` shows."""
    space = with_flat_observations(env).observation_space
    assert isinstance(space, gymnasium.spaces.Box)
    low, high = space.low.astype(np.float32), space.high.astype(np.float32)
    return gymnasium.spaces.Box(low, high, dtype=np.float32)


def checked_action_space(space: gymnasium.Space) -> gymnasium.Space:
    """Return the action space if an agent can act in it.

    Raises:
        UserError: It is neither Discrete, nor a flat Box.
    """
    discrete = isinstance(space, gymnasium.spaces.Discrete)
    if not discrete and not (isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1):
        raise UserError(f"action space {space} is not supported; valid: Discrete, Box of one axis")
    return space


class GymnasiumEnvironment:
    """An `Environment` over Gymnasium's vector API; always with autoreset.

    One Gymnasium environment per lane, stepped one after another: for worlds that have no
    tensor-native version.
    """

    def __init__(
        self,
        makers: Sequence[Callable[[], gymnasium.Env]],
        tasks: Tasks,
        lanes: int,
        *,
        max_episode_steps: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Build K x E environments.

        Args:
            makers: One constructor of an environment per task.
            tasks: The K tasks.
            lanes: E, lanes per task.
            max_episode_steps: Steps after which an episode is truncated.
            device: Of the tensors handed out.
            dtype: Of observations and rewards.

        Raises:
            UserError: An observation or action space that is not supported.
        """
        self.tasks, self.lanes, self.max_episode_steps = tasks, lanes, max_episode_steps
        self.device, self.dtype = torch.device(device), dtype
        limited = [_limited(make, max_episode_steps) for make in makers for _ in range(lanes)]
        self._envs = SyncVectorEnv(limited, autoreset_mode=AutoresetMode.NEXT_STEP)
        self.observation_space = flat_observation_space(self._envs.envs[0])
        self.action_space = checked_action_space(self._envs.single_action_space)

    def reset(self, seed: SeedSequence) -> Tensor:
        """Start every lane anew, seeded by (seed, task identity, lane); return `[K, E, O]`."""
        seeds: list[int | None] = [
            int(substream(seed, int(index), lane).generate_state(1)[0])
            for index in self.tasks.index
            for lane in range(self.lanes)
        ]
        return self._observation(self._envs.reset(seed=seeds)[0])

    def step(self, action: Tensor) -> Step:
        """Advance every lane by actions `[K, E]` or `[K, E, A]`, which are clipped to a box."""
        actions = action.flatten(0, 1).cpu().numpy()
        space = self.action_space
        if isinstance(space, gymnasium.spaces.Box):
            actions = np.clip(actions, space.low, space.high).astype(space.dtype)
        elif isinstance(space, gymnasium.spaces.Discrete):
            actions = actions + space.start
        observation, reward, terminated, truncated, _ = self._envs.step(actions)
        return Step(
            self._observation(observation),
            self._lanes(reward).to(self.dtype),
            self._lanes(terminated),
            self._lanes(truncated),
        )

    def close(self) -> None:
        """Close every environment."""
        self._envs.close()

    def _observation(self, observation: np.ndarray) -> Tensor:
        return self._lanes(observation).to(self.dtype)

    def _lanes(self, values: np.ndarray) -> Tensor:
        # A copy: Gymnasium reuses its arrays.
        return torch.tensor(values, device=self.device).unflatten(0, (len(self.tasks), self.lanes))


def _limited(make: Callable[[], gymnasium.Env], steps: int) -> Callable[[], gymnasium.Env]:
    return lambda: gymnasium.wrappers.TimeLimit(with_flat_observations(make()), steps)
