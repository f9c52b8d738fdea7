"""Whole trainings, started as a user would: processor seconds on one core."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure.race import Row, row_of
from benchmarks.measure.worker import ROOT

if TYPE_CHECKING:
    from benchmarks.measure.sections import Plan

JOBS = {
    "demo": "--mode meta_rl --env CartPole-v1",
    "first seed command": "--env CartPole-v1 --num_epochs 100 --tasks_per_epoch 5 --inner_lr 0.01"
    " --outer_lr 0.001",
    "second seed command": "--mode policy_gradient --env CartPole-v1 --num_episodes 200",
    "Navigation2D": "--mode rl2 --env Navigation2D-v0",
    "rl2": "--mode rl2 --env CartPole-v1",
}
"""Plain PPO against Stable-Baselines3's is ``benchmarks/policy_gradient.py``."""


def jobs(plan: "Plan") -> Iterator[list[Row]]:
    """Train on this checkout and on the other revision in turns, A B B A."""
    sources = {"ours": ROOT} | ({"base": plan.base} if plan.base else {})
    for job in ("second seed command",) if plan.quick else JOBS:
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in sources}
        for name in (*sources, *reversed(sources)) if plan.base else sources:
            times[name].append(train(JOBS[job], sources[name]))
        first = np.array(times["ours"])
        yield [row_of(name, np.array(own), first, {"job": job}) for name, own in times.items()]


def train(arguments: str, source: Path) -> tuple[float, float]:
    """Run the command; return seconds by the wall clock and of the processor."""
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ssm_metarl", "train", *arguments.split()]
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--run_dir", f"{folder}/run"], env=environment, cwd=folder, stdout=-3
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"failed: {' '.join(command)}")
        return time.perf_counter() - started, used.ru_utime + used.ru_stime
