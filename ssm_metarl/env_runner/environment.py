"""What an environment over `[K, E]` lanes is, and the one that runs a tensor-native world."""

from typing import NamedTuple, Protocol, runtime_checkable

import gymnasium
import numpy as np
import torch
from numpy.random import SeedSequence
from numpy.typing import DTypeLike
from torch import Tensor

from ssm_metarl.env_runner.tasks import Tasks


class Step(NamedTuple):
    """What one step of all lanes returns."""

    observation: Tensor
    """`[K, E, O]` float."""
    reward: Tensor
    """`[K, E]` float."""
    terminated: Tensor
    """`[K, E]` bool: the episode ended by itself."""
    truncated: Tensor
    """`[K, E]` bool: the time limit was reached (it may have terminated on the same step)."""
    failed: Tensor | None = None
    """`[K, E]` bool: the environment broke down, the episode is void; None if it did nowhere."""
    success: Tensor | None = None
    """`[K, E]` bool: its info said that the task is solved; None where it says nothing of it."""
    why: str = ""
    """Why episodes failed, to begin a sentence with; of one of them, where there are several."""


def lane_tensor(
    values: np.ndarray, kind: DTypeLike = np.bool_, *, tasks: int, device: torch.device
) -> Tensor:
    """Return an array of all lanes ``[K E, ...]`` as a tensor ``[K, E, ...]``, copied."""
    grid = values.astype(kind).reshape(tasks, -1, *values.shape[1:])
    return torch.from_numpy(grid).to(device)


@runtime_checkable
class Environment(Protocol):
    """K tasks with E lanes each, stepped together.

    Resets follow Gymnasium's `AutoresetMode.NEXT_STEP`: a step that ends an episode returns its
    true last observation; the next step of that lane ignores the action and returns the first
    observation of a new episode with reward 0 and neither flag set. Without autoreset a lane that
    has ended stays dead until `reset`, and what it returns has no meaning.
    """

    tasks: Tasks
    lanes: int
    observation_space: gymnasium.spaces.Box
    action_space: gymnasium.Space
    max_episode_steps: int
    device: torch.device

    def reset(self, seed: SeedSequence) -> Tensor:
        """Start every lane anew; return first observations `[K, E, O]`."""
        ...

    def step(self, action: Tensor) -> Step:
        """Advance every lane by actions `[K, E]` (int64, discrete) or `[K, E, A]` (float, box)."""
        ...

    def close(self) -> None:
        """Free what the environment holds."""
        ...
