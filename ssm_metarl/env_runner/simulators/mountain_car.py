"""MountainCarContinuous-v0 as a batched pure function, with task parameters."""

from collections.abc import Mapping
from typing import NamedTuple

import gymnasium
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

POSITION_LIMITS = (-1.2, 0.6)
SPEED_LIMIT = 0.07
GRAVITY = 0.0025


class MountainCarParams(NamedTuple):
    """What the step needs, each `[K, 1]`."""

    power: Tensor
    """Change of velocity per unit of action, signed."""
    goal: Tensor
    """Position at which the episode ends."""


class MountainCarContinuous:
    """A weak car in a valley, as in `gymnasium/envs/classic_control/continuous_mountain_car.py`.

    State: position and velocity, in Gymnasium's own units (per step). Action: one number in
    [-1, 1]. Reward 100 at the goal, minus 0.1 action^2 every step.
    """

    reset_noise = 1
    step_noise = 0
    observation_scale = np.array([0.5, 0.03])

    def __init__(self) -> None:
        """Set the spaces to Gymnasium's."""
        low = np.array([POSITION_LIMITS[0], -SPEED_LIMIT], dtype=np.float32)
        high = np.array([POSITION_LIMITS[1], SPEED_LIMIT], dtype=np.float32)
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def derive(self, values: Mapping[str, Float[Tensor, "K 1"]]) -> MountainCarParams:
        """Compute once all that the step needs of the task parameters."""
        return MountainCarParams(values["power"] * values["action_sign"], values["goal_position"])

    def reset(
        self, params: MountainCarParams, noise: Float[Tensor, "K E 1"]
    ) -> Float[Tensor, "2 K E"]:
        """Return positions uniform on [-0.6, -0.4), at rest, from noise uniform on [0, 1)."""
        position = noise.squeeze(-1) * 0.2 - 0.6
        return torch.stack((position, torch.zeros_like(position)))

    def step(
        self,
        params: MountainCarParams,
        state: Float[Tensor, "2 K E"],
        action: Float[Tensor, "K E 1"],
        noise: Float[Tensor, "K E 0"] | None = None,
    ) -> tuple[Float[Tensor, "2 K E"], Float[Tensor, "K E"], Bool[Tensor, "K E"]]:
        """Advance one step; return the next state, reward and whether the goal was reached."""
        position, velocity = state.unbind(0)
        force = action.squeeze(-1).clamp(-1.0, 1.0)
        velocity = velocity + force * params.power - GRAVITY * (3 * position).cos()
        velocity = velocity.clamp(-SPEED_LIMIT, SPEED_LIMIT)
        moved = position + velocity
        velocity = velocity.masked_fill(moved <= POSITION_LIMITS[0], 0.0)  # the wall on the left
        position = moved.clamp(*POSITION_LIMITS)
        terminated = (position >= params.goal) & (velocity >= 0.0)
        reward = 100.0 * terminated.to(state.dtype) - 0.1 * force.square()
        # Gymnasium keeps this state in single precision.
        state = torch.stack((position, velocity)).float().to(state.dtype)
        return state, reward, terminated

    def observe(
        self, params: MountainCarParams, state: Float[Tensor, "2 K E"]
    ) -> Float[Tensor, "K E 2"]:
        """Return the whole state (a view)."""
        return state.permute(1, 2, 0)

    def gymnasium(
        self, values: Mapping[str, float], render_mode: str | None = None
    ) -> gymnasium.Env:
        """Build Gymnasium's MountainCarContinuous-v0 with these values; the sign is a wrapper."""
        env = gymnasium.make("MountainCarContinuous-v0", render_mode=render_mode)
        for name in ("power", "goal_position"):
            setattr(env.unwrapped, name, values[name])
        sign = values["action_sign"]
        return gymnasium.wrappers.TransformAction(
            env, lambda action: sign * action, env.action_space
        )
