"""Navigation2D-v0, the point task of the MAML paper, as a batched function and for Gymnasium."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

REACH = 0.1  # largest move per step and axis
NEAR = 0.01  # the goal is reached when both axes are this close
EPISODE_STEPS = 100
FIELD = REACH * EPISODE_STEPS  # no point is farther from the start along an axis
IMAGE_SIDE, IMAGE_EXTENT = 240, 1.2  # pixels; distance from the centre to an edge of the image


def _spaces() -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Box]:
    observation = gymnasium.spaces.Box(-FIELD, FIELD, (2,), np.float32)
    return observation, gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


class NavigationParams(NamedTuple):
    """What the step needs."""

    goal: Tensor
    """`[2, K, 1]`."""


class Navigation2D:
    """Walk to a goal that is not seen: the rules of the ICML 2017 code of Finn, Abbeel and Levine.

    State: position, starting at 0. Each step moves it by 0.1 times the action, clipped to [-1, 1]
    per axis; the reward is minus the distance to the goal after the move.
    """

    reset_noise = 0
    step_noise = 0
    observation_scale = np.array([0.5, 0.5])

    def __init__(self) -> None:
        """Set the spaces."""
        self.observation_space, self.action_space = _spaces()

    def derive(self, values: Mapping[str, Float[Tensor, "K 1"]]) -> NavigationParams:
        """Put the goal together."""
        return NavigationParams(torch.stack((values["goal_x"], values["goal_y"])))

    def reset(
        self, params: NavigationParams, noise: Float[Tensor, "K E 0"]
    ) -> Float[Tensor, "2 K E"]:
        """Return the centre of the field for every lane."""
        return params.goal.new_zeros(2, *noise.shape[:2])

    def step(
        self,
        params: NavigationParams,
        state: Float[Tensor, "2 K E"],
        action: Float[Tensor, "K E 2"],
        noise: Float[Tensor, "K E 0"] | None = None,
    ) -> tuple[Float[Tensor, "2 K E"], Float[Tensor, "K E"], Bool[Tensor, "K E"]]:
        """Move; return the next position, reward and whether the goal was reached."""
        move = action.permute(2, 0, 1).clamp(-1.0, 1.0)
        state = torch.add(state, move, alpha=REACH)
        offset = state - params.goal
        across, along = offset.square().unbind(0)
        return state, -(across + along).sqrt(), (offset.abs() < NEAR).all(0)

    def observe(
        self, params: NavigationParams, state: Float[Tensor, "2 K E"]
    ) -> Float[Tensor, "K E 2"]:
        """Return the position (a view)."""
        return state.permute(1, 2, 0)

    def gymnasium(
        self, values: Mapping[str, float], render_mode: str | None = None
    ) -> gymnasium.Env:
        """Build the single environment with this goal."""
        goal = (values["goal_x"], values["goal_y"])
        return gymnasium.make("Navigation2D-v0", goal=goal, render_mode=render_mode)


class Navigation2DEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """The same world as a Gymnasium environment, one point at a time in float64."""

    metadata: dict[str, Any] = {  # noqa: RUF012 (declared so by Gymnasium)
        "render_modes": ["rgb_array"],
        "render_fps": 20,
    }

    def __init__(
        self, goal: tuple[float, float] = (0.25, 0.25), render_mode: str | None = None
    ) -> None:
        """Place the goal."""
        self.goal = np.array(goal)
        self.render_mode = render_mode
        self.observation_space, self.action_space = _spaces()
        self.position = np.zeros(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return to the centre."""
        super().reset(seed=seed)
        self.position = np.zeros(2)
        return self.position.astype(np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move by 0.1 times the clipped action."""
        self.position = self.position + REACH * np.clip(action, -1.0, 1.0)
        offset = self.position - self.goal
        reached = bool(np.all(np.abs(offset) < NEAR))
        reward = -float(np.linalg.norm(offset))
        return self.position.astype(np.float32), reward, reached, False, {}

    def render(self) -> np.ndarray:
        """Draw the goal (green) and the point (dark) on white, uint8 `[240, 240, 3]`."""
        axis = np.linspace(-IMAGE_EXTENT, IMAGE_EXTENT, IMAGE_SIDE)
        image = np.full((IMAGE_SIDE, IMAGE_SIDE, 3), 255, dtype=np.uint8)
        for (x, y), radius, colour in (
            (self.goal, 0.06, (46, 160, 67)),
            (self.position, 0.04, (36, 41, 47)),
        ):
            image[(axis - x) ** 2 + (-axis[:, None] - y) ** 2 < radius**2] = colour
        return image


gymnasium.register(
    id="Navigation2D-v0",
    entry_point=f"{__name__}:Navigation2DEnv",
    max_episode_steps=EPISODE_STEPS,
)
