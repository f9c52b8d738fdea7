"""The families that the page has."""

from importlib.util import find_spec

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import list_families


def page_families() -> tuple[TaskFamily, ...]:
    """Return the families that can be built: those of robots only where MuJoCo is installed."""
    return list_families(extras=all(map(find_spec, ("mujoco", "imageio"))))
