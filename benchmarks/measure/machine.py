"""The machine, and how fast it is at the simplest things."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "gymnasium", "jax", "stable-baselines3", "sb3-contrib", "onnxruntime")


def best_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the shortest of some runs, after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def matmul_peak() -> float:
    """Measure GFLOP/s of a 2048^3 product in float32."""
    import torch

    a = torch.randn(2048, 2048)
    return 2 * 2048**3 / best_seconds(lambda: a @ a, 5) / 1e9


def floors() -> dict[str, float]:
    """Measure the rates of a matrix product and a copy, and the cost of the smallest operation."""
    import torch

    large, small = torch.randn(2**25), torch.randn(1)
    copy = torch.empty_like(large)

    def many() -> None:
        for _ in range(1000):
            torch.add(small, small)

    return {
        "matmul_gflops": matmul_peak(),
        "copy_gb_per_s": 2 * large.nbytes / best_seconds(lambda: copy.copy_(large), 5) / 1e9,
        "dispatch_us": best_seconds(many, 5) * 1e3,
    }


def machine() -> dict[str, Any]:
    """Describe what this runs on."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
    }


def versions() -> dict[str, str]:
    """Return the versions of what takes part and is there."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
