"""What an agent sees, in words: the families say it in numbers only."""

from ssm_metarl.env_runner.family import TaskFamily

_CARTPOLE = (
    ("position of the cart", "m"),
    ("speed of the cart", "m/s"),
    ("angle of the pole", "rad"),
    ("speed of the pole", "rad/s"),
)
_OBSERVED = {
    "CartPole-v1": _CARTPOLE,
    "Pendulum-v1": (
        ("cosine of the angle", ""),
        ("sine of the angle", ""),
        ("speed of the rod", "rad/s"),
    ),
    "Acrobot-v1": (
        ("cosine of the shoulder's angle", ""),
        ("sine of the shoulder's angle", ""),
        ("cosine of the elbow's angle", ""),
        ("sine of the elbow's angle", ""),
        ("speed at the shoulder", "rad/s"),
        ("speed at the elbow", "rad/s"),
    ),
    "MountainCarContinuous-v0": (("position", ""), ("speed", "per step")),
    "Navigation2D-v0": (("x coordinate", ""), ("y coordinate", "")),
}
_ACTIONS = {
    "CartPole-v1": ("pushing left", "pushing right"),
    "Pendulum-v1": ("torque of the motor",),
    "Acrobot-v1": ("torque to the left", "no torque", "torque to the right"),
    "MountainCarContinuous-v0": ("push of the engine",),
    "Navigation2D-v0": ("step along x", "step along y"),
}


def observed(family: TaskFamily) -> list[tuple[str, str]]:
    """Return the name and the unit of each observation, as the agent sees them."""
    size = family.observation_space.shape[0]
    everything = _OBSERVED.get(family.env_id)
    if everything is None:
        return [(f"observation {number}", "") for number in range(size)]
    return [everything[place] for place in family.observed or range(size)]


def action_names(family: TaskFamily, actions: int) -> list[str]:
    """Return what each action (or dimension of one) is."""
    return list(_ACTIONS.get(family.env_id, [f"action {number}" for number in range(actions)]))


def with_unit(name: str, unit: str) -> str:
    """Return ``speed (m/s)``."""
    return f"{name} ({unit})" if unit else name
