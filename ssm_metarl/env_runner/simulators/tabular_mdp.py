"""Random tabular MDPs, as a batched function and for Gymnasium."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ssm_metarl.env_runner.simulators.instance import generator, generators

STATES, ACTIONS, HORIZON, EPISODES = 10, 5, 10, 25


class Tables(NamedTuple):
    """One MDP, or K of them."""

    reward: np.ndarray
    """Mean of the reward, `[S, A]`."""
    transition: np.ndarray
    """Probabilities of the next state, `[S, A, S]`."""


def draw_tables(rng: np.random.Generator) -> Tables:
    """Draw mean rewards from N(1, 1) and transitions from the flat Dirichlet distribution."""
    reward = rng.normal(1.0, 1.0, (STATES, ACTIONS))
    return Tables(reward, rng.dirichlet(np.ones(STATES), (STATES, ACTIONS)))


def _thresholds(transition: np.ndarray) -> Float[Tensor, "*batch thresholds"]:
    """Return up to which standard normal numbers the next states are 0, 0 to 1, 0 to 2, ..."""
    below = transition.cumsum(-1)[..., :-1].clip(0.0, 1.0)
    return torch.special.ndtri(torch.from_numpy(below))


def _spaces() -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Discrete]:
    seen = gymnasium.spaces.Box(0.0, 1.0, (STATES + 1,), np.float32)
    return seen, gymnasium.spaces.Discrete(ACTIONS)


class TabularMDPParams(NamedTuple):
    """What the step needs."""

    reward: Tensor
    """`[K, S A]` mean."""
    noise: Tensor
    """`[K, 1]` standard deviation of the reward."""
    threshold: Tensor
    """`[K, S A, S - 1]`"""


class TabularMDP:
    """The random MDPs of the RL^2 paper: 10 states, 5 actions (Duan et al., arXiv:1611.02779).

    Rewards are normal around a mean of the state and the action. Every 10 steps it goes back to
    state 0: that is an episode of the paper, and an episode here is all of those in a row, so that
    whoever learns from its return learns to explore. It ends by itself.

    What is seen: the state, one-hot, and 1 at the first of 10 steps. State: the number of the
    state, and how many steps there were.
    """

    reset_noise = 0
    step_noise = 2
    observation_scale = np.ones(STATES + 1)

    def __init__(self, episodes: int = EPISODES) -> None:
        """Set the spaces."""
        self.episodes = episodes
        self.observation_space, self.action_space = _spaces()

    def tables(self, values: Mapping[str, Float[Tensor, "K 1"]]) -> Tables:
        """Return the K MDPs, float64."""
        drawn = [draw_tables(rng) for rng in generators(values["instance"])]
        return Tables(*(np.stack(each) for each in zip(*drawn, strict=True)))

    def derive(self, values: Mapping[str, Float[Tensor, "K 1"]]) -> TabularMDPParams:
        """Draw the tables."""
        reward, transition = self.tables(values)
        noise = values["reward_noise"]
        return TabularMDPParams(
            torch.from_numpy(reward).flatten(1).to(noise),
            noise,
            _thresholds(transition).flatten(1, 2).to(noise),
        )

    def reset(
        self, params: TabularMDPParams, noise: Float[Tensor, "K E 0"]
    ) -> Float[Tensor, "2 K E"]:
        """Return state 0 for every lane."""
        return params.noise.new_zeros(2, *noise.shape[:2])

    def step(
        self,
        params: TabularMDPParams,
        state: Float[Tensor, "2 K E"],
        action: Int[Tensor, "K E"],
        noise: Float[Tensor, "K E 2"] | None = None,
    ) -> tuple[Float[Tensor, "2 K E"], Float[Tensor, "K E"], Bool[Tensor, "K E"]]:
        """Move on; return the next state, reward and whether that was the last step."""
        assert noise is not None, "every step needs its noise"
        blurred, chance = noise.unbind(-1)
        place, steps = state[0].long(), state[1] + 1
        row = place * ACTIONS + action  # of the tables
        reward = params.reward.gather(1, row) + params.noise * blurred
        below = params.threshold.gather(1, row.unsqueeze(-1).expand(*row.shape, STATES - 1))
        following = (chance.unsqueeze(-1) >= below).sum(-1).to(state.dtype)
        following = following.masked_fill(steps % HORIZON == 0, 0.0)
        return torch.stack([following, steps]), reward, steps >= HORIZON * self.episodes

    def observe(
        self, params: TabularMDPParams, state: Float[Tensor, "2 K E"]
    ) -> Float[Tensor, "K E 11"]:
        """Return the state, one-hot, and whether the next step is the first of 10."""
        place = torch.arange(STATES, device=state.device) == state[0].unsqueeze(-1)
        first = (state[1] % HORIZON == 0).unsqueeze(-1)
        return torch.cat([place, first], -1).to(state.dtype)

    def gymnasium(
        self, values: Mapping[str, float], render_mode: str | None = None
    ) -> gymnasium.Env:
        """Build the single environment of this instance."""
        return gymnasium.make(
            "TabularMDP-v0",
            episodes=self.episodes,
            max_episode_steps=HORIZON * self.episodes,
            instance=values["instance"],
            reward_noise=values["reward_noise"],
        )


class TabularMDPEnv(gymnasium.Env[np.ndarray, np.int64]):
    """The same world as a Gymnasium environment."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (declared so by Gymnasium)

    def __init__(
        self, episodes: int = EPISODES, instance: int | float = 0, reward_noise: int | float = 1.0
    ) -> None:
        """Draw the tables."""
        self.observation_space, self.action_space = _spaces()
        self.steps, self.reward_noise = HORIZON * episodes, reward_noise
        self.tables = draw_tables(generator(instance))
        self._threshold = _thresholds(self.tables.transition).numpy()
        self.state = np.zeros(2)

    @property
    def _seen(self) -> np.ndarray:
        seen = np.zeros(STATES + 1, np.float32)
        seen[int(self.state[0])], seen[-1] = 1.0, self.state[1] % HORIZON == 0
        return seen

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return to state 0."""
        super().reset(seed=seed)
        self.state = np.zeros(2)
        return self._seen, {}

    def step(self, action: np.int64 | int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move on."""
        place, steps = int(self.state[0]), self.state[1] + 1
        blurred, chance = self.np_random.standard_normal(2)
        reward = self.tables.reward[place, action] + self.reward_noise * blurred
        following = np.searchsorted(self._threshold[place, action], chance, side="right")
        self.state = np.array([0 if steps % HORIZON == 0 else following, steps], dtype=np.float64)
        return self._seen, float(reward), bool(steps >= self.steps), False, {}


gymnasium.register(
    id="TabularMDP-v0",
    entry_point=f"{__name__}:TabularMDPEnv",
    max_episode_steps=HORIZON * EPISODES,
)
