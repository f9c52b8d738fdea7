"""The five modes compared by the episodes they use, on held-out and on shifted tasks.

    python benchmarks/five_ways.py

Three seeds of two agents for CartPole-v1, trained as ``ssm-metarl train`` would (under
``runs/benchmarks``, where a finished run is used again): one of ``--mode meta_rl``, which adapts by
standard and by hybrid gradient steps, and whose shape the untrained network of *from scratch* has;
and one of ``--mode rl2``, which adapts in context. Its n-th result is the n-th episode of a trial,
so it has used n - 1. Every seed is measured on the same 100 tasks, and all are pooled.

Writes ``benchmarks/results/five-ways.json`` and, in ``docs/images``, the return against the
episodes used, every task before and after, and the share of tasks that reach a return.
"""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import torch
import tyro
from adaptation import machine
from rich.console import Console
from training import trained

from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.evaluation.evaluate import EvaluationPlan, evaluate, summarise
from ssm_metarl.evaluation.figures import (
    Scatter,
    budget_curve,
    performance_profile,
    task_scatter,
    write_png,
)
from ssm_metarl.evaluation.pooling import over_seeds
from ssm_metarl.evaluation.report import Evaluation
from ssm_metarl.evaluation.table import make_table
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import load

RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parents[1] / "docs" / "images"
FAMILY, TASKS, SPLITS = get_family("CartPole-v1"), 100, ("held_out", "shifted")
AGENTS = {
    "ssm": (TrainConfig(), ("zero_shot", "standard", "hybrid", "from_scratch")),
    "rl2": (TrainConfig(mode="rl2"), ("in_context",)),
}

console = Console()


def measure(seed: int, split: str) -> Evaluation:
    """Evaluate both agents of a seed on one set of tasks."""
    tasks, rows = getattr(FAMILY, split)(TASKS), []
    for name, (config, modes) in AGENTS.items():
        run = trained(dataclasses.replace(config, seed=seed), f"cartpole-{name}-{seed}", console)
        agent = load(run.folder)
        memory = Memory.of(agent) if "hybrid" in modes else None
        plan = EvaluationPlan(modes=modes, steps=1, seed=seed)
        rows += [one.result for one in evaluate(agent, FAMILY, tasks, plan, memory)]
    found = summarise(FAMILY, tasks, split, plan, rows)
    return dataclasses.replace(found, differences=())  # two agents: not to be paired


def draw(pooled: dict[str, Evaluation]) -> None:
    """Draw the figures."""
    IMAGES.mkdir(exist_ok=True)
    best = float(FAMILY.max_episode_steps)
    titles = [f"{FAMILY.name}, {split.replace('_', '-')} tasks" for split in pooled]
    figure = budget_curve(list(pooled.values()), best=best, titles=titles)
    write_png(figure, IMAGES / "five-ways.png")
    profile = IMAGES / "five-ways-profile.png"
    write_png(performance_profile(pooled["held_out"], title=titles[0]), profile)
    rows = {(row.mode, row.shots): np.array(row.per_task) for row in pooled["held_out"].results}
    before = rows["zero_shot", 0]
    panels = [
        Scatter(f"{mode.replace('_', ' ')}, 1 episode", before, rows[mode, 1])
        for mode in ("standard", "hybrid")
    ]
    write_png(task_scatter(panels), IMAGES / "five-ways-tasks.png")


def main(seeds: int = 3, threads: int = 1) -> None:
    """Measure, and write the results.

    Args:
        seeds: Number of training seeds, from 0.
        threads: Threads for torch.
    """
    torch.set_num_threads(threads)
    found = {split: [measure(seed, split) for seed in range(seeds)] for split in SPLITS}
    pooled = {split: over_seeds(each) for split, each in found.items()}
    for evaluation in pooled.values():
        console.print(make_table(evaluation))
    content = {
        "command": "python benchmarks/five_ways.py",
        "machine": machine(),
        "seeds": list(range(seeds)),
        "pooled": {split: json.loads(one.to_json()) for split, one in pooled.items()},
        "per_seed": {s: [json.loads(one.to_json()) for one in each] for s, each in found.items()},
    }
    (RESULTS / "five-ways.json").write_text(json.dumps(content) + "\n")
    draw(pooled)


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
