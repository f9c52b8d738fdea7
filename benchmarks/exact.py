"""Train in a world in which the best possible return is known, and measure how much is reached.

    python benchmarks/exact.py BernoulliBandit-k5-n100
    python benchmarks/exact.py TabularMDP-n10 --cells ssm gru --seeds 3 --minutes 60
    python benchmarks/exact.py GridWorld-v0

Trains ``--mode rl2`` with each cell and seed, as ``ssm-metarl train`` would, in folders under
``--runs``; interrupted or out of ``--minutes``, it goes on when it is started again. What is best
on the validation tasks then plays the held-out tasks, and so do the references, with the same
random numbers of the world. Writes ``benchmarks/results/exact-WORLD.json`` and ``.png``.

A share is of the gain of a yardstick over random play: of the Gittins index (bandits), of who knows
the MDP, or of the Bayes-optimal search (the grid).
"""

import dataclasses
import itertools
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
import tyro
from exact_references import Curve, World, in_parts, optimum, references, world_of
from numpy.random import SeedSequence
from rich.console import Console
from rich.table import Table

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.checkpoint.files import write_json_atomically
from ssm_metarl.env_runner.family import Tasks
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import collect_trials, per_trial_episode
from ssm_metarl.evaluation.figures.panel import spread
from ssm_metarl.evaluation.figures.style import GROUPS, QUIET, REFERENCE, style, subplots, write_png
from ssm_metarl.evaluation.statistics import paired_difference, stratified_bootstrap
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import load
from ssm_metarl.training.loop import METRICS, resume, train
from ssm_metarl.training.metrics import last_record
from ssm_metarl.training.saved import read_config

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
SEED = SeedSequence(0x6578616374)  # of what is played on the held-out tasks
console = Console(width=120)


def run(config: TrainConfig, place: Path, end: float) -> Mapping[str, Any]:
    """Train until it is done or time is up; return the last record of progress."""
    if place.exists():
        stream = resume(place, num_epochs=config.num_epochs)
    else:
        stream = train(config, place)
    name = f"{config.env_name}, {config.cell}, seed {config.seed}"
    for progress in stream:
        if progress.return_after is not None:
            done = f"{progress.iteration}/{progress.iterations}"
            console.log(f"{name}: {done}, {progress.return_after:.2f} on validation tasks")
        if time.monotonic() > end:
            stream.close()
    return last_record(place / METRICS)


def play(agent: Agent, world: World, tasks: Tasks, lanes: int) -> Curve:
    """Let an agent play a trial of every task in every lane."""
    env = world.family.make_vec(tasks, lanes, autoreset=True)
    rollout = collect_trials(agent.policy.bind(agent.params), env, SEED, world.episodes)
    if world.episodes > 1:
        returns = per_trial_episode(rollout.reward, rollout, world.episodes)
        return returns.double().mean(-1).numpy()
    reward = rollout.reward[: world.family.max_episode_steps].numpy()
    return in_parts(reward, world.part).mean(-1)


def summary(curves: Mapping[str, Sequence[Curve]], yardstick: str) -> dict[str, dict[str, Any]]:
    """Return means, intervals over tasks and seeds, and shares of what the yardstick gains."""
    totals = {name: np.stack([c.sum(0) for c in several]) for name, several in curves.items()}
    best, chance = totals[yardstick], totals["random"].mean()
    found: dict[str, dict[str, Any]] = {}
    for name, own in totals.items():
        behind = paired_difference(own, np.broadcast_to(best, own.shape))
        gain = best.mean() - chance
        found[name] = {
            "mean": own.mean(),
            "ci95": stratified_bootstrap(own),
            "of_yardstick": 1.0 + behind.mean / gain,
            "of_yardstick_ci95": [1.0 + end / gain for end in behind.ci95],
            "seeds": own.mean(1).tolist(),
            "curve": np.mean(curves[name], (0, 2)).tolist(),
        }
    return found


def show(found: Mapping[str, Mapping[str, Any]], world: World) -> None:
    """Print the results, the best first."""
    table = Table("", "return of a trial", "95%", f"share of {world.yardstick}", "95%", "seeds")
    for name, row in sorted(found.items(), key=lambda item: -item[1]["mean"]):
        low, high = row["ci95"]
        least, most = row["of_yardstick_ci95"]
        seeds = " ".join(f"{value:.2f}" for value in row["seeds"]) if len(row["seeds"]) > 1 else ""
        table.add_row(
            name,
            f"{row['mean']:.2f}",
            f"{low:.2f} to {high:.2f}",
            f"{row['of_yardstick']:.1%}",
            f"{least:.1%} to {most:.1%}",
            seeds,
        )
    console.print(table)


@style()
def figure(found: Mapping[str, Mapping[str, Any]], cells: Sequence[str], world: World) -> "Figure":
    """Draw reward along a trial: agents in colour, references in grey, the yardstick dashed."""
    drawing, (axes,) = subplots(8.4, 4.6)
    ends = []
    for name, row in found.items():
        number = cells.index(name) if name in cells else None
        colour = QUIET if number is None else GROUPS[number % len(GROUPS)][0]
        how = {"color": colour, "linewidth": 1.0} if number is None else {"color": colour}
        how = {**how, **REFERENCE} if name == world.yardstick else how
        along = np.arange(1, len(row["curve"]) + 1)
        axes.plot(along, row["curve"], **how)
        ends.append((row["curve"][-1], f"{name}  {row['mean']:.2f}", colour))
    low, high = axes.get_ylim()
    heights = spread([y for y, _, _ in ends], 0.055 * (high - low))
    for (_, name, colour), height in zip(ends, heights, strict=True):
        beside = {"xytext": (10, 0), "textcoords": "offset points", "annotation_clip": False}
        axes.annotate(name, (along[-1], height), c=colour, va="center", **beside)
    axes.set_xlim(right=along[-1])
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel(f"{world.unit} of the trial")
    axes.set_ylabel(f"mean reward per {world.unit}")
    axes.set_title(f"{world.family.name}, held-out tasks")
    return drawing


def main(
    world: Annotated[str, tyro.conf.Positional],
    cells: tuple[str, ...] = ("ssm",),
    seeds: int = 1,
    epochs: int = 300,
    batch: int | None = None,
    minutes: float = 60.0,
    tasks: int = 1000,
    lanes: int = 4,
    runs: Path = Path("runs/exact"),
    out: Path = RESULTS,
) -> None:
    """Train, measure and write the results.

    Args:
        world: Family: BernoulliBandit-k5-n100, TabularMDP-n25 (or other sizes), GridWorld-v0.
        cells: Memories to train; none for the references alone.
        seeds: Number of training seeds of each, from 0.
        epochs: Iterations of each training.
        batch: Tasks of an iteration; None for 400, or 210 of the grid.
        minutes: For all trainings; start it again to go on.
        tasks: Held-out tasks.
        lanes: Trials of each.
        runs: Where the trainings are kept.
        out: Where results are written.
    """
    torch.set_num_threads(1)
    end, measured = time.monotonic() + 60.0 * minutes, world_of(get_family(world))
    held_out = measured.family.held_out(tasks)
    curves = {n: [c] for n, c in references(measured, held_out, lanes, SEED).items()}
    trainings = []
    for cell, seed in itertools.product(cells, range(seeds)):
        settings: dict[str, Any] = {"num_epochs": epochs, **measured.settings}
        settings["tasks_per_epoch"] = batch or settings["tasks_per_epoch"]
        config = TrainConfig(mode="rl2", env_name=world, cell=cell, seed=seed, **settings)
        place = runs / f"{world}-{cell}-{seed}"
        last = run(config, place, end)
        curves.setdefault(cell, []).append(play(load(place), measured, held_out, lanes))
        taken = {name: last[name] for name in ("iteration", "environment_steps", "seconds")}
        trainings.append({"config": dataclasses.asdict(read_config(place)), **taken})
    found = summary(curves, measured.yardstick)
    show(found, measured)
    content = {
        "command": f"python benchmarks/exact.py {world} --cells {' '.join(cells)} --seeds {seeds} "
        f"--epochs {epochs} --batch {batch} --tasks {tasks} --lanes {lanes}",
        **described(measured),
        "held_out_tasks": len(held_out),
        "trials_of_each": lanes,
        "trainings": trainings,
        "results": found,
    }
    write_json_atomically(out / f"exact-{world}.json", content)
    write_png(figure(found, cells, measured), out / f"exact-{world}.png")


def described(world: World) -> dict[str, Any]:
    """Return what a results file says of the world and the machine."""
    return {
        "world": world.family.name,
        "a_point_is": world.unit,
        "yardstick": world.yardstick,
        "bayes_optimum": optimum(world.family),
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "threads": 1,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    }


if __name__ == "__main__":
    tyro.cli(main)
