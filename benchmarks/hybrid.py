"""What retrieval of earlier tasks adds to standard adaptation from the same episodes.

    python benchmarks/hybrid.py cartpole
    python benchmarks/hybrid.py hard

Trains three seeds exactly as ``ssm-metarl train`` would (under ``runs/benchmarks``, where a
finished run is used again), and adapts each to the same 100 held-out and 100 shifted tasks by one
step from 1, 2, 5, 10 and 20 episodes:

- standard: a value baseline fitted to the own data, as everywhere in this package;
- hybrid, from stores of the newest 30, 100 and 500 tasks that training has met;
- two steps from half of the episodes each (rounded down);
- standard and hybrid also by the most likely action;
- for CartPoles, the one-bit control: the mean step of all stored tasks whose left and right are
  swapped as the new task's are, which it is told. What hybrid gains beyond that is more
  than one bit.

Differences to standard are paired by seed and task; intervals resample both. Writes
``benchmarks/results/hybrid-SUITE.json`` and ``.png``.
"""

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from adaptation import SUITES as TRAINED
from adaptation import machine
from numpy.random import SeedSequence
from rich.console import Console
from rich.table import Table
from training import trained

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.standard import adapt_tasks
from ssm_metarl.core.parameters import Params
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.evaluation.evaluate import (
    ADAPTATION_STREAM,
    MODE_STREAM,
    RETURN_STREAM,
)
from ssm_metarl.evaluation.figures import budget_curve, write_png
from ssm_metarl.evaluation.play import mean_returns
from ssm_metarl.evaluation.pooling import pooled_result
from ssm_metarl.evaluation.report import Evaluation
from ssm_metarl.evaluation.statistics import iqm, paired_difference, stratified_bootstrap
from ssm_metarl.experience.buffer import ExperienceStore
from ssm_metarl.meta_rl.inner_rule import descend
from ssm_metarl.training.loading import load

RESULTS = Path(__file__).parent / "results"
SuiteName = Literal["cartpole", "no-velocity", "hard", "pendulum"]
BUDGETS, STORES, TASKS, RETURN_EPISODES = (1, 2, 5, 10, 20), (30, 100, 500), 100, 10
SPLITS = ("held_out", "shifted")
RECALLED = f"hybrid, {max(STORES)} stored"
GREEDY = ("zero-shot", "standard", RECALLED)  # the ways also measured by the most likely action

Scores = dict[str, np.ndarray]
"""Way of adapting -> returns ``[budgets, tasks]``."""

console = Console()


@dataclasses.dataclass(frozen=True)
class Measured:
    """One seed on one set of tasks.

    Attributes:
        scores: Returns.
        greedy: Returns of the ways in ``GREEDY`` by the most likely action.
        zero_shot: Returns before adaptation, ``[tasks]``.
        environment_steps: Used by adaptation, ``[budgets]``, the mean over tasks.
    """

    scores: Scores
    greedy: Scores
    zero_shot: np.ndarray
    environment_steps: np.ndarray


def measure(agent: Agent, family: TaskFamily, split: str, seed: int) -> Measured:
    """Adapt to every task in every way and measure the returns."""
    tasks: Tasks = getattr(family, split)(TASKS)
    own = SeedSequence(seed)
    memories = {f"hybrid, {most} stored": Memory.of(agent, most) for most in STORES}

    def returns(params: Params, deterministic: bool = False) -> np.ndarray:
        fresh = substream(own, MODE_STREAM if deterministic else RETURN_STREAM)
        measured = agent.policy, params, family, tasks, RETURN_EPISODES, fresh
        return mean_returns(*measured, deterministic=deterministic)

    scores: dict[str, list[np.ndarray]] = {}
    greedy = {"zero-shot": [returns(agent.params, True)] * len(BUDGETS)}
    steps = []
    for budget in BUDGETS:
        plan = {"episodes": budget, "steps": 1, "seed": substream(own, ADAPTATION_STREAM)}
        for name, memory in {"standard": None, **memories}.items():
            *_, adapted = adapt_tasks(agent, family, tasks, memory=memory, **plan)
            scores.setdefault(name, []).append(returns(adapted.params))
            if name in GREEDY:
                greedy.setdefault(name, []).append(returns(adapted.params, True))
        plan |= {"episodes": max(1, budget // 2), "steps": min(2, budget)}
        *_, halved = adapt_tasks(agent, family, tasks, **plan)
        scores.setdefault("two halves", []).append(returns(halved.params))
        steps.append(adapted.environment_steps.mean())
    largest = memories[RECALLED]
    if "swap" in tasks.values:
        told = returns(one_bit(agent, family, tasks, largest))
        scores["told the swap"] = [told] * len(BUDGETS)
    return Measured(
        {name: np.array(rows) for name, rows in scores.items()},
        {name: np.array(rows) for name, rows in greedy.items()},
        returns(agent.params),
        np.array(steps),
    )


def one_bit(agent: Agent, family: TaskFamily, tasks: Tasks, memory: Memory) -> Params:
    """Take, on each task, the mean step of the stored tasks that are swapped as it is."""
    with ExperienceStore.open(agent.experience) as store:
        swapped = {task.id: task.parameters["swap"] for task in store.tasks()}
    steps = {}
    for swap in (0.0, 1.0):
        alike = [memory.gradient(task) for task in memory.tasks if swapped[task] == swap]
        steps[swap] = {name: torch.stack([g[name] for g in alike]).mean(0) for name in alike[0]}
    rows = [steps[swap] for swap in tasks.values["swap"].tolist()]
    gradients = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    return {**agent.params, **descend(agent.params, gradients, agent.rates)}


def summary(runs: list[Measured]) -> dict[str, Any]:
    """Pool the seeds of one split: means, and paired differences to standard."""
    result: dict[str, Any] = {
        "zero_shot": float(np.mean([run.zero_shot for run in runs])),
        "zero_shot_deterministic": float(np.mean([run.greedy["zero-shot"] for run in runs])),
        "environment_steps": np.mean([run.environment_steps for run in runs], 0).tolist(),
        "ways": {},
    }
    for name in runs[0].scores:
        rows = []
        for index, budget in enumerate(BUDGETS):
            mine, standard = (
                np.array([run.scores[way][index] for run in runs]) for way in (name, "standard")
            )
            gain = paired_difference(mine, standard, design="crossed")
            rows.append(
                {
                    "episodes": budget,
                    "mean": float(mine.mean()),
                    "per_seed": mine.mean(1).tolist(),
                    "iqm": float(iqm(mine.ravel())),
                    "ci95": stratified_bootstrap(mine, design="crossed"),
                    "minus_standard": gain.mean,
                    "minus_standard_ci95": gain.ci95,
                    "per_task": mine.round(1).tolist(),
                }
            )
            if name in GREEDY:
                greedy = np.array([run.greedy[name][index] for run in runs])
                rows[-1]["deterministic_mean"] = float(greedy.mean())
                rows[-1]["deterministic_per_seed"] = greedy.mean(1).tolist()
        result["ways"][name] = rows
    return result


def show(suite: str, summaries: Mapping[str, Any]) -> None:
    """Print means and differences."""
    for split, found in summaries.items():
        table = Table(title=f"{suite}, {split}: zero-shot {found['zero_shot']:.1f}")
        table.add_column("way")
        for budget in BUDGETS:
            table.add_column(f"{budget} ep.", justify="right")
        for name, rows in found["ways"].items():
            table.add_row(name, *(f"{row['mean']:.1f}" for row in rows))
            if name in GREEDY:
                greedy = (f"{row['deterministic_mean']:.1f}" for row in rows)
                table.add_row("  most likely action", *greedy)
            if name != "standard":
                table.add_row(
                    "  minus standard",
                    *(
                        "{:+.1f} [{:.1f}, {:.1f}]".format(
                            row["minus_standard"], *row["minus_standard_ci95"]
                        )
                        for row in rows
                    ),
                )
        console.print(table)


def curve(family: TaskFamily, split: str, runs: list[Measured]) -> Evaluation:
    """Return the pooled seeds as an evaluation, for the figure."""
    nothing = np.zeros(len(runs))
    zero_shot = np.array([run.zero_shot for run in runs])
    greedy = np.array([run.greedy["zero-shot"][0].mean() for run in runs])
    rows = [pooled_result("zero_shot", 0, 0, zero_shot, greedy, nothing)]
    for mode, way in (("standard", "standard"), ("hybrid", RECALLED)):
        for index, budget in enumerate(BUDGETS):
            scores = np.array([run.scores[way][index] for run in runs])
            greedy = np.array([run.greedy[way][index].mean() for run in runs])
            steps = np.array([run.environment_steps[index] for run in runs])
            rows.append(pooled_result(mode, budget, 1, scores, greedy, steps))
    return Evaluation(family.name, TASKS, 0, split, tuple(rows))


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
    config = TRAINED[suite]["ssm"]
    family = get_family(config.env_name)
    measured: dict[str, list[Measured]] = {split: [] for split in SPLITS}
    for seed in range(seeds):
        run = trained(dataclasses.replace(config, seed=seed), f"{suite}-ssm-{seed}", console)
        agent = load(run.folder)
        for split in SPLITS:
            measured[split].append(measure(agent, family, split, seed))
            console.print(f"seed {seed}, {split}: measured")
    summaries = {split: summary(runs) for split, runs in measured.items()}
    show(suite, summaries)
    content = {
        "command": f"python benchmarks/hybrid.py {suite}",
        "machine": machine(),
        "config": dataclasses.asdict(config),
        "seeds": list(range(seeds)),
        "tasks": TASKS,
        "splits": summaries,
    }
    (RESULTS / f"hybrid-{suite}.json").write_text(json.dumps(content) + "\n")
    best = 500.0 if "CartPole" in config.env_name else None
    curves = [curve(family, split, runs) for split, runs in measured.items()]
    titles = [f"{family.name}, {split.replace('_', '-')} tasks" for split in summaries]
    figure = budget_curve(curves, best=best, titles=titles)
    write_png(figure, RESULTS / f"hybrid-{suite}.png")


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
