"""Seconds per iteration of every family and learner, from which the Train tab estimates durations.

Processor time on one core, with the default settings but for --iterations: growing horizons grow
over any number of iterations, and agents that improve play longer episodes. In a checkout (an
hour):

    python benchmarks/pace.py --out ssm_metarl/training/pace.json
"""

import argparse
import platform
import tempfile
import time
from pathlib import Path

import torch

from ssm_metarl.checkpoint.files import write_json_atomically
from ssm_metarl.env_runner.registry import list_families
from ssm_metarl.meta_rl.registry import LEARNERS
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loop import train

EXPERIENCE, VALIDATE_EVERY = 200_000, 2  # as the page trains


def measure(family: str, learner: str, iterations: int) -> float:
    """Train; return seconds of processor time per iteration."""
    config = TrainConfig(
        mode=learner,  # pyright: ignore[reportArgumentType]
        env_name=family,
        num_epochs=iterations,
        num_episodes=10 * iterations,  # ten in each
        experience=EXPERIENCE,
        validate_every=VALIDATE_EVERY,
    )
    with tempfile.TemporaryDirectory() as place:
        started = time.process_time()
        done = sum(1 for _ in train(config, Path(place) / "run"))
        return (time.process_time() - started) / done


def main() -> None:
    """Measure all and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=40, help="of each training")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    for family in list_families():
        for learner in LEARNERS:
            value = round(measure(family.name, learner, asked.iterations), 3)
            found.setdefault(family.name, {})[learner] = value
            print(f"{family.name:<24}{learner:<18}{value:8.3f} s", flush=True)
    write_json_atomically(
        asked.out,
        {
            "command": f"python benchmarks/pace.py --out {asked.out}",
            "iterations": asked.iterations,
            "machine": f"{platform.machine()}, one core, processor time; torch {torch.__version__}",
            "seconds_per_iteration": found,
        },
    )


if __name__ == "__main__":
    main()
