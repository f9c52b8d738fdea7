"""On how many tasks adaptation lowers the return, with the guard and without.

    python benchmarks/guard.py

Most of these agents have much to gain and little to lose. Two have something to lose, as they adapt
by memory: that of the suite "rl2", trained briefly, and never to take gradient steps; and that of
"both", trained to adapt in either way (``benchmarks/both.py``), which knows the held-out tasks
before any step.

Takes the runs that ``benchmarks/adaptation.py`` trains, and its own (under ``runs/benchmarks``,
trained here if they are not there), adapts each to 100 held-out and 100 shifted tasks by three
steps of 20 and of 5 episodes, standard and hybrid, guarded and not, and plays 50 fresh whole
episodes of every task before and as many after. Nothing is learned from those, and no two of these
sets share a seed.

A task is worse off by a one-sided permutation test of its two mean returns at 5%. 100 tasks on
which nothing had changed would bring five such losers by chance, so that the losers that remain
after Holm's correction over the tasks stand beside them. Writes ``benchmarks/results/guard.json``,
where suites that are not run again stay as they were, and ``guard.png``.
"""

import dataclasses
import json
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import tyro
from adaptation import SUITES, machine
from jaxtyping import Float
from numpy.random import SeedSequence
from rich.console import Console
from rich.table import Table
from training import trained

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.standard import adapt_tasks
from ssm_metarl.core.parameters import Params
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import collect_episodes, episode_returns
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.evaluation.evaluate import ADAPTATION_STREAM, RETURN_STREAM
from ssm_metarl.evaluation.figures import Scatter, task_scatter, write_png
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import load

RESULTS = Path(__file__).parent / "results"
SPLITS, BUDGETS = ("held_out", "shifted"), (20, 5)
STEPS, TASKS, RETURN_EPISODES = 3, 100, 50
LEVEL, PERMUTATIONS = 0.05, 20_000
BEFORE, AFTER = 0, 1  # the streams of fresh episodes

RUNS = {suite: SUITES[suite]["ssm"] for suite in ("cartpole", "no-velocity", "hard", "pendulum")}
RUNS["rl2"] = TrainConfig(mode="rl2", env_name="CartPole-v1", num_epochs=20)
RUNS["both"] = TrainConfig(memory="trial")

console = Console(width=110)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One way of adapting one agent to one set of tasks.

    Attributes:
        suite: Whose run was adapted.
        seed: Of its training.
        split: Of the tasks.
        mode: ``standard`` or ``hybrid``.
        episodes: Of each step.
        guarded: Whether the guard was on.
        gone_back: Share of tasks on which it went back at least once.
        before: Mean zero-shot return of each task.
        after: Mean return of each task afterwards.
        p: Of each task: how often chance alone would bring such a loss.
        losers: Tasks that are worse off, each tested at 5%.
        losers_holm: Those that remain after Holm's correction.
    """

    suite: str
    seed: int
    split: str
    mode: str
    episodes: int
    guarded: bool
    gone_back: float = 0.0
    before: Sequence[float] = ()
    after: Sequence[float] = ()
    p: Sequence[float] = ()
    losers: Sequence[int] = ()
    losers_holm: Sequence[int] = ()


def loss_p_values(
    before: Float[np.ndarray, "K E"], after: Float[np.ndarray, "K E"], rng: np.random.Generator
) -> Float[np.ndarray, " K"]:
    """Test each task for a lower mean: a permutation test, one-sided, of its 2 x E returns."""
    episodes = before.shape[1]
    signs = rng.permuted(np.tile(np.repeat([1.0, -1.0], episodes), (PERMUTATIONS, 1)), axis=1)
    returns = np.concatenate([before, after], axis=1)
    loss = before.sum(1) - after.sum(1)
    near = 1e-9 * np.abs(returns).sum(1)  # sums in another order differ by rounding
    as_large = (returns @ signs.T >= (loss - near)[:, None]).sum(1)
    return (1 + as_large) / (1 + PERMUTATIONS)


def holm(p: Float[np.ndarray, " K"]) -> list[int]:
    """Return the tests that are significant together at 5% (Holm 1979), in their order."""
    order = np.argsort(p)
    passes = p[order] <= LEVEL / np.arange(len(p), 0, -1)
    first_failure = len(p) if passes.all() else int(np.argmin(passes))
    return sorted(order[:first_failure].tolist())


def fresh_returns(
    agent: Agent, params: Params, family: TaskFamily, tasks: Tasks, seed: SeedSequence
) -> Float[np.ndarray, "K E"]:
    """Play whole episodes that nothing is learned from."""
    environment = family.make_vec(tasks, RETURN_EPISODES, autoreset=False)
    rollout = collect_episodes(agent.policy.bind(params), environment, seed)
    return episode_returns(rollout).double().numpy()


def measure(suite: str, seed: int) -> list[Outcome]:
    """Adapt one run to both sets of tasks in every way."""
    torch.set_num_threads(1)
    config = dataclasses.replace(RUNS[suite], seed=seed)
    agent = load(trained(config, f"{suite}-ssm-{seed}", console).folder)
    family, outcomes = get_family(config.env_name), []
    modes = {"standard": None}
    if config.mode == "meta_rl":
        modes["hybrid"] = Memory.of(agent)
    for split in SPLITS:
        tasks: Tasks = getattr(family, split)(TASKS)
        fresh = substream(SeedSequence(seed), RETURN_STREAM, BEFORE)
        before = fresh_returns(agent, agent.params, family, tasks, fresh)
        for mode, memory in modes.items():
            for episodes in BUDGETS:
                start = Outcome(suite, seed, split, mode, episodes, guarded=True)
                on = outcome(start, agent, family, tasks, memory, before)
                start = dataclasses.replace(start, guarded=False)
                # Without a rollback the guard changes nothing, to the bit.
                off = dataclasses.replace(on, guarded=False)
                if on.gone_back:
                    off = outcome(start, agent, family, tasks, memory, before)
                outcomes += [on, off]
    return outcomes


def outcome(
    way: Outcome,
    agent: Agent,
    family: TaskFamily,
    tasks: Tasks,
    memory: Memory | None,
    before: Float[np.ndarray, "K E"],
) -> Outcome:
    """Adapt in one way, and fill in the results."""
    own = SeedSequence(way.seed)
    _, *stages = adapt_tasks(
        agent,
        family,
        tasks,
        episodes=way.episodes,
        steps=STEPS,
        seed=substream(own, ADAPTATION_STREAM),
        memory=memory,
        guarded=way.guarded,
    )
    fresh = substream(own, RETURN_STREAM, AFTER)
    after = fresh_returns(agent, stages[-1].params, family, tasks, fresh)
    p = loss_p_values(before, after, np.random.default_rng(way.seed))
    gone_back = [stage.rolled_back for stage in stages if stage.rolled_back is not None]
    return dataclasses.replace(
        way,
        gone_back=float(np.any(gone_back, axis=0).mean()) if gone_back else 0.0,
        before=before.mean(1).round(2).tolist(),
        after=after.mean(1).round(2).tolist(),
        p=p.round(5).tolist(),
        losers=np.flatnonzero(p < LEVEL).tolist(),
        losers_holm=holm(p),
    )


def show(outcomes: Sequence[Outcome]) -> None:
    """Print the losers of every way of adapting, all seeds together."""
    table = Table(title=f"Tasks worse off after {STEPS} steps: tested at 5%, and after Holm")
    for name in ("family", "tasks", "mode", "episodes", "guard", "before", "after", "5%", "Holm"):
        table.add_column(name, justify="right" if name in ("before", "after", "5%") else "left")
    ways: dict[tuple[object, ...], list[Outcome]] = {}
    for one in outcomes:
        way = one.suite, one.split, one.mode, one.episodes, "on" if one.guarded else "off"
        ways.setdefault(way, []).append(one)
    for way, same in ways.items():
        tested = sum(len(one.p) for one in same)
        table.add_row(
            *map(str, way),
            *(
                f"{np.mean([getattr(one, when) for one in same]):.1f}"
                for when in ("before", "after")
            ),
            *(
                f"{sum(len(getattr(one, which)) for one in same)} of {tested}"
                for which in ("losers", "losers_holm")
            ),
        )
    console.print(table)


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw all guarded outcomes of each suite, the losers in colours of their own."""
    panels = []
    for suite in dict.fromkeys(one.suite for one in outcomes):
        same = [one for one in outcomes if one.suite == suite and one.guarded]
        groups = []
        for one in same:
            words = np.full(TASKS, "no worse", dtype=object)
            words[list(one.losers)] = "worse at 5%"
            words[list(one.losers_holm)] = "worse after Holm"
            groups += words.tolist()
        before, after = (
            np.concatenate([getattr(one, when) for one in same]) for when in ("before", "after")
        )
        panels.append(Scatter(f"{suite}, guarded", before, after, groups, "adaptation"))
    write_png(task_scatter(panels), path)


def main(suites: tuple[str, ...] = tuple(RUNS), seeds: int = 3, workers: int = 1) -> None:
    """Adapt all runs and write the results.

    Args:
        suites: Whose runs: cartpole, no-velocity, hard, pendulum, rl2, both.
        seeds: Number of training seeds, from 0.
        workers: Runs at once, of one thread each.
    """
    path = RESULTS / "guard.json"
    content = json.loads(path.read_text()) if path.exists() else {}
    jobs = [(suite, seed) for suite in suites for seed in range(seeds)]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        outcomes = [one for run in pool.map(measure, *zip(*jobs, strict=True)) for one in run]
    for suite in suites:
        content[suite] = {
            "command": " ".join(["python", "benchmarks/guard.py", *sys.argv[1:]]),
            "machine": machine(),
            "tasks": TASKS,
            "steps": STEPS,
            "return_episodes": RETURN_EPISODES,
            "outcomes": [dataclasses.asdict(one) for one in outcomes if one.suite == suite],
        }
    path.write_text(json.dumps(content) + "\n")
    everything = [Outcome(**one) for suite in content.values() for one in suite["outcomes"]]
    draw(everything, RESULTS / "guard.png")
    show(everything)


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
