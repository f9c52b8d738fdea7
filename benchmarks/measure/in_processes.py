"""A training that torchrun starts, which measures what its processes exchange.

Its arguments are the folder of the run, tasks per iteration, and iterations.
"""

import json
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ssm_metarl.core.processes import leave, rank, size
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loop import train


class Exchange:
    """What has passed between processes: bytes that each receives, and seconds, with waiting."""

    def __init__(self) -> None:
        """Count from now on."""
        self.bytes, self.seconds = 0, 0.0
        self._wrap("all_reduce", lambda arguments: arguments[0].nbytes)
        self._wrap("all_gather_object", lambda arguments: len(pickle.dumps(arguments[1])) * size())

    def _wrap(self, name: str, weigh: Callable[[tuple[Any, ...]], int]) -> None:
        function = getattr(dist, name)

        def counted(*arguments: Any, **keywords: Any) -> None:  # noqa: ANN401 (torch's)
            self.bytes += weigh(arguments)
            started = time.perf_counter()
            function(*arguments, **keywords)
            self.seconds += time.perf_counter() - started

        setattr(dist, name, counted)


def main(folder: str, tasks: str, iterations: str) -> None:
    """Train; the process with rank 0 writes what it measured of every iteration."""
    torch.set_num_threads(1)
    config = TrainConfig(
        num_epochs=int(iterations), tasks_per_epoch=int(tasks), validate_every=int(iterations) + 1
    )
    exchange, rows, started = Exchange(), [], time.perf_counter()
    for _ in train(config, Path(folder)):
        rows.append((time.perf_counter() - started, exchange.seconds, exchange.bytes))
        exchange.bytes, exchange.seconds, started = 0, 0.0, time.perf_counter()
    if rank() == 0:
        Path(folder, "exchange.json").write_text(json.dumps(rows))
    leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
