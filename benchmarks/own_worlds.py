"""One agent for each of the example families in ``examples/families``, on tasks it has never met.

    pip install "ssm-metarl[worlds]"
    python benchmarks/own_worlds.py                      # all of them
    python benchmarks/own_worlds.py --only lunar-lander  # one; the others' results stay

Each is trained for a few minutes of one core, by the learner that suits it: ``rl2`` where a memory
of several episodes is what counts, else ``meta_rl``. These are first results and no tuned ones:
most settings are those that the learners have anyway. The random policy's return is measured beside
them; the best possible one is given where it is known. A training that is interrupted, or is not
done after the processor time it may take, goes on where it was when the command is run again.
Writes ``benchmarks/results/own-worlds.json`` and ``own-worlds.png``.
"""

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
import tyro
from adaptation import machine
from rich.console import Console
from training import RUNS

import ssm_metarl as sm
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.env_runner.registry import register
from ssm_metarl.evaluation.evaluate import EvaluationPlan, evaluate, summarise
from ssm_metarl.evaluation.figures import adaptation_curve, trial_curve, write_png
from ssm_metarl.evaluation.figures.style import COLOURS, REFERENCE, style, subplots
from ssm_metarl.evaluation.table import make_table
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loop import resume

FAMILIES = Path(__file__).parent.parent / "examples" / "families"
RESULTS = Path(__file__).parent / "results"
OUT = RESULTS / "own-worlds.json"
RANDOM_EPISODES, COLUMNS = 3, 4
STEPS = EvaluationPlan(("zero_shot", "standard", "hybrid", "from_scratch"), (2, 10), 2, 3)
TRIALS = EvaluationPlan(("zero_shot", "in_context"), return_episodes=3)

console = Console(width=110)


@dataclass(frozen=True)
class World:
    """How one family is met.

    Attributes:
        mode: The learner.
        settings: Of its training, beside those of the learner.
        best: Best possible return of an episode, where it is known.
        tasks: Held-out tasks that it is evaluated on.
        minutes: Of processor time that the training may take.
    """

    mode: str
    settings: dict[str, Any] = field(default_factory=dict)
    best: float | None = None
    tasks: int = 20
    minutes: float = 3.0


SMALL = {"validation_tasks": 10, "validate_every": 10}
TRIAL = {**SMALL, "tasks_per_epoch": 16}
SPARSE = {**TRIAL, "entropy": 0.02, "outer_lr": 0.001}  # nothing is paid before the goal
WORLDS = {
    "lunar-lander": World(
        "meta_rl",
        {**SMALL, "episodes_per_task": 10},
        minutes=8.0,
    ),
    "popgym-repeat-previous": World("rl2", {**TRIAL, "first_steps": 52}, 1.0),
    "popgym-position-only-cartpole": World("rl2", TRIAL, 1.0),
    "minigrid-memory": World("rl2", {**SPARSE, "first_steps": 60}, 1.0),
    "popgym-noisy-cartpole": World("rl2", {**TRIAL, "num_epochs": 50}, 1.0),
    "popgym-position-only-pendulum": World("rl2", {**TRIAL, "num_epochs": 40}),
    "popgym-noisy-pendulum": World("rl2", {**TRIAL, "num_epochs": 40}),
    "minigrid-door-key": World("rl2", {**SPARSE, "first_steps": 100, "num_epochs": 40}, 1.0),
    "carl-cartpole": World("meta_rl", {**SMALL, "tasks_per_epoch": 10}, 500.0),
    # A step takes 10 ms.
    "highway": World(
        "rl2",
        {
            **{"num_epochs": 8, "tasks_per_epoch": 6, "first_steps": 20},
            **{"validation_tasks": 2, "validate_every": 8},
        },
        20.0,
        tasks=5,
    ),
    "bipedal-walker": World("rl2", {**TRIAL, "num_epochs": 25}),
}


def trained(name: str, world: World, family: sm.TaskFamily) -> tuple[Path, float]:
    """Train, or go on training; return the run and the processor time that it has taken."""
    folder = RUNS / f"own-worlds-{name}"
    spent, started = folder / "cpu-seconds.json", time.process_time()
    before = json.loads(spent.read_text()) if spent.exists() else 0.0
    config = TrainConfig(mode=world.mode, env_name=family.name, **world.settings)
    stream = resume(folder) if folder.exists() else sm.train(config, folder)
    for progress in stream:
        seconds = before + time.process_time() - started
        spent.write_text(json.dumps(seconds))
        if progress.return_before is not None:
            returns = f"{progress.return_before:.3g}, then {progress.return_after:.3g}"
            place = f"{progress.iteration} of {progress.iterations}"
            console.print(f"{name}: iteration {place}, {seconds:.0f} s: {returns}")
        if seconds > 60 * world.minutes:
            break
    stream.close()
    return folder, json.loads(spent.read_text())


def random_return(family: sm.TaskFamily, tasks: sm.Tasks) -> float:
    """Return the mean return of actions drawn from the action space."""
    returns = []
    for task in tasks:
        env = sm.make(family, task)
        env.action_space.seed(0)
        returns += [_random_episode(env, seed) for seed in range(RANDOM_EPISODES)]
        env.close()
    return float(np.mean(returns))


def _random_episode(env: gymnasium.Env, seed: int) -> float:
    env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        total, over = total + float(reward), terminated or truncated
    return total


def measure(name: str, world: World) -> dict[str, Any]:
    """Train and evaluate one; return its part of the JSON, and draw its curve."""
    family = register(sm.read_family(FAMILIES / f"{name}.toml"))
    folder, cpu_seconds = trained(name, world, family)
    agent, tasks = sm.load(folder), family.held_out(world.tasks)
    plan = TRIALS if world.mode == "rl2" else STEPS
    memory = Memory.of(agent) if "hybrid" in (plan.modes or ()) else None
    rows = [one.result for one in evaluate(agent, family, tasks, plan, memory)]
    evaluation = summarise(family, tasks, "held_out", plan, rows)
    console.print(make_table(evaluation))
    draw = trial_curve if world.mode == "rl2" else adaptation_curve
    write_png(draw(evaluation, best=world.best), RESULTS / f"own-worlds-{name}.png")
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    return {
        "file": f"examples/families/{name}.toml",
        "mode": world.mode,
        "config": json.loads((folder / "config.json").read_text()),
        "iterations": [last["iteration"], last["iterations"]],
        "environment_steps": last["environment_steps"],
        "training_cpu_seconds": cpu_seconds,
        "random": random_return(family, tasks),
        "best": world.best,
        "evaluation": json.loads(evaluation.to_json()),
    }


def summary(part: dict[str, Any]) -> list[tuple[str, float, tuple[float, float]]]:
    """Return what is drawn of one: name, mean return and its interval."""
    rows = part["evaluation"]["results"]
    last = {row["mode"]: row for row in rows}  # of each mode, after most episodes
    names = {"zero_shot": "zero-shot", "in_context": "in context", "standard": "adapted"}
    shown = [(text, last[mode]) for mode, text in names.items() if mode in last]
    random = ("random", part["random"], (part["random"], part["random"]))
    return [random, *((text, row["mean"], tuple(row["ci95"])) for text, row in shown)]


@style()
def overview(parts: dict[str, Any]) -> Any:  # noqa: ANN401 (a figure)
    """Draw the random policy, the agent as it is and after adapting, a panel for each family."""
    rows = math.ceil(len(parts) / COLUMNS)
    columns = math.ceil(len(parts) / rows)
    figure, grid = subplots(2.8 * columns, 3.6 * rows, len(parts), rows=rows)
    for axes, (name, part) in zip(grid, parts.items(), strict=True):
        names, means, bounds = zip(*summary(part), strict=True)
        low, high = np.array(bounds).T
        errors = np.maximum([means - low, high - means], 0.0)
        axes.errorbar(
            range(len(names)), means, errors, fmt="o", capsize=3, color=COLOURS["standard"]
        )
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_xlim(-0.5, len(names) - 0.5)
        if part["best"] is not None:
            axes.axhline(part["best"], **REFERENCE)
        axes.set_title(name.removeprefix("popgym-"), size="small")
    for axes in grid[::columns]:
        axes.set_ylabel("mean return of an episode")
    return figure


def main(only: tuple[str, ...] = ()) -> None:
    """Train and evaluate, and write the results after each family.

    Args:
        only: Names of files in examples/families; none for all.
    """
    torch.set_num_threads(1)
    for name in only or WORLDS:
        found = measure(name, WORLDS[name])
        parts = json.loads(OUT.read_text())["worlds"] if OUT.exists() else {}
        parts[name] = found
        content = {
            "command": "python benchmarks/own_worlds.py",
            "machine": machine(),
            "worlds": {one: parts[one] for one in WORLDS if one in parts},
        }
        OUT.write_text(json.dumps(content, indent=1) + "\n")
        write_png(overview(content["worlds"]), RESULTS / "own-worlds.png")


if __name__ == "__main__":
    tyro.cli(main)
