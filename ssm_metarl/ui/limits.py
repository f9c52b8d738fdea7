"""What a visitor may ask for: all that comes from the page or its API passes through here.

Settings of a training have their defaults and lower bounds in
:mod:`ssm_metarl.training.config`; here is how much of each the page allows.
"""

from dataclasses import dataclass
from typing import Any

from ssm_metarl.errors import UserError
from ssm_metarl.training.archive import MOST_BYTES
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.settings import settings_of


@dataclass(frozen=True)
class Range:
    """The numbers that one input may have; ``default`` is where it starts."""

    name: str
    low: int | float
    high: int | float
    default: int | float
    whole: bool = True

    def check(self, value: Any) -> Any:
        """Return a number of this range; a whole one may be written as 2.0.

        Raises:
            UserError: It is none of this range.
        """
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not self.low <= value <= self.high or (self.whole and value % 1):
            kind = "a whole number" if self.whole else "a number"
            raise UserError(f"{self.name} must be {kind} from {self.low:,} to {self.high:,}")
        return int(value) if self.whole else float(value)


EPISODES = Range("episodes", 1, 50, 20)
STEPS = Range("steps", 1, 3, 1)
SEED = Range("seed", 0, 2**31 - 1, 0)
EVALUATION_TASKS = Range("tasks", 2, 100, 20)

TRAINING: dict[str, int | float] = {  # the most that the page trains with
    "num_epochs": 400,
    "num_episodes": 5000,
    "inner_lr": 1.0,
    "outer_lr": 0.1,
    "tasks_per_epoch": 64,
    "width": 128,
    "state_size": 64,
    "blocks": 4,
    "episodes_per_task": 50,
    "episodes_per_trial": 10,
    "inner_steps": 3,
    "outer_epochs": 10,
    "support_steps": 1000,
    "query_steps": 1000,
    "validation_tasks": 100,
    "experience": 2_000_000,
}
LEAST_RATE = 1e-6

CLIP_STEPS = 500  # of an episode, at most
ADAPT_SECONDS, TRAIN_SECONDS, EVALUATE_SECONDS = 120.0, 1800.0, 600.0
UPLOADS_BYTES = 4 * MOST_BYTES  # of all that is kept for an hour, of all visitors
RUNS = 200  # in the store


def training_range(setting: str, default: int | float = 0, name: str = "") -> Range:
    """Return the values of a setting that the page trains with."""
    one = settings_of(TrainConfig)[setting]
    least = LEAST_RATE if one.least is None else one.least
    return Range(name or setting, least, TRAINING[setting], default, whole=one.type is int)


ITERATIONS = training_range("num_epochs", 40, "iterations")
TRAINING_EPISODES = training_range("num_episodes", 200, "episodes")
