"""What a policy sees and does, and how its actions become those of the environment.

A policy's own actions are indices from 0, or numbers that range over [-1, 1] in the dimensions that
the environment bounds on both sides. ``to_environment`` changes the units, and ``into_space`` turns
the result into what the environment's space contains: its start, bounds, rounding and dtype.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import gymnasium
import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ssm_metarl.core.action_scaling import ActionScaling
from ssm_metarl.core.actions import (
    UNBOUNDED,
    ActionType,
    EnvironmentAction,
    check_action_space,
    choices_of,
    into_space,
    limits,
    lower_bound,
    upper_bound,
    within,
)

CONDENSED = 4  # large pixels along each side of an image
LARGEST = float(np.finfo(np.float32).max)  # that a policy can compute with


@dataclass(frozen=True)
class Spaces:
    """What a policy sees and does, in plain numbers.

    Attributes:
        observation_scale: Typical magnitude of each observation entry; its length is ``O``.
        actions: Number of discrete actions, or of action dimensions; ``A``. Where an action is made
            of several choices, the numbers of these added up.
        discrete: Whether an action is a choice, or several.
        action_low: Lower bounds of a continuous action in the environment's units, ``-UNBOUNDED``
            where there is none; empty if no dimension has any, or for discrete actions.
        action_high: Upper bounds, likewise.
        action_start: The environment's number of the first discrete action.
        action_type: NumPy's name of the type that the environment takes; None for int64 or float32.
        observation_offset: Typical value of each observation entry; empty if all are 0.
        reward_scale: Typical magnitude of a reward.
        choices: Where an action is made of several choices (MultiDiscrete, MultiBinary), how many
            there are for each; else empty.
        action_starts: The environment's number of the first of each of them; empty if all are 0.
        image: Height, width and channels of an image, whose numbers in that order are the first of
            an observation; empty if there is none.
        action_shape: Of the environment's actions, unless they have one axis or are Discrete.
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
    choices: tuple[int, ...] = ()
    action_starts: tuple[int, ...] = ()
    action_shape: tuple[int, ...] | None = None
    image: tuple[int, ...] = ()

    @classmethod
    def of(cls, observation_scale: np.ndarray, space: gymnasium.Space) -> "Spaces":
        """Describe an environment.

        Args:
            observation_scale: Typical magnitude of each observation, ``[O]``.
            space: Of the actions.

        Raises:
            UserError: It is of a kind that is not supported, or it holds no number.
        """
        return cls(tuple(observation_scale.tolist()), 1, discrete=True).acting_in(space)

    def acting_in(self, space: gymnasium.Space) -> "Spaces":
        """Return the same with other actions.

        Raises:
            UserError: As for :meth:`of`.
        """
        kind = check_action_space(space)
        shape = cast(tuple[int, ...], space.shape)
        plain = replace(
            self,
            discrete=not isinstance(space, gymnasium.spaces.Box),
            action_low=(),
            action_high=(),
            action_start=0,
            choices=(),
            action_starts=(),
        )
        if isinstance(space, gymnasium.spaces.Discrete):
            own = replace(plain, actions=int(space.n), action_start=int(space.start))
        elif isinstance(space, gymnasium.spaces.Box):
            own = replace(plain, actions=math.prod(shape))._bounded_by(space)
        else:
            own = plain._choosing_in(space)
        return replace(
            own,
            action_type=None if kind == own.usual_type else kind,
            action_shape=None if shape == own.usual_shape else shape,
        )

    def _bounded_by(self, space: gymnasium.spaces.Box) -> "Spaces":
        """Return the same with the bounds of a Box, as far as it has any."""
        sides = space.low, space.bounded_below, space.high, space.bounded_above
        lows, below, highs, above = (side.ravel().tolist() for side in sides)
        low, high = tuple(map(lower_bound, lows, below)), tuple(map(upper_bound, highs, above))
        if all(abs(bound) == UNBOUNDED for bound in (*low, *high)):
            return self
        return replace(self, action_low=low, action_high=high)

    def _choosing_in(self, space: gymnasium.Space) -> "Spaces":
        """Return the same with the choices of a MultiDiscrete or MultiBinary."""
        choices, starts = choices_of(space)
        return replace(
            self,
            actions=int(choices.sum()),
            choices=tuple(choices.tolist()),
            action_starts=tuple(starts.tolist()) if starts.any() else (),
        )

    @property
    def usual_type(self) -> ActionType:
        """What ``action_type`` None stands for."""
        return "int64" if self.discrete else "float32"

    @property
    def usual_shape(self) -> tuple[int, ...]:
        """What ``action_shape`` None stands for: the shape of a policy's own actions."""
        if self.discrete:
            return (len(self.choices),) if self.choices else ()
        return (self.actions,)

    @property
    def environment_shape(self) -> tuple[int, ...]:
        """Shape of the environment's actions."""
        return self.usual_shape if self.action_shape is None else self.action_shape

    @cached_property
    def action_space(self) -> gymnasium.Space:
        """The environment's action space, as far as these numbers tell."""
        kind, shape = np.dtype(self.action_type or self.usual_type), self.environment_shape
        if self.choices:
            sizes, starts = (np.reshape(each, shape) for each in (self.choices, self._starts))
            return gymnasium.spaces.MultiDiscrete(
                sizes, dtype=cast(Any, kind.type), start=starts.astype(kind)
            )
        if self.discrete:
            return gymnasium.spaces.Discrete(self.actions, start=self.action_start, dtype=kind.type)
        low, high = (within(bounds, *limits(kind)).reshape(shape) for bounds in self._bounds)
        return gymnasium.spaces.Box(low, high, dtype=kind.type)

    def centred(self, observation: Float[Tensor, "*batch O"]) -> Float[Tensor, "*batch O"]:
        """Return observations less their typical value."""
        if not self.observation_offset:
            return observation
        return observation - observation.new_tensor(self.observation_offset)

    def normalized(self, observation: Float[Tensor, "*batch O"]) -> Float[Tensor, "*batch O"]:
        """Return observations less their typical value, in units of their typical magnitude."""
        return self.centred(observation) / observation.new_tensor(self.observation_scale)

    @property
    def condensed_size(self) -> int:
        """Length of what :meth:`condensed` returns."""
        size = len(self.observation_scale)
        if not self.image:
            return size
        height, width, channels = self.image
        pooled = min(height, CONDENSED) * min(width, CONDENSED) * channels
        return pooled + size - math.prod(self.image)

    def condensed(self, observation: Float[Tensor, "*batch O"]) -> Float[Tensor, "*batch C"]:
        """Return images averaged over few large pixels, and other numbers as they are.

        For what has a parameter, or a product, for each of the numbers.
        """
        if not self.image:
            return observation
        height, width, _ = self.image
        pixels = math.prod(self.image)
        images = observation[..., :pixels].reshape(-1, *self.image).movedim(-1, 1)
        grid = min(height, CONDENSED), min(width, CONDENSED)
        pooled = torch.nn.functional.adaptive_avg_pool2d(images, grid)
        averages = pooled.flatten(1).reshape(*observation.shape[:-1], -1)
        return torch.cat([averages, observation[..., pixels:]], -1)

    def to_environment(self, action: Tensor) -> Tensor:
        """Change a policy's actions ``[..., A]`` to the environment's units.

        Dimensions with two bounds go from [-1, 1] to these, clipped; others stay as they are.
        """
        scaling = self.action_scaling(action)
        return scaling(action) if scaling else action

    def action_scaling(self, like: Tensor) -> ActionScaling | None:
        """Return what :meth:`to_environment` does to actions like these; None if nothing."""
        if self.discrete or not self._scaled.any():
            return None
        low, high = like.new_tensor(self._unit_bounds)
        some = None if self._scaled.all() else torch.from_numpy(self._scaled).to(like.device)
        return ActionScaling(low, high, some)

    def from_environment(self, action: np.ndarray) -> np.ndarray:
        """Undo what was done to a policy's actions.

        Returns:
            ``[T]`` or, of several choices, ``[T, F]`` int64, or ``[T, A]`` float32.

        Raises:
            ValueError: A discrete action is not one of the environment's, or the shape is another.
        """
        expected = (*action.shape[:1], *self.environment_shape)
        if action.shape != expected:
            raise ValueError(f"its actions have the shape {action.shape}, not {expected}")
        action = action.reshape((*action.shape[:1], *self.usual_shape))
        if not self.discrete:
            low, high = self._unit_bounds
            width = np.where(high > low, high - low, np.inf)  # a single value: any action gives it
            unit = 2.0 * (action - low) / width - (high > low)
            return unit.clip(-LARGEST, LARGEST).astype(np.float32)
        choices = self.choices or self.actions
        index = action.astype(np.int64) - (self._starts if self.choices else self.action_start)
        if not ((index >= 0) & (index < choices)).all():
            raise ValueError(f"an action of it is none of the {choices}")
        return index

    def contained(self, action: Tensor) -> EnvironmentAction:
        """Return a policy's actions, with any leading axes, as its ``action_space`` has them."""
        return into_space(self.to_environment(action).numpy(), self.action_space)

    def same_actions(self, other: "Spaces") -> bool:
        """Whether the same actions mean the same in both; start and type may differ."""
        mine = self.discrete, self.actions, self.choices, self.environment_shape
        if mine != (other.discrete, other.actions, other.choices, other.environment_shape):
            return False
        # A former version did not keep the bounds of a space that lacked some.
        forgotten = not self.action_low and not other._scaled.all()
        bounds = np.stack([self._bounds, other._bounds]).clip(-LARGEST, LARGEST)
        return forgotten or np.array_equal(*bounds.astype(np.float32))

    def describe(self) -> str:
        """Say it in words: ``4 numbers and takes 2 discrete actions``."""
        sees = f"{len(self.observation_scale)} numbers and takes"
        if self.choices:
            return f"{sees} {len(self.choices)} discrete actions of {list(self.choices)} choices"
        if self.discrete:
            start = f" from {self.action_start}" if self.action_start else ""
            return f"{sees} {self.actions} discrete actions{start}"
        low, high = (
            [bound if abs(bound) < UNBOUNDED else math.copysign(math.inf, bound) for bound in side]
            for side in (self.action_low, self.action_high)
        )
        return f"{sees} {self.actions} numbers" + (f" from {low} to {high}" if low else "")

    @cached_property
    def _starts(self) -> Int64[np.ndarray, "F"]:
        return np.array(self.action_starts or (0,) * len(self.choices), np.int64)

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
