"""How many iterations a training has, and about how long they take on one core.

`pace.json` is measured by ``benchmarks/pace.py`` with default settings.
"""

import json
import math
from pathlib import Path

from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.meta_rl.policy_gradient import PolicyGradient
from ssm_metarl.meta_rl.registry import LEARNERS
from ssm_metarl.training.config import TrainConfig

PACE: dict[str, dict[str, float]] = json.loads(
    (Path(__file__).parent / "pace.json").read_text(encoding="utf-8")
)["seconds_per_iteration"]


def iterations_of(config: TrainConfig) -> int:
    """Return how many iterations a training has."""
    if not LEARNERS[config.mode].counts_iterations:
        return math.ceil(config.num_episodes / PolicyGradient.episodes)
    epochs = config.resolve(get_family(config.env_name)).num_epochs
    assert epochs is not None
    return epochs


def expected_seconds(config: TrainConfig) -> float | None:
    """Return about how long a training takes; None for a family or learner that was not measured.

    An iteration of twice the tasks takes twice as long; other settings are not looked at.
    """
    pace = PACE.get(config.env_name, {}).get(config.mode)
    if pace is None:
        return None
    usual = _usual(config).tasks_per_epoch
    share = config.tasks_per_epoch / usual if usual and config.tasks_per_epoch else 1.0
    return pace * iterations_of(config) * share


def is_large(config: TrainConfig) -> bool:
    """Whether a network is larger than those whose pace was measured."""
    usual = _usual(config)
    return any((getattr(config, key) or 0) > getattr(usual, key) for key in ("width", "state_size"))


def duration(seconds: float) -> str:
    """Return a time in words, no more exactly than it is known."""
    if seconds < 5:
        return "a few seconds"
    if seconds < 90:
        return f"about {5 * round(seconds / 5)} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def _usual(config: TrainConfig) -> TrainConfig:
    return TrainConfig(mode=config.mode, env_name=config.env_name).resolve(
        get_family(config.env_name)
    )
