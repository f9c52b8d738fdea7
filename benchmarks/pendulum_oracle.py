"""The share of the possible gain on Pendulum that one gradient step reaches.

    python benchmarks/adaptation.py pendulum
    python benchmarks/pendulum_oracle.py

Trains PPO from scratch on each of the first held-out tasks, with far more data than adaptation
sees, and places zero-shot and adapted returns of ``results/pendulum.json`` between: 0 is not
adapting, 1 is the oracle. Writes ``results/pendulum-oracle.json``.
"""

import dataclasses
import json
import statistics
import sys
from pathlib import Path

import numpy as np
import torch
import tyro
from numpy.random import SeedSequence
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.evaluation.play import mean_returns
from ssm_metarl.meta_rl.policy_gradient import PolicyGradient
from ssm_metarl.training.config import TrainConfig

RESULTS = Path(__file__).parent / "results"
SETTINGS = TrainConfig(
    mode="policy_gradient",
    env_name="Pendulum-v1",
    outer_lr=0.003,
    num_episodes=1600,
    discount=0.95,
    gae_lambda=0.95,
)


class Oracle(PolicyGradient):
    """PPO with larger iterations."""

    epochs, minibatches, episodes = 10, 2, 16


def oracle_return(family: TaskFamily, index: int) -> float:
    """Train PPO on one held-out task and return what it reaches there."""
    values = family.held_out(index + 1).parameters(index)
    fixed = tuple(dataclasses.replace(p, default=values[p.name]) for p in family.parameters)
    task = dataclasses.replace(family, parameters=fixed)
    policy = Policy(PolicyConfig(), policy_spaces(task))
    params = policy.init(torch.Generator().manual_seed(index))
    learner = Oracle(policy, task, params, vars(SETTINGS.resolve(task)))
    for iteration in range(1, learner.iterations + 1):
        learner.iterate(SeedSequence(index), iteration)
    return float(
        mean_returns(policy, learner.detached(), task, task.nominal(), 50, SeedSequence(1))[0]
    )


def main(tasks: int = 20, threads: int = 1, again: bool = True) -> None:
    """Measure the oracle and the share of its gain that one step recovers.

    Args:
        tasks: How many of the held-out tasks.
        threads: Threads for torch.
        again: Train the oracle anew; otherwise its recorded returns are compared with.
    """
    torch.set_num_threads(threads)
    family, console = get_family("Pendulum-v1"), Console()
    if again:
        steps = track(range(tasks), "PPO on each task", console=console)
        oracle = [oracle_return(family, index) for index in steps]
    else:
        oracle = json.loads((RESULTS / "pendulum-oracle.json").read_text())["oracle_per_task"]
    runs = json.loads((RESULTS / "pendulum.json").read_text())["variants"]["ssm"]
    table = Table("seed", "zero-shot", "one step", "oracle", "recovered")
    recovered = []
    for run in runs:
        rows = {(r["mode"], r["steps"]): r for r in run["evaluations"]["20"]["results"]}
        before = np.mean(rows["zero_shot", 0]["per_task"][:tasks])
        after = np.mean(rows["standard", 1]["per_task"][:tasks])
        recovered.append(float((after - before) / (np.mean(oracle) - before)))
        cells = [f"{value:.0f}" for value in (before, after, np.mean(oracle))]
        table.add_row(str(run["seed"]), *cells, f"{recovered[-1]:.1%}")
    table.add_row("median", "", "", "", f"{statistics.median(recovered):.1%}")
    console.print(table)
    content = {
        "command": " ".join(["python", "benchmarks/pendulum_oracle.py", *sys.argv[1:]]),
        "ppo": dataclasses.asdict(SETTINGS),
        "oracle_per_task": oracle,
        "recovered_per_seed": recovered,
        "recovered_median": statistics.median(recovered),
    }
    (RESULTS / "pendulum-oracle.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
