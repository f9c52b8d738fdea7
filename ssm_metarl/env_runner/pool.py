"""Gymnasium environments that are built once and used for one rollout after another."""

import warnings
import weakref
from collections.abc import Callable, Collection, Hashable
from typing import Any

import gymnasium
import numpy as np

from ssm_metarl.errors import EnvironmentFailure

Key = Hashable
"""Environments with the same key are alike: that of one task, and not another's."""


class EnvironmentPool:
    """Environments that are lent to rollouts, and closed together at the end.

    Whoever creates it closes it; one that is forgotten closes itself.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._open: list[gymnasium.Env] = []
        self._idle: list[tuple[Key, gymnasium.Env]] = []
        weakref.finalize(self, _close_all, self._open)

    def lend(self, key: Key, build: Callable[[], gymnasium.Env]) -> gymnasium.Env:
        """Return an environment that comes back to the pool when it is closed.

        Args:
            key: Of the environments that will do.
            build: Builds another of them, where all are lent.
        """
        for place in reversed(range(len(self._idle))):
            if self._idle[place][0] == key:
                return _Lent(self, *self._idle.pop(place))
        env = build()
        self._open.append(env)
        return _Lent(self, key, env)

    def keep_only(self, keys: Collection[Key]) -> None:
        """Close those that are idle and have other keys, so that old tasks do not pile up."""
        others = [env for key, env in self._idle if key not in keys]
        self._idle = [(key, env) for key, env in self._idle if key in keys]
        for env in others:
            self._drop(env)

    def take_back(self, key: Key, env: gymnasium.Env, *, broken: bool) -> None:
        """Keep an environment for the next rollout, or close it if it raised an error."""
        if not any(env is known for known in self._open):
            return  # the pool was closed meanwhile, and the environment with it
        if broken:
            self._drop(env)
        else:
            self._idle.append((key, env))

    def close(self) -> None:
        """Close every environment, those that were never given back too."""
        self._idle.clear()
        _close_all(self._open)

    def _drop(self, env: gymnasium.Env) -> None:
        self._open[:] = [other for other in self._open if other is not env]
        _close(env)


class _Lent(gymnasium.Wrapper):
    """An environment of a pool while a rollout has it."""

    def __init__(self, pool: EnvironmentPool, key: Key, env: gymnasium.Env) -> None:
        super().__init__(env)
        self._pool, self._key, self._broken, self._back = pool, key, False, False

    def reset(self, **kwargs: Any) -> tuple[Any, ...]:  # noqa: ANN401 (Gymnasium's)
        """Reset; an error means that the environment is not used again."""
        try:
            return self.env.reset(**kwargs)
        except BaseException:
            self._broken = True
            raise

    def step(self, action: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """Step; likewise."""
        try:
            return self.env.step(action)
        except BaseException:
            self._broken = True
            raise

    def close(self) -> None:
        """Give the environment back, once."""
        if not self._back:
            self._back = True
            self._pool.take_back(self._key, self.env, broken=self._broken)


class CheckedReward(gymnasium.Wrapper):
    """An environment whose rewards are checked to be numbers, before NumPy makes them such."""

    def step(self, action: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """Step.

        Raises:
            EnvironmentFailure: The reward is not one number.
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        number = np.asarray(reward)
        if number.shape != () or number.dtype.kind not in "biuf":
            shown = " ".join(repr(reward).split())[:100]
            raise EnvironmentFailure(f"the environment's reward is {shown}, not a number")
        return observation, float(number), terminated, truncated, info


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
