"""How long adding to the experience store and reading from it take.

    python benchmarks/experience.py

Fills one store with CartPole rollouts of a fresh policy, as meta-training does (16 tasks x 20
episodes at a time), and one with long trajectories of the size of a HalfCheetah, both beyond their
capacity of 1M transitions. A machine is shared with others, so beside the median there are the
least and the processor time. An iteration of meta-training with the default settings, timed in the
same run, says what an addition is in comparison. Writes ``benchmarks/results/experience.json``.
"""

import dataclasses
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
import tyro
from numpy.random import SeedSequence
from rich.console import Console
from rich.table import Table

from ssm_metarl.core.memory import keep_large_blocks
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import Trajectory, collect_episodes
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.experience.buffer import ExperienceStore
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.learners import make_trainer

RESULTS = Path(__file__).parent / "results"
TASKS, LANES = 16, 20


@dataclasses.dataclass(frozen=True)
class Row:
    """One measurement, in milliseconds.

    Attributes:
        what: Which one.
        median: Of all repetitions.
        least: Of them.
        processor: Processor time of one, on average.
        worst: The longest of them.
    """

    what: str
    median: float
    least: float
    processor: float
    worst: float


def measure(what: str, work: Callable[[], object], repeats: int) -> Row:
    """Time some work several times."""
    times = []
    processor = time.process_time()
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1e3)
    processor = (time.process_time() - processor) * 1e3 / repeats
    return Row(what, statistics.median(times), min(times), processor, max(times))


class HalfCheetahSized(gymnasium.Env):
    """An environment of which only the spaces matter."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (17,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (6,), np.float32)


def cartpole_data() -> tuple[TaskFamily, Trajectory, Tasks]:
    """Return support data as the first iterations of meta-training have it."""
    family = get_family("CartPole-v1")
    policy = Policy(PolicyConfig(), policy_spaces(family))
    bound = policy.bind(policy.init(torch.Generator().manual_seed(0)))
    tasks = family.sample(TASKS, SeedSequence(0))
    environment = family.make_vec(tasks, LANES, autoreset=False, horizon=family.support_steps)
    return family, collect_episodes(bound, environment, SeedSequence(1)), tasks


def cheetah_data() -> tuple[TaskFamily, Trajectory, Tasks]:
    """Return random numbers: 1,000 steps in each of 4 lanes of 4 tasks."""
    gymnasium.register("HalfCheetahSized-v0", HalfCheetahSized)
    family = TaskFamily("HalfCheetahSized-v0", "", "HalfCheetahSized-v0", 1000)
    shape, rng = (1000, 4, 4), torch.Generator().manual_seed(0)
    end, start = torch.zeros(shape, dtype=torch.bool), torch.zeros(1001, 4, 4, dtype=torch.bool)
    end[-1], start[0] = True, True
    trajectory = Trajectory(
        action=torch.randn(*shape, 6, generator=rng),
        observation=torch.randn(1001, 4, 4, 17, generator=rng),
        reward=torch.randn(shape, generator=rng),
        log_prob=torch.randn(shape, generator=rng),
        terminated=torch.zeros_like(end),
        truncated=end,
        valid=torch.ones_like(end),
        episode_start=start,
    )
    return family, trajectory, Tasks({}, np.arange(4))


def measure_store(
    name: str,
    data: tuple[TaskFamily, Trajectory, Tasks],
    folder: Path,
    transitions: int,
    rounds: int,
) -> tuple[list[Row], dict[str, Any]]:
    """Fill a store, and measure all that is done with one."""
    family, trajectory, tasks = data
    rows = []
    path = folder / f"{name}.sqlite"
    store = ExperienceStore.create(path, family, capacity=transitions)
    size, label = trajectory.environment_steps, 0

    def add() -> None:
        nonlocal label
        label += 1
        store.add(trajectory, tasks, label)

    fill = measure(f"{name}: add {size} transitions", add, transitions // size)
    rows += [fill, measure(f"{name}: add {size} to a full store", add, rounds)]
    rows.append(measure(f"{name}: tag", lambda: store.tag(label), rounds))
    first = store.tasks()[0].id
    rows.append(measure(f"{name}: summaries of all tasks", store.tasks, rounds))
    rows.append(measure(f"{name}: one task's trajectory", lambda: store.trajectory(first), rounds))
    store.close()
    opened = measure(f"{name}: open and count", lambda: ExperienceStore.open(path).close(), rounds)
    facts = {
        "transitions": store.identity.capacity,
        "file_bytes": os.path.getsize(path),
    }
    return [*rows, opened], facts


def iteration_row(rounds: int) -> Row:
    """Time an iteration of meta-training with the default settings."""
    family = get_family(TrainConfig().env_name)
    trainer = make_trainer(TrainConfig().resolve(family), family, policy_spaces(family))
    trainer.iterate()  # warm up
    return measure("an iteration of meta-training", trainer.iterate, rounds)


def show(rows: list[Row]) -> None:
    """Print a table."""
    table = Table("what", "median ms", "least", "processor", "worst")
    for row in rows:
        numbers = (row.median, row.least, row.processor, row.worst)
        table.add_row(row.what, *(f"{number:.2f}" for number in numbers))
    Console().print(table)


def main(transitions: int = 1_000_000, rounds: int = 50, folder: Path | None = None) -> None:
    """Measure everything and write the results.

    Args:
        transitions: Capacity of the stores.
        rounds: Repetitions of each measurement.
        folder: On the disk to measure; a temporary one if not given.
    """
    torch.set_num_threads(1)
    keep_large_blocks()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        cartpole = measure_store("CartPole", cartpole_data(), Path(place), transitions, rounds)
        cheetah = measure_store("HalfCheetah", cheetah_data(), Path(place), transitions, rounds)
    iteration = iteration_row(10)
    rows = [*cartpole[0], *cheetah[0], iteration]
    show(rows)
    content = {
        "command": " ".join(["python", "benchmarks/experience.py", *sys.argv[1:]]),
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "sqlite": sqlite3.sqlite_version,
        },
        "stores": {"CartPole": cartpole[1], "HalfCheetah": cheetah[1]},
        "addition_per_iteration": cartpole[0][0].processor / iteration.processor,
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "experience.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
