"""An agent that adapts in both ways, by its memory and by gradient steps: what each of them adds.

    python benchmarks/both.py

Trains three seeds exactly as ``ssm-metarl train --memory trial --seed N`` would (under
``runs/benchmarks``, where a finished run is used again), and evaluates them on the same 100
held-out tasks of CartPole-v1 and 100 outside the training ranges: as trained, in context through
a trial of four episodes, after one to three gradient steps, and in context after those. The
settings of training were chosen on the validation tasks of seed 0, never on these. Writes
``benchmarks/results/both.json`` and ``both.png``.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import tyro
from adaptation import machine
from rich.console import Console
from rich.table import Table
from training import trained

from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.evaluation.evaluate import EvaluationPlan, evaluate, summarise
from ssm_metarl.evaluation.figures import adaptation_curve, write_png
from ssm_metarl.evaluation.pooling import over_seeds
from ssm_metarl.evaluation.report import Evaluation
from ssm_metarl.evaluation.statistics import stratified_bootstrap
from ssm_metarl.evaluation.table import make_table
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import load

RESULTS = Path(__file__).parent / "results"
FAMILY, TASKS, SPLITS = get_family("CartPole-v1"), 100, ("held_out", "shifted")
EPISODES, STEPS = 20, 3
Stage = tuple[str, int, int]  # way, gradient steps, episodes

console = Console(width=110)


def measure(seed: int, split: str) -> Evaluation:
    """Evaluate one seed on one set of tasks."""
    config = TrainConfig(memory="trial", seed=seed)
    agent = load(trained(config, f"both-ssm-{seed}", console).folder)
    modes = ("zero_shot", "in_context", "standard")
    plan = EvaluationPlan(modes, (4, EPISODES), STEPS, seed=seed)
    tasks = getattr(FAMILY, split)(TASKS)
    rows = [one.result for one in evaluate(agent, FAMILY, tasks, plan)]
    return summarise(FAMILY, tasks, split, plan, rows)


def gains(evaluations: Sequence[Evaluation]) -> dict[str, tuple[float, float, float]]:
    """Return what memory, steps and both add to the agent as it was: mean and 95% interval.

    Paired by task; the interval resamples tasks and seeds.
    """
    per_task = [
        {(row.mode, row.steps, row.shots): np.array(row.per_task) for row in one.results}
        for one in evaluations
    ]
    remembered = max(
        shots for mode, steps, shots in per_task[0] if mode == "in_context" and not steps
    )
    stages: dict[str, Stage] = {"memory": ("in_context", 0, remembered)}
    for steps in range(1, STEPS + 1):
        stages[f"{steps} steps"] = ("standard", steps, steps * EPISODES)
        stages[f"{steps} steps and memory"] = ("in_context", steps, steps * EPISODES + remembered)
    found = {}
    for name, stage in stages.items():
        gain = np.stack([returns[stage] - returns["zero_shot", 0, 0] for returns in per_task])
        found[name] = (float(gain.mean()), *stratified_bootstrap(gain, design="crossed"))
    return found


def show(split: str, pooled: Evaluation, gained: dict[str, tuple[float, float, float]]) -> None:
    """Print the returns, and what each way adds to zero-shot."""
    console.print(make_table(pooled))
    table = Table("added by", "return [95% CI]", title=f"{split}: paired with zero-shot")
    for name, (mean, low, high) in gained.items():
        table.add_row(name, f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]")
    console.print(table)


def main(seeds: int = 3) -> None:
    """Measure, and write the results.

    Args:
        seeds: Number of training seeds, from 0.
    """
    torch.set_num_threads(1)
    found = {split: [measure(seed, split) for seed in range(seeds)] for split in SPLITS}
    pooled = {split: over_seeds(each) for split, each in found.items()}
    gained = {split: gains(each) for split, each in found.items()}
    for split in SPLITS:
        show(split, pooled[split], gained[split])
    content = {
        "command": " ".join(["python", "benchmarks/both.py", *sys.argv[1:]]),
        "machine": machine(),
        "config": dataclasses.asdict(TrainConfig(memory="trial")),
        "seeds": list(range(seeds)),
        "gains": gained,
        "pooled": {split: json.loads(one.to_json()) for split, one in pooled.items()},
        "per_seed": {s: [json.loads(one.to_json()) for one in each] for s, each in found.items()},
    }
    (RESULTS / "both.json").write_text(json.dumps(content) + "\n")
    titles = [f"{FAMILY.name}, {split.replace('_', '-')} tasks" for split in SPLITS]
    best = float(FAMILY.max_episode_steps)
    figure = adaptation_curve(list(pooled.values()), best=best, titles=titles)
    write_png(figure, RESULTS / "both.png")


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
