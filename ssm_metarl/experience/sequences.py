"""Batches of sequences for training on stored experience, and which steps they are made of."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Int64, Shaped
from torch import Tensor


@dataclass(frozen=True)
class Sequences:
    """B runs of up to T consecutive steps, each from one stored trajectory.

    The fields mean what they mean in a `Trajectory`; what lies beyond the end of a trajectory is
    zero and not valid. All are views of one block of memory.

    Attributes:
        action: As the policy sampled it.
        observation: One more than there are steps.
        reward: Zero where not valid.
        log_prob: Of the action under the policy that took it; NaN if that is not known.
        terminated: The episode ended here for good.
        truncated: The episode was cut here by its time limit.
        valid: Whether the step was a step of an episode.
        episode_start: Whether the observation is the first of an episode.
        trial_start: Whether it is the first of its trajectory. A sequence that starts with another
            one starts with a memory that is not known.
        task: Id of the stored task.
        label: Of the policy that collected it.
    """

    action: Shaped[Tensor, "T B ..."]
    observation: Float[Tensor, "T+1 B O"]
    reward: Float[Tensor, "T B"]
    log_prob: Float[Tensor, "T B"]
    terminated: Bool[Tensor, "T B"]
    truncated: Bool[Tensor, "T B"]
    valid: Bool[Tensor, "T B"]
    episode_start: Bool[Tensor, "T+1 B"]
    trial_start: Bool[Tensor, "T+1 B"]
    task: Int[Tensor, "B"]
    label: Int[Tensor, "B"]


def draw_windows(
    steps: Int64[np.ndarray, "N"], count: int, length: int, rng: np.random.Generator
) -> Int64[np.ndarray, "count 4"]:
    """Draw steps, all of all records equally likely, and a window of steps around each.

    The step lies anywhere in its window with equal probability, but windows do not reach beyond
    the ends of a record: they are moved inwards, and are short only in a shorter record.

    Args:
        steps: Of each record, dead ones included.
        count: How many to draw.
        length: Of the windows, in steps.
        rng: Where the randomness comes from.

    Returns:
        Rows of (record, step drawn, first step of the window, step after its last).
    """
    ends = steps.cumsum()
    drawn = rng.integers(ends[-1], size=count)
    record = ends.searchsorted(drawn, side="right")
    size = steps[record]
    step = drawn - (ends[record] - size)
    first = np.clip(step - rng.integers(length, size=count), 0, np.maximum(size - length, 0))
    return np.stack([record, step, first, np.minimum(first + length, size)], axis=1)
