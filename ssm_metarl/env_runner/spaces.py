"""From a family's Gymnasium spaces to the plain numbers a policy is built from."""

import gymnasium
import numpy as np

from ssm_metarl.core.policy import Spaces
from ssm_metarl.env_runner.family import TaskFamily


def policy_spaces(family: TaskFamily) -> Spaces:
    """Return what a policy for this family sees and does."""
    return spaces_of(family.observation_scale, family.action_space)


def spaces_of(observation_scale: np.ndarray, space: gymnasium.Space) -> Spaces:
    """Return what a policy sees and does.

    Continuous actions without finite bounds are taken as they are.

    Args:
        observation_scale: Typical magnitude of each observation, ``[O]``.
        space: Of the actions, Discrete or a Box.
    """
    scale = tuple(observation_scale.tolist())
    if isinstance(space, gymnasium.spaces.Discrete):
        return Spaces(scale, int(space.n), discrete=True)
    assert isinstance(space, gymnasium.spaces.Box)  # families accept no third kind
    size = int(np.prod(space.shape))
    if not space.is_bounded():
        return Spaces(scale, size, discrete=False)
    low, high = space.low.flatten().tolist(), space.high.flatten().tolist()
    return Spaces(scale, size, False, tuple(low), tuple(high))
