"""Ordinary environments in lanes against Gymnasium's SyncVectorEnv: steps per second, side by side.

    pip install 'gymnasium[box2d]'   # without it, its environments are left out
    python benchmarks/ordinary.py

As benchmarks/worlds.py, which has the robots: the contestants take turns in one process with the
same random actions, autoreset included, another task in every lane. Ours chooses by itself where
the environments are stepped, and hands out tensors ``[K, E]``. "busy" is Pendulum with 1 ms of
work added to each step, to stand for environments that cost that. Writes
``benchmarks/results/ordinary.json`` if the machine was quiet.
"""

import dataclasses
import importlib.metadata
import importlib.util
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
import tyro
from numpy.random import SeedSequence
from worlds import LITTLE, OURS, RESULTS, SEED, SYNC, Row, Step, other_work, own_peak, race, show

import ssm_metarl as sm
from ssm_metarl.env_runner.gymnasium import GymnasiumEnvironment
from ssm_metarl.env_runner.workers import WorkerLanes

LANES = (16, 64, 400)
MOST_LANES = {"CarRacing": 64}  # one takes 3 MB, and a step 5 ms
GRAVITY = sm.Parameter("gravity", 9.8, low=8.0, high=11.0)
BOX2D = ("LunarLander", "CarRacing")


class Busy(gymnasium.Wrapper):
    """Every step takes this much of the processor's time longer."""

    seconds = 1e-3

    def step(self, action: Any) -> tuple[Any, ...]:  # noqa: ANN401
        """Step."""
        until = time.thread_time() + self.seconds
        while time.thread_time() < until:
            pass
        return self.env.step(action)


def cart_pole(task: sm.Tasks) -> gymnasium.Env:
    """Build a CartPole under another gravity: about 10 us a step."""
    env: Any = gymnasium.make("CartPole-v1")
    env.unwrapped.gravity = task["gravity"]
    return env


MAKE: dict[str, Callable[..., gymnasium.Env]] = {
    "CartPole": cart_pole,
    "LunarLander": lambda task: gymnasium.make("LunarLander-v3", gravity=-task["gravity"]),
    "busy": lambda task: Busy(gymnasium.make("Pendulum-v1", g=task["gravity"])),
    "CarRacing": lambda task: gymnasium.make("CarRacing-v3"),
}


def ours(name: str, lanes: int) -> tuple[sm.TaskFamily, GymnasiumEnvironment]:
    """Start our lanes, one task each."""
    family = sm.TaskFamily(name, make=MAKE[name], parameters=[GRAVITY]).reusing()
    env = family.make_vec(family.sample(lanes, SEED), 1, autoreset=True)
    assert isinstance(env, GymnasiumEnvironment)
    env.reset(SeedSequence(0))
    return family, env


def sync(name: str, lanes: int) -> Step:
    """Start Gymnasium's, on the same tasks."""
    tasks = sm.TaskFamily(name, make=MAKE[name], parameters=[GRAVITY]).sample(lanes, SEED)
    envs = gymnasium.vector.SyncVectorEnv([partial(MAKE[name], task) for task in tasks])
    envs.reset(seed=0)
    return envs.step


def actions_of(space: gymnasium.Space, size: tuple[int, int]) -> np.ndarray:
    """Draw random actions of ``[steps, lanes]``."""
    rng = np.random.default_rng(0)
    if isinstance(space, gymnasium.spaces.Discrete):
        return rng.integers(int(space.n), size=size)
    assert isinstance(space, gymnasium.spaces.Box)
    return rng.uniform(space.low, space.high, (*size, *space.shape)).astype(np.float32)


def measure(name: str, lanes: int, rounds: int, seconds: float) -> list[Row]:
    """Let the contestants take turns, of so many seconds each."""
    family, env = ours(name, lanes)

    def step(actions: np.ndarray) -> object:
        return env.step(torch.from_numpy(actions).unsqueeze(1))

    first = actions_of(env.action_space, (20, lanes))
    started = time.perf_counter()
    for actions in first:
        step(actions)
    spent = (time.perf_counter() - started) / len(first)
    drawn = actions_of(env.action_space, (max(int(seconds / spent), 10), lanes))
    rows = race(name, {OURS: step, SYNC: sync(name, lanes)}, drawn, rounds)
    family.close()
    return rows


def memory_of(name: str, lanes: int) -> float:
    """Return the peak of a process that steps our lanes, and of its two workers, in megabytes."""
    code = f"import ordinary; print(ordinary.peak_of_all({name!r}, {lanes}))"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path, "SSM_METARL_WORKERS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def peak_of_all(name: str, lanes: int) -> float:
    """Step our lanes for a moment; return the peaks of all processes together."""
    _, env = ours(name, lanes)
    for actions in actions_of(env.action_space, (50, lanes)):
        env.step(torch.from_numpy(actions).unsqueeze(1))
    assert isinstance(env._lanes, WorkerLanes)
    workers = (worker.process_id for worker in env._lanes.crew.workers)
    return own_peak() + sum(map(own_peak, workers))


def main(rounds: int = 7, seconds: float = 3.0, write: bool = True) -> None:
    """Measure everything, and write the results if the machine was quiet before and after.

    Args:
        rounds: Turns of each contestant.
        seconds: Of our turns.
        write: Only print, if not.
    """
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    has_box2d = importlib.util.find_spec("Box2D") is not None
    busy = [other_work()]
    cases = [
        (name, lanes)
        for name in MAKE
        for lanes in LANES
        if (has_box2d or name not in BOX2D) and lanes <= MOST_LANES.get(name, max(LANES))
    ]
    rows = [row for case in cases for row in measure(*case, rounds, seconds)]
    busy.append(other_work())
    memory = {name: round(memory_of(name, lanes)) for name, lanes in cases if lanes == max(LANES)}
    show(rows)
    print(f"peak memory at {max(LANES)} lanes, in MB: {memory}; others' work, in cores: {busy}")
    if max(busy) > LITTLE or not write:
        print("nothing is written" + (": the machine was not quiet" if write else ""))
        return
    machine = {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("gymnasium", "numpy", "torch")},
        "others_work_in_cores": busy,
    }
    content = {
        "command": " ".join(["python", "benchmarks/ordinary.py", *sys.argv[1:]]),
        "machine": machine,
        "peak_megabytes_at_400_lanes": memory,
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "ordinary.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
