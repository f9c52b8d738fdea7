"""What goes into environments in lanes on a step, and what comes out, in one block of memory.

Nothing here needs torch, which worker processes do without.
"""

import math
from typing import Any, NamedTuple

import gymnasium
import numpy as np

TERMINATED, TRUNCATED, TOLD, SUCCESS = range(4)
"""Rows of the flags in `Records`."""
MAX_REWARD = 1e15  # the square of a long episode's return still fits float32


class Records(NamedTuple):
    """What goes into N environments on a step, and what comes out: views of one block of memory.

    Attributes:
        observation: In the type of its space, ``[N, ...]``.
        action: In the type of its space, ``[N, ...]``.
        reward: float64, ``[N]``.
        flags: Whether the episode terminated, was truncated, its task's success was told, and that
            success; bool ``[4, N]``.
    """

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    flags: np.ndarray

    def part(self, lanes: slice) -> "Records":
        """Return the records of some lanes; what is written there is written here."""
        observation, action, reward, flags = self
        return Records(observation[lanes], action[lanes], reward[lanes], flags[:, lanes])


def block_type(
    observation_space: gymnasium.Space, action_space: gymnasium.Space, lanes: int
) -> np.dtype:
    """Return the type of a block that holds the records of some lanes, field after field."""
    seen, chosen = observation_space, action_space
    fields: list[Any] = [
        ("observation", seen.dtype, (lanes, *(seen.shape or ()))),
        ("action", chosen.dtype, (lanes, *(chosen.shape or ()))),
        ("reward", np.float64, (lanes,)),
        ("flags", np.bool_, (4, lanes)),
    ]
    return np.dtype(fields, align=True)


def records_of(block: np.ndarray) -> Records:
    """Return the fields of a block ``[]`` of :func:`block_type`."""
    return Records(block["observation"], block["action"], block["reward"], block["flags"])


def unusable(records: Records) -> dict[int, str]:
    """Return the lanes whose numbers are not finite, or too large, and what is wrong with them."""
    observations, rewards = records.observation, records.reward
    if not len(rewards):
        return {}
    whole = observations.dtype.kind != "f"
    with np.errstate(over="ignore", invalid="ignore"):
        # Sums of squares are finite only if all numbers are, and take a fifth of the time; those
        # of large numbers may not be, which is looked at below.
        payable = np.dot(rewards, rewards) <= MAX_REWARD**2
        if payable and (whole or math.isfinite(np.vdot(observations, observations))):
            return {}  # nearly always
    unpaid = ~(np.abs(rewards) <= MAX_REWARD)  # not so where one is NaN, either
    unseen = (
        np.zeros_like(unpaid)
        if whole
        else ~np.isfinite(observations.reshape(len(rewards), -1)).all(1)
    )
    found = {}
    for lane in np.flatnonzero(unpaid | unseen).tolist():
        size = abs(rewards[lane])
        what = (
            "a reward that is not finite" if unpaid[lane] else "an observation that is not finite"
        )
        if unpaid[lane] and np.isfinite(size):
            what = f"a reward of {size:.3g} in size (valid: at most {MAX_REWARD:g})"
        found[lane] = f"the environment gave {what}"
    return found
