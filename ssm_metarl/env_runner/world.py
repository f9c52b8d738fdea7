"""What runs a family's environments, and the kind that is tensor-native."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
import torch

from ssm_metarl.env_runner.environment import Environment
from ssm_metarl.env_runner.simulated import SimulatedEnvironment
from ssm_metarl.env_runner.simulators.base import Simulator
from ssm_metarl.env_runner.tasks import Tasks


@dataclass(frozen=True)
class VecOptions:
    """How K x E lanes are run together."""

    autoreset: bool
    """Whether a lane whose episode ended starts the next one by itself."""
    max_episode_steps: int
    """After which an episode is truncated."""
    device: torch.device | str
    """Of what is observed."""
    dtype: torch.dtype
    """Of observations and rewards."""


class World(ABC):
    """What a family's environments are run by: one at a time, or K x E lanes together."""

    @property
    @abstractmethod
    def observation_space(self) -> gymnasium.spaces.Box:
        """One lane's observation space, as the agent sees it."""

    @property
    @abstractmethod
    def action_space(self) -> gymnasium.Space:
        """One lane's action space."""

    @property
    def observation_scale(self) -> np.ndarray | None:
        """Typical magnitude of each observation, float64 `[O]`; None where it is to be measured."""
        return None

    @property
    def image(self) -> tuple[int, ...]:
        """Height, width and channels of the image whose numbers observations begin with, or ()."""
        return ()

    @property
    def simulators(self) -> tuple[str, ...]:
        """Packages beside Gymnasium whose versions decide what the environments do."""
        return ()

    @abstractmethod
    def make_env(self, values: Mapping[str, float], render_mode: str | None) -> gymnasium.Env:
        """Build one ordinary environment with these parameter values."""

    @abstractmethod
    def make_vec(self, tasks: Tasks, lanes: int, options: VecOptions) -> Environment:
        """Build K x E lanes: `lanes` of each task."""

    def reusing(self) -> "World":
        """Return the same, which keeps what it builds for later calls of `make_vec`."""
        return self

    def close(self) -> None:  # noqa: B027 (there may be nothing to free)
        """Free what has been kept."""


@dataclass(frozen=True)
class SimulatedWorld(World):
    """A tensor-native simulator, all lanes at once."""

    simulator: Simulator[Any]
    observed: tuple[int, ...] | None = None
    """Which observations the agent sees; None for all."""

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """One lane's observation space `[O]`, as the agent sees it."""
        return self._seen_space

    @cached_property
    def _seen_space(self) -> gymnasium.spaces.Box:
        space = self.simulator.observation_space
        if self.observed is None:
            return space
        seen = list(self.observed)
        return gymnasium.spaces.Box(space.low[seen], space.high[seen], dtype=np.float32)

    @property
    def action_space(self) -> gymnasium.Space:
        """One lane's action space."""
        return self.simulator.action_space

    @property
    def observation_scale(self) -> np.ndarray:
        """Typical magnitude of each observation, float64 `[O]`."""
        scale = self.simulator.observation_scale
        return scale if self.observed is None else scale[list(self.observed)]

    def make_env(self, values: Mapping[str, float], render_mode: str | None) -> gymnasium.Env:
        """Build Gymnasium's own environment with these parameter values."""
        env = self.simulator.gymnasium(values, render_mode)
        if self.observed is None:
            return env
        seen = list(self.observed)
        return gymnasium.wrappers.TransformObservation(
            env, lambda observation: observation[seen], self.observation_space
        )

    def make_vec(self, tasks: Tasks, lanes: int, options: VecOptions) -> Environment:
        """Build K x E lanes of the simulator."""
        return SimulatedEnvironment(
            self.simulator,
            tasks,
            lanes,
            observed=self.observed,
            observation_space=self.observation_space,
            **vars(options),
        )
