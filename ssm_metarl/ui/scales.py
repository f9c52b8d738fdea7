"""How returns are shown and said, in each family's own terms."""

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.ui.charts import Axis, Rule


def balances(family: TaskFamily) -> bool:
    """Whether a return is the number of steps that something stayed up."""
    return "CartPole" in family.env_id


def return_scale(family: TaskFamily | None) -> tuple[Axis, list[Rule]]:
    """Return the axis that a family's returns are drawn against, and what to compare them with.

    None is a family that is not of this package.
    """
    if family is None or not balances(family):
        return Axis("Mean return"), []
    best = float(family.max_episode_steps)
    return Axis("Mean return (steps)", 0.0, 1.05 * best), [Rule(best, "best possible")]


def reached(value: float, family: TaskFamily, *, brief: bool = False) -> str:
    """Say how much was earned."""
    if not balances(family):
        return f"{value:.4g}" if brief else f"earns a return of {value:.4g}"
    if brief:
        return f"{value:.0f}"
    return f"balances for {value:.0f} of {family.max_episode_steps} steps"
