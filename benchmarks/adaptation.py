"""Meta-train over several seeds, adapt to held-out tasks, and record the returns.

    python benchmarks/adaptation.py cartpole
    python benchmarks/adaptation.py no-velocity

Each suite trains each of its variants with three seeds exactly as ``ssm-metarl train`` would (under
``runs/benchmarks``, where a finished run is used again), evaluates them on the same 100 held-out
tasks, and writes ``benchmarks/results/SUITE.json`` and ``SUITE.png``. Settings were chosen on the
validation tasks, never on these. Every seed has an untrained network of its own.
"""

import dataclasses
import json
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from rich.table import Table
from training import trained

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.evaluation.evaluate import EvaluationPlan, evaluate, summarise
from ssm_metarl.evaluation.figures import adaptation_curve, write_png
from ssm_metarl.evaluation.pooling import over_seeds
from ssm_metarl.evaluation.report import Evaluation
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import load

RESULTS = Path(__file__).parent / "results"
TASKS, STEPS = 100, 3
MODES = ("zero_shot", "standard", "from_scratch")
SuiteName = Literal["cartpole", "no-velocity", "seed-command", "pendulum", "hard", "prediction"]

SUITES: dict[SuiteName, dict[str, TrainConfig]] = {
    "cartpole": {"ssm": TrainConfig(env_name="CartPole-v1")},
    "seed-command": {
        "ssm": TrainConfig(
            env_name="CartPole-v1",
            num_epochs=100,
            tasks_per_epoch=5,
            inner_lr=0.01,
            outer_lr=0.001,
        )
    },
    "no-velocity": {
        "ssm": TrainConfig(env_name="CartPoleNoVelocity-v1", num_epochs=300, validation_tasks=40),
        "mlp": TrainConfig(
            env_name="CartPoleNoVelocity-v1", num_epochs=300, validation_tasks=40, cell="mlp"
        ),
    },
    "pendulum": {"ssm": TrainConfig(env_name="Pendulum-v1", num_epochs=200)},
    "prediction": {
        "ssm": TrainConfig(
            env_name="CartPole-v1", num_epochs=60, surrogate="prediction", inner_lr=0.1
        )
    },
    "hard": {"ssm": TrainConfig(env_name="CartPoleHard-v1", num_epochs=100)},
}
TITLES = {"ssm": "state-space model", "mlp": "no memory (MLP)"}
SHOTS: dict[SuiteName, Sequence[int]] = {"cartpole": (20, 5), "seed-command": (20,)}

console = Console()


@dataclasses.dataclass(frozen=True)
class Trained:
    """One training seed of one variant, and its evaluations by episodes per step."""

    seed: int
    training_seconds: float
    training_cpu_seconds: float
    training_steps: int
    evaluations: Mapping[int, Evaluation]


def run_seed(suite: SuiteName, variant: str, config: TrainConfig) -> Trained:
    """Train one seed and evaluate its best checkpoint."""
    run = trained(config, f"{suite}-{variant}-{config.seed}", console)
    agent, family = load(run.folder), get_family(config.env_name)
    return Trained(
        seed=config.seed,
        training_seconds=run.seconds,
        training_cpu_seconds=run.cpu_seconds,
        training_steps=run.environment_steps,
        evaluations={n: measure(agent, family, n, config.seed) for n in SHOTS.get(suite, (20,))},
    )


def measure(agent: Agent, family: TaskFamily, shots: int, seed: int) -> Evaluation:
    """Evaluate on the held-out tasks with some episodes per gradient step."""
    plan = EvaluationPlan(MODES, budgets=(shots,), steps=STEPS, seed=seed)
    tasks = family.held_out(TASKS)
    rows = [one.result for one in evaluate(agent, family, tasks, plan)]
    return summarise(family, tasks, "held_out", plan, rows)


def show(name: str, variants: Mapping[str, Sequence[Trained]]) -> None:
    """Print medians over the seeds, with every seed beside them."""
    table = Table("variant", "mode", "episodes", "env steps", "median", "seeds", title=name)
    for variant, runs in variants.items():
        for shots in runs[0].evaluations:
            for same in zip(*(run.evaluations[shots].results for run in runs), strict=True):
                means = [row.mean for row in same]
                table.add_row(
                    variant,
                    f"{same[0].mode}, {same[0].steps} steps",
                    str(same[0].shots),
                    f"{same[0].adaptation_env_steps:.0f}",
                    f"{statistics.median(means):.1f}",
                    " ".join(f"{value:.1f}" for value in means),
                )
        for name in ("training_seconds", "training_cpu_seconds"):
            seconds = [getattr(run, name) for run in runs]
            cells = f"{statistics.median(seconds):.0f}", " ".join(f"{s:.0f}" for s in seconds)
            table.add_row(variant, name.replace("_", " "), "", "", *cells)
    console.print(table)


def machine() -> dict[str, Any]:
    """Describe what this runs on."""
    return {
        "cpu": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def record(suite: SuiteName, variants: Mapping[str, Sequence[Trained]], best: float | None) -> None:
    """Write the suite's JSON and figure."""
    content: dict[str, Any] = {
        "command": f"python benchmarks/adaptation.py {suite}",
        "machine": machine(),
        "configs": {name: dataclasses.asdict(c) for name, c in SUITES[suite].items()},
        "variants": {
            name: [
                {
                    **dataclasses.asdict(run),
                    "evaluations": {
                        str(n): json.loads(e.to_json()) for n, e in run.evaluations.items()
                    },
                }
                for run in runs
            ]
            for name, runs in variants.items()
        },
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{suite}.json").write_text(json.dumps(content, indent=1) + "\n")
    shots = SHOTS.get(suite, (20,))[0]
    pooled = [over_seeds([run.evaluations[shots] for run in runs]) for runs in variants.values()]
    titles = [f"{SUITES[suite][name].env_name}, {TITLES[name]}" for name in variants]
    figure = adaptation_curve(pooled, best=best, titles=titles)
    write_png(figure, RESULTS / f"{suite}.png")


def main(
    suite: Annotated[SuiteName, tyro.conf.Positional],
    seeds: int = 3,
    threads: int = 1,
) -> None:
    """Run one suite.

    Args:
        suite: What to measure.
        seeds: Number of training seeds, from 0.
        threads: Threads for torch.
    """
    torch.set_num_threads(threads)
    variants = {
        name: [
            run_seed(suite, name, dataclasses.replace(config, seed=seed)) for seed in range(seeds)
        ]
        for name, config in SUITES[suite].items()
    }
    show(suite, variants)
    best = 500.0 if "CartPole" in next(iter(SUITES[suite].values())).env_name else None
    record(suite, variants, best)


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
