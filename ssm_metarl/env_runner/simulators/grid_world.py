"""The grid of the VariBAD paper with its hidden goal, as a batched function and for Gymnasium."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

SIDE, EPISODE_STEPS = 5, 15
GOALS = tuple((x, y) for x in range(SIDE) for y in range(SIDE) if x > 1 or y > 1)
"""Cells of the goal: all but the start, (0, 0), and those next to it, the diagonal included."""
MOVES = ((0, 1), (1, 0), (0, -1), (-1, 0), (0, 0))
FOUND, ELSEWHERE = 1.0, -0.1  # rewards
CELL = 48  # pixels


def _spaces() -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Discrete]:
    observation = gymnasium.spaces.Box(0.0, SIDE - 1.0, (2,), np.float32)
    return observation, gymnasium.spaces.Discrete(len(MOVES))


class GridWorldParams(NamedTuple):
    """What the step needs."""

    goal: Tensor
    """`[2, K, 1]` cell."""
    moves: Tensor
    """`[2, 5]` of each action."""


class GridWorld:
    """Search a goal on 5 x 5 cells, and stay there (Zintgraf et al. 2020, arXiv:1910.08348).

    An episode starts at (0, 0) and ends by itself after 15 steps: up, right, down, left, stay; at
    an edge a step does nothing. A step that leads to the goal, or stays there, brings 1, any other
    -0.1. State: x, y and how many steps there were.
    """

    reset_noise = 0
    step_noise = 0
    observation_scale = np.full(2, SIDE - 1.0)

    def __init__(self) -> None:
        """Set the spaces."""
        self.observation_space, self.action_space = _spaces()

    def derive(self, values: Mapping[str, Float[Tensor, "K 1"]]) -> GridWorldParams:
        """Look up the goal."""
        number = values["goal"]
        cells = torch.tensor(GOALS).to(number)[number.long().squeeze(1)]
        return GridWorldParams(cells.T.unsqueeze(-1), torch.tensor(MOVES).T.to(number))

    def reset(
        self, params: GridWorldParams, noise: Float[Tensor, "K E 0"]
    ) -> Float[Tensor, "3 K E"]:
        """Return the corner for every lane."""
        return params.goal.new_zeros(3, *noise.shape[:2])

    def step(
        self,
        params: GridWorldParams,
        state: Float[Tensor, "3 K E"],
        action: Int[Tensor, "K E"],
        noise: Float[Tensor, "K E 0"] | None = None,
    ) -> tuple[Float[Tensor, "3 K E"], Float[Tensor, "K E"], Bool[Tensor, "K E"]]:
        """Move; return the next state, reward and whether that was the last step."""
        place = (state[:2] + params.moves[:, action]).clamp(0, SIDE - 1)
        steps = state[2:] + 1
        found = (place == params.goal).all(0)
        reward = ELSEWHERE + (FOUND - ELSEWHERE) * found.to(state.dtype)
        return torch.cat([place, steps]), reward, steps[0] >= EPISODE_STEPS

    def observe(
        self, params: GridWorldParams, state: Float[Tensor, "3 K E"]
    ) -> Float[Tensor, "K E 2"]:
        """Return the cell (a view)."""
        return state[:2].permute(1, 2, 0)

    def gymnasium(
        self, values: Mapping[str, float], render_mode: str | None = None
    ) -> gymnasium.Env:
        """Build the single environment with this goal."""
        return gymnasium.make("GridWorld-v0", goal=values["goal"], render_mode=render_mode)


class GridWorldEnv(gymnasium.Env[np.ndarray, np.int64]):
    """The same world as a Gymnasium environment."""

    metadata: dict[str, Any] = {  # noqa: RUF012 (declared so by Gymnasium)
        "render_modes": ["rgb_array"],
        "render_fps": 5,
    }

    def __init__(self, goal: int | float = 0, render_mode: str | None = None) -> None:
        """Place the goal, a number into `GOALS`."""
        self.goal, self.render_mode = GOALS[int(goal)], render_mode
        self.observation_space, self.action_space = _spaces()
        self.state = np.zeros(3)

    @property
    def _seen(self) -> np.ndarray:
        return self.state[:2].astype(np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return to the corner."""
        super().reset(seed=seed)
        self.state = np.zeros(3)
        return self._seen, {}

    def step(self, action: np.int64 | int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move."""
        x, y, steps = self.state
        right, up = MOVES[int(action)]
        x, y = min(max(x + right, 0), SIDE - 1), min(max(y + up, 0), SIDE - 1)
        self.state = np.array([x, y, steps + 1])
        reward = FOUND if (x, y) == self.goal else ELSEWHERE
        return self._seen, reward, bool(self.state[2] >= EPISODE_STEPS), False, {}

    def render(self) -> np.ndarray:
        """Draw cells, the goal (green) and where one is (dark), uint8 `[240, 240, 3]`."""
        image = np.full((SIDE, SIDE, CELL, CELL, 3), 255, np.uint8)
        image[:, :, ::CELL], image[:, :, :, ::CELL] = 208, 208
        for (x, y), margin, colour in (
            (self.goal, 6, (46, 160, 67)),
            (self.state[:2].astype(int), 16, (36, 41, 47)),
        ):
            image[SIDE - 1 - y, x, margin:-margin, margin:-margin] = colour
        return image.swapaxes(1, 2).reshape(SIDE * CELL, SIDE * CELL, 3)


gymnasium.register(
    id="GridWorld-v0",
    entry_point=f"{__name__}:GridWorldEnv",
    max_episode_steps=EPISODE_STEPS,
)
