"""Time and memory of a meta-step of every way to meta-train gradient steps, relative to MAML's.

    python benchmarks/learners.py

A meta-step is a whole iteration with the default settings, on Pendulums (whose episodes are all of
one length), on one core: 8 tasks of 10 episodes of 100 steps before and as many of 200 after. In
every round each method has its turn, in a process of its own: seconds are of the processor, memory
is what the iteration adds to the process at its peak. Ratios are those of one round, and of them
the median. Writes ``benchmarks/results/learners.json``, from which ``docs/learners.py`` reads.
"""

import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from adaptation import machine
from numpy.random import SeedSequence

from ssm_metarl.core.memory import keep_large_blocks
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.meta_rl.meta_learner import MetaLearner
from ssm_metarl.meta_rl.registry import LEARNERS
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.recipes import initial_params, make_policy

OUT = Path(__file__).parent / "results" / "learners.json"
FAMILY, ROUNDS = "Pendulum-v1", 3
FEW = {"tasks_per_epoch": 2, "episodes_per_task": 2, "support_steps": 5, "query_steps": 5}
SIZES = {"tasks_per_epoch": 8, "episodes_per_task": 10, "support_steps": 100, "query_steps": 200}
METHODS: Mapping[str, dict[str, Any]] = {
    "MAML": {},
    "FOMAML": {"first_order": True},
    "Meta-SGD": {"learn_inner_lr": True},
    "ANIL": {"adapts": "heads"},
    "CAVIA": {"adapts": "context"},
    "DiCE": {"surrogate": "dice"},
    "loaded DiCE": {"surrogate": "loaded_dice"},
    "E-MAML": {"surrogate": "emaml"},
    "ProMP": {"mode": "promp"},
    "MAML-TRPO": {"mode": "maml_trpo"},
    "Reptile": {"mode": "reptile"},
}


def make_learner(method: str, **sizes: int) -> MetaLearner:
    """Return a learner that has learned nothing yet."""
    family = get_family(FAMILY)
    settings = {"compile": "off", **sizes, **METHODS[method]}
    config = TrainConfig(env_name=FAMILY, **settings).resolve(family)
    policy = make_policy(config, policy_spaces(family))
    return LEARNERS[config.mode].load()(policy, family, initial_params(policy, 0), vars(config))


def measure(method: str) -> tuple[float, float]:
    """Return the seconds of a meta-step and the MiB that it adds."""
    torch.set_num_threads(1)
    keep_large_blocks()
    make_learner(method, **FEW).iterate(SeedSequence(0), 1)  # what is loaded when first used
    learner = make_learner(method, **SIZES)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    started = time.process_time()
    learner.iterate(SeedSequence(0), 1)
    seconds = time.process_time() - started
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return seconds, (peak - pages * resource.getpagesize()) / 2**20


def main() -> None:
    """Measure all and write the file."""
    rounds: list[dict[str, tuple[float, float]]] = []
    context = multiprocessing.get_context("spawn")
    for _ in range(ROUNDS):
        rounds.append({})
        for method in METHODS:
            with context.Pool(1) as pool:  # a process for each, whose peak is its own
                rounds[-1][method] = pool.apply(measure, (method,))
            seconds, mib = rounds[-1][method]
            print(f"{method:<14}{seconds:8.2f} s{mib:8.0f} MiB", flush=True)
    found = {}
    for method in METHODS:
        pairs = [(one[method], one["MAML"]) for one in rounds]
        found[method] = {
            "seconds": round(statistics.median(own[0] for own, _ in pairs), 3),
            "mib": round(statistics.median(own[1] for own, _ in pairs), 1),
            "time": round(statistics.median(own[0] / maml[0] for own, maml in pairs), 2),
            "memory": round(statistics.median(own[1] / maml[1] for own, maml in pairs), 2),
        }
    result = {
        "command": "python benchmarks/learners.py",
        "machine": machine(),
        "family": FAMILY,
        "settings": SIZES,
        "rounds": ROUNDS,
        "methods": found,
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
