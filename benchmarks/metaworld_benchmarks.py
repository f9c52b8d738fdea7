"""Train ML1 reach-v3 or ML10 of Meta-World for a while, and measure it by its own evaluation.

    pip install 'ssm-metarl[metaworld]'
    python benchmarks/metaworld_benchmarks.py rl2 --minutes 55
    python benchmarks/metaworld_benchmarks.py maml --minutes 55
    python benchmarks/metaworld_benchmarks.py rl2 --benchmark ML10
    python benchmarks/metaworld_benchmarks.py speed

The held-out tasks are the benchmark's own test tasks, on which nothing was chosen. A training that
was interrupted goes on when the command is run again. Writes
``benchmarks/results/metaworld-BENCHMARK.json``, where each learner has its entry, and a figure.
"""

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
import tyro
from adaptation import machine
from numpy.random import SeedSequence
from rich.console import Console

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.metaworld import versions
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.evaluation.figures import write_png
from ssm_metarl.evaluation.figures.style import COLOURS, style, subplots
from ssm_metarl.evaluation.metaworld import evaluate_metaworld
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import load
from ssm_metarl.training.loop import resume, train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
Benchmark = Literal["ML1-reach-v3", "ML10"]
# A hand needs some 40 steps to any goal: short episodes teach the same for less.
BENCHMARKS: dict[str, dict[str, Any]] = {
    # Returns of whole episodes say little of success: what was last is measured, and not the best.
    "ML1-reach-v3": {"query_steps": 100, "validate_every": 1000, "validation_tasks": 3},
    "ML10": {"query_steps": 200, "validate_every": 15, "validation_tasks": 10},
}
LEARNERS: dict[str, dict[str, Any]] = {
    "rl2": {
        **{"mode": "rl2", "num_epochs": 120, "tasks_per_epoch": 20, "episodes_per_trial": 2},
        "first_steps": 100,
    },
    "maml": {
        **{"mode": "meta_rl", "num_epochs": 60, "tasks_per_epoch": 10, "episodes_per_task": 10},
        "support_steps": 100,
    },
}
MODES = {"rl2": ("zero_shot", "in_context"), "maml": ("zero_shot", "standard")}
console = Console()


@dataclasses.dataclass(frozen=True)
class Trained:
    """One learner, and how it did.

    Attributes:
        settings: What differs from the learner's own.
        seed: Of training and evaluation.
        variations: Held-out tasks that were evaluated on.
        seconds: Of training, on the clock.
        environment_steps: Trained on.
        iterations: Of training; what was measured are the best parameters on validation tasks.
        curve: Of every iteration: environment steps so far, and the return and the success rate of
            the first and of the last episode of its trials, or before and after adapting.
        results: By Meta-World's evaluation.
    """

    settings: dict[str, Any]
    seed: int
    variations: int
    seconds: float
    environment_steps: int
    iterations: int
    curve: Sequence[Sequence[float | None]]
    results: Sequence[dict[str, Any]]


def main(
    what: Annotated[Literal["rl2", "maml", "speed"], tyro.conf.Positional],
    benchmark: Benchmark = "ML1-reach-v3",
    minutes: float = 55.0,
    folder: Path = Path("runs/benchmarks"),
    seed: int = 0,
    variations: int = 50,
) -> None:
    """Train and measure one learner, or time the environments.

    Args:
        what: A learner, or how fast the environments are.
        benchmark: One task in many variations, or ten tasks.
        minutes: How long to train.
        folder: Where the run goes, by the names of benchmark and learner.
        seed: Of training and evaluation.
        variations: Of the held-out tasks.
    """
    torch.set_num_threads(1)
    family = get_family(benchmark)
    if what == "speed":
        entry = time_environments(family)
    else:
        config = TrainConfig(
            env_name=benchmark, seed=seed, **LEARNERS[what], **BENCHMARKS[benchmark]
        )
        run_dir = folder / f"metaworld-{benchmark.lower()}-{what}"
        train_for(minutes, config, run_dir)
        entry = measure(what, config, run_dir, family, variations)
    file = RESULTS / f"metaworld-{benchmark.lower()}.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    known |= {"family": benchmark, **versions(), "machine": machine(), what: entry}
    file.write_text(json.dumps(known, indent=1) + "\n")
    if any(name in known for name in LEARNERS):
        write_png(draw(known), file.with_suffix(".png"))


def train_for(minutes: float, config: TrainConfig, run_dir: Path) -> None:
    """Train a learner for some time, or go on with it."""
    stream = resume(run_dir) if run_dir.exists() else train(config, run_dir)
    for progress in stream:
        console.print(progress.iteration, f"{progress.seconds:.0f} s", progress.return_after)
        if progress.seconds > 60.0 * minutes:
            break
    stream.close()


def measure(
    what: str, config: TrainConfig, run_dir: Path, family: TaskFamily, variations: int
) -> dict[str, Any]:
    """Measure a run by Meta-World's own evaluation."""
    records = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    agent, seed, results = load(run_dir), config.seed, []
    for row in evaluate_metaworld(agent, family, MODES[what], variations=variations, seed=seed):
        results.append(dataclasses.asdict(row))
        console.print(row)
    first, second = ("first", "last") if what == "rl2" else ("support", "query")
    shown = [f"{when}_{kind}" for kind in ("reward", "success") for when in (first, second)]
    curve = [[record["environment_steps"], *map(record.get, shown)] for record in records]
    last = records[-1]
    trained = Trained(
        LEARNERS[what] | BENCHMARKS[family.name],
        seed,
        variations,
        last["seconds"],
        last["environment_steps"],
        last["iteration"],
        curve,
        results,
    )
    return dataclasses.asdict(trained)


@style()
def draw(known: dict[str, Any]) -> "Figure":
    """Draw the success rates of training episodes, and those of the evaluation at the end."""
    learners = [name for name in LEARNERS if name in known]
    figure, row = subplots(5.4 * len(learners), 4.3, len(learners))
    for axes, name in zip(row, learners, strict=True):
        entry, modes = known[name], MODES[name]
        steps, _, _, *rates = np.array(entry["curve"], np.float64).T
        after = {result["mode"]: result["success_rate"] for result in entry["results"]}
        for mode, rate in zip(modes, rates, strict=True):
            axes.plot(steps, 100 * rate, color=COLOURS[mode], label=f"{mode}, training")
            axes.plot(
                *(steps[-1:], [100 * after[mode]]),
                **{"color": COLOURS[mode], "marker": "D", "linestyle": "", "clip_on": False},
                label=f"{mode}, held-out tasks by Meta-World's evaluation",
            )
        axes.set(ylim=(0, 100), xlabel="environment steps of training")
        axes.set_title(f"{known['family']}: success in %, {name}")
        axes.legend(frameon=False, fontsize="small")
    return figure


def time_environments(family: TaskFamily, tasks: int = 8, steps: int = 500) -> dict[str, Any]:
    """Return the steps per second of lanes under random actions, with starts of episodes."""
    family = family.reusing()
    environment = family.make_vec(family.held_out(tasks), 1, autoreset=True)
    environment.reset(SeedSequence(0))
    rng = np.random.default_rng(0)
    actions = torch.from_numpy(rng.uniform(-1, 1, (steps + 1, tasks, 1, 4))).float()
    started = time.perf_counter()
    for action in actions:
        environment.step(action)
    rate = tasks * steps / (time.perf_counter() - started)
    environment.close()
    family.close()
    return {"lanes": tasks, "steps_per_second": rate}


if __name__ == "__main__":
    tyro.cli(main)
