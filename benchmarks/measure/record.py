"""Sections' results: a table on the terminal, JSON and a figure."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure.machine import machine, versions
from benchmarks.measure.race import Row
from benchmarks.measure.worker import ROOT


def commit() -> str:
    """Return the revision of the checkout, marked where something was changed since."""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def value_text(seconds: float, unit: str) -> str:
    """Write seconds per unit of work as people would."""
    if unit == "env step":
        return f"{1e6 * seconds:.2f} us/step ({1e-6 / seconds:.2f} M/s)"
    return f"{1e3 * seconds:.3f} ms" if seconds < 1 else f"{seconds:.2f} s"


def show(name: str, unit: str, rows: Sequence[Row], console: Console) -> None:
    """Print a section's rows."""
    table = Table("", "who", "takes", "ours is", "95%", "by processor", "", title=name)
    for row in rows:
        cell = ", ".join(f"{key} {value}" for key, value in row.cell.items())
        low, high = row.interval
        extra = ", ".join(f"{key} {value:.3g}" for key, value in row.extra.items())
        times = (
            f"{row.ours_is:.2f}x",
            f"{low:.2f} to {high:.2f}",
            f"{row.ours_is_by_processor:.2f}x",
        )
        table.add_row(cell, row.contestant, value_text(row.seconds, unit), *times, extra)
    console.print(table)


def write(path: Path, unit: str, rows: Sequence[Row], extra: Mapping[str, Any]) -> None:
    """Write a section's rows as JSON."""
    content = {
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        **extra,
        "unit": f"seconds per {unit}",
        "rows": [asdict(row) for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
