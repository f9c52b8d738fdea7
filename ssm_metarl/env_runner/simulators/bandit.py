"""Bernoulli bandits, as a batched function and for Gymnasium."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssm_metarl.env_runner.simulators.instance import generator, generators

ARMS, PULLS = 5, 100


def arm_probabilities(rng: np.random.Generator, arms: int, best: float) -> np.ndarray:
    """Draw with which probability each arm pays, uniform on [0, best)."""
    return best * rng.random(arms)


def _spaces(arms: int) -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Discrete]:
    return gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32), gymnasium.spaces.Discrete(arms)


class BanditParams(NamedTuple):
    """What the step needs."""

    threshold: Tensor
    """`[K, A]`: an arm pays where a standard normal number is below it."""


class BernoulliBandit:
    """Arms that pay 1 or 0, with probabilities that are not seen (Duan et al., arXiv:1611.02779).

    An episode is all pulls, so that whoever learns from its return learns to explore; it ends by
    itself after the last one. Nothing is observed, a constant 0: what was pulled and what that
    brought are the trial inputs of a policy. State: how many pulls there were.
    """

    reset_noise = 0
    step_noise = 1
    observation_scale = np.ones(1)

    def __init__(self, arms: int = ARMS, pulls: int = PULLS) -> None:
        """Set the spaces."""
        self.arms, self.pulls = arms, pulls
        self.observation_space, self.action_space = _spaces(arms)

    def probabilities(self, values: Mapping[str, Float[Tensor, "K 1"]]) -> np.ndarray:
        """Return the probability of each arm, float64 `[K, A]`."""
        best = values["best"].flatten().tolist()
        each = zip(generators(values["instance"]), best, strict=True)
        return np.stack([arm_probabilities(rng, self.arms, limit) for rng, limit in each])

    def derive(self, values: Mapping[str, Float[Tensor, "K 1"]]) -> BanditParams:
        """Draw the arms."""
        probabilities = torch.from_numpy(self.probabilities(values))
        return BanditParams(torch.special.ndtri(probabilities).to(values["instance"]))

    def reset(self, params: BanditParams, noise: Float[Tensor, "K E 0"]) -> Float[Tensor, "1 K E"]:
        """Return that nothing was pulled."""
        return params.threshold.new_zeros(1, *noise.shape[:2])

    def step(
        self,
        params: BanditParams,
        state: Float[Tensor, "1 K E"],
        action: Int[Tensor, "K E"],
        noise: Float[Tensor, "K E 1"] | None = None,
    ) -> tuple[Float[Tensor, "1 K E"], Float[Tensor, "K E"], Bool[Tensor, "K E"]]:
        """Pull an arm; return the count, what it paid and whether that was the last pull."""
        assert noise is not None, "every step needs its noise"
        state = state + 1
        paid = noise.squeeze(-1) < params.threshold.gather(1, action)
        return state, paid.to(state.dtype), state[0] >= self.pulls

    def observe(
        self, params: BanditParams, state: Float[Tensor, "1 K E"]
    ) -> Float[Tensor, "K E 1"]:
        """Return zeros."""
        return torch.zeros_like(state).permute(1, 2, 0)

    def gymnasium(
        self, values: Mapping[str, float], render_mode: str | None = None
    ) -> gymnasium.Env:
        """Build the single environment of this instance."""
        return gymnasium.make(
            "BernoulliBandit-v0",
            arms=self.arms,
            pulls=self.pulls,
            max_episode_steps=self.pulls,
            instance=values["instance"],
            best=values["best"],
        )


class BernoulliBanditEnv(gymnasium.Env[np.ndarray, np.int64]):
    """The same world as a Gymnasium environment."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (declared so by Gymnasium)

    def __init__(
        self,
        arms: int = ARMS,
        pulls: int = PULLS,
        instance: int | float = 0,
        best: int | float = 1.0,
    ) -> None:
        """Draw the arms."""
        self.observation_space, self.action_space = _spaces(arms)
        self.pulls, self.state = pulls, np.zeros(1)
        self.probabilities = arm_probabilities(generator(instance), arms, best)
        self._threshold = torch.special.ndtri(torch.from_numpy(self.probabilities)).numpy()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Forget the pulls."""
        super().reset(seed=seed)
        self.state = np.zeros(1)
        return np.zeros(1, np.float32), {}

    def step(self, action: np.int64 | int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Pull an arm."""
        self.state = self.state + 1
        paid = self.np_random.standard_normal() < self._threshold[action]
        ended = bool(self.state[0] >= self.pulls)
        return np.zeros(1, np.float32), float(paid), ended, False, {}


gymnasium.register(
    id="BernoulliBandit-v0",
    entry_point=f"{__name__}:BernoulliBanditEnv",
    max_episode_steps=PULLS,
)
