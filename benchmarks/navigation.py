"""Navigation2D in the protocol of the MAML paper's code, beside the numbers it published.

    python benchmarks/navigation.py

Goals U(-0.5, 0.5)^2 and the rules of the ICML 2017 code (Finn, Abbeel and Levine,
arXiv:1703.03400). Training: 20 tasks an iteration, 20 episodes of each before and as many after the
inner step, at most 8M environment steps. Test: 40 held-out goals, 40 episodes of at most 100 steps
per gradient step, so at most 4,000 environment steps (episodes that reach the goal end early and
use fewer; what was used is recorded), undiscounted returns of the stochastic policy.

Two variants: with trial inputs the policy sees its previous action and reward, which the paper's
does not; from observations alone it sees what the paper's does. Both remember the episode. Settings
were chosen on the validation goals with trial inputs, and serve both; the length of the training
was chosen there for each. Each run keeps the checkpoint that did best on those goals. Writes
``benchmarks/results/navigation.json`` and ``navigation.png``.
"""

import json
import multiprocessing
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import torch
import tyro
from adaptation import Trained
from rich.console import Console
from rich.table import Table

from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.evaluation.evaluate import EvaluationPlan, evaluate, summarise
from ssm_metarl.evaluation.figures import adaptation_curve, write_png
from ssm_metarl.evaluation.pooling import over_seeds
from ssm_metarl.evaluation.report import Evaluation
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import load
from ssm_metarl.training.loop import train

RESULTS = Path(__file__).parent / "results"
GOALS, EPISODES, STEPS = 40, 40, 3
STEP_LIMIT = 8_000_000
PUBLISHED = ("-40.4 +- 4.1", "-11.7 +- 2.2", "-3.33 +- 0.56", "-3.23 +- 0.59")

# 100 iterations of 20 tasks x 2 x 20 episodes of at most 100 steps are the limit. With trial inputs
# what longer training gains on most of the validation goals it loses on a few, where the inner step
# overshoots; which ones changes from iteration to iteration, hence the frequent looks.
OBSERVATION_ONLY = TrainConfig(
    env_name="Navigation2D-v0",
    num_epochs=90,
    tasks_per_epoch=20,
    validate_every=2,
    validation_tasks=40,
)
VARIANTS = {
    "trial inputs": replace(OBSERVATION_ONLY, num_epochs=50, trial_inputs=True),
    "observation only": OBSERVATION_ONLY,
}


def run_seed(config: TrainConfig) -> Trained:
    """Train one seed, and adapt its best checkpoint to the held-out goals."""
    torch.set_num_threads(1)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        *_, last = train(config, Path(folder) / "run")
        agent, family = load(Path(folder) / "run"), get_family(config.env_name)
    spent = time.process_time() - started
    assert last.environment_steps <= STEP_LIMIT
    plan = EvaluationPlan(modes=("zero_shot", "standard"), budgets=(EPISODES,), steps=STEPS)
    goals = family.held_out(GOALS)
    rows = [one.result for one in evaluate(agent, family, goals, plan)]
    return Trained(
        seed=config.seed,
        training_seconds=last.seconds,
        training_cpu_seconds=spent,
        training_steps=last.environment_steps,
        evaluations={EPISODES: summarise(family, goals, "held_out", plan, rows)},
    )


def show(pooled: Mapping[str, Evaluation], runs: Mapping[str, Sequence[Trained]]) -> None:
    """Print means over seeds and goals, every seed's, and the published ones."""
    table = Table("variant", "steps", "env steps used", "mean", "95%", "seeds", "published")
    for name, evaluation in pooled.items():
        for number, row in enumerate(evaluation.results):
            seeds = [run.evaluations[EPISODES].results[number].mean for run in runs[name]]
            low, high = row.ci95
            table.add_row(
                name,
                str(row.steps),
                f"{row.adaptation_env_steps:.0f}",
                f"{row.mean:.2f}",
                f"{low:.2f} to {high:.2f}",
                " ".join(f"{value:.2f}" for value in seeds),
                PUBLISHED[row.steps],
            )
        seconds = statistics.median(run.training_seconds for run in runs[name])
        steps = statistics.median(run.training_steps for run in runs[name])
        table.add_row(name, "training", f"{steps / 1e6:.2f}M", f"{seconds:.0f} s", "", "", "")
    Console(width=120).print(table)


def main(seeds: int = 3, workers: int = 1) -> None:
    """Train and test both variants.

    Args:
        seeds: Number of training seeds, from 0.
        workers: Trainings at once, of one thread each.
    """
    jobs = [replace(config, seed=s) for config in VARIANTS.values() for s in range(seeds)]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        trained = list(pool.map(run_seed, jobs))
    runs = {name: trained[i * seeds : (i + 1) * seeds] for i, name in enumerate(VARIANTS)}
    pooled = {
        name: over_seeds([run.evaluations[EPISODES] for run in same]) for name, same in runs.items()
    }
    show(pooled, runs)
    content = {
        "command": f"python benchmarks/navigation.py --seeds {seeds} --workers {workers}",
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "threads": 1,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "published": {"source": "arXiv:1703.03400", "steps 0 to 3": PUBLISHED},
        "configs": {name: asdict(config) for name, config in VARIANTS.items()},
        "over_seeds": {name: json.loads(e.to_json()) for name, e in pooled.items()},
        "variants": {
            name: [
                {**asdict(run), "evaluations": json.loads(run.evaluations[EPISODES].to_json())}
                for run in same
            ]
            for name, same in runs.items()
        },
    }
    (RESULTS / "navigation.json").write_text(json.dumps(content, indent=1) + "\n")
    figure = adaptation_curve(list(pooled.values()), titles=list(pooled))
    write_png(figure, RESULTS / "navigation.png")


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
