"""metrics.jsonl survives kills and resumes; numbers that no training writes are refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ssm_metarl.errors import CheckpointError
from ssm_metarl.training.metrics import MetricsFile, last_record, read_metrics, read_records

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


def write_iterations(path: Path, count: int) -> MetricsFile:
    metrics = MetricsFile(path)
    for iteration in range(1, count + 1):
        metrics.append({"iteration": iteration, "return": iteration / 3})
    return metrics


def test_records_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_metrics(path) == []
    records = [
        {"iteration": 1, "return": 0.1, "é\n": 3},
        {"iteration": 2, "return": None},
    ]
    for record in records:
        MetricsFile(path).append(record)
        assert read_metrics(path)[-1] == record  # there at once
    assert read_metrics(path) == records
    assert len(path.read_bytes().splitlines()) == 2


def test_numbers_that_json_has_not_become_null(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    nan, infinity = float("nan"), float("inf")
    MetricsFile(path).append({"iteration": 1, "a": nan, "b": infinity, "c": -infinity, "d": 1.0})
    assert read_metrics(path) == [{"iteration": 1, "a": None, "b": None, "c": None, "d": 1.0}]


def test_truncation_keeps_lines_up_to_an_iteration_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics = write_iterations(path, 5)
    lines = path.read_bytes().splitlines(keepends=True)
    metrics.truncate_after(7)
    assert path.read_bytes() == b"".join(lines)
    metrics.truncate_after(3)
    assert path.read_bytes() == b"".join(lines[:3])
    metrics.append({"iteration": 4, "return": 4 / 3})
    assert path.read_bytes() == b"".join(lines[:4])
    metrics.truncate_after(0)
    assert path.read_bytes() == b""
    assert os.listdir(tmp_path) == ["metrics.jsonl"]


def test_truncating_nothing_makes_no_file(tmp_path: Path) -> None:
    MetricsFile(tmp_path / "metrics.jsonl").truncate_after(3)
    assert os.listdir(tmp_path) == []


def test_a_torn_last_line_is_not_read_and_is_dropped_on_resume(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics = write_iterations(path, 3)
    whole = path.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    for cut in range(1, last + 1):
        path.write_bytes(whole[:-cut])
        assert [record["iteration"] for record in read_metrics(path)] == [1, 2]
        metrics.truncate_after(3)
        assert path.read_bytes() == whole[:-last]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"iteration": 2, "retu', "line 2 is not JSON"),
        (b'{"iteration": 2, "return": NaN}', "line 2 is not JSON: NaN is not a number"),
        (b"\x00\x00", "line 2 is not JSON"),
        (b"[2]", "line 2 is not a record with an iteration"),
        (b'{"return": 2}', "line 2 is not a record with an iteration"),
        (b'{"iteration": "2"}', "line 2 is not a record with an iteration"),
        (b'{"iteration": true}', "line 2 is not a record with an iteration"),
    ],
)
def test_a_damaged_line_is_named_and_nothing_is_changed(
    line: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics = write_iterations(path, 3)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], line, lines[2], b""]))
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=f"metrics.jsonl: {reason}"):
        read_metrics(path)
    with pytest.raises(CheckpointError, match=reason):
        metrics.truncate_after(1)
    assert path.read_bytes() == before
