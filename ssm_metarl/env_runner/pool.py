"""Gymnasium environments that are built once and used for one rollout after another."""

import warnings
import weakref
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium

from ssm_metarl.env_runner.failures import failures_named
from ssm_metarl.env_runner.observations import with_flat_observations
from ssm_metarl.env_runner.success import NamedSuccess
from ssm_metarl.env_runner.tasks import TaskValues
from ssm_metarl.errors import UserError

Values = Mapping[str, float]
"""Those of one task, by parameter."""


def make_env(
    make: Callable[..., gymnasium.Env], values: Values, success_key: str = "", **drawn: str
) -> gymnasium.Env:
    """Build the environment of a task.

    Args:
        make: ``make(task)``, which may take more.
        values: Of the task.
        success_key: In its info; empty for the usual ones.
        drawn: A render mode.

    Raises:
        EnvironmentFailure: It could not be built.
        UserError: What was built is no environment.
    """
    with failures_named("being built"):
        env = make(TaskValues(values), **drawn)
    if not isinstance(env, gymnasium.Env):
        raise UserError(f"make returned {env!r:.80}, not a gymnasium.Env")
    return NamedSuccess(env, success_key) if success_key else env


@dataclass(frozen=True)
class RegisteredId:
    """Builds the environment that Gymnasium knows by an id, whatever the task."""

    env_id: str
    max_episode_steps: int

    def __call__(self, task: Values, **drawn: str) -> gymnasium.Env:
        """Build it."""
        more: dict[str, Any] = {"max_episode_steps": self.max_episode_steps, **drawn}
        return gymnasium.make(self.env_id, **more)


@dataclass(frozen=True)
class Builder:
    """Builds the environments of a family, whose spaces must be the same for every task."""

    make: Callable[..., gymnasium.Env]
    observation_space: gymnasium.spaces.Box
    """Flat: `[O]`."""
    action_space: gymnasium.Space
    success_key: str = ""
    """As for :func:`make_env`."""

    def __call__(self, values: Values) -> gymnasium.Env:
        """Build the environment of a task, with flat observations.

        Raises:
            EnvironmentFailure: It could not be built.
            UserError: It is none, or has other spaces than the nominal task's.
        """
        env = with_flat_observations(make_env(self.make, values, self.success_key))
        for kind in ("observation_space", "action_space"):
            own, of_all = getattr(env, kind), getattr(self, kind)
            if own != of_all:
                env.close()
                task = ", ".join(f"{name}={value:g}" for name, value in values.items())
                raise UserError(
                    f"the {kind.replace('_', ' ')} changes with the task: it is {of_all} for the "
                    f"nominal one, {own} for {task}; one agent needs the same space in every task"
                )
        return env


class EnvironmentPool:
    """Environments that are lent to rollouts, and closed together at the end.

    Whoever creates it closes it; one that is forgotten closes itself.
    """

    def __init__(self, builder: Builder) -> None:
        """Begin with none.

        Args:
            builder: What builds the environment of a task; those of equal values are alike.
        """
        self.builder = builder
        self._open: list[gymnasium.Env] = []
        self._idle: list[tuple[Values, gymnasium.Env]] = []
        weakref.finalize(self, _close_all, self._open)

    def lend(self, values: Values) -> gymnasium.Env:
        """Return an environment of a task: an idle one, or else a new one."""
        for place in reversed(range(len(self._idle))):
            if self._idle[place][0] == values:
                return self._idle.pop(place)[1]
        env = self.builder(values)
        self._open.append(env)
        return env

    def add(self, values: Values, env: gymnasium.Env) -> None:
        """Keep an environment that was built elsewhere."""
        self._open.append(env)
        self.take_back(values, env)

    def take_back(self, values: Values, env: gymnasium.Env) -> None:
        """Keep an environment for the next rollout."""
        if any(env is known for known in self._open):  # else the pool was closed meanwhile
            self._idle.append((values, env))

    def drop(self, env: gymnasium.Env) -> None:
        """Close an environment that is lent and broke down."""
        self._open[:] = [other for other in self._open if other is not env]
        _close(env)

    def keep_only(self, tasks: Collection[Values]) -> None:
        """Close those that are idle and of other tasks, so that old ones do not pile up."""
        others = [env for values, env in self._idle if values not in tasks]
        self._idle = [(values, env) for values, env in self._idle if values in tasks]
        for env in others:
            self.drop(env)

    def close(self) -> None:
        """Close every environment, those that were never given back too."""
        self._idle.clear()
        _close_all(self._open)


def _close_all(envs: list[gymnasium.Env]) -> None:
    while envs:
        _close(envs.pop())


def _close(env: gymnasium.Env) -> None:
    try:
        env.close()
    except Exception as error:  # what a foreign environment raises costs nobody a result
        reason = " ".join(str(error).split())
        warnings.warn(
            f"an environment failed in close: {type(error).__name__}: {reason}", stacklevel=3
        )
