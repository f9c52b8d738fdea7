"""Acrobot-v1 as a batched pure function, with task parameters and an optional reversed motor."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import gymnasium
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

TIME_STEP = 0.2  # s
SPEED_LIMITS = (4 * math.pi, 9 * math.pi)  # rad/s
GRAVITY = 9.8  # m/s^2
INERTIA = 1.0  # kg m^2, of each link; Gymnasium's, whatever mass and length are


class AcrobotParams(NamedTuple):
    """What the equations need of the links (mass m, length l, centre of mass c), `[K, 1]`."""

    torque: Tensor
    """`[K, 3]` torque of each action, N m."""
    inertia: Tensor
    """m1 c1^2 + m2 (l1^2 + c2^2) + 2 I, of both links about the shoulder when at right angles."""
    forearm: Tensor
    """m2 c2^2 + I, of the second link about the elbow."""
    coupling: Tensor
    """m2 l1 c2."""
    shoulder_weight: Tensor
    """(m1 c1 + m2 l1) g."""
    elbow_weight: Tensor
    """m2 c2 g."""


class Acrobot:
    """Swing two links up with a motor at the elbow, `gymnasium/envs/classic_control/acrobot.py`.

    State: angle of the first link from hanging, angle of the second relative to it (rad), and their
    velocities. Reward -1 per step, 0 for the step that reaches the height, which terminates.
    The equations are those of Sutton and Barto's book; the centre of mass is the middle of a link.
    """

    reset_noise = 4
    step_noise = 0
    observation_scale = np.array([1.0, 1.0, 1.0, 1.0, 3.0, 5.0])

    def __init__(self) -> None:
        """Set the spaces to Gymnasium's."""
        high = np.array([1.0, 1.0, 1.0, 1.0, *SPEED_LIMITS], dtype=np.float32)
        self.observation_space = gymnasium.spaces.Box(-high, high, dtype=np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)

    def derive(self, values: Mapping[str, Float[Tensor, "K 1"]]) -> AcrobotParams:
        """Compute once all that the step needs of the task parameters."""
        m1, m2, l1 = values["link_mass_1"], values["link_mass_2"], values["link_length_1"]
        c1, c2 = l1 / 2, values["link_length_2"] / 2
        torque = values["torque"] * values["torque_sign"]
        return AcrobotParams(
            torque=torch.cat((-torque, torch.zeros_like(torque), torque), dim=-1),
            inertia=m1 * c1.square() + m2 * (l1.square() + c2.square()) + 2 * INERTIA,
            forearm=m2 * c2.square() + INERTIA,
            coupling=m2 * l1 * c2,
            shoulder_weight=(m1 * c1 + m2 * l1) * GRAVITY,
            elbow_weight=m2 * c2 * GRAVITY,
        )

    def reset(self, params: AcrobotParams, noise: Float[Tensor, "K E 4"]) -> Float[Tensor, "4 K E"]:
        """Return states uniform on [-0.1, 0.1) from noise uniform on [0, 1)."""
        return (noise * 0.2 - 0.1).permute(2, 0, 1)

    def step(
        self,
        params: AcrobotParams,
        state: Float[Tensor, "4 K E"],
        action: Int[Tensor, "K E"],
        noise: Float[Tensor, "K E 0"] | None = None,
    ) -> tuple[Float[Tensor, "4 K E"], Float[Tensor, "K E"], Bool[Tensor, "K E"]]:
        """Advance 0.2 s (one Runge-Kutta 4 step); return the next state, reward, termination."""
        torque = params.torque.gather(1, action)
        k1 = _motion(params, state, torque)
        k2 = _motion(params, torch.add(state, k1, alpha=TIME_STEP / 2), torque)
        k3 = _motion(params, torch.add(state, k2, alpha=TIME_STEP / 2), torque)
        k4 = _motion(params, torch.add(state, k3, alpha=TIME_STEP), torque)
        state = torch.add(state, k1 + 2 * (k2 + k3) + k4, alpha=TIME_STEP / 6)
        angles = torch.remainder(state[:2] + math.pi, 2 * math.pi) - math.pi
        first, second = (
            speed.clamp(-limit, limit) for speed, limit in zip(state[2:], SPEED_LIMITS, strict=True)
        )
        upper, lower = angles.unbind(0)
        terminated = -upper.cos() - (upper + lower).cos() > 1.0
        reward = terminated.to(state.dtype) - 1.0
        return torch.stack((upper, lower, first, second)), reward, terminated

    def observe(
        self, params: AcrobotParams, state: Float[Tensor, "4 K E"]
    ) -> Float[Tensor, "K E 6"]:
        """Return cosine and sine of both angles, and both velocities."""
        cos, sin = state[:2].cos(), state[:2].sin()
        return torch.stack((cos[0], sin[0], cos[1], sin[1], state[2], state[3]), dim=-1)

    def gymnasium(
        self, values: Mapping[str, float], render_mode: str | None = None
    ) -> gymnasium.Env:
        """Build Gymnasium's Acrobot-v1 with these parameter values."""
        env = gymnasium.make("Acrobot-v1", render_mode=render_mode)
        torque = values["torque"] * values["torque_sign"]
        settings = {
            "LINK_LENGTH_1": values["link_length_1"],
            "LINK_LENGTH_2": values["link_length_2"],
            "LINK_COM_POS_1": values["link_length_1"] / 2,
            "LINK_COM_POS_2": values["link_length_2"] / 2,
            "LINK_MASS_1": values["link_mass_1"],
            "LINK_MASS_2": values["link_mass_2"],
            "AVAIL_TORQUE": [-torque, 0.0, torque],
        }
        for name, value in settings.items():
            setattr(env.unwrapped, name, value)
        return env


def _motion(
    params: AcrobotParams, state: Float[Tensor, "4 K E"], torque: Float[Tensor, "K E"]
) -> Float[Tensor, "4 K E"]:
    """Return the time derivative of the state."""
    upper, lower, spin1, spin2 = state.unbind(0)
    swing = params.coupling * lower.sin()
    bend = params.coupling * lower.cos()
    d1 = params.inertia + 2 * bend
    d2 = params.forearm + bend
    phi2 = params.elbow_weight * (upper + lower).sin()
    phi1 = params.shoulder_weight * upper.sin() + phi2 - swing * spin2 * (spin2 + 2 * spin1)
    share = d2 / d1
    push = torque + share * phi1 - swing * spin1.square() - phi2
    acceleration2 = push / (params.forearm - d2 * share)
    acceleration1 = -(d2 * acceleration2 + phi1) / d1
    return torch.stack((spin1, spin2, acceleration1, acceleration2))
