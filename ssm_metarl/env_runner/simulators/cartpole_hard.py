"""CartPole with wind, a noisy force and flipped observations, around the plain CartPole."""

from collections.abc import Mapping
from typing import Any, NamedTuple, SupportsFloat

import gymnasium
import numpy as np
import torch
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssm_metarl.env_runner.simulators.cartpole import (
    CartPole,
    CartPoleParams,
    unswapped_cartpole,
    with_swap,
)


class CartPoleHardParams(NamedTuple):
    """What the step and the observations need."""

    plain: CartPoleParams
    """Those of the plain CartPole, with the wind in each push."""
    gust: Tensor
    """`[K, 1]` standard deviation of the force noise over the total mass, m/s^2."""
    sight: Tensor
    """`[4, K, 1]` sign of each observation: 1, or -1 where it is flipped."""


class CartPoleHard:
    """The plain CartPole under wind and a noisy force, seen through flipped observations.

    Wind is a constant horizontal force on the cart; the force noise is normal and drawn anew for
    every lane and step. A flip reverses what is seen of the cart (position and its velocity) or
    of the pole (angle and its velocity), not how they move. State and reward are CartPole's.
    """

    reset_noise = CartPole.reset_noise
    step_noise = 1
    observation_scale = CartPole.observation_scale  # flips change no magnitude

    def __init__(self) -> None:
        """Wrap a plain CartPole, whose spaces are symmetric and hence also those of flips."""
        self._plain = CartPole()
        self.observation_space = self._plain.observation_space
        self.action_space = self._plain.action_space

    def derive(self, values: Mapping[str, Float[Tensor, "K 1"]]) -> CartPoleHardParams:
        """Compute once all that the step needs of the task parameters."""
        plain = self._plain.derive(values)
        mass = values["cart_mass"] + values["pole_mass"]
        cart, pole = values["flip_position"], values["flip_angle"]
        return CartPoleHardParams(
            plain=plain._replace(push=plain.push + values["wind"] / mass),
            gust=values["force_noise"] / mass,
            sight=torch.stack((cart, cart, pole, pole)),
        )

    def reset(
        self, params: CartPoleHardParams, noise: Float[Tensor, "K E 4"]
    ) -> Float[Tensor, "4 K E"]:
        """Return the plain CartPole's first states."""
        return self._plain.reset(params.plain, noise)

    def step(
        self,
        params: CartPoleHardParams,
        state: Float[Tensor, "4 K E"],
        action: Int[Tensor, "K E"],
        noise: Float[Tensor, "K E 1"] | None = None,
    ) -> tuple[Float[Tensor, "4 K E"], Float[Tensor, "K E"], Bool[Tensor, "K E"]]:
        """Advance 0.02 s; return the next state, reward and termination."""
        assert noise is not None, "every step needs its noise"
        push = params.plain.push.gather(1, action)
        push = torch.addcmul(push, noise.squeeze(-1), params.gust)
        return self._plain.advance(params.plain, state, push)

    def observe(
        self, params: CartPoleHardParams, state: Float[Tensor, "4 K E"]
    ) -> Float[Tensor, "K E 4"]:
        """Return the whole state, flipped."""
        return (state * params.sight).permute(1, 2, 0)

    def gymnasium(
        self, values: Mapping[str, float], render_mode: str | None = None
    ) -> gymnasium.Env:
        """Build Gymnasium's CartPole-v1 with these parameter values; what is hard are wrappers."""
        blown = DisturbedCartPole(unswapped_cartpole(values, render_mode), values)
        cart, pole = values["flip_position"], values["flip_angle"]
        sight = np.array([cart, cart, pole, pole], dtype=np.float32)
        return gymnasium.wrappers.TransformObservation(
            with_swap(blown, values), lambda observation: observation * sight, None
        )


class DisturbedCartPole(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Gymnasium's CartPole under wind and a normal force drawn from its own generator."""

    def __init__(self, env: gymnasium.Env, values: Mapping[str, float]) -> None:
        """Take force, wind and the standard deviation of the noise (N) from parameter values."""
        gymnasium.utils.RecordConstructorArgs.__init__(self, values=values)
        gymnasium.Wrapper.__init__(self, env)
        assert isinstance(env.unwrapped, CartPoleEnv)
        self._world = env.unwrapped
        self._force, self._wind = values["force"], values["wind"]
        self._noise = values["force_noise"]

    def step(
        self, action: int | np.integer
    ) -> tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]:
        """Push to one side or the other, on top of wind and noise."""
        blow = self._wind + self._noise * float(self.np_random.standard_normal())
        # The world takes a magnitude, and negates it to push left.
        self._world.force_mag = self._force + blow if action == 1 else self._force - blow
        return self.env.step(action)
