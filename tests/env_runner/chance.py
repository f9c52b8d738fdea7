"""A family of Gymnasium's kind whose episodes end by chance, and which counts how many began."""

from typing import Any

import gymnasium
import numpy as np

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.tasks import Parameter


class Chance(gymnasium.Env):
    """Lasts from 1 to 7 steps, each worth 1."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    begun = 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        Chance.begun += 1
        self.left = int(self.np_random.integers(1, 8))
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple:  # noqa: ANN401
        self.left -= 1
        return np.zeros(1, np.float32), 1.0, not self.left, False, {}


CHANCE = TaskFamily(
    "Chance",
    make=lambda _: Chance(),
    parameters=[Parameter("one", choices=(1,))],
    max_episode_steps=9,
)
