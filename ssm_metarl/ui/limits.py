"""What a visitor may ask for: all that comes from the page or its API passes through here."""

from dataclasses import dataclass
from typing import Any

from ssm_metarl.errors import UserError


@dataclass(frozen=True)
class Range:
    """The numbers that one input may have.

    Attributes:
        low: Smallest.
        high: Largest.
        default: Where it starts.
        whole: Whether only whole numbers make sense.
    """

    low: int | float
    high: int | float
    default: int | float
    whole: bool = True

    def clamp(self, name: str, value: Any) -> int | float:
        """Return the number in this range that is nearest to what was given.

        Raises:
            UserError: It is not a number at all.
        """
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise UserError(f"{name} must be a number from {self.low:g} to {self.high:g}")
        inside = min(max(value, self.low), self.high)
        return round(inside) if self.whole else float(inside)


EPISODES = Range(1, 50, 20)
STEPS = Range(1, 3, 1)
SEED = Range(0, 2**31 - 1, 0)
EPOCHS = Range(1, 400, 40)
TRAIN_EPISODES = Range(10, 5000, 200)
TASKS_PER_EPOCH = Range(2, 64, 16)
EVALUATION_TASKS = Range(2, 100, 20)
INNER_LR = Range(1e-5, 1.0, 0.03, whole=False)
OUTER_LR = Range(1e-6, 0.1, 0.005, whole=False)
WIDTH = Range(4, 128, 32)
STATE_SIZE = Range(2, 64, 16)
BLOCKS = Range(1, 4, 1)

# Of runs that come from elsewhere, beside those above: what the page will go on training.
EPISODES_PER_TASK = Range(1, 50, 20)
EPISODES_PER_TRIAL = Range(1, 10, 4)
OUTER_EPOCHS = Range(1, 10, 3)
VALIDATION_TASKS = Range(1, 100, 20)
HORIZON = Range(1, 1000, 500)
STORED_STEPS = Range(0, 2_000_000, 200_000)

FILM_STEPS = 500  # of an episode, at most
ADAPT_SECONDS, TRAIN_SECONDS, EVALUATE_SECONDS = 120.0, 1800.0, 600.0
UPLOAD_BYTES = 64 * 2**20  # of a zip, and of all that is in it
UPLOADS_BYTES = 4 * UPLOAD_BYTES  # of all that is kept for an hour, of all visitors
UPLOAD_FILES = 64
RUNS = 200  # on the store


def integer(limits: Range, name: str, value: Any) -> int:
    """Return a whole number within the limits.

    Raises:
        UserError: It is not a number at all.
    """
    return int(limits.clamp(name, value))
