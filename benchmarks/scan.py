"""Which backend of the linear recurrence is faster, by the shape of what it runs over.

    python benchmarks/scan.py

One thread. Both backends run in turn on the same inputs, and the ratio is the median over rounds of
the ratio within a round, so that other work on the machine weighs on both alike. Writes
``benchmarks/results/scan.json``, with the rate of a plain matrix product measured in the same run.
"""

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from ssm_metarl.core.scan import backend_of, chunked, loop

RESULTS = Path(__file__).parent / "results"
SHAPES = [  # tasks, lanes, steps
    *((1, 1, 64), (1, 1, 500), (1, 8, 500), (1, 20, 100), (1, 20, 500), (2, 20, 500)),
    *((4, 20, 100), (8, 20, 100), (20, 20, 100), (16, 20, 500)),
]
ROUNDS, ROUND_SECONDS = 15, 0.05


def seconds(run: Callable[[], object], calls: int) -> float:
    """Return the time of one call, the mean over some in a row."""
    started = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - started) / calls


def compare(tasks: int, lanes: int, steps: int, size: int, dtype: torch.dtype) -> dict[str, object]:
    """Time both backends on one shape, in turn."""
    drive = torch.randn(tasks, steps, lanes, size, dtype=dtype).transpose(0, 1)
    decay, start = 0.9 * torch.rand(size).to(dtype), torch.zeros(tasks, lanes, size, dtype=dtype)
    states = torch.empty_like(drive)
    both = [
        lambda backend=backend: backend(decay, drive, start, None, False, states)
        for backend in (loop, chunked)
    ]
    calls = max(1, int(ROUND_SECONDS / max(seconds(run, 2) for run in both)))
    rounds = [[seconds(run, calls) for run in both] for _ in range(ROUNDS)]
    return {
        "tasks": tasks,
        "lanes": lanes,
        "steps": steps,
        "state_size": size,
        "dtype": str(dtype).removeprefix("torch."),
        "bytes_per_step": drive[0].nbytes,
        "loop_ms": 1e3 * statistics.median(one for one, _ in rounds),
        "chunked_ms": 1e3 * statistics.median(other for _, other in rounds),
        "ratio": statistics.median(other / one for one, other in rounds),
        "chosen": backend_of(decay, drive, None).__name__,
    }


def matmul_rate() -> float:
    """Return the rate of a 1024^3 float32 product in GFLOP/s, the best of ten."""
    a = torch.randn(1024, 1024)
    return 2 * 1024**3 / min(seconds(lambda: a @ a, 1) for _ in range(10)) / 1e9


def main() -> None:
    """Measure, show and write."""
    torch.set_num_threads(1)
    rows = [
        compare(*shape, size, dtype)
        for dtype in (torch.complex64, torch.float32)
        for size in (16, 32)
        for shape in SHAPES
    ]
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
    Console(width=140).print(table)
    result = {
        "command": "python benchmarks/scan.py",
        "machine": f"{platform.machine()}, one thread, matmul {matmul_rate():.0f} GFLOP/s",
        "versions": {"python": sys.version.split()[0], "torch": torch.__version__},
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "scan.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
