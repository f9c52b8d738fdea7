"""What a visitor asks to train, and how long that takes."""

import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ssm_metarl.checkpoint.names import as_name
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.policy_gradient import PolicyGradient
from ssm_metarl.meta_rl.registry import LEARNERS
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.settings import settings_of
from ssm_metarl.ui.limits import SEED, TRAINING, integer, training_range
from ssm_metarl.ui.store import check_family

CELLS = settings_of(TrainConfig)["cell"].choices
ADVANCED = ("inner_lr", "outer_lr", "tasks_per_epoch", "width", "state_size")
VALIDATIONS = 20  # of a training: the points of its curve
EXPERIENCE = 200_000  # steps kept for hybrid adaptation: about 25 MB
PACE: dict[str, dict[str, float]] = json.loads(
    (Path(__file__).parent / "pace.json").read_text(encoding="utf-8")
)["seconds_per_iteration"]


def train_settings(
    family: object,
    learner: object,
    iterations: object,
    episodes: object,
    inner_lr: object = None,
    outer_lr: object = None,
    tasks_per_epoch: object = None,
    width: object = None,
    state_size: object = None,
    cell: object = CELLS[0],
    seed: object = 0,
) -> TrainConfig:
    """Return the settings of a training; numbers are brought within their limits.

    What is None, or what suits the family anyway, is left to it.

    Args:
        family: Family of tasks.
        learner: How to learn.
        iterations: The budget of learners that count iterations.
        episodes: The budget of those that count episodes.
        inner_lr: As in :class:`TrainConfig`, and so are the others.

    Raises:
        UserError: No family of this package, or something is of the wrong kind.
    """
    if cell not in CELLS:
        raise UserError(f"cell is one of: {', '.join(CELLS)}")
    usual = defaults(check_family(family), check_learner(learner))
    epochs = integer(training_range("num_epochs"), "iterations", iterations)
    numbers = (inner_lr, outer_lr, tasks_per_epoch, width, state_size)
    given: dict[str, Any] = {
        name: training_range(name).clamp(name, value)
        for name, value in zip(ADVANCED, numbers, strict=True)
        if value is not None and value != usual[name]
    }
    return TrainConfig(
        mode=check_learner(learner),
        env_name=check_family(family),
        num_epochs=epochs if counts_iterations(check_learner(learner)) else None,
        num_episodes=integer(training_range("num_episodes"), "episodes", episodes),
        validate_every=max(1, epochs // VALIDATIONS),
        experience=EXPERIENCE,
        cell=cell,  # pyright: ignore[reportArgumentType] (one of CELLS)
        seed=integer(SEED, "seed", seed),
        **given,
    )


def check_size(config: TrainConfig) -> None:
    """Make sure that a run, which may come from anywhere, is no larger than the page trains.

    Raises:
        UserError: It is; names the setting and the most there can be.
    """
    for name, most in TRAINING.items():
        value = getattr(config, name)
        if value is not None and value > most:
            raise UserError(
                f"{name} of that run is {value}; the page trains with at most {most}, "
                "the command line with more"
            )
    if config.device != "cpu":
        raise UserError(f"that run was trained on {config.device}; the page trains on the cpu")


def check_learner(name: object) -> str:
    """Return the name of a learner.

    Raises:
        UserError: It is anything else.
    """
    if not isinstance(name, str) or name not in LEARNERS:
        raise UserError(f"learner is one of: {', '.join(LEARNERS)}")
    return name


def counts_iterations(learner: str) -> bool:
    """Whether the budget of a learner is in iterations, or else in episodes."""
    return "num_epochs" in LEARNERS[learner].uses


def defaults(family: str, learner: str) -> dict[str, float | None]:
    """Return the advanced settings where nothing is asked; None is of no use to the learner."""
    config = TrainConfig(mode=check_learner(learner), env_name=family).resolve(get_family(family))
    return {name: getattr(config, name) for name in ADVANCED}


def clamped(numbers: Sequence[int | float | None]) -> Iterator[str]:
    """Say which of the advanced numbers are brought within their limits, a line for each."""
    for name, asked in zip(ADVANCED, numbers, strict=True):
        limits = training_range(name)
        if asked is not None and (nearest := limits.clamp(name, asked)) != asked:
            yield f"{name}: {nearest:g} is taken; valid here: {limits.low:g} to {limits.high:g}."


def iterations_of(config: TrainConfig) -> int:
    """Return how many iterations a training has."""
    resolved = config.resolve(get_family(config.env_name))
    if counts_iterations(config.mode) and resolved.num_epochs is not None:
        return resolved.num_epochs
    return math.ceil(config.num_episodes / PolicyGradient.episodes)


def expected_seconds(config: TrainConfig) -> float:
    """Return about how long a training takes on one core, as measured with default settings.

    An iteration of twice the tasks takes twice as long; other settings are not looked at.
    """
    usual = defaults(config.env_name, config.mode)["tasks_per_epoch"]
    share = config.tasks_per_epoch / usual if usual and config.tasks_per_epoch else 1.0
    return PACE[config.env_name][config.mode] * iterations_of(config) * share


def is_large(config: TrainConfig) -> bool:
    """Whether a network is larger than those whose pace was measured."""
    usual = defaults(config.env_name, config.mode)
    sizes = ((getattr(config, name), usual[name]) for name in ("width", "state_size"))
    return any(own is not None and own > (most or 0) for own, most in sizes)


def duration(seconds: float) -> str:
    """Return a time in words, no more exactly than it is known."""
    if seconds < 5:
        return "a few seconds"
    if seconds < 90:
        return f"about {5 * round(seconds / 5)} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def suggested_name(family: str, learner: str, taken: Callable[[str], bool]) -> str:
    """Return a name for a run that is free: the family, the learner and a number."""
    names = (as_name(f"{family}-{learner}", f"-{number}") for number in itertools.count(1))
    return next(name for name in names if not taken(name))


def is_suggested(name: str, family: str, learner: str) -> bool:
    """Whether a name may be one that the page came up with."""
    number = name.rpartition("-")[2]
    return number.isdigit() and name == as_name(f"{family}-{learner}", f"-{number}")
