"""What a tensor-native world is: a handful of pure functions."""

from collections.abc import Mapping
from typing import Protocol, TypeVar, runtime_checkable

import gymnasium
import numpy as np
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

Params = TypeVar("Params")


@runtime_checkable
class Simulator(Protocol[Params]):
    """A world as pure functions of tensors over K tasks and E lanes, of any float dtype.

    The state is one tensor `[S, K, E]`, component first, so that each component is contiguous.
    Every lane is computed by itself, with operations that give the same bits whatever the batch
    (torch's atan2 and hypot do not), so results do not depend on how the K tasks are split.
    """

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """One lane's observation space, `[O]`."""
        ...

    @property
    def action_space(self) -> gymnasium.Space:
        """One lane's action space."""
        ...

    @property
    def observation_scale(self) -> np.ndarray:
        """Typical magnitude of each observation, `[O]`."""
        ...

    @property
    def reset_noise(self) -> int:
        """Uniform numbers a lane needs to start an episode (R)."""
        ...

    @property
    def step_noise(self) -> int:
        """Standard normal numbers a lane needs per step (W), 0 for a deterministic world."""
        ...

    def derive(self, values: Mapping[str, Float[Tensor, "K 1"]]) -> Params:
        """Compute once all that the step needs of the task parameters."""
        ...

    def reset(self, params: Params, noise: Float[Tensor, "K E R"]) -> Float[Tensor, "S K E"]:
        """Return first states from noise that is uniform on [0, 1)."""
        ...

    def step(
        self,
        params: Params,
        state: Float[Tensor, "S K E"],
        action: Shaped[Tensor, "K E *A"],
        noise: Float[Tensor, "K E W"] | None = None,
    ) -> tuple[Float[Tensor, "S K E"], Float[Tensor, "K E"], Bool[Tensor, "K E"]]:
        """Return the next state (a new tensor), the reward and whether the episode terminated."""
        ...

    def observe(self, params: Params, state: Float[Tensor, "S K E"]) -> Float[Tensor, "K E O"]:
        """Return what a lane shows of its state."""
        ...

    def gymnasium(self, values: Mapping[str, float], render_mode: str | None) -> gymnasium.Env:
        """Build Gymnasium's own environment with these parameter values."""
        ...
