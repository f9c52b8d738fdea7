"""Several processes that train one agent: how much faster, and whether one may be killed.

    python -m benchmarks.processes scaling    # one and two processes in turns, on two quiet cores
    python -m benchmarks.processes kills      # kills one of two processes, twenty times

``scaling`` measures seconds of an iteration of ``meta_rl`` on CartPole with its default settings:
strong scaling has 20 tasks in all, weak scaling 20 for each process. From that and the bytes that a
process receives it predicts how many machines pay. ``kills`` sends SIGKILL to
one of two processes again and again, at random times, and compares what is trained in the end with
a training in peace. Both write ``benchmarks/results/processes-*.json``.
"""

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console
from rich.progress import track

from benchmarks.measure.machine import machine, versions
from ssm_metarl.checkpoint.format import load_checkpoint
from ssm_metarl.training.metrics import read_metrics

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # docs/scaling.md
}
CASES = {"one": (1, 20), "strong": (2, 20), "weak": (2, 40)}  # processes, tasks in all
NETWORKS = {"1 Gbit/s": 1.25e8, "10 Gbit/s": 1.25e9, "100 Gbit/s": 1.25e10}  # bytes per second
ROUNDS, ITERATIONS, WARM = 3, 12, 2
KILLS = 20
LONG = ["--num_epochs", "400", "--tasks_per_epoch", "4", "--episodes_per_task", "4"]
LONG += ["--support_steps", "50", "--query_steps", "50", "--validate_every", "50"]
LONG += ["--validation_tasks", "2", "--norm_obs"]

console = Console()


def iterations(folder: Path, processes: int, tasks: int) -> list[list[float]]:
    """Train; return seconds, seconds of exchange, and bytes of each iteration, warm ones only."""
    command = [*TORCHRUN, f"--nproc-per-node={processes}", "-m", "benchmarks.measure.in_processes"]
    arguments = [str(folder), str(tasks), str(ITERATIONS)]
    subprocess.run([*command, *arguments], env=ENVIRONMENT, check=True, capture_output=True)
    return json.loads((folder / "exchange.json").read_text())[WARM:]


def scaling() -> dict[str, Any]:
    """Measure one and two processes in turns."""
    rows: dict[str, list[list[float]]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        turns = [(n, name) for n in range(ROUNDS) for name in list(CASES)[:: 1 - 2 * (n % 2)]]
        for n, name in track(turns, "trainings", console=console):
            rows[name] += iterations(Path(folder, f"{name}{n}"), *CASES[name])
    seconds, exchange, received = (
        {name: statistics.median(row[i] for row in some) for name, some in rows.items()}
        for i in range(3)
    )
    return {
        "seconds": seconds,
        "exchange_seconds": exchange,
        "bytes": received,
        "strong_speedup": seconds["one"] / seconds["strong"],
        "weak_speedup": 2 * seconds["one"] / seconds["weak"],
        "model": {
            name: model(seconds, received["strong"], rate) for name, rate in NETWORKS.items()
        },
    }


def model(seconds: dict[str, float], received: float, rate: float) -> dict[str, Any]:
    """Predict the speed of N machines of one process each, against one.

    What two processes do not make shorter is taken to be the same for any number, what a second one
    with tasks of its own adds is added by each, and the bytes pass once through every link.
    """
    whole, counts = seconds["one"], (2, 5, 10, 20)
    fixed = max(0.0, 2 * seconds["strong"] - whole)
    more = max(0.0, seconds["weak"] - whole)
    return {
        "strong": {n: whole / (fixed + (whole - fixed) / n + received / rate) for n in counts},
        "weak": {n: n * whole / (whole + (n - 1) * more + n * received / rate) for n in counts},
    }


def kills() -> dict[str, Any]:
    """Kill one of two processes again and again; compare with a training that nobody disturbed."""
    with tempfile.TemporaryDirectory() as folder:
        peace, war = Path(folder, "peace"), Path(folder, "war")
        _start(peace, 0).wait()
        agent, rng, killed = _start(war, KILLS), random.Random(0), 0
        for _ in track(range(KILLS), "kills", console=console):
            before = _iteration(war)
            while agent.poll() is None and _iteration(war) <= before:
                time.sleep(0.05)
            time.sleep(rng.uniform(0.0, 2.0))
            if agent.poll() is not None:
                break
            os.kill(rng.choice(_children(agent.pid)), signal.SIGKILL)
            killed += 1
        code = agent.wait()
        numbers = [record["iteration"] for record in read_metrics(war / "metrics.jsonl")]
        mine, other = (load_checkpoint(run / "checkpoint").tensors for run in (war, peace))
        return {
            "kills": killed,
            "exit_code": code,
            "every_iteration_once": numbers == list(range(1, len(numbers) + 1)),
            "iterations": len(numbers),
            "largest_difference": max(
                (mine[name].double() - value.double()).abs().max().item()
                for name, value in other.items()
            ),
        }


def _start(run: Path, restarts: int) -> "subprocess.Popen[bytes]":
    command = [*TORCHRUN, "--nproc-per-node=2", f"--max-restarts={restarts}", "-m", "ssm_metarl"]
    with run.with_suffix(".log").open("w") as log:
        return subprocess.Popen(
            [*command, "train", *LONG, "--run_dir", str(run)],
            env=ENVIRONMENT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _iteration(run: Path) -> int:
    records = read_metrics(run / "metrics.jsonl")
    return records[-1]["iteration"] if records else 0


def _children(process: int) -> list[int]:
    return [int(i) for i in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def main(what: tyro.conf.Positional[Literal["scaling", "kills"]]) -> None:
    """Measure, print and write."""
    found = {"scaling": scaling, "kills": kills}[what]()
    command = f"python -m benchmarks.processes {what}"
    about = {"command": command, "machine": machine(), "versions": versions()}
    (RESULTS / f"processes-{what}.json").write_text(json.dumps(about | found, indent=1) + "\n")
    console.print(found)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
