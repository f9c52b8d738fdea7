"""A tiny environment that says in its info whether its task was solved, and a family of it."""

from typing import Any

import gymnasium
import numpy as np

import ssm_metarl as sm

MOMENT = 2  # the step that decides, counted from 0
STEPS = 4


class Lamp(gymnasium.Env):
    """Two buttons; the right one, pressed at the moment, lights the lamp for that step."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, right: float, key: str | None = "success", always: bool = True) -> None:
        self.right, self.key, self.always = right, key, always

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        self.time = 0
        return self.look(), {}

    def look(self) -> np.ndarray:
        return np.array([self.time / STEPS, 1.0], np.float32)

    def step(self, action: Any) -> tuple:  # noqa: ANN401
        lit = self.time == MOMENT and action == self.right
        info = {self.key: float(lit)} if self.key and (lit or self.always) else {}
        self.time += 1
        return self.look(), float(action == self.right), self.time == STEPS, False, info


def lamps(**how: Any) -> sm.TaskFamily:  # noqa: ANN401
    """Return a family of two tasks."""
    more = {"success_key": how.pop("success_key")} if "success_key" in how else {}
    return sm.TaskFamily(
        "Lamps",
        make=lambda task: Lamp(task["right"], **how),
        parameters=[sm.Parameter("right", choices=(0, 1))],
        max_episode_steps=10,
        **more,
    )
