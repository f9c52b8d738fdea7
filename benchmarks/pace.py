"""Seconds per iteration of every family and learner, which the page's Train tab tells beforehand.

One core, processor time, default settings and budgets, but no longer than --seconds each. From a
checkout, on an otherwise idle machine (about twenty minutes):

    python benchmarks/pace.py --out ssm_metarl/ui/pace.json
"""

import argparse
import platform
import tempfile
import time
from pathlib import Path

import torch

from ssm_metarl.env_runner.registry import list_families
from ssm_metarl.runs.config import TrainConfig
from ssm_metarl.runs.files import write_json_atomically
from ssm_metarl.runs.training import train

LEARNERS = ("meta_rl", "rl2", "policy_gradient")
EXPERIENCE, VALIDATE_EVERY = 200_000, 2  # as the page trains


def measure(family: str, learner: str, seconds: float) -> float:
    """Train for a while; return seconds of processor time per iteration."""
    config = TrainConfig(
        mode=learner,  # pyright: ignore[reportArgumentType]
        env_name=family,
        experience=EXPERIENCE,
        validate_every=VALIDATE_EVERY,
    )
    with tempfile.TemporaryDirectory() as place:
        stream = train(config, Path(place) / "run")
        started, done = time.process_time(), 0
        for progress in stream:
            done = progress.iteration
            if time.process_time() - started > seconds:
                break
        spent = time.process_time() - started
        stream.close()
    return spent / done


def main() -> None:
    """Measure all and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=300.0, help="at most, per training")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    for family in list_families():
        for learner in LEARNERS:
            value = round(measure(family.name, learner, asked.seconds), 3)
            found.setdefault(family.name, {})[learner] = value
            print(f"{family.name:<24}{learner:<18}{value:8.3f} s", flush=True)
    write_json_atomically(
        asked.out,
        {
            "command": f"python benchmarks/pace.py --out {asked.out} --seconds {asked.seconds:g}",
            "machine": f"{platform.machine()}, one core, processor time; torch {torch.__version__}",
            "seconds_per_iteration": found,
        },
    )


if __name__ == "__main__":
    main()
