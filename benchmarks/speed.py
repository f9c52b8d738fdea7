"""How fast rollouts and meta-gradients are, as ratios to the matrix product of the same run.

    python benchmarks/speed.py

Machines differ and are shared, so every figure stands beside the rate of a plain 2048^3 float32
product measured right before it on as many threads. "vs. reference" is this ratio over that of
this project's first prototypes (a peak of 122 GFLOP/s on 2 cores; those rows are comparable at
2 threads). More than 1 is faster. Writes ``benchmarks/results/speed.json``.
"""

import dataclasses
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import tyro
from numpy.random import SeedSequence
from rich.console import Console
from rich.table import Table

from ssm_metarl.core.memory import keep_large_blocks
from ssm_metarl.core.parameters import Params, expand_tasks
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import collect_trials
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.inner_losses import lvc
from ssm_metarl.meta_rl.inner_rule import InnerRule
from ssm_metarl.meta_rl.maml import MAML
from ssm_metarl.meta_rl.objective import ClippedObjective
from ssm_metarl.training.config import TrainConfig

RESULTS = Path(__file__).parent / "results"
FAMILY = get_family("CartPole-v1")
TASKS, LANES = 20, 20
REFERENCE_PEAK = 122.0  # GFLOP/s
REFERENCE_STEPS = {100: 217e3, 400: 577e3, 1600: 741e3}  # env steps/s by lanes
REFERENCE_SECONDS = {100: 0.48, 400: 1.8}  # by length of the episodes
WIDE = PolicyConfig(width=64, state_size=32)


@dataclasses.dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        what: Which one.
        threads: Of torch.
        value: Env steps per second, or seconds.
        unit: Of the value.
        peak: GFLOP/s of the matrix product around it.
        relative: Speed over the peak, against that of the reference.
    """

    what: str
    threads: int
    value: float
    unit: str
    peak: float
    relative: float


def best_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the shortest of some runs, after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def matmul_peak() -> float:
    """Measure GFLOP/s of a 2048^3 product in float32."""
    a = torch.randn(2048, 2048)
    return 2 * 2048**3 / best_seconds(lambda: a @ a, 5) / 1e9


def make_policy(config: PolicyConfig) -> tuple[Policy, dict[str, torch.Tensor]]:
    """Return a policy for CartPole and fresh parameters."""
    policy = Policy(config, policy_spaces(FAMILY))
    return policy, policy.init(torch.Generator().manual_seed(0))


def rollout_rate(policy: Policy, params: Params, lanes: int, episodes: int, repeats: int) -> float:
    """Return environment steps per second in trials on 20 tasks.

    A lane that is through with its trial plays on until the last one is, and that counts too.
    """
    tasks = FAMILY.sample(TASKS, SeedSequence(0))
    environment = FAMILY.make_vec(tasks, lanes // TASKS, autoreset=True)
    bound, seed = policy.bind(params), SeedSequence(1)
    played = collect_trials(bound, environment, seed, episodes).reward.numel()
    seconds = best_seconds(lambda: collect_trials(bound, environment, seed, episodes), repeats)
    return played / seconds


def random_batch(length: int) -> Batch:
    """Return data of whole episodes of a length, all steps valid."""
    rng, shape = torch.Generator().manual_seed(1), (length, TASKS, LANES)
    return Batch(
        inputs=torch.randn(*shape, 4, generator=rng),
        keep=None,
        action=torch.randint(2, shape, generator=rng),
        log_prob=torch.full(shape, -math.log(2.0)),
        advantage=torch.randn(shape, generator=rng),
        valid=torch.ones(shape, dtype=torch.bool),
        change=torch.zeros(*shape, 4),
        scale=torch.ones(TASKS),
        value=torch.zeros(shape),
        target=torch.zeros(shape),
    )


def meta_gradient_seconds(length: int, chunk: int, repeats: int) -> float:
    """Time one second-order meta-gradient with one inner step, as MAML takes it."""
    policy, fresh = make_policy(WIDE)
    params = {name: value.requires_grad_() for name, value in fresh.items()}
    support, query = random_batch(length), random_batch(length)
    objective = ClippedObjective(InnerRule(policy, lvc, 1e-3), TrainConfig.clip)

    def work() -> None:
        for value in params.values():
            value.grad = None
        for first in range(0, TASKS, chunk):
            part = slice(first, first + chunk)
            outer = objective([support.tasks(part)], query.tasks(part), params)
            outer.loss.sum().backward()

    return best_seconds(work, repeats)


def measure(threads: int, repeats: int, episodes: int) -> list[Row]:
    """Take all measurements on some threads."""
    torch.set_num_threads(threads)
    rows = []
    for size, config in (("width 32", PolicyConfig()), ("width 64", WIDE)):
        policy, params = make_policy(config)
        kinds = {"shared": params, "per task": expand_tasks(params, TASKS)}
        for lanes, reference in REFERENCE_STEPS.items():
            for kind, chosen in kinds.items():
                peak = matmul_peak()
                rate = rollout_rate(policy, contiguous(chosen), lanes, episodes, repeats)
                relative = (rate / peak) / (reference / REFERENCE_PEAK)
                what = f"rollout, {size}, {lanes} lanes, {kind} parameters"
                rows.append(Row(what, threads, rate, "env steps/s", peak, relative))
    default = MAML.chunk
    for length, reference in REFERENCE_SECONDS.items():
        for chunk in (default, TASKS):
            peak = matmul_peak()
            seconds = meta_gradient_seconds(length, chunk, repeats)
            relative = (reference * REFERENCE_PEAK) / (seconds * peak)
            what = f"meta-gradient, {length} steps, {chunk} tasks at once"
            rows.append(Row(what, threads, seconds, "s", peak, relative))
    return rows


def contiguous(params: Params) -> Mapping[str, torch.Tensor]:
    """Give every task parameters of its own in memory, as after an inner step."""
    return {name: value.contiguous() for name, value in params.items()}


def show(rows: list[Row]) -> None:
    """Print a table."""
    table = Table("what", "threads", "measured", "matmul GFLOP/s", "vs. reference")
    for row in rows:
        value = f"{row.value:.2f} s" if row.unit == "s" else f"{row.value / 1e3:.0f}k steps/s"
        table.add_row(row.what, str(row.threads), value, f"{row.peak:.0f}", f"{row.relative:.2f}")
    Console().print(table)


def main(threads: tuple[int, ...] = (1, 2), repeats: int = 5, episodes: int = 5) -> None:
    """Measure everything and write the results.

    Args:
        threads: Numbers of threads for torch.
        repeats: Runs of each measurement; the shortest counts.
        episodes: Of each trial of the rollouts.
    """
    keep_large_blocks()
    rows = [row for count in threads for row in measure(count, repeats, episodes)]
    show(rows)
    content = {
        "command": " ".join(["python", "benchmarks/speed.py", *sys.argv[1:]]),
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": torch.multiprocessing.cpu_count(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "reference": {
            "matmul_gflops": REFERENCE_PEAK,
            "rollout_steps_per_second": REFERENCE_STEPS,
            "meta_gradient_seconds": REFERENCE_SECONDS,
        },
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "speed.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
