"""Pendulum-v1 as a batched pure function, with task parameters and an optional reversed motor."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import gymnasium
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

TIME_STEP = 0.05  # s
SPEED_LIMIT = 8.0  # rad/s
ACTION_LIMIT = 2.0
RESET_HIGH = (math.pi, 1.0)  # rad, rad/s


class PendulumParams(NamedTuple):
    """What the step needs of g (gravity), m (mass), l (length) and the motor, each `[K, 1]`."""

    fall: Tensor
    """3 g / (2 l), what gravity does to a level rod, rad/s^2."""
    motor: Tensor
    """Torque per unit of action, N m, signed."""
    response: Tensor
    """3 / (m l^2), angular acceleration per unit of torque."""
    reset_high: Tensor
    """`[2, 1, 1]` largest first state."""


class Pendulum:
    """Swing up a rod and hold it, as in `gymnasium/envs/classic_control/pendulum.py`.

    State: angle (rad, 0 is upright), its velocity (rad/s). Action: one number in [-2, 2]; full
    action is the task's `max_torque`, so that every task uses the whole action range. The reward
    of a step is minus the cost of the state it started from. Never terminates.
    """

    reset_noise = 2
    step_noise = 0
    observation_scale = np.array([1.0, 1.0, 4.0])

    def __init__(self) -> None:
        """Set the spaces to Gymnasium's."""
        high = np.array([1.0, 1.0, SPEED_LIMIT], dtype=np.float32)
        self.observation_space = gymnasium.spaces.Box(-high, high, dtype=np.float32)
        self.action_space = gymnasium.spaces.Box(-ACTION_LIMIT, ACTION_LIMIT, (1,), np.float32)

    def derive(self, values: Mapping[str, Float[Tensor, "K 1"]]) -> PendulumParams:
        """Compute once all that the step needs of the task parameters."""
        length = values["length"]
        high = torch.tensor(RESET_HIGH, dtype=length.dtype, device=length.device)
        return PendulumParams(
            fall=1.5 * values["gravity"] / length,
            motor=values["torque_sign"] * values["max_torque"] / ACTION_LIMIT,
            response=3.0 / (values["mass"] * length.square()),
            reset_high=high.view(2, 1, 1),
        )

    def reset(
        self, params: PendulumParams, noise: Float[Tensor, "K E 2"]
    ) -> Float[Tensor, "2 K E"]:
        """Return any angle and a speed in [-1, 1), from noise uniform on [0, 1)."""
        return (2 * noise.permute(2, 0, 1) - 1) * params.reset_high

    def step(
        self,
        params: PendulumParams,
        state: Float[Tensor, "2 K E"],
        action: Float[Tensor, "K E 1"],
        noise: Float[Tensor, "K E 0"] | None = None,
    ) -> tuple[Float[Tensor, "2 K E"], Float[Tensor, "K E"], Bool[Tensor, "K E"]]:
        """Advance 0.05 s (semi-implicit Euler); return the next state, reward, no termination."""
        angle, speed = state.unbind(0)
        torque = action.squeeze(-1).clamp(-ACTION_LIMIT, ACTION_LIMIT) * params.motor
        lean = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
        cost = lean.square() + 0.1 * speed.square() + 0.001 * torque.square()
        acceleration = angle.sin() * params.fall + torque * params.response
        speed = torch.add(speed, acceleration, alpha=TIME_STEP).clamp(-SPEED_LIMIT, SPEED_LIMIT)
        angle = torch.add(angle, speed, alpha=TIME_STEP)
        never = torch.zeros_like(angle, dtype=torch.bool)
        return torch.stack((angle, speed)), -cost, never

    def observe(
        self, params: PendulumParams, state: Float[Tensor, "2 K E"]
    ) -> Float[Tensor, "K E 3"]:
        """Return cosine and sine of the angle, and its velocity."""
        angle, speed = state.unbind(0)
        return torch.stack((angle.cos(), angle.sin(), speed), dim=-1)

    def gymnasium(
        self, values: Mapping[str, float], render_mode: str | None = None
    ) -> gymnasium.Env:
        """Build Gymnasium's Pendulum-v1 with these parameter values; the motor is a wrapper."""
        env = gymnasium.make("Pendulum-v1", g=values["gravity"], render_mode=render_mode)
        world = env.unwrapped
        for name, value in (("m", "mass"), ("l", "length"), ("max_torque", "max_torque")):
            setattr(world, name, values[value])
        motor = values["torque_sign"] * values["max_torque"] / ACTION_LIMIT
        return gymnasium.wrappers.TransformAction(
            env, lambda action: motor * action, env.action_space
        )
