"""Action spaces of environments: which ones an agent can act in, and actions as they have them."""

import math
from typing import Literal, cast, get_args

import gymnasium
import numpy as np

from ssm_metarl.errors import UserError

ActionType = Literal[
    "float16", "float32", "float64", "bool",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
]  # fmt: skip
ACTION_TYPES = get_args(ActionType)
ACTION_SPACES = (
    gymnasium.spaces.Discrete,
    gymnasium.spaces.MultiDiscrete,
    gymnasium.spaces.MultiBinary,
    gymnasium.spaces.Box,
)
EnvironmentAction = np.ndarray | np.integer
"""An action as ``env.step`` takes it: a discrete one alone is a NumPy integer."""

UNBOUNDED = float(np.finfo(np.float64).max)
"""Stands for a bound that is not there; JSON, unlike infinity, can hold it."""


def check_action_space(space: gymnasium.Space) -> ActionType:
    """Return NumPy's name of the type of an action.

    Raises:
        UserError: An agent cannot act in the space.
    """
    kind = str(np.dtype(space.dtype)) if space.dtype is not None else ""
    if not isinstance(space, ACTION_SPACES) or kind not in ACTION_TYPES:
        raise UserError(
            f"action space {space} is not supported; valid: "
            + ", ".join(each.__name__ for each in ACTION_SPACES)
        )
    if 0 in (space.shape or ()):
        raise UserError(f"action space {space} holds no number, so there is nothing to do")
    return cast(ActionType, kind)


def into_space(action: np.ndarray, space: gymnasium.Space) -> EnvironmentAction:
    """Return actions in the environment's units as its space contains them.

    Args:
        action: Indices from 0, ``[...]`` for Discrete, ``[..., F]`` for F choices; or numbers
            ``[..., A]`` for a Box.
        space: One that :func:`check_action_space` takes.

    Returns:
        The same leading axes, then the space's shape, in its dtype; a Discrete action alone is a
        NumPy scalar, which environments can look up in a table.
    """
    if isinstance(space, gymnasium.spaces.Discrete):
        return (action + int(space.start)).astype(space.dtype)[()]
    shape = cast(tuple[int, ...], space.shape)
    shaped = action.reshape((*action.shape[:-1], *shape))
    if isinstance(space, gymnasium.spaces.Box):
        return within(shaped, space.low, space.high)
    starts = choices_of(space)[1].reshape(shape)
    return np.asarray((shaped + starts).astype(space.dtype))


def choices_of(space: gymnasium.Space) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of choices and the first of each part ``[F]`` of an action, int64."""
    if isinstance(space, gymnasium.spaces.MultiBinary):
        parts = np.zeros(math.prod(space.shape), np.int64)
        return parts + 2, parts
    assert isinstance(space, gymnasium.spaces.MultiDiscrete)
    return space.nvec.astype(np.int64).ravel(), space.start.astype(np.int64).ravel()


def within(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Cast numbers to the type of the bounds (integers: the nearest) and clip them exactly."""
    if values.dtype == low.dtype:
        return np.minimum(np.maximum(values, low), high)  # NaN stays, as below
    exact = values.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # what does not fit is clipped below
        inside = (exact if low.dtype.kind == "f" else np.rint(exact)).astype(low.dtype)
    inside = np.where(exact >= high.astype(np.float64), high, inside)
    return np.where(exact <= low.astype(np.float64), low, inside)


def limits(kind: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest finite number of a type."""
    if kind.kind == "b":
        return np.array(False), np.array(True)
    info = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    return np.array(info.min, kind), np.array(info.max, kind)


def lower_bound(bound: float | int, bounded: bool) -> float:
    """Return a lower bound as a float that is no lower, which not every int64 itself is."""
    if not bounded:
        return -UNBOUNDED
    return float(bound) if float(bound) >= bound else math.nextafter(float(bound), math.inf)


def upper_bound(bound: float | int, bounded: bool) -> float:
    """Return an upper bound as a float that is no higher."""
    return -lower_bound(-bound, bounded)
