"""Contestants side by side in one run: A B B A, medians, and an interval of their ratio."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.measure.worker import ROOT, Timing, Worker

OURS = "ours"


class Contestant(NamedTuple):
    """A function that makes work, what it needs, and the source of ``ssm_metarl`` it uses."""

    target: str
    needs: str = "torch"
    source: Path = ROOT
    own: Mapping[str, Any] = {}
    """Settings of its own."""

    @property
    def there(self) -> bool:
        """Whether what it needs is installed."""
        return importlib.util.find_spec(self.needs) is not None


@dataclass(frozen=True)
class Row:
    """How fast one contestant was at one thing.

    Attributes:
        cell: What was measured: sizes and settings.
        contestant: Who did it.
        seconds: Wall clock per unit of work, median.
        processor_seconds: Processor time of it, of all threads.
        ours_is: How many times as fast ours is, by the wall clock.
        interval: 95% bootstrap interval of that ratio of medians, over the runs.
        ours_is_by_processor: The same ratio of processor time.
        extra: Whatever else was measured.
    """

    cell: Mapping[str, Any]
    contestant: str
    seconds: float
    processor_seconds: float
    ours_is: float
    interval: tuple[float, float]
    ours_is_by_processor: float
    extra: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Effort:
    """How long to measure: ``rounds`` of A B B A, at least ``seconds`` for each run."""

    rounds: int = 4
    seconds: float = 0.3


def race(workers: Mapping[str, Worker], effort: Effort, cell: Mapping[str, Any]) -> list[Row]:
    """Let workers that have made their work take turns; the first is the one that others face."""
    times: dict[str, list[Timing]] = {name: [] for name in workers}
    for _ in range(effort.rounds):
        for name in (*workers, *reversed(workers)):
            times[name].append(workers[name].run(effort.seconds))
    first = np.array(times[next(iter(workers))])
    return [row_of(name, np.array(own), first, cell) for name, own in times.items()]


def row_of(name: str, times: np.ndarray, first: np.ndarray, cell: Mapping[str, Any]) -> Row:
    """Compare times ``[runs, 2]`` (wall clock, processor) with those of the first contestant."""
    wall, processor = np.median(times, 0).tolist()
    ratio, by_processor = (np.median(times, 0) / np.median(first, 0)).tolist()
    drawn = np.random.default_rng(0).integers(0, len(times), (2000, len(times)))
    ratios = np.median(times[drawn, 0], 1) / np.median(first[drawn, 0], 1)
    low, high = np.quantile(ratios, (0.025, 0.975)).tolist()
    return Row(cell, name, wall, processor, ratio, (low, high), by_processor)


def compare(
    contestants: Mapping[str, Contestant],
    effort: Effort,
    cell: Mapping[str, Any],
    /,
    *,
    threads: int = 1,
    **settings: Any,  # noqa: ANN401
) -> list[Row]:
    """Race contestants in fresh processes, which also tells how much memory each of them takes."""
    workers = {name: Worker(threads, one.source) for name, one in contestants.items()}
    try:
        for name, worker in workers.items():
            worker.make(contestants[name].target, **settings, **contestants[name].own)
        rows = race(workers, effort, cell)
        return [
            Row(**{**vars(row), "extra": {"peak_mb": workers[row.contestant].peak()}})
            for row in rows
        ]
    finally:
        for worker in workers.values():
            worker.close()
