"""Observations of any space as one axis of numbers, those of an image first."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from ssm_metarl.errors import UserError

NUMBERS = (
    gymnasium.spaces.Box,
    gymnasium.spaces.Discrete,
    gymnasium.spaces.MultiBinary,
    gymnasium.spaces.MultiDiscrete,
)


class ImagePlace(NamedTuple):
    """Where an image is in a flat observation.

    Attributes:
        start: Index of its first number.
        shape: Height, width and channels.
    """

    start: int
    shape: tuple[int, ...]


class ImageFirst(gymnasium.ObservationWrapper, gymnasium.utils.RecordConstructorArgs):
    """A flat observation with the numbers of its image before all others."""

    def __init__(self, env: gymnasium.Env, start: int, size: int) -> None:
        """Move them to the front.

        Args:
            env: Its observations have one axis.
            start: Index of the image's first number.
            size: How many numbers it has.
        """
        gymnasium.utils.RecordConstructorArgs.__init__(self, start=start, size=size)
        gymnasium.ObservationWrapper.__init__(self, env)
        flat: Any = env.observation_space
        self._order = np.r_[start : start + size, :start, start + size : len(flat.low)]
        low, high = flat.low[self._order], flat.high[self._order]
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=flat.dtype)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Return it in the other order."""
        return observation[self._order]


def with_flat_observations(env: gymnasium.Env) -> gymnasium.Env:
    """Flatten what the environment shows to one axis (discrete observations to one-hot).

    Of a Dict or Tuple, the first image comes first, then the rest in the space's order.

    Raises:
        UserError: The observation cannot be flattened to a fixed number of numbers.
    """
    space = env.observation_space
    if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1:
        return env
    _check_flattenable(space)
    flat, image = gymnasium.wrappers.FlattenObservation(env), find_image(space)
    return ImageFirst(flat, image.start, math.prod(image.shape)) if image and image.start else flat


def find_image(space: gymnasium.Space) -> ImagePlace | None:
    """Return where the first image, uint8 of three axes, is in a flat observation."""
    start = 0
    for part in _parts(space):
        image = isinstance(part, gymnasium.spaces.Box) and part.dtype == np.uint8
        if image and len(part.shape or ()) == 3:
            return ImagePlace(start, part.shape or ())
        start += gymnasium.spaces.flatdim(part)
    return None


def _parts(space: gymnasium.Space) -> Iterator[gymnasium.Space]:
    """Yield what a space is composed of, in the order in which it is flattened."""
    if not isinstance(space, gymnasium.spaces.Dict | gymnasium.spaces.Tuple):
        yield space
        return
    parts = space.spaces
    for part in parts.values() if isinstance(parts, Mapping) else parts:
        yield from _parts(part)


def _check_flattenable(space: gymnasium.Space, where: str = "") -> None:
    """Refuse an observation space, or a part of one, that is no fixed number of numbers."""
    if isinstance(space, gymnasium.spaces.Dict | gymnasium.spaces.Tuple):
        parts = space.spaces
        for name, part in parts.items() if isinstance(parts, Mapping) else enumerate(parts):
            _check_flattenable(part, f"{where}[{name!r}]")
    elif not isinstance(space, NUMBERS):  # Gymnasium would flatten text, to codes of characters
        known = type(space).__module__.startswith("gymnasium.")
        without = ", or a wrapper such as FilterObservation that leaves it out" if where else ""
        raise UserError(
            f"observation space{where} {space if known else type(space).__name__} is not "
            "supported; valid: Box, Discrete, MultiBinary, MultiDiscrete, and Dict or Tuple of "
            f"them{without}"
        )


def flat_observation_space(env: gymnasium.Env) -> gymnasium.spaces.Box:
    """Return the float32 `[O]` box of what `with_flat_observations(env)` shows."""
    return float_box(with_flat_observations(env).observation_space)


def float_box(space: gymnasium.Space) -> gymnasium.spaces.Box:
    """Return a flat space as float32 `[O]`.

    Raises:
        UserError: It has more axes than one, or no number.
    """
    if not (isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1):
        raise UserError(f"observation space {space} is not supported; valid: a Box of one axis")
    if space.shape == (0,):
        raise UserError(f"observation space {space} holds no number, so there is nothing to see")
    low, high = space.low.astype(np.float32), space.high.astype(np.float32)
    return gymnasium.spaces.Box(low, high, dtype=np.float32)
