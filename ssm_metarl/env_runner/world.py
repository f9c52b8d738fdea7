"""What runs a family's environments, and the two kinds that need nothing but this package."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, cast

import gymnasium
import numpy as np
import torch

from ssm_metarl.core.spaces import check_action_space
from ssm_metarl.env_runner.environment import Environment, SimulatedEnvironment
from ssm_metarl.env_runner.gymnasium import GymnasiumEnvironment, failures_named, vector_of
from ssm_metarl.env_runner.observations import find_image, flat_observation_space
from ssm_metarl.env_runner.pool import EnvironmentPool
from ssm_metarl.env_runner.simulators.base import Simulator
from ssm_metarl.env_runner.software import PACKAGES, versions
from ssm_metarl.env_runner.success import NamedSuccess
from ssm_metarl.env_runner.tasks import Tasks, TaskValues
from ssm_metarl.errors import UserError

MakeEnv = Callable[..., gymnasium.Env]
"""``make(task)`` or ``make(task, render_mode=...)``: one environment with a task's values."""


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


@dataclass(frozen=True)
class GymnasiumWorld(World):
    """Ordinary environments, one for each lane, whose spaces are the same for every task."""

    make: MakeEnv
    nominal: Mapping[str, float] = field(default_factory=dict)
    """The values of the task whose environment tells the spaces."""
    success_key: str = ""
    """Of the info that says whether the task is solved; empty for `SUCCESS_KEYS`."""
    _pool: EnvironmentPool | None = field(default=None, repr=False, compare=False)

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """One lane's observation space, flattened to `[O]`."""
        return self._spaces[0]

    @property
    def action_space(self) -> gymnasium.Space:
        """One lane's action space."""
        return self._spaces[1]

    @property
    def image(self) -> tuple[int, ...]:
        """Height, width and channels of the first image of an observation."""
        return self._spaces[2]

    @property
    def simulators(self) -> tuple[str, ...]:
        """Packages whose code the nominal environment is made of."""
        return self._spaces[3]

    @cached_property
    def _spaces(
        self,
    ) -> tuple[gymnasium.spaces.Box, gymnasium.Space, tuple[int, ...], tuple[str, ...]]:
        env = self._lend(self.nominal)
        flat = flat_observation_space(env)  # raises where there can be none
        check_action_space(env.action_space)
        with failures_named("reset"):
            env.reset(seed=0)
        if flat_observation_space(env) != flat:
            env.close()
            raise UserError(
                f"the observation space changes with the first reset: it was {flat}, and is "
                f"{flat_observation_space(env)}; valid: to give what decides it to the constructor "
                "(a parameter's argument = ... in a file), or to reset the environment in make"
            )
        image, simulators = find_image(env.observation_space), simulators_of(env)
        spaces = flat, env.action_space, image.shape if image else (), simulators
        env.close()
        return spaces

    def make_env(self, values: Mapping[str, float], render_mode: str | None) -> gymnasium.Env:
        """Build one environment with these parameter values.

        Raises:
            EnvironmentFailure: It could not be built.
            UserError: What was built is no environment.
        """
        # Environments that cannot be drawn need not know of render modes.
        drawn = {"render_mode": render_mode} if render_mode and _takes_mode(self.make) else {}
        with failures_named("being built"):
            env = self.make(TaskValues(values), **drawn)
        if not isinstance(env, gymnasium.Env):
            raise UserError(f"make returned {env!r:.80}, not a gymnasium.Env")
        return NamedSuccess(env, self.success_key) if self.success_key else env

    def make_vec(self, tasks: Tasks, lanes: int, options: VecOptions) -> Environment:
        """Build K x E environments, stepped one after another, always with autoreset.

        Raises:
            EnvironmentFailure: One could not be built.
            UserError: Its spaces differ from those of the nominal task.
        """
        values = [tasks.parameters(k) for k in range(len(tasks))]
        if self._pool:
            self._pool.keep_only([_key(each) for each in values])
        makers = [partial(self._lend_same, each) for each in values]
        envs = vector_of(makers, lanes, options.max_episode_steps)
        return GymnasiumEnvironment(
            envs,
            tasks,
            max_episode_steps=options.max_episode_steps,
            device=options.device,
            dtype=options.dtype,
        )

    def reusing(self) -> World:
        """Return the same world, with environments that are kept for later rollouts."""
        return replace(self, _pool=EnvironmentPool())

    def close(self) -> None:
        """Close the environments that are kept."""
        if self._pool:
            self._pool.close()

    def _lend(self, values: Mapping[str, float]) -> gymnasium.Env:
        build = partial(self.make_env, values, None)
        return self._pool.lend(_key(values), build) if self._pool else build()

    def _lend_same(self, values: Mapping[str, float]) -> gymnasium.Env:
        """Return an environment, after a look at whether its spaces are those of all tasks."""
        env = self._lend(values)
        mine = flat_observation_space(env), env.action_space
        all_spaces = self._spaces[:2]
        for kind, own, all_tasks in zip(("observation", "action"), mine, all_spaces, strict=True):
            if own != all_tasks:
                env.close()
                task = ", ".join(f"{name}={value:g}" for name, value in values.items())
                raise UserError(
                    f"the {kind} space changes with the task: it is {all_tasks} for the nominal "
                    f"one, {own} for {task}; one agent needs the same space in every task"
                )
        return env


def simulators_of(env: gymnasium.Env) -> tuple[str, ...]:
    """Return the packages that define an environment and its physics, beside the usual ones."""
    world = env.unwrapped
    parts = (world, getattr(world, "model", None))
    names = {type(part).__module__.partition(".")[0] for part in parts} - {*PACKAGES}
    return tuple(sorted(versions(names)))


def _takes_mode(make: MakeEnv) -> bool:
    parameters = inspect.signature(make).parameters.values()
    return any(p.name == "render_mode" or p.kind is p.VAR_KEYWORD for p in parameters)


def _key(values: Mapping[str, float]) -> tuple[float, ...]:
    return tuple(values.values())


def gymnasium_id(env_id: str, max_episode_steps: int) -> MakeEnv:
    """Return what builds a registered environment as it is, whatever the task."""

    def make(task: Mapping[str, float], **drawn: str) -> gymnasium.Env:
        return gymnasium.make(env_id, max_episode_steps=max_episode_steps, **cast(Any, drawn))

    return make
