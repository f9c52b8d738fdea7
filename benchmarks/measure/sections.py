"""What is measured: each section yields the rows of one cell after another."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.measure.jobs import jobs
from benchmarks.measure.race import OURS, Contestant, Effort, Row, compare
from benchmarks.measure.worker import ROOT, Worker

MEASURE, JAX, OTHERS = "benchmarks.measure", "benchmarks.peers.jax_work", "benchmarks.peers.others"
BASE, COMPILED = "base", "compiled"
Contestants = Mapping[str, Contestant]


@dataclass(frozen=True)
class Plan:
    """How to measure.

    Attributes:
        effort: Rounds, and seconds of each run.
        quick: Only the first cells, to see that everything works.
        base: Folder with the ``ssm_metarl`` of another revision.
    """

    effort: Effort
    quick: bool = False
    base: Path | None = None

    def contestants(self, target: str, **others: Contestant) -> dict[str, Contestant]:
        """Return ours, that of the other revision, and those of the peers that are installed."""
        ours = Contestant(f"{MEASURE}.{target}")
        base = {BASE: ours._replace(source=self.base)} if self.base else {}
        return {OURS: ours, **base, **{name: one for name, one in others.items() if one.there}}


@dataclass(frozen=True)
class Section:
    """A name on the command line, the unit of its work, and what yields its rows."""

    about: str
    unit: str
    run: Callable[[Plan], Iterator[list[Row]]]


def rollout(plan: Plan) -> Iterator[list[Row]]:
    """Compare rollouts by lanes, parameters, threads and engine, and beside busy neighbours."""
    jax = Contestant(f"{JAX}:rollout", "jax")
    both = plan.contestants("ours:rollout", jax=jax)
    lanes_of = {1: (100, 400, 1600, 10_000), 2: (400, 1600, 10_000)}
    for threads, all_lanes in lanes_of.items():
        for shared in (True, False):
            for lanes in (1, *all_lanes) if shared and threads == 1 else all_lanes:
                cell = {"lanes": lanes, "parameters": "shared" if shared else "per task"}
                cell |= {"threads": threads}
                chosen = both
                if threads == 1 and 100 <= lanes <= 1600 and not plan.quick:  # a minute each, cold
                    chosen = both | {COMPILED: both[OURS]._replace(own={"compiled": True})}
                settings = {"lanes": lanes, "shared": shared}
                rows = compare(chosen, plan.effort, cell, threads=threads, **settings)
                for fast in [row.seconds for row in rows if row.contestant == COMPILED]:
                    for row in rows:
                        row.extra.update(compiled_is=row.seconds / fast)
                yield rows
                if plan.quick:
                    return
    gymnasium = Contestant(f"{MEASURE}.ours:gymnasium_rollout")
    ppo = Contestant(f"{OTHERS}:ppo_rollout", "sb3_contrib")
    vector = {OURS: both[OURS], "gymnasium": gymnasium, "recurrent_ppo": ppo}
    vector = {name: one for name, one in vector.items() if one.there}
    for lanes in (16, 100):
        cell = {"lanes": lanes, "against": "other engines"}
        yield compare(vector, plan.effort, cell, lanes=lanes, shared=True)
        cell = {"lanes": lanes, "engine": "Gymnasium's environments in our lanes"}
        only = plan.contestants("ours:rollout")
        yield compare(only, plan.effort, cell, lanes=lanes, shared=True, engine="gymnasium")
    for threads in (1, 2):
        for beside in ("quiet", "busy"):
            with neighbours(beside == "busy"):
                cell = {"lanes": 400, "threads": threads, "beside": beside}
                yield compare(both, plan.effort, cell, threads=threads, lanes=400, shared=True)


@contextmanager
def neighbours(busy: bool) -> Iterator[None]:
    """Keep one process spinning for each core, or none."""
    spin = [sys.executable, "-c", "while True: pass"]
    count = len(Worker.cores()) if busy else 0
    spinning = [subprocess.Popen(spin) for _ in range(count)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def meta_step(plan: Plan) -> Iterator[list[Row]]:
    """Compare meta-steps; count the matrix products' operations."""
    jax = Contestant(f"{JAX}:meta_step", "jax")
    cells: list[dict[str, Any]] = [
        *({"length": length, "cell": "ssm"} for length in (100, 400, 1000)),
        {"length": 100, "cell": "ssm", "inner_steps": 3},
        {"length": 100, "cell": "ssm", "first_order": True},
        *({"length": 100, "cell": cell} for cell in ("gated", "gru", "mlp")),
        {"length": 1600, "cell": "ssm"},
    ]
    for cell in cells[:1] if plan.quick else cells:
        equal = cell["cell"] == "ssm" and cell["length"] <= 1000  # JAX needs many GB beyond
        chosen = plan.contestants("ours:meta_step", **({"jax": jax} if equal else {}))
        rounds = plan.effort.rounds if cell["length"] == 100 else max(1, plan.effort.rounds // 4)
        rows = compare(chosen, replace(plan.effort, rounds=rounds), cell, **cell)
        worker = Worker()
        peak = worker.call(f"{MEASURE}.machine:matmul_peak")
        flops = worker.call(f"{MEASURE}.ours:flops", **cell)
        steps = (cell.get("inner_steps", 1) + 1) * cell["length"] * 400
        worker.close()
        for row in rows:
            share = flops / steps / row.seconds / (peak * 1e9)
            row.extra.update(flops_per_step=flops / steps, share_of_matmul_peak=share)
        yield rows


def recurrence(plan: Plan) -> Iterator[list[Row]]:
    """Compare the recurrence alone with a loop, a GRU and a copy, by length and order."""
    names = ("python_loop", "gru", "copy")
    others = {name: Contestant(f"{MEASURE}.recurrence:{name}") for name in names}
    effort = replace(plan.effort, seconds=plan.effort.seconds / 6)
    for order, what in enumerate(("forward", "backward", "double backward")):
        for steps in (16,) if plan.quick else (1, 16, 64, 256, 1024, 4096):
            if steps == 1 and order > 1:
                continue  # a single step has none
            chosen = plan.contestants("recurrence:ours", **others)
            if steps > 1024:  # a minute of it tells no more
                chosen.pop("gru")
            yield compare(chosen, effort, {"what": what, "T": steps}, steps=steps, order=order)


def acting(plan: Plan) -> Iterator[list[Row]]:
    """Compare one call that chooses actions for a batch, and the exported files' own."""
    onnx = Contestant(f"{MEASURE}.exported:onnx", "onnxruntime")
    program = Contestant(f"{MEASURE}.exported:program")
    ppo = Contestant(f"{OTHERS}:ppo_acting", "sb3_contrib")
    chosen = plan.contestants("ours:acting", onnx=onnx, pt2=program, recurrent_ppo=ppo)
    if shutil.which("cc"):
        chosen["c"] = Contestant(f"{MEASURE}.exported:c")
    for lanes in (1,) if plan.quick else (1, 32, 1024):
        yield compare(chosen, plan.effort, {"batch": lanes}, lanes=lanes)


GROWTH: Mapping[str, tuple[int, ...]] = {
    "length": (50, 100, 200, 400, 800),
    "tasks": (5, 10, 20, 40, 80),
    "lanes": (5, 10, 20, 40, 80),
    "inner_steps": (1, 2, 3, 4, 5),
    "width": (16, 32, 64, 128, 256),
}


def growth(plan: Plan) -> Iterator[list[Row]]:
    """Time meta-steps along each axis, all else as at T = 100, K = E = 20, width 64."""
    effort = replace(plan.effort, rounds=max(1, plan.effort.rounds // 2))
    for axis, values in GROWTH.items():
        for value in values[:1] if plan.quick else values:
            rows = compare(
                plan.contestants("ours:meta_step"), effort, {axis: value}, **{axis: value}
            )
            sizes = {"length": 100, "tasks": 20, "lanes": 20, "inner_steps": 1} | {axis: value}
            steps = (sizes["inner_steps"] + 1) * sizes["length"] * sizes["tasks"] * sizes["lanes"]
            for row in rows:
                row.extra.update(seconds_per_meta_step=row.seconds * steps)
            yield rows


SECTIONS = {
    "rollout": Section("acting and environment together", "env step", rollout),
    "meta-step": Section("one meta-gradient", "env step", meta_step),
    "recurrence": Section("the linear recurrence alone", "call", recurrence),
    "acting": Section("predict", "call", acting),
    "growth": Section("meta-step by size", "env step", growth),
    "jobs": Section("whole trainings (half an hour)", "training", jobs),
}


def source_of(revision: str, folder: Path) -> Path:
    """Put the package as it was at a revision into a folder."""
    archive = subprocess.run(
        ["git", "archive", revision, "ssm_metarl"], cwd=ROOT, capture_output=True, check=True
    )
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder
