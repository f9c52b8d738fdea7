"""What a policy sees and does, and how its actions become those of the environment.

A policy's own actions are indices from 0, or numbers that range over [-1, 1] in the dimensions that
the environment bounds on both sides. ``to_environment`` changes the units, and ``into_space`` turns
the result into what the environment's space contains: its start, bounds, rounding and dtype.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, cast, get_args

import gymnasium
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssm_metarl.errors import UserError

ActionType = Literal[
    "float16", "float32", "float64", "bool",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
]  # fmt: skip
ACTION_TYPES = get_args(ActionType)
EnvironmentAction = np.ndarray | np.integer
"""An action as ``env.step`` takes it: a discrete one alone is a NumPy integer."""
UNBOUNDED = float(np.finfo(np.float64).max)
"""Stands for a bound that is not there; JSON, unlike infinity, can hold it."""
LARGEST = float(np.finfo(np.float32).max)  # that a policy can compute with


@dataclass(frozen=True)
class Spaces:
    """What a policy sees and does, in plain numbers.

    Attributes:
        observation_scale: Typical magnitude of each observation entry; its length is ``O``.
        actions: Number of discrete actions, or of action dimensions; ``A``.
        discrete: Which of the two.
        action_low: Lower bounds of a continuous action in the environment's units, ``-UNBOUNDED``
            where there is none; empty if no dimension has any, or for discrete actions.
        action_high: Upper bounds, likewise.
        action_start: The environment's number of the first discrete action.
        action_type: NumPy's name of the type that the environment takes; None for int64 or float32.
        observation_offset: Typical value of each observation entry; empty if all are 0.
        reward_scale: Typical magnitude of a reward.
    """

    observation_scale: tuple[float, ...]
    actions: int
    discrete: bool
    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()
    action_start: int = 0
    action_type: ActionType | None = None
    observation_offset: tuple[float, ...] = ()
    reward_scale: float = 1.0

    @classmethod
    def of(cls, observation_scale: np.ndarray, space: gymnasium.Space) -> "Spaces":
        """Describe an environment.

        Args:
            observation_scale: Typical magnitude of each observation, ``[O]``.
            space: Of the actions.

        Raises:
            UserError: It is neither Discrete nor a Box of one axis, or it holds no number.
        """
        return cls(tuple(observation_scale.tolist()), 1, discrete=True).acting_in(space)

    def acting_in(self, space: gymnasium.Space) -> "Spaces":
        """Return the same with other actions.

        Raises:
            UserError: As for :meth:`of`.
        """
        kind = check_action_space(space)
        if isinstance(space, gymnasium.spaces.Discrete):
            return replace(
                self,
                actions=int(space.n),
                discrete=True,
                action_low=(),
                action_high=(),
                action_start=int(space.start),
                action_type=None if kind == "int64" else kind,
            )
        assert isinstance(space, gymnasium.spaces.Box)
        low = tuple(map(_lower, space.low.tolist(), space.bounded_below.tolist()))
        high = tuple(map(_upper, space.high.tolist(), space.bounded_above.tolist()))
        bounded = any(abs(bound) != UNBOUNDED for bound in (*low, *high))
        return replace(
            self,
            actions=space.shape[0],
            discrete=False,
            action_low=low if bounded else (),
            action_high=high if bounded else (),
            action_start=0,
            action_type=None if kind == "float32" else kind,
        )

    @cached_property
    def action_space(self) -> gymnasium.Space:
        """The environment's action space, as far as these numbers tell."""
        kind = np.dtype(self.action_type or ("int64" if self.discrete else "float32"))
        if self.discrete:
            return gymnasium.spaces.Discrete(self.actions, start=self.action_start, dtype=kind.type)
        low, high = (_within(bounds, *_limits(kind)) for bounds in self._bounds)
        return gymnasium.spaces.Box(low, high, dtype=kind.type)

    def centred(self, observation: Float[Tensor, "*batch O"]) -> Float[Tensor, "*batch O"]:
        """Return observations less their typical value."""
        if not self.observation_offset:
            return observation
        return observation - observation.new_tensor(self.observation_offset)

    def normalized(self, observation: Float[Tensor, "*batch O"]) -> Float[Tensor, "*batch O"]:
        """Return observations less their typical value, in units of their typical magnitude."""
        return self.centred(observation) / observation.new_tensor(self.observation_scale)

    def to_environment(self, action: Tensor) -> Tensor:
        """Change a policy's actions ``[..., A]`` to the environment's units.

        Dimensions with two bounds go from [-1, 1] to these, clipped; others stay as they are.
        """
        if self.discrete or not self._scaled.any():
            return action
        low, high = action.new_tensor(self._unit_bounds)
        inside = low + (high - low) * 0.5 * (action.clamp(-1.0, 1.0) + 1.0)
        if self._scaled.all():
            return inside
        return torch.where(torch.from_numpy(self._scaled).to(action.device), inside, action)

    def from_environment(self, action: np.ndarray) -> np.ndarray:
        """Undo what was done to a policy's actions: ``[T]`` int64, or ``[T, A]`` float32.

        Raises:
            ValueError: A discrete action is not one of the environment's, or the shape is another.
        """
        expected = action.shape[:1] if self.discrete else (len(action), self.actions)
        if action.shape != expected:
            raise ValueError(f"its actions have the shape {action.shape}, not {expected}")
        if not self.discrete:
            low, high = self._unit_bounds
            width = np.where(high > low, high - low, np.inf)  # a single value: any action gives it
            unit = 2.0 * (action - low) / width - (high > low)
            return unit.clip(-LARGEST, LARGEST).astype(np.float32)
        index = action.astype(np.int64) - self.action_start
        if not ((index >= 0) & (index < self.actions)).all():
            raise ValueError(f"an action of it is none of the {self.actions}")
        return index

    def contained(self, action: Tensor) -> EnvironmentAction:
        """Return a policy's actions ``[...]`` or ``[..., A]`` as its ``action_space`` has them."""
        return into_space(self.to_environment(action).numpy(), self.action_space)

    def same_actions(self, other: "Spaces") -> bool:
        """Whether the same actions mean the same in both; start and type may differ."""
        if (self.discrete, self.actions) != (other.discrete, other.actions):
            return False
        # A former version did not keep the bounds of a space that lacked some.
        forgotten = not self.action_low and not other._scaled.all()
        return forgotten or np.array_equal(_rounded(self._bounds), _rounded(other._bounds))

    def describe(self) -> str:
        """Say it in words: ``4 numbers and takes 2 discrete actions``."""
        sees = f"{len(self.observation_scale)} numbers and takes {self.actions}"
        if self.discrete:
            return f"{sees} discrete actions" + (
                f" from {self.action_start}" if self.action_start else ""
            )
        low, high = (
            [bound if abs(bound) < UNBOUNDED else math.copysign(math.inf, bound) for bound in side]
            for side in (self.action_low, self.action_high)
        )
        return f"{sees} numbers" + (f" from {low} to {high}" if low else "")

    @cached_property
    def _bounds(self) -> Float[np.ndarray, "2 A"]:
        none = (UNBOUNDED,) * self.actions
        return np.array(
            [self.action_low or tuple(-bound for bound in none), self.action_high or none]
        )

    @cached_property
    def _unit_bounds(self) -> Float[np.ndarray, "2 A"]:
        """What -1 and 1 become; where nothing is scaled, themselves."""
        return np.where(self._scaled, self._bounds, [[-1.0], [1.0]])

    @cached_property
    def _scaled(self) -> Bool[np.ndarray, "A"]:
        """Which dimensions have two bounds, whose distance float32 can tell."""
        low, high = self._bounds
        with np.errstate(over="ignore"):
            return (low > -LARGEST) & (high < LARGEST) & (high - low < LARGEST)


def check_action_space(space: gymnasium.Space) -> ActionType:
    """Return NumPy's name of the type of an action.

    Raises:
        UserError: An agent cannot act in the space.
    """
    kind = str(np.dtype(space.dtype)) if space.dtype is not None else ""
    box = isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1
    if not (box or isinstance(space, gymnasium.spaces.Discrete)) or kind not in ACTION_TYPES:
        raise UserError(f"action space {space} is not supported; valid: Discrete, Box of one axis")
    if space.shape == (0,):
        raise UserError(f"action space {space} holds no number, so there is nothing to do")
    return cast(ActionType, kind)


def into_space(action: np.ndarray, space: gymnasium.Space) -> EnvironmentAction:
    """Return actions in the environment's units as its space contains them.

    Args:
        action: Indices ``[...]`` from 0 for Discrete, numbers ``[..., A]`` for a Box.
        space: One that :func:`check_action_space` takes.

    Returns:
        The same shape, in the space's dtype; a number without axes is a NumPy scalar, which
        environments can look up in a table.
    """
    if isinstance(space, gymnasium.spaces.Discrete):
        return (action + int(space.start)).astype(space.dtype)[()]
    assert isinstance(space, gymnasium.spaces.Box)
    return _within(action, space.low, space.high)


def _within(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Cast numbers to the type of the bounds (integers: the nearest) and clip them exactly."""
    exact = values.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # what does not fit is clipped below
        inside = (exact if low.dtype.kind == "f" else np.rint(exact)).astype(low.dtype)
    inside = np.where(exact >= high.astype(np.float64), high, inside)
    return np.where(exact <= low.astype(np.float64), low, inside)


def _rounded(bounds: np.ndarray) -> np.ndarray:
    return bounds.clip(-LARGEST, LARGEST).astype(np.float32)


def _limits(kind: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest finite number of a type."""
    if kind.kind == "b":
        return np.array(False), np.array(True)
    info = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    return np.array(info.min, kind), np.array(info.max, kind)


def _lower(bound: float | int, bounded: bool) -> float:
    """Return a lower bound as a float that is no lower, which not every int64 itself is."""
    if not bounded:
        return -UNBOUNDED
    return float(bound) if float(bound) >= bound else math.nextafter(float(bound), math.inf)


def _upper(bound: float | int, bounded: bool) -> float:
    return -_lower(-bound, bounded)
