"""Names and units of what an agent observes and does; the families themselves have numbers only."""

from ssm_metarl.env_runner.family import Parameter, TaskFamily

_OBSERVATIONS = {
    "CartPole-v1": (
        ("position of the cart", "m"),
        ("speed of the cart", "m/s"),
        ("angle of the pole", "rad"),
        ("speed of the pole", "rad/s"),
    ),
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


def observation_names(family: TaskFamily) -> list[tuple[str, str]]:
    """Return the name and the unit of each observation, in the order in which the agent sees it."""
    size = family.observation_space.shape[0]
    names = _OBSERVATIONS.get(family.env_id)
    if names is None:
        return [(f"observation {number}", "") for number in range(size)]
    return [names[index] for index in family.observed or range(size)]


def action_names(family: TaskFamily, actions: int) -> list[str]:
    """Return the name of each discrete action, or of each action dimension."""
    return list(_ACTIONS.get(family.env_id, [f"action {number}" for number in range(actions)]))


def is_switch(parameter: Parameter) -> bool:
    """Whether it has two values, and a description that says what the unusual one does."""
    unusual = [f"{choice:g}" for choice in parameter.choices if choice != parameter.default]
    return unusual == [parameter.description.partition(" ")[0]]


def choice_effect(parameter: Parameter) -> str:
    """Return what the unusual value of a categorical parameter does: ``swaps left and right``."""
    if is_switch(parameter):
        return parameter.description.partition(" ")[2]
    return f"has another {parameter.name.replace('_', ' ')} than {parameter.default:g}"


def with_unit(name: str, unit: str) -> str:
    """Return ``speed (m/s)``."""
    return f"{name} ({unit})" if unit else name
