"""`metrics.jsonl`, what a run reports: written line by line, and read with or without trust.

A run may come from anywhere. Whoever shows numbers of runs that others have made reads them with
:func:`read_records` or :func:`last_record`, which refuse those out of bounds by a CheckpointError.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssm_metarl.checkpoint.files import parse_json, write_bytes_atomically
from ssm_metarl.errors import CheckpointError

METRICS = "metrics.jsonl"
TAIL = 16 * 1024  # bytes: many times the length of a line
FINITE, RETURN = (float, -1e300, 1e300), (float, -1e9, 1e9)
PROGRESS = {
    "iteration": (int, 0, 10**7),
    "environment_steps": (int, 0, 2**53),
    "seconds": (float, 0, 1e10),
    "best_return": RETURN,
}
"""Type, least and greatest value of the numbers that tell how far a run came."""
COUNT = (int, 1, 10**7)
RECORD = PROGRESS | {"iteration": COUNT, "iterations": COUNT}
RECORD |= {"return_before": RETURN, "return_after": RETURN}
REQUIRED = ("iteration", "iterations", "environment_steps", "seconds")  # the others may be null


class MetricsFile:
    """`metrics.jsonl`: one JSON object per line, one line per iteration."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Mapping[str, float | int | None]) -> None:
        """Add a record with the key "iteration"; once this returns, it survives a kill.

        NaN and infinite numbers, which JSON has not, are written as null.

        Raises:
            OSError: The disk is full; the line may be torn, which `truncate_after` repairs.
        """
        plain = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in record.items()
        }
        with self.path.open("ab") as file:
            file.write(json.dumps(plain, allow_nan=False).encode() + b"\n")

    def truncate_after(self, iteration: int) -> None:
        """Forget what came after an iteration, so that a resumed run continues from there.

        Lines are kept byte for byte; a last line that was torn by a kill is dropped.

        Raises:
            CheckpointError: A line that is not torn but damaged; nothing was changed.
        """
        kept = [line for line, record in _lines(self.path) if record["iteration"] <= iteration]
        if self.path.exists() and b"".join(kept) != self.path.read_bytes():
            write_bytes_atomically(self.path, b"".join(kept))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the records of all complete lines; the file may be growing, or missing.

    Raises:
        CheckpointError: A line is damaged; names the file and the line.
    """
    return [record for _, record in _lines(path)]


def _lines(path: Path) -> list[tuple[bytes, dict[str, Any]]]:
    """Return (line with its end, parsed record) of each complete line."""
    complete: list[tuple[bytes, dict[str, Any]]] = []
    if not path.exists():
        return complete
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):  # torn by a kill, or being written right now
            break
        try:
            record = parse_json(line)
        except ValueError as error:
            raise CheckpointError(f"{path}: line {number} is not JSON: {error}") from error
        if not isinstance(record, dict) or type(record.get("iteration")) is not int:
            raise CheckpointError(f"{path}: line {number} is not a record with an iteration")
        complete.append((line, record))
    return complete


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
