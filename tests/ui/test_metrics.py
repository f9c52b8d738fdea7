"""Metrics files: numbers that no training writes are refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from ssm_metarl.errors import CheckpointError
from ssm_metarl.ui.metrics import last_record, read_records

GOOD: dict[str, Any] = {
    "iteration": 1,
    "iterations": 2,
    "environment_steps": 10,
    "seconds": 0.5,
    "return_before": None,
    "return_after": 3.0,
    "best_return": 3.0,
    "gradient_norm": 1.0,
}
HUGE = 10**400


def written(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"return_before": "<script>"},
        {"return_after": HUGE},
        {"best_return": 1e308},
        {"iteration": HUGE},
        {"iteration": 3},
        {"iteration": 0},
        {"iterations": -5},
        {"iterations": 1.0},
        {"environment_steps": True},
        {"seconds": -1},
        {"gradient_norm": HUGE},
        {"gradient_norm": ["<script>"]},
    ],
)
def test_numbers_that_no_training_writes_are_refused_by_name(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    path = written(tmp_path / "metrics.jsonl", {**GOOD, **change})
    for read in (read_records, last_record):
        with pytest.raises(CheckpointError, match=rf"metrics.jsonl: {next(iter(change))}"):
            read(path)


def test_a_missing_number_and_iterations_that_fall_are_refused(tmp_path: Path) -> None:
    without = {name: value for name, value in GOOD.items() if name != "best_return"}
    with pytest.raises(CheckpointError, match="best_return"):
        last_record(written(tmp_path / "m", without))
    with pytest.raises(CheckpointError, match="must rise"):
        read_records(written(tmp_path / "m", GOOD, GOOD))


def test_the_last_record_is_the_last_complete_line(tmp_path: Path) -> None:
    assert last_record(tmp_path / "none") == {}
    assert read_records(tmp_path / "none") == []
    last = {**GOOD, "iteration": 2}
    path = written(tmp_path / "m", *[GOOD] * 500, last)
    path.write_text(path.read_text() + '{"iteration"')
    assert last_record(path) == last
    (tmp_path / "link").symlink_to(path)
    assert last_record(tmp_path / "link") == {}
    for line in ("nonsense\n", "3\n"):
        path.write_text(line)
        with pytest.raises(CheckpointError, match="the last line is not a JSON object"):
            last_record(path)
