"""HopperPhysics: what adapting by gradient steps and retrieval adds to a memory, per episode.

    python benchmarks/physics.py

Hoppers of other mass, friction, damping and gravity, three in four of them with an actuator that
has no force. Each seed trains two agents as ``ssm-metarl train`` would (under ``runs/benchmarks``,
where a finished run is used again): by ``--mode meta_rl``, which then adapts from 1, 5 and 20
episodes by standard and hybrid, and by ``--mode rl2``, which has nothing but its memory. Both play
the same 40 held-out tasks. Differences are paired by seed and task; intervals resample both. Writes
``benchmarks/results/hopper-physics.json`` and ``.png``.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from adaptation import machine
from rich.console import Console
from training import TrainedRun, trained

from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.software import current_software
from ssm_metarl.evaluation.evaluate import EvaluationPlan, evaluate, summarise
from ssm_metarl.evaluation.figures import budget_curve, write_png
from ssm_metarl.evaluation.pooling import over_seeds
from ssm_metarl.evaluation.report import Evaluation, ModeResult
from ssm_metarl.evaluation.statistics import paired_difference
from ssm_metarl.evaluation.table import make_table
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import load

FILE = Path(__file__).parent / "results" / "hopper-physics.json"
FAMILY = get_family("HopperPhysics")
SEEDS, TASKS, EPISODES, STEPS, BUDGETS = 3, 40, 4, 3, (1, 5, 20)
MODES = ("zero_shot", "standard", "hybrid", "from_scratch")
LEARNERS = ("meta_rl", "rl2")
HYBRID, STANDARD, ZERO_SHOT, MEMORY = (
    ("hybrid", 1, 1),
    ("standard", 1, 1),
    ("zero_shot", 0, 0),
    ("in_context", EPISODES - 1, 0),
)
COMPARED = ((HYBRID, STANDARD), (HYBRID, ZERO_SHOT), (HYBRID, MEMORY), (STANDARD, ZERO_SHOT))
"""Mode, episodes and steps of what is compared."""

console = Console(width=110)


def train_all(seed: int) -> dict[str, TrainedRun]:
    """Train both agents of a seed, if that has not been done."""
    return {
        learner: trained(
            TrainConfig(mode=learner, env_name=FAMILY.name, seed=seed),
            f"hopper-physics-{learner}-{seed}",
            console,
        )
        for learner in LEARNERS
    }


def measure(seed: int, runs: Mapping[str, TrainedRun]) -> Evaluation:
    """Evaluate both agents of a seed on the held-out tasks."""
    tasks = FAMILY.held_out(TASKS)
    by_steps = EvaluationPlan(MODES, BUDGETS, STEPS, seed=seed)
    trials = EvaluationPlan(("in_context",), trial_episodes=EPISODES, seed=seed)
    agents = {learner: load(run.folder) for learner, run in runs.items()}
    memory = Memory.of(agents["meta_rl"])
    rows = [one.result for one in evaluate(agents["meta_rl"], FAMILY, tasks, by_steps, memory)]
    rows += [one.result for one in evaluate(agents["rl2"], FAMILY, tasks, trials)]
    return summarise(FAMILY, tasks, "held_out", by_steps, rows)


def differences(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Compare modes by their returns, of all seeds together."""

    def returns(row: tuple[str, int, int]) -> np.ndarray:
        return np.array([_row(one, *row).per_task for one in evaluations])  # [seeds, tasks]

    found = []
    for one, other in COMPARED:
        mean, interval = paired_difference(returns(one), returns(other), design="crossed")
        found.append({"of": one, "minus": other, "mean": mean, "ci95": interval})
        console.print(f"{one} minus {other}: {mean:.1f} [{interval[0]:.1f}, {interval[1]:.1f}]")
    return found


def _row(evaluation: Evaluation, mode: str, shots: int, steps: int) -> ModeResult:
    same = (mode, shots, steps)
    return next(row for row in evaluation.results if (row.mode, row.shots, row.steps) == same)


def main() -> None:
    """Train, measure and write the results."""
    torch.set_num_threads(1)
    runs = [train_all(seed) for seed in range(SEEDS)]
    evaluations = [measure(seed, each) for seed, each in enumerate(runs)]
    pooled = over_seeds(evaluations)
    console.print(make_table(pooled))
    content = {
        "command": "python benchmarks/physics.py",
        "machine": machine() | current_software(FAMILY.simulators),
        "configs": {
            learner: dataclasses.asdict(
                TrainConfig(mode=learner, env_name=FAMILY.name).resolve(FAMILY)
            )
            for learner in LEARNERS
        },
        "differences": differences(evaluations),
        "pooled": json.loads(pooled.to_json()),
        "seeds": [
            {
                "seed": seed,
                "trainings": {
                    name: {key: value for key, value in vars(run).items() if key != "folder"}
                    for name, run in each.items()
                },
                "evaluation": json.loads(evaluation.to_json()),
            }
            for seed, (each, evaluation) in enumerate(zip(runs, evaluations, strict=True))
        ],
    }
    FILE.write_text(json.dumps(content, indent=1) + "\n")
    title = f"{FAMILY.name}: {TASKS} held-out tasks, {SEEDS} seeds"
    write_png(budget_curve(pooled, titles=[title]), FILE.with_suffix(".png"))


if __name__ == "__main__":
    main()
