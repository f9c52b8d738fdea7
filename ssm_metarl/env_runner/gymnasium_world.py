"""The world of ordinary Gymnasium environments, one for each lane."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple, cast

import gymnasium

from ssm_metarl.core.actions import check_action_space
from ssm_metarl.env_runner.environment import Environment
from ssm_metarl.env_runner.failures import failures_named
from ssm_metarl.env_runner.gymnasium import GymnasiumEnvironment
from ssm_metarl.env_runner.kept import KeptEnvironments
from ssm_metarl.env_runner.lanes import LocalLanes
from ssm_metarl.env_runner.observations import (
    find_image,
    flat_observation_space,
    float_box,
    with_flat_observations,
)
from ssm_metarl.env_runner.pool import Builder, EnvironmentPool, make_env
from ssm_metarl.env_runner.software import PACKAGES, versions
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.env_runner.world import VecOptions, World
from ssm_metarl.errors import UserError

MakeEnv = Callable[..., gymnasium.Env]
"""``make(task)`` or ``make(task, render_mode=...)``: one environment with a task's values."""


class _Seen(NamedTuple):
    """What follows from a look at the nominal task's environment."""

    kept: KeptEnvironments
    image: tuple[int, ...]
    simulators: tuple[str, ...]


@dataclass(frozen=True)
class GymnasiumWorld(World):
    """Ordinary environments, one for each lane, whose spaces are the same for every task."""

    make: MakeEnv
    nominal: Mapping[str, float] = field(default_factory=dict)
    """The values of the task whose environment tells the spaces."""
    success_key: str = ""
    """Of the info that says whether the task is solved; empty for `SUCCESS_KEYS`."""
    keeps: bool = field(default=False, repr=False, compare=False)
    """Whether environments are kept for later rollouts."""

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """One lane's observation space, flattened to `[O]`."""
        return float_box(self._seen.kept.builder.observation_space)

    @property
    def action_space(self) -> gymnasium.Space:
        """One lane's action space."""
        return self._seen.kept.builder.action_space

    @property
    def image(self) -> tuple[int, ...]:
        """Height, width and channels of the first image of an observation."""
        return self._seen.image

    @property
    def simulators(self) -> tuple[str, ...]:
        """Packages whose code the nominal environment is made of."""
        return self._seen.simulators

    def make_env(self, values: Mapping[str, float], render_mode: str | None) -> gymnasium.Env:
        """Build one environment with these parameter values.

        Raises:
            EnvironmentFailure: It could not be built.
            UserError: What was built is no environment.
        """
        # Environments that cannot be drawn need not know of render modes.
        drawn = {"render_mode": render_mode} if render_mode and _takes_mode(self.make) else {}
        return make_env(self.make, values, self.success_key, **drawn)

    def make_vec(self, tasks: Tasks, lanes: int, options: VecOptions) -> Environment:
        """Build K x E environments, where none are kept.

        Raises:
            EnvironmentFailure: One could not be built.
            UserError: Its spaces differ from those of the nominal task.
        """
        of_lanes = [tasks.parameters(k) for k in range(len(tasks)) for _ in range(lanes)]
        steps, autoreset = options.max_episode_steps, options.autoreset
        settings = {"max_episode_steps": steps, "autoreset": autoreset}
        kept = self._seen.kept
        if self.keeps:
            built = kept.lanes(of_lanes, **settings)
        else:
            built = LocalLanes(EnvironmentPool(kept.builder), of_lanes, **settings, keep=False)
        return GymnasiumEnvironment(
            built, tasks, max_episode_steps=steps, device=options.device, dtype=options.dtype
        )

    def reusing(self) -> World:
        """Return the same world, with environments that are kept for later rollouts."""
        return replace(self, keeps=True)

    def close(self) -> None:
        """Close the environments that are kept."""
        if "_seen" in vars(self):
            self._seen.kept.close()

    @cached_property
    def _seen(self) -> _Seen:
        env = self.make_env(self.nominal, None)
        flat = with_flat_observations(env)
        shown = float_box(flat.observation_space)  # raises where there is nothing to see
        check_action_space(env.action_space)
        with failures_named("reset"):
            env.reset(seed=0)
        if (now := flat_observation_space(env)) != shown:
            env.close()
            raise UserError(
                f"the observation space changes with the first reset: it was {shown}, and is "
                f"{now}; valid: to give what decides it to the constructor (a parameter's "
                "argument = ... in a file), or to reset the environment in make"
            )
        space = cast(gymnasium.spaces.Box, flat.observation_space)
        kept = KeptEnvironments(
            Builder(self.make, space, env.action_space, self.success_key), self.nominal
        )
        if self.keeps:
            kept.pool.add(self.nominal, flat)
        else:
            env.close()
        image = find_image(env.observation_space)
        return _Seen(kept, image.shape if image else (), simulators_of(env))


def simulators_of(env: gymnasium.Env) -> tuple[str, ...]:
    """Return the packages that define an environment and its physics, beside the usual ones."""
    world = env.unwrapped
    parts = (world, getattr(world, "model", None))
    names = {type(part).__module__.partition(".")[0] for part in parts} - {*PACKAGES}
    return tuple(sorted(versions(names)))


def _takes_mode(make: MakeEnv) -> bool:
    parameters = inspect.signature(make).parameters.values()
    return any(p.name == "render_mode" or p.kind is p.VAR_KEYWORD for p in parameters)
