"""What a run tells of its training, believed only once it has been checked.

A run may come from anywhere, and the page says something of every run there is: one number beyond
all bounds would take the list of runs from everybody.
"""

import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

from ssm_metarl.checkpoint.files import parse_json
from ssm_metarl.errors import CheckpointError
from ssm_metarl.training.tracking import read_metrics

Record = Mapping[str, Any]
TAIL = 16 * 1024  # bytes: many times a line
ITERATIONS = range(1, 10**7 + 1)  # that a configuration can ask for
COUNTS = range(2**53)  # of environment steps; JSON elsewhere has no larger ones
SECONDS = 1e10
RETURN = 1e9  # the largest that is drawn
RETURNS = ("return_before", "return_after", "best_return")


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read a metrics file, all of it.

    Raises:
        CheckpointError: A line is damaged, or not what a training writes after the one before it.
    """
    records = read_metrics(path) if _is_file(path) else []
    rising = all(one["iteration"] < other["iteration"] for one, other in pairwise(records))
    if not rising or not all(map(is_record, records)):
        raise _foreign(path)
    return records


def last_record(path: Path) -> dict[str, Any]:
    """Return the last whole line of a metrics file, without reading the others; {} if none.

    Raises:
        CheckpointError: It is not what a training writes.
    """
    if not _is_file(path):
        return {}
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
        lines = file.read().split(b"\n")[:-1]  # what follows the last newline is not whole
    if not lines:
        return {}
    try:
        value = parse_json(lines[-1])
    except ValueError as error:
        raise _foreign(path) from error
    if not isinstance(value, dict) or not is_record(value):
        raise _foreign(path)
    return value


def is_record(record: Record) -> bool:
    """Whether a line of metrics says what a training says after an iteration."""
    iterations = record.get("iterations")
    return (
        _is_whole(iterations, ITERATIONS)
        and is_progress(record, range(1, iterations + 1))
        and all(name in record and _is_return(record[name]) for name in RETURNS)
        and all(value is None or _is_number(value) for value in record.values())
    )


def is_progress(told: Record, iterations: range) -> bool:
    """Whether a line of metrics or a checkpoint says how far its training came, of so many."""
    return (
        _is_whole(told.get("iteration"), iterations)
        and _is_whole(told.get("environment_steps"), COUNTS)
        and _is_number(told.get("seconds"))
        and 0 <= told["seconds"] <= SECONDS
        and "best_return" in told
        and _is_return(told["best_return"])
    )


def _is_whole(value: object, allowed: range) -> TypeGuard[int]:
    return type(value) is int and value in allowed


def _is_return(value: Any) -> bool:
    """Whether something is a return that can be drawn, or None, where nobody looked."""
    return value is None or (_is_number(value) and abs(value) <= RETURN)


def _is_number(value: object) -> bool:
    return type(value) is float or (type(value) is int and abs(value) in COUNTS)


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _foreign(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} holds a line that is not of a training")
