"""From a family's Gymnasium spaces to the plain numbers a policy is built from."""

from ssm_metarl.core.spaces import Spaces
from ssm_metarl.env_runner.family import TaskFamily


def policy_spaces(family: TaskFamily) -> Spaces:
    """Return what a policy for this family sees and does."""
    return Spaces.of(family.observation_scale, family.action_space)
