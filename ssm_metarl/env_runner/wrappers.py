"""Wrappers that make an environment harder, each with a random stream of its own.

What they draw depends on the seed of the last seeded reset alone, and nothing of it is taken from
the environment's own generator: the same seed gives the same episode with and without them.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from ssm_metarl.errors import UserError


class _Seeded(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """A wrapper with a generator, which a seeded reset starts anew."""

    stream = 0
    """Tells its numbers from those of the other kinds."""

    def __init__(self, env: gymnasium.Env, **arguments: Any) -> None:  # noqa: ANN401
        gymnasium.utils.RecordConstructorArgs.__init__(self, **arguments)
        gymnasium.Wrapper.__init__(self, env)
        self._rng = np.random.default_rng([self.stream])

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:  # noqa: ANN401
        """Reset, and start the generator anew if there is a seed."""
        if seed is not None:
            self._rng = np.random.default_rng([seed, self.stream])
        return self.env.reset(seed=seed, options=options)


class ActionDelay(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Each action is taken some steps later; before the first, the idle one is."""

    def __init__(
        self,
        env: gymnasium.Env,
        steps: int | float = 1,
        idle: Sequence[int | float] | int | float | None = None,
    ) -> None:
        """Delay them.

        Args:
            env: The environment.
            steps: How many, a whole number; 0 for no delay.
            idle: The first actions; None for numbers next to 0 and the first choice of a few.

        Raises:
            UserError: A number of steps that is none, or an idle action that is no action.
        """
        gymnasium.utils.RecordConstructorArgs.__init__(self, steps=steps, idle=idle)
        gymnasium.Wrapper.__init__(self, env)
        if steps != int(steps) or steps < 0:
            raise UserError(f"ActionDelay: steps must be a whole number from 0, got {steps:g}")
        self._steps = int(steps)
        self._idle = _idle(env.action_space) if idle is None else _as_action(env.action_space, idle)
        self._coming: deque[Any] = deque()

    def reset(self, **kwargs: Any) -> tuple[Any, Any]:  # noqa: ANN401
        """Reset; nothing is to come but the idle action."""
        self._coming = deque([self._idle] * self._steps)
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """Take the action of some steps before."""
        self._coming.append(np.copy(action) if isinstance(action, np.ndarray) else action)
        return self.env.step(self._coming.popleft())


class ReversedActions(gymnasium.ActionWrapper, gymnasium.utils.RecordConstructorArgs):
    """Left is right: numbers are mirrored in their range, choices counted from the other end."""

    def __init__(
        self, env: gymnasium.Env, sign: int | float = -1, only: Sequence[int] | None = None
    ) -> None:
        """Reverse them if the sign is negative, else leave them as they are.

        Args:
            env: The environment.
            sign: Negative to reverse.
            only: Of a Discrete action the choices that change places with each other, of others
                the indices of the entries that are reversed; None for all.

        Raises:
            UserError: An action space that cannot be reversed, or has no such choice or entry.
        """
        gymnasium.utils.RecordConstructorArgs.__init__(self, sign=sign, only=only)
        gymnasium.ActionWrapper.__init__(self, env)
        space = env.action_space
        if not isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary):
            raise UserError(f"ReversedActions: action space {space} cannot be reversed")
        self._reversed = sign < 0
        first = int(space.start) if isinstance(space, Discrete) else 0
        shape = (int(space.n),) if isinstance(space, Discrete) else space.shape
        size = int(np.prod(shape))
        chosen = sorted(set(range(first, first + size) if only is None else only))
        if not all(type(one) is int and first <= one < first + size for one in chosen):
            valid = f"whole numbers from {first} to {first + size - 1}"
            raise UserError(f"ReversedActions: only must be {valid}, got {only}")
        self._swapped = dict(zip(chosen, reversed(chosen), strict=True))
        self._entries = np.isin(np.arange(size), chosen).reshape(shape)

    def action(self, action: Any) -> Any:  # noqa: ANN401
        """Return the opposite action."""
        space = self.env.action_space
        if not self._reversed:
            return action
        if isinstance(space, Discrete):
            return type(action)(self._swapped.get(int(action), action))
        if isinstance(space, MultiDiscrete):
            opposite = 2 * space.start + space.nvec - 1 - action
        elif isinstance(space, MultiBinary):
            opposite = 1 - action
        else:
            assert isinstance(space, Box)
            bounded = space.bounded_below & space.bounded_above
            ends = np.where(bounded, space.low, 0), np.where(bounded, space.high, 0)
            opposite = (ends[0] + ends[1] - action).astype(space.dtype)
        return np.where(self._entries, opposite, action)


class FixedLayout(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Every episode begins as it does with one seed: in the same maze, at the same place in it.

    With a parameter as that seed, each layout of a generated world is a task. What is random after
    the start is so in each episode anew.
    """

    def __init__(self, env: gymnasium.Env, seed: int | float = 0) -> None:
        """Fix it.

        Args:
            env: The environment.
            seed: Of every start; the whole number below it.

        Raises:
            UserError: It is no seed.
        """
        gymnasium.utils.RecordConstructorArgs.__init__(self, seed=seed)
        gymnasium.Wrapper.__init__(self, env)
        if not 0 <= seed < 2**31:
            raise UserError(f"FixedLayout: seed must be from 0 to {2**31 - 1}, got {seed:g}")
        self._seed = int(seed)
        self._rng = np.random.default_rng(self._seed)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:  # noqa: ANN401
        """Reset; the seed is that of what happens after the start."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        result = self.env.reset(seed=self._seed, options=options)
        self.unwrapped.np_random = self._rng
        return result


class ObservationNoise(_Seeded):
    """Every observation is off by normal noise, within the bounds of its space."""

    stream = 1

    def __init__(self, env: gymnasium.Env, std: Sequence[int | float] | int | float = 0.1) -> None:
        """Add noise.

        Args:
            env: The environment; it observes numbers.
            std: Standard deviation, in the observation's units; one for all, or one each.
        """
        super().__init__(env, std=std)
        self._space = _numbers(env, "ObservationNoise")
        self._std = np.broadcast_to(np.asarray(std, dtype=np.float64), self._space.shape)

    def reset(self, **kwargs: Any) -> tuple[Any, Any]:  # noqa: ANN401
        """Reset."""
        observation, info = super().reset(**kwargs)
        return self._noisy(observation), info

    def step(self, action: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """Step."""
        observation, *rest = self.env.step(action)
        return self._noisy(observation), *rest

    def _noisy(self, observation: np.ndarray) -> np.ndarray:
        noisy = observation + self._std * self._rng.standard_normal(self._space.shape)
        return noisy.clip(self._space.low, self._space.high).astype(self._space.dtype)


class SensorDropout(_Seeded):
    """Now and then a sensor reads 0, or what is next to it in its range."""

    stream = 2

    def __init__(
        self,
        env: gymnasium.Env,
        probability: int | float = 0.1,
        sensors: Sequence[int] | None = None,
    ) -> None:
        """Drop readings.

        Args:
            env: The environment; it observes numbers.
            probability: Of a reading to be lost, at every step anew; 1 for a broken sensor.
            sensors: Indices of those it happens to; None for all.

        Raises:
            UserError: No probability, or no sensor of that index.
        """
        super().__init__(env, probability=probability, sensors=sensors)
        if not 0.0 <= probability <= 1.0:
            raise UserError(f"SensorDropout: probability must be from 0 to 1, got {probability:g}")
        self._space = _numbers(env, "SensorDropout")
        size = int(np.prod(self._space.shape))
        chosen = np.arange(size) if sensors is None else np.asarray(sensors)
        if chosen.dtype.kind not in "iu" or not ((chosen >= 0) & (chosen < size)).all():
            raise UserError(f"SensorDropout: sensors must be from 0 to {size - 1}, got {sensors}")
        self._probability = np.zeros(size)
        self._probability[chosen] = probability
        self._nothing = np.zeros(size).clip(self._space.low.ravel(), self._space.high.ravel())

    def reset(self, **kwargs: Any) -> tuple[Any, Any]:  # noqa: ANN401
        """Reset."""
        observation, info = super().reset(**kwargs)
        return self._dropped(observation), info

    def step(self, action: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """Step."""
        observation, *rest = self.env.step(action)
        return self._dropped(observation), *rest

    def _dropped(self, observation: np.ndarray) -> np.ndarray:
        lost = self._rng.random(len(self._probability)) < self._probability
        seen = np.where(lost, self._nothing, np.ravel(observation))
        return seen.reshape(self._space.shape).astype(self._space.dtype)


def _numbers(env: gymnasium.Env, name: str) -> Box:
    space = env.observation_space
    if not isinstance(space, Box):
        raise UserError(f"{name}: observation space {space} is not of numbers; valid: a Box")
    return space


def _idle(space: gymnasium.Space) -> Any:  # noqa: ANN401
    if isinstance(space, Box):
        return np.zeros(space.shape).clip(space.low, space.high).astype(space.dtype)
    if isinstance(space, Discrete):
        return space.start
    if isinstance(space, MultiDiscrete | MultiBinary):
        return np.zeros(space.shape, space.dtype) + getattr(space, "start", 0)
    raise UserError(f"ActionDelay: action space {space} has no idle action")


def _as_action(space: gymnasium.Space, idle: Sequence[int | float] | int | float) -> Any:  # noqa: ANN401
    action: Any = np.asarray(idle, dtype=space.dtype)
    if isinstance(space, Discrete):
        action = action[()]
    elif space.shape is not None:
        action = np.broadcast_to(action, space.shape).copy()
    if not space.contains(action):
        raise UserError(f"ActionDelay: idle must be an action of {space}, got {idle}")
    return action
