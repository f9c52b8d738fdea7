"""Lines of metrics that may come from anywhere: what each must say, and how much it may.

A number that is too large for a float, or none at all, would end what is drawn of every run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssm_metarl.runs.tracking import read_metrics

MOST = 10**12  # of whatever is counted or summed up, far beyond any training
COUNTS = ("iteration", "iterations", "environment_steps")
RETURNS = ("return_before", "return_after", "best_return")


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a metrics file that are of a training, and leave out what is not.

    Raises:
        CheckpointError: A line is no JSON.
    """
    return [record for record in read_metrics(path) if is_record(record)]


def is_record(record: Mapping[str, Any]) -> bool:
    """Whether a line is of a training."""
    return (
        all(is_count(record.get(name)) for name in COUNTS)
        and 0 < record["iteration"] <= record["iterations"]
        and is_amount(record.get("seconds"))
        and all(record.get(name) is None or is_amount(record[name]) for name in RETURNS)
    )


def is_state(meta: Mapping[str, Any]) -> bool:
    """Whether a checkpoint says how far its training came."""
    return (
        all(is_count(meta.get(name)) for name in ("iteration", "environment_steps"))
        and is_amount(meta.get("seconds"))
        and "best_return" in meta
        and (meta["best_return"] is None or is_amount(meta["best_return"]))
    )


def is_count(value: object) -> bool:
    """Whether a value is a whole number, from 0."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST


def is_amount(value: object) -> bool:
    """Whether a value is a number of a size that can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST
