"""What a visitor asks to train."""

from typing import Any

from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.meta_rl.registry import LEARNERS, used_by
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.ui.limits import ITERATIONS, SEED, TRAINING_EPISODES, training_range
from ssm_metarl.ui.store import check_family

ADVANCED = ("inner_lr", "outer_lr", "tasks_per_epoch", "width", "state_size")
CHOICES = ("cell", "seed", "adapts", "surrogate")
VALIDATIONS = 20  # of a training: the points of its curve
EXPERIENCE = 200_000  # steps kept for hybrid adaptation: about 25 MB


def train_settings(
    family: object, learner: Any, iterations: object, episodes: object, *advanced: Any
) -> TrainConfig:
    """Return the settings of a training.

    Args:
        family: One of this package.
        learner: How to learn.
        iterations: The budget of learners that count iterations.
        episodes: The budget of those that count episodes.
        advanced: Values of `ADVANCED` and `CHOICES`, or the first of them. A number that is None,
            or suits the family anyway, is left to it, as is what the learner does not use.

    Raises:
        UserError: A number is out of its limits, or something else is not valid.
    """
    name = check_family(family)
    usual, asked = defaults(name, learner), dict(zip(ADVANCED, advanced, strict=False))
    given: dict[str, Any] = {
        key: training_range(key).check(value)
        for key, value in asked.items()
        if value is not None and value != usual[key]
    }
    chosen = zip(CHOICES, advanced[len(ADVANCED) :], strict=False)
    given |= {key: value for key, value in chosen if learner in used_by(key)}
    given["seed"] = SEED.check(given.get("seed", 0))
    epochs = ITERATIONS.check(iterations)
    return TrainConfig(
        mode=learner,
        env_name=name,
        num_epochs=epochs if LEARNERS[learner].counts_iterations else None,
        num_episodes=TRAINING_EPISODES.check(episodes),
        validate_every=max(1, epochs // VALIDATIONS),
        experience=EXPERIENCE,
        compile="off",  # nothing can be stopped while it compiles, for up to minutes
        **given,
    )


def defaults(family: str, learner: Any) -> dict[str, float | None]:
    """Return the advanced settings where nothing is asked; None is of no use to the learner."""
    config = TrainConfig(mode=learner, env_name=family).resolve(get_family(family))
    return {name: getattr(config, name) for name in ADVANCED}
