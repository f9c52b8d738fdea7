"""Train over trials with several seeds, play trials of held-out tasks, and record the returns.

    python benchmarks/in_context.py cartpole
    python benchmarks/in_context.py navigation

Every seed is trained exactly as ``ssm-metarl train --mode rl2 --env_name FAMILY --seed N`` would,
and its best checkpoint plays trials of the same 100 held-out tasks. Settings were chosen on the
validation tasks of CartPole, never on these, and are the same for both families. Writes
``benchmarks/results/in-context-SUITE.json`` and ``.png``.

Training seconds include validation and checkpoints. The CPU time of the process is recorded too: it
is less affected by other work on the machine.
"""

import dataclasses
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from measure.machine import matmul_peak
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.evaluation.evaluate import EvaluationPlan, evaluate, summarise
from ssm_metarl.evaluation.figures import trial_curve, write_png
from ssm_metarl.evaluation.pooling import over_seeds
from ssm_metarl.evaluation.report import Evaluation
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import load
from ssm_metarl.training.loop import Progress, train

RESULTS = Path(__file__).parent / "results"
TASKS = 100
SuiteName = Literal["cartpole", "navigation"]
SUITES: dict[SuiteName, TrainConfig] = {
    "cartpole": TrainConfig(mode="rl2", env_name="CartPole-v1"),
    "navigation": TrainConfig(mode="rl2", env_name="Navigation2D-v0"),
}
BEST: dict[SuiteName, float] = {"cartpole": 500.0}

console = Console()


@dataclasses.dataclass(frozen=True)
class Trained:
    """One training seed and its evaluation.

    Attributes:
        seed: Of the training.
        training_seconds: On the clock.
        training_cpu_seconds: Of the process.
        training_steps: Environment steps trained on.
        validation: Every look at the validation tasks: seconds, return of the first episode of a
            trial, return of the last.
        evaluation: On the held-out tasks.
    """

    seed: int
    training_seconds: float
    training_cpu_seconds: float
    training_steps: int
    validation: Sequence[tuple[float, float, float]]
    evaluation: Evaluation


def run_seed(config: TrainConfig, folder: Path) -> Trained:
    """Train one seed and evaluate its best checkpoint."""
    seed, run_dir = config.seed, folder / f"seed-{config.seed}"
    family = get_family(config.env_name)
    started, looks, progress = time.process_time(), [], None
    stream, total = train(config, run_dir), config.resolve(family).num_epochs
    for progress in track(stream, f"seed {seed}", total=total, console=console):
        if progress.return_before is not None and progress.return_after is not None:
            looks.append((progress.seconds, progress.return_before, progress.return_after))
    spent = time.process_time() - started
    assert isinstance(progress, Progress)
    plan = EvaluationPlan(["in_context"], trial_episodes=config.episodes_per_trial)
    tasks = family.held_out(TASKS)
    rows = [one.result for one in evaluate(load(run_dir), family, tasks, plan)]
    return Trained(
        seed=seed,
        training_seconds=progress.seconds,
        training_cpu_seconds=spent,
        training_steps=progress.environment_steps,
        validation=looks,
        evaluation=summarise(family, tasks, "held_out", plan, rows),
    )


def show(suite: SuiteName, runs: Sequence[Trained]) -> None:
    """Print medians over the seeds, with every seed beside them."""
    table = Table("", "median", "seeds", title=f"{suite}, in-context, {TASKS} held-out tasks")
    for same in zip(*(run.evaluation.results for run in runs), strict=True):
        means = [row.mean for row in same]
        seeds = " ".join(f"{value:.1f}" for value in means)
        table.add_row(f"episode {same[0].shots + 1}", f"{statistics.median(means):.1f}", seeds)
    for name in ("training_seconds", "training_cpu_seconds"):
        values = [getattr(run, name) for run in runs]
        seeds = " ".join(f"{value:.0f}" for value in values)
        table.add_row(name.replace("_", " "), f"{statistics.median(values):.0f}", seeds)
    console.print(table)


def main(
    suite: Annotated[SuiteName, tyro.conf.Positional], seeds: int = 3, threads: int = 1
) -> None:
    """Run one suite and write its results.

    Args:
        suite: What to measure.
        seeds: Number of training seeds, from 0.
        threads: Threads for torch.
    """
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        peak = matmul_peak()
        configs = [dataclasses.replace(SUITES[suite], seed=seed) for seed in range(seeds)]
        runs = [run_seed(config, Path(folder)) for config in configs]
    show(suite, runs)
    content = {
        "command": " ".join(["python", "benchmarks/in_context.py", *sys.argv[1:]]),
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "threads": threads,
            "matmul_gflops": peak,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "config": dataclasses.asdict(SUITES[suite]),
        "runs": [
            {**dataclasses.asdict(run), "evaluation": json.loads(run.evaluation.to_json())}
            for run in runs
        ],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"in-context-{suite}.json").write_text(json.dumps(content, indent=1) + "\n")
    pooled = over_seeds([run.evaluation for run in runs])
    title = f"{pooled.family}: {TASKS} held-out tasks, {seeds} seeds"
    path = RESULTS / f"in-context-{suite}.png"
    write_png(trial_curve(pooled, best=BEST.get(suite), titles=[title]), path)


if __name__ == "__main__":
    tyro.cli(main)
