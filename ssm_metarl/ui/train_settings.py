"""What a visitor asks to train, and how long that takes."""

import itertools
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ssm_metarl.checkpoint.names import as_name
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.policy_gradient import PolicyGradientConfig
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.ui.limits import (
    BLOCKS,
    EPISODES_PER_TASK,
    EPISODES_PER_TRIAL,
    EPOCHS,
    HORIZON,
    INNER_LR,
    OUTER_EPOCHS,
    OUTER_LR,
    SEED,
    STATE_SIZE,
    STEPS,
    STORED_STEPS,
    TASKS_PER_EPOCH,
    TRAIN_EPISODES,
    VALIDATION_TASKS,
    WIDTH,
    Range,
    integer,
)
from ssm_metarl.ui.store import check_family

LEARNERS = {
    "meta_rl": "finds weights from which one gradient step on a few episodes adapts (MAML)",
    "rl2": "trains a memory that works out the task while playing it several times (RL²)",
    "policy_gradient": "learns the one ordinary task, and nothing about adapting (PPO)",
}
CELLS = ("ssm", "gated", "gru", "mlp")
LOOKS = 20  # at the validation tasks, in a training: the points of its curve
EXPERIENCE = 200_000  # steps kept for hybrid adaptation: about 25 MB
PACE: dict[str, dict[str, float]] = json.loads(
    (Path(__file__).parent / "pace.json").read_text(encoding="utf-8")
)["seconds_per_iteration"]

LIMITS: Mapping[str, Range] = {
    "inner_lr": INNER_LR,
    "outer_lr": OUTER_LR,
    "tasks_per_epoch": TASKS_PER_EPOCH,
    "width": WIDTH,
    "state_size": STATE_SIZE,
}

SIZES: Mapping[str, Range] = {
    "num_epochs": EPOCHS,
    "num_episodes": TRAIN_EPISODES,
    "tasks_per_epoch": TASKS_PER_EPOCH,
    "episodes_per_task": EPISODES_PER_TASK,
    "episodes_per_trial": EPISODES_PER_TRIAL,
    "inner_steps": STEPS,
    "outer_epochs": OUTER_EPOCHS,
    "support_steps": HORIZON,
    "query_steps": HORIZON,
    "width": WIDTH,
    "state_size": STATE_SIZE,
    "blocks": BLOCKS,
    "validation_tasks": VALIDATION_TASKS,
    "experience": STORED_STEPS,
}


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
        iterations: The budget of meta_rl and rl2.
        episodes: The budget of policy_gradient.
        inner_lr: As in :class:`TrainConfig`, and so are the others.

    Raises:
        UserError: No family of this package, or something is of the wrong kind.
    """
    if cell not in CELLS:
        raise UserError(f"cell is one of: {', '.join(CELLS)}")
    usual = defaults(check_family(family), check_learner(learner))
    epochs = integer(EPOCHS, "iterations", iterations)
    numbers = (inner_lr, outer_lr, tasks_per_epoch, width, state_size)
    given: dict[str, Any] = {
        name: None if value in (None, usual[name]) else limits.clamp(name, value)
        for (name, limits), value in zip(LIMITS.items(), numbers, strict=True)
    }
    return TrainConfig(
        mode=check_learner(learner),
        env_name=check_family(family),
        num_epochs=None if learner == "policy_gradient" else epochs,
        num_episodes=integer(TRAIN_EPISODES, "episodes", episodes),
        validate_every=max(1, epochs // LOOKS),
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
    for name, limits in SIZES.items():
        value = getattr(config, name)
        if value is not None and value > limits.high:
            raise UserError(
                f"{name} of that run is {value}; the page trains with at most {limits.high}, "
                "the command line with more"
            )
    if config.device != "cpu":
        raise UserError(f"that run was trained on {config.device}; the page trains on the cpu")


def check_learner(name: object) -> Any:
    """Return the name of a learner.

    Raises:
        UserError: It is anything else.
    """
    if not isinstance(name, str) or name not in LEARNERS:
        raise UserError(f"learner is one of: {', '.join(LEARNERS)}")
    return name


def defaults(family: str, learner: str) -> dict[str, float]:
    """Return what the advanced settings are where nothing is asked."""
    config = TrainConfig(mode=check_learner(learner), env_name=family)
    values = dict(vars(config.resolve(get_family(family))))
    values["tasks_per_epoch"] = tasks_of(config)
    names = ("inner_lr", "outer_lr", "tasks_per_epoch", "width", "state_size")
    return {name: values[name] for name in names}


def tasks_of(config: TrainConfig) -> int:
    """Return how many tasks an iteration samples; without meaning for policy_gradient."""
    return config.resolve(get_family(config.env_name)).tasks_per_epoch or int(
        TASKS_PER_EPOCH.default
    )


def iterations_of(config: TrainConfig) -> int:
    """Return how many iterations a training has."""
    if config.mode == "policy_gradient":
        return math.ceil(config.num_episodes / PolicyGradientConfig.episodes)
    resolved = config.resolve(get_family(config.env_name))
    assert resolved.num_epochs is not None
    return resolved.num_epochs


def expected_seconds(config: TrainConfig) -> float:
    """Return about how long a training takes on two cores, as measured with default settings.

    An iteration of twice the tasks takes twice as long; other settings are not looked at.
    """
    plain = TrainConfig(mode=config.mode, env_name=config.env_name)
    share = 1.0 if config.mode == "policy_gradient" else tasks_of(config) / tasks_of(plain)
    return PACE[config.env_name][config.mode] * iterations_of(config) * share


def is_large(config: TrainConfig) -> bool:
    """Whether a network is larger than those whose pace was measured."""
    usual = defaults(config.env_name, config.mode)
    return any((getattr(config, size) or 0) > usual[size] for size in ("width", "state_size"))


def duration(seconds: float) -> str:
    """Say a time in words, no more exactly than it is known."""
    if seconds < 5:
        return "a few seconds"
    if seconds < 90:
        return f"about {5 * round(seconds / 5)} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def suggested_name(family: str, learner: str, taken: Callable[[str], bool]) -> str:
    """Return a name for a run that is free: the family, the learner and a number."""
    names = (as_name(f"{family}-{learner}", f"-{number}") for number in itertools.count(1))
    return next(name for name in names if not taken(name))
