"""Metrics files, checked before anything is made of their numbers.

A run may come from anywhere, and the page lists every run there is: one number out of bounds would
break that list for everybody. What is refused raises a CheckpointError.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssm_metarl.checkpoint.files import parse_json
from ssm_metarl.errors import CheckpointError
from ssm_metarl.training.tracking import read_metrics

TAIL = 16 * 1024  # bytes: many times the length of a line
FINITE, RETURN = (float, -1e300, 1e300), (float, -1e9, 1e9)
PROGRESS = {
    "iteration": (int, 0, 10**7),
    "environment_steps": (int, 0, 2**53),
    "seconds": (float, 0, 1e10),
    "best_return": RETURN,
}
"""Type, least and greatest value of the numbers that the page reads, and of more in a record."""
COUNT = (int, 1, 10**7)
RECORD = PROGRESS | {"iteration": COUNT, "iterations": COUNT}
RECORD |= {"return_before": RETURN, "return_after": RETURN}
REQUIRED = ("iteration", "iterations", "environment_steps", "seconds")  # the others may be null


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read and check a metrics file, whose iterations rise; a missing one is empty."""
    records = read_metrics(path) if is_plain(path) else []
    last = 0
    for record in records:
        check_record(record, path)
        if record["iteration"] <= last:
            raise CheckpointError(f"{path}: iteration must rise from line to line")
        last = record["iteration"]
    return records


def last_record(path: Path) -> dict[str, Any]:
    """Read and check the last complete line of a metrics file; ``{}`` if there is none."""
    if not is_plain(path):
        return {}
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
        lines = file.read().split(b"\n")[:-1]  # what follows the last newline is not complete
    if not lines:
        return {}
    try:
        line: Any = parse_json(lines[-1])
        record = dict(line)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the last line is not a JSON object") from error
    check_record(record, path)
    return record


def check_record(record: Mapping[str, Any], source: Path) -> None:
    """Refuse a line of metrics that holds anything but numbers within their bounds."""
    check_numbers(record, dict.fromkeys(record, FINITE) | RECORD, source)
    if record["iteration"] > record["iterations"]:
        raise CheckpointError(f"{source}: iteration is beyond iterations")


def check_numbers(
    values: Mapping[str, Any],
    bounds: Mapping[str, tuple[type, float | int, float | int]],
    source: Path,
) -> None:
    """Refuse numbers that are missing, of another type or out of bounds."""
    for name, (kind, low, high) in bounds.items():
        if values.get(name, "missing") is None and name not in REQUIRED:
            continue
        value: Any = values.get(name)
        if type(value) not in (int, kind) or not low <= value <= high:
            raise CheckpointError(f"{source}: {name} must be a number from {low:g} to {high:g}")


def is_plain(path: Path) -> bool:
    """Whether a path is a file and no link."""
    return path.is_file() and not path.is_symlink()
