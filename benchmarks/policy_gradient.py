"""How long until CartPole is solved: policy_gradient beside PPO with and without an LSTM.

    pip install -e '.[bench,figures]'
    python benchmarks/policy_gradient.py

All in one process, one after the other, on the same number of threads, seed by seed:

- ours: ``ssm-metarl train --mode policy_gradient --num_episodes 200``, all 200 episodes, with the
  checkpoints it writes. The clock runs from building the network to the end of the training.
- ppo: Stable-Baselines3's memoryless PPO until it reaches 475. The clock runs from building the
  environments and the network, and stands still while the policy is evaluated.
- recurrent_ppo: sb3-contrib's, likewise, given up after ``--cap`` seconds.

PPO has the RL-zoo's settings for CartPole-v1, RecurrentPPO the zoo's for CartPoleNoVel-v1, which
are the same numbers (rl-baselines3-zoo, ``hyperparams/ppo.yml`` and ``ppo_lstm.yml``). Every
return is the mean over 100 episodes of a stochastic policy; for theirs, of the deterministic one
where that is higher. Beside the wall clock stands CPU time by the same clock rules, which other
programs on the machine disturb less. Writes ``benchmarks/results/policy_gradient.json`` and
``.png``.
"""

import dataclasses
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.random import SeedSequence
from rich.console import Console
from rich.table import Table
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.evaluation.figures import write_png
from ssm_metarl.evaluation.figures.style import COLOURS, GROUPS, QUIET, REFERENCE, style, subplots
from ssm_metarl.evaluation.play import mean_returns
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import load
from ssm_metarl.training.loop import train

RESULTS = Path(__file__).parent / "results"
FAMILY = get_family("CartPole-v1")
SOLVED, EPISODES, LOOK_EVERY = 475.0, 100, 1000
OURS = TrainConfig(mode="policy_gradient", env_name="CartPole-v1", num_episodes=200)
STEPS, ENVS = 100_000, 8
ZOO = {
    "n_steps": 32,
    "batch_size": 256,
    "gae_lambda": 0.8,
    "gamma": 0.98,
    "n_epochs": 20,
    "ent_coef": 0.0,
}
LEARNING_RATE, CLIP_RANGE = 1e-3, 0.2  # both fall linearly to zero
LOOKS = {"ours": COLOURS["standard"], "ppo": GROUPS[1][0], "recurrent_ppo": QUIET}
PACKAGES = ("torch", "gymnasium", "numpy", "stable-baselines3", "sb3-contrib")


@dataclasses.dataclass(frozen=True)
class Run:
    """One seed of one method.

    Attributes:
        seed: Of the training.
        seconds: Wall clock of the training, evaluation left out.
        cpu_seconds: CPU time of the same.
        environment_steps: Trained on.
        final_return: Mean return afterwards.
        reached: Whether that is at least 475.
        curve: Seconds and mean return along the way; of the training's own episodes for ours, of
            the evaluations for theirs.
    """

    seed: int
    seconds: float
    cpu_seconds: float
    environment_steps: int
    final_return: float
    reached: bool
    curve: Sequence[tuple[float, float]]


def clocks() -> np.ndarray:
    """Return wall clock and CPU time in seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def train_ours(seed: int) -> Run:
    """Train as the command line would, in a folder of its own."""
    progress, curve = None, []
    with tempfile.TemporaryDirectory() as folder:
        started = clocks()
        for progress in train(dataclasses.replace(OURS, seed=seed), Path(folder) / "run"):
            curve.append((float((clocks() - started)[0]), progress.return_before))
        seconds, cpu_seconds = (clocks() - started).tolist()
        agent = load(Path(folder) / "run")
    assert progress is not None
    tasks = FAMILY.nominal()
    evaluation = (agent.policy, agent.params, FAMILY, tasks, EPISODES, SeedSequence(12345))
    final = float(mean_returns(*evaluation)[0])
    steps = progress.environment_steps
    return Run(seed, seconds, cpu_seconds, steps, final, final >= SOLVED, curve)


def train_theirs(algorithm: type[PPO] | type[RecurrentPPO], seed: int, cap: float) -> Run:
    """Train until 475 is reached, or the steps or the seconds run out."""
    policy = "MlpPolicy" if algorithm is PPO else "MlpLstmPolicy"
    watch = Watch(cap)
    model = algorithm(
        policy,
        make_vec_env("CartPole-v1", n_envs=ENVS, seed=seed),
        learning_rate=lambda left: left * LEARNING_RATE,
        clip_range=lambda left: left * CLIP_RANGE,
        seed=seed,
        device="cpu",
        **ZOO,
    )
    model.learn(STEPS, callback=watch)
    if not watch.over:
        watch.look()
    final = watch.curve[-1][1]
    steps, spent = model.num_timesteps, watch.spent.tolist()
    return Run(seed, *spent, steps, final, final >= SOLVED, watch.curve)


class Watch(BaseCallback):
    """Evaluates now and then outside the clock, and stops the training at 475 or at the cap."""

    def __init__(self, cap: float) -> None:
        super().__init__()
        self.cap, self.started, self.over = cap, clocks(), False
        self.spent = np.zeros(2)
        self.looked_at = 0
        self.curve: list[tuple[float, float]] = []

    def _on_rollout_start(self) -> None:
        """Evaluate after an update, if enough steps have passed."""
        if self.num_timesteps - self.looked_at >= LOOK_EVERY:
            self.look()

    def look(self) -> None:
        """Evaluate, outside the clock."""
        paused = clocks()
        self.spent = paused - self.started
        self.looked_at = self.num_timesteps
        reached = max(self._mean_return(deterministic=flag) for flag in (False, True))
        seconds = float(self.spent[0])
        self.curve.append((seconds, reached))
        self.over = reached >= SOLVED or seconds > self.cap
        self.started += clocks() - paused

    def _on_step(self) -> bool:
        return not self.over

    def _mean_return(self, *, deterministic: bool) -> float:
        """Play episodes side by side in the native CartPole, which equals Gymnasium's."""
        environment = FAMILY.make_vec(FAMILY.nominal(), EPISODES, autoreset=False)
        observation = environment.reset(SeedSequence(12345))
        state, total = None, torch.zeros(EPISODES)
        start = torch.ones(EPISODES, dtype=torch.bool)
        alive = torch.ones(EPISODES, dtype=torch.bool)
        while alive.any():
            action, state = self.model.predict(
                observation[0].numpy(), state, start.numpy(), deterministic=deterministic
            )
            step = environment.step(torch.as_tensor(action)[None])
            observation, start = step.observation, torch.zeros_like(start)
            total += step.reward[0] * alive
            alive &= ~(step.terminated | step.truncated)[0]
        return total.mean().item()


def times_ours(results: Mapping[str, Sequence[Run]], clock: str) -> dict[str, float]:
    """Return how many times ours each method's median takes, by ``seconds`` or ``cpu_seconds``."""
    medians = {
        method: statistics.median(getattr(run, clock) for run in runs)
        for method, runs in results.items()
    }
    return {method: median / medians["ours"] for method, median in medians.items()}


def show(results: Mapping[str, Sequence[Run]], console: Console) -> None:
    """Print medians and every seed."""
    table = Table("method", "reached 475", "seconds", "CPU s", "env steps", "return", "times ours")
    ratios = times_ours(results, "seconds")
    for method, runs in results.items():
        seconds = [run.seconds for run in runs]
        reached = sum(run.reached for run in runs)
        bound = "" if reached > len(runs) / 2 or method == "ours" else "at least "
        table.add_row(
            method,
            f"{reached} of {len(runs)}",
            f"{statistics.median(seconds):.2f} ({', '.join(f'{s:.2f}' for s in seconds)})",
            f"{statistics.median(run.cpu_seconds for run in runs):.2f}",
            f"{statistics.median(run.environment_steps for run in runs):.0f}",
            ", ".join(f"{run.final_return:.0f}" for run in runs),
            f"{bound}{ratios[method]:.1f}",
        )
        for run in runs:
            if not run.reached:
                console.print(f"{method}, seed {run.seed}: not reached after {run.seconds:.0f} s")
    console.print(table)


@style()
def draw(results: Mapping[str, Sequence[Run]], path: Path) -> None:
    """Draw returns over wall clock, a line per seed."""
    figure, (axes,) = subplots(7.2, 4.3)
    for method, runs in results.items():
        for run in runs:
            seconds, returns = zip(*run.curve, strict=True)
            label = method if run is runs[0] else None
            axes.plot(seconds, returns, color=LOOKS[method], linewidth=1.6, label=label)
    axes.axhline(SOLVED, **REFERENCE)
    axes.set(xscale="log", xlabel="seconds of training", ylabel="mean return", title="CartPole-v1")
    figure.legend(loc="outside lower center", ncols=len(results), frameon=False)
    write_png(figure, path)


def machine(threads: int) -> dict[str, Any]:
    """Describe what this ran on, how fast it is and how busy."""
    a, started = torch.randn(2048, 2048), time.perf_counter()
    for _ in range(5):
        torch.matmul(a, a)
    peak = 5 * 2 * 2048**3 / (time.perf_counter() - started) / 1e9
    cpu = [row for row in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in row]
    return {
        "cpu": cpu[0].partition(":")[2].strip() if cpu else platform.processor(),
        "cores": torch.multiprocessing.cpu_count(),
        "threads": threads,
        "matmul_gflops": peak,
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def main(seeds: int = 3, threads: int = 1, cap: float = 120.0) -> None:
    """Run all three and write the results.

    Args:
        seeds: Number of training seeds, from 0.
        threads: Threads for torch, the same for all three.
        cap: Seconds after which RecurrentPPO is given up.
    """
    torch.set_num_threads(threads)
    console, results = Console(), {"ours": [], "ppo": [], "recurrent_ppo": []}
    for seed in range(seeds):
        results["ours"].append(train_ours(seed))
        results["ppo"].append(train_theirs(PPO, seed, cap))
        results["recurrent_ppo"].append(train_theirs(RecurrentPPO, seed, cap))
    show(results, console)
    content = {
        "command": " ".join(["python", "benchmarks/policy_gradient.py", *sys.argv[1:]]),
        "machine": machine(threads),
        "seeds": list(range(seeds)),
        "cap_seconds": cap,
        "ours": dataclasses.asdict(OURS),
        "zoo": {**ZOO, "n_envs": ENVS, "learning_rate": LEARNING_RATE, "clip_range": CLIP_RANGE},
        "times_ours": {clock: times_ours(results, clock) for clock in ("seconds", "cpu_seconds")},
        "runs": {name: [dataclasses.asdict(run) for run in runs] for name, runs in results.items()},
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "policy_gradient.json").write_text(json.dumps(content, indent=1) + "\n")
    draw(results, RESULTS / "policy_gradient.png")


if __name__ == "__main__":
    tyro.cli(main)
