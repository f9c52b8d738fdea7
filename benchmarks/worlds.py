"""Robots in lanes against Gymnasium's SyncVectorEnv and EnvPool: steps per second, side by side.

    pip install envpool==1.2.5   # without it, it is left out
    python benchmarks/worlds.py

The contestants take turns in one process, a few hundred steps each, with the same random actions;
observations, rewards and the start of the next episode are included. Ours and SyncVectorEnv have
other physics (mass, friction, damping, gravity) in every lane, which EnvPool cannot have. Only
speed is compared: EnvPool 1.2.5 has the physics of mujoco 3.6.0 built in, which are not those of
other releases, and rewards in float32; its returns say nothing about ours. Ratios are medians over
the rounds. Writes ``benchmarks/results/worlds.json`` and a figure beside it, if the machine was
quiet.
"""

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
import tyro
from numpy.random import SeedSequence
from rich.console import Console
from rich.table import Table

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.mujoco_families import PHYSICS_FAMILIES
from ssm_metarl.env_runner.mujoco_world import MuJoCoWorld, edit_model
from ssm_metarl.evaluation.figures import write_png
from ssm_metarl.evaluation.figures.style import COLOURS, GROUPS, QUIET, style, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results"
ROBOTS = ("HalfCheetah", "Hopper")
LANES = (16, 64, 400)
SEED = SeedSequence(0)
OURS, SYNC, ENVPOOL = "ours", "SyncVectorEnv", "EnvPool"
LOOKS = {OURS: COLOURS["standard"], SYNC: "#cbd5e1", ENVPOOL: GROUPS[1][0]}
LITTLE = 0.3  # other work, in cores, that is too little to matter
Step = Callable[[np.ndarray], Any]


@dataclasses.dataclass(frozen=True)
class Row:
    """How fast one contestant was.

    Attributes:
        robot: Which one.
        lanes: How many.
        contestant: Who stepped them.
        steps_per_second: Of all lanes together, median over the rounds.
        ours_is: Times as fast: steps per second of ours over its, median over the rounds.
        least: The smallest of these ratios.
        most: The largest.
    """

    robot: str
    lanes: int
    contestant: str
    steps_per_second: float
    ours_is: float
    least: float
    most: float


def physics_of(robot: str) -> TaskFamily:
    """Return the family whose tasks differ in the robot's physics, without its broken actuators."""
    found = next(family for family in PHYSICS_FAMILIES if family.name == f"{robot}Physics")
    kept = [parameter for parameter in found.parameters if parameter.name != "broken"]
    assert isinstance(found.world, MuJoCoWorld)
    world = dataclasses.replace(found.world, edits=found.world.edits[:-1])
    return dataclasses.replace(found, world=world, parameters=kept, max_episode_steps=1000)


def ours(robot: str, lanes: int) -> Step:
    """Start our lanes, one task each."""
    family = physics_of(robot)
    env = family.make_vec(family.sample(lanes, SEED), 1, autoreset=True)
    env.reset(SEED)
    return lambda actions: env.step(torch.from_numpy(actions).unsqueeze(1))


def sync(robot: str, lanes: int) -> Step:
    """Start Gymnasium's robots on the same models, with nothing around them."""
    family = physics_of(robot)
    world, tasks = family.world, family.sample(lanes, SEED)
    assert isinstance(world, MuJoCoWorld)

    def maker(k: int) -> Callable[[], gymnasium.Env]:
        def make() -> gymnasium.Env:
            env = gymnasium.make(world.env_id)
            robot_env: Any = env.unwrapped
            edit_model(robot_env.model, world.edits, tasks.parameters(k))
            return env

        return make

    envs = gymnasium.vector.SyncVectorEnv([maker(k) for k in range(lanes)])
    envs.reset(seed=0)
    return envs.step


def pooled(robot: str, lanes: int) -> Step:
    """Start EnvPool's lanes, all alike."""
    envpool = importlib.import_module("envpool")
    envs = envpool.make_gymnasium(
        f"{robot}-v5", num_envs=lanes, batch_size=lanes, num_threads=os.cpu_count(), seed=0
    )
    envs.reset()
    return envs.step


def measure(robot: str, lanes: int, rounds: int, lane_steps: int) -> list[Row]:
    """Let the contestants take turns."""
    makers = {OURS: ours, SYNC: sync}
    if importlib.util.find_spec("envpool"):
        makers[ENVPOOL] = pooled
    contestants = {name: make(robot, lanes) for name, make in makers.items()}
    space = physics_of(robot).action_space
    assert isinstance(space, gymnasium.spaces.Box)
    rng = np.random.default_rng(0)
    size = (max(lane_steps // lanes, 20), lanes, *space.shape)
    drawn = rng.uniform(space.low, space.high, size).astype(np.float32)
    return race(robot, contestants, drawn, rounds)


def race(what: str, contestants: Mapping[str, Step], drawn: np.ndarray, rounds: int) -> list[Row]:
    """Let contestants take turns with the same actions ``[steps, lanes, ...]``."""
    steps, lanes = drawn.shape[:2]
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, step in contestants.items():
            started = time.perf_counter()
            for actions in drawn:
                step(actions)
            if number:  # the first round is for warming up
                speeds[name].append(steps * lanes / (time.perf_counter() - started))
    rows = []
    for name, speed in speeds.items():
        ratios = [own / its for own, its in zip(speeds[OURS], speed, strict=True)]
        of_ratios = statistics.median(ratios), min(ratios), max(ratios)
        rows.append(Row(what, lanes, name, statistics.median(speed), *of_ratios))
    return rows


def peak_memory(robot: str, lanes: int) -> float:
    """Return the peak of a process that steps our lanes, in megabytes."""
    code = (
        "import sys, numpy, worlds\n"
        f"step = worlds.ours({robot!r}, {lanes})\n"
        f"actions = numpy.zeros(({lanes}, worlds.physics_of({robot!r}).action_space.shape[0]))\n"
        "for _ in range(50): step(actions.astype('float32'))\n"
        "print(worlds.own_peak())"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def own_peak(process: int | str = "self") -> float:
    """Return the peak memory of a process in megabytes, torch included (on Linux)."""
    # Not ru_maxrss, which a new process inherits from the one that started it.
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def other_work(seconds: float = 2.0) -> float:
    """Return how many cores others keep busy, while this process rests."""

    def busy() -> tuple[float, float]:
        numbers = [float(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(numbers) - numbers[3] - numbers[4], sum(numbers)

    before = busy()
    time.sleep(seconds)
    worked, all_of_it = (now - then for now, then in zip(busy(), before, strict=True))
    return worked / all_of_it * (os.cpu_count() or 1)


@style()
def draw(rows: list[Row]) -> "Figure":
    """Return a figure of steps per second, a panel for each robot; ratios are above the bars."""
    figure, panels = subplots(10.8, 4.3, len(ROBOTS))
    names = list(dict.fromkeys(row.contestant for row in rows))
    for axes, robot in zip(panels, ROBOTS, strict=True):
        for k, name in enumerate(names):
            chosen = [row for row in rows if (row.robot, row.contestant) == (robot, name)]
            places = np.arange(len(chosen)) + 0.8 * (k - 0.5 * (len(names) - 1)) / len(names)
            heights = [row.steps_per_second / 1e3 for row in chosen]
            bars = axes.bar(places, heights, 0.8 / len(names), color=LOOKS[name], label=name)
            ratios = ["" if name == OURS else f"{row.ours_is:.1f}x" for row in chosen]
            axes.bar_label(bars, ratios, padding=2, size="small", color=QUIET)
        axes.set_xticks(range(len(LANES)), [f"{lanes} lanes" for lanes in LANES])
        axes.grid(visible=False, axis="x")
        axes.set(title=f"{robot}-v5")
    panels[0].set_ylabel("thousand steps per second")
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(names),
        frameon=False,
        title="numbers: how many times as fast ours is",
    )
    return figure


def show(rows: list[Row]) -> None:
    """Print a table."""
    table = Table("robot", "lanes", "who", "steps/s", "ours is", "least", "most")
    for row in rows:
        ratios = (f"{ratio:.2f}x" for ratio in (row.ours_is, row.least, row.most))
        speed = f"{row.steps_per_second:,.0f}"
        table.add_row(row.robot, str(row.lanes), row.contestant, speed, *ratios)
    Console().print(table)


def main(rounds: int = 7, lane_steps: int = 40_000) -> None:
    """Measure everything, and write the results if the machine was quiet before and after.

    Args:
        rounds: Turns of each contestant.
        lane_steps: Of each turn: steps times lanes.
    """
    torch.set_num_threads(1)
    busy = [other_work()]
    settings = [(robot, lanes) for robot in ROBOTS for lanes in LANES]
    rows = [row for setting in settings for row in measure(*setting, rounds, lane_steps)]
    busy.append(other_work())
    memory = {robot: round(peak_memory(robot, max(LANES))) for robot in ROBOTS}
    show(rows)
    print(f"peak memory at {max(LANES)} lanes, in MB: {memory}; others' work, in cores: {busy}")
    if max(busy) > LITTLE:
        print("the machine was not quiet: nothing is written")
        return
    packages = ("gymnasium", "mujoco", "envpool", "numpy", "torch")
    content = {
        "command": " ".join(["python", "benchmarks/worlds.py", *sys.argv[1:]]),
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
            "others_work_in_cores": busy,
        },
        "peak_megabytes_at_400_lanes": memory,
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "worlds.json").write_text(json.dumps(content, indent=1) + "\n")
    write_png(draw(rows), RESULTS / "worlds.png")


if __name__ == "__main__":
    tyro.cli(main)
