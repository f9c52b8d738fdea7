"""Worlds of MuJoCo robots."""

from ssm_metarl.env_runner import mujoco_robots, mujoco_runners
from ssm_metarl.env_runner.mujoco_robots import Robot
from ssm_metarl.errors import UserError, nearest

ROBOTS: dict[str, type[Robot]] = {
    f"{robot.__name__}-v5": robot
    for robot in (
        mujoco_runners.HalfCheetah,
        mujoco_runners.Hopper,
        mujoco_runners.Walker2d,
        mujoco_runners.Ant,
        mujoco_runners.Humanoid,
        mujoco_runners.Swimmer,
        mujoco_robots.Reacher,
        mujoco_robots.Pusher,
        mujoco_robots.InvertedPendulum,
        mujoco_robots.InvertedDoublePendulum,
    )
}


def robot_of(env_id: str) -> type[Robot]:
    """Return the class for one of Gymnasium's ids.

    Raises:
        UserError: It is not among them.
    """
    if env_id not in ROBOTS:
        raise UserError(f"{env_id!r} is no robot that runs in lanes; {nearest(env_id, ROBOTS)}")
    return ROBOTS[env_id]
