"""HalfCheetahVel and HalfCheetahDir: all ways to adapt, and the share of an oracle's gain.

    python benchmarks/cheetah.py HalfCheetahVel
    python benchmarks/cheetah.py HalfCheetahDir

Each seed trains three agents as ``ssm-metarl train`` would (under ``runs/benchmarks``,
where a finished run is used again): with ``--mode rl2``, which adapts in context; with ``--mode
meta_rl``, which adapts by gradient steps; and the oracle, which is trained as the first one, but
also sees the task (its speed or direction) in every observation. All play the same held-out tasks:
40 speeds, or both directions.

The share of the oracle's gain that adapting recovers is ``(adapted - before) / (oracle - before)``.
``adapted`` is an episode of the agent that adapts in context, ``oracle`` the best episode of the
oracle's trials. ``before`` is what no agent that ignores its rewards can exceed: for speeds the
return of running, without any effort, at the one speed that suits all tasks best; for directions
0. An agent that is really trained not to know the task earns less, and from there the share would
be larger. The share from the return of the MAML agent before it adapts is recorded, too: that is
how the published figures come about.

Physics and returns are those of Gymnasium's HalfCheetah-v5, not of the robots of the papers.
Writes ``benchmarks/results/half-cheetah-vel.json`` and ``.png``, or those of ``dir``.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium
import numpy as np
import torch
import tyro
from adaptation import machine
from numpy.random import SeedSequence
from rich.console import Console
from rich.table import Table
from torch import Tensor
from training import TrainedRun, trained

from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.env_runner.environment import Environment, Step
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.registry import get_family, register
from ssm_metarl.env_runner.software import current_software
from ssm_metarl.env_runner.world import VecOptions, World
from ssm_metarl.evaluation.evaluate import EvaluationPlan, evaluate, summarise
from ssm_metarl.evaluation.figures import budget_curve, write_png
from ssm_metarl.evaluation.pooling import over_seeds
from ssm_metarl.evaluation.report import Evaluation
from ssm_metarl.evaluation.table import make_table
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import load

RESULTS = Path(__file__).parent / "results"
TASKS, EPISODES, STEPS, BUDGETS = 40, 4, 3, (1, 20)
RETURN_EPISODES = 5  # over which the return on each task is averaged
FamilyName = Literal["HalfCheetahVel", "HalfCheetahDir"]
FILES: dict[FamilyName, str] = {
    "HalfCheetahVel": "half-cheetah-vel",
    "HalfCheetahDir": "half-cheetah-dir",
}
BY_STEPS = ("zero_shot", "standard", "hybrid", "from_scratch")

console = Console(width=110)


class ToldEnvironment:
    """An `Environment` whose observations end with the values of the lane's task."""

    def __init__(self, environment: Environment, space: gymnasium.spaces.Box) -> None:
        self._environment, self.observation_space = environment, space
        self.tasks, self.lanes = environment.tasks, environment.lanes
        self.action_space = environment.action_space
        self.max_episode_steps, self.device = environment.max_episode_steps, environment.device
        values = np.stack(list(self.tasks.values.values()), -1)  # [K, parameters]
        self._values = torch.from_numpy(values).unsqueeze(1).expand(-1, self.lanes, -1)

    def reset(self, seed: SeedSequence) -> Tensor:
        """Start every lane anew; return first observations `[K, E, O]`."""
        return self._told(self._environment.reset(seed))

    def step(self, action: Tensor) -> Step:
        """Advance every lane."""
        step = self._environment.step(action)
        return step._replace(observation=self._told(step.observation))

    def close(self) -> None:
        """Free what the environment holds."""
        self._environment.close()

    def _told(self, observation: Tensor) -> Tensor:
        return torch.cat([observation, self._values.to(observation)], -1)


@dataclasses.dataclass(frozen=True)
class Told(World):
    """Another world, whose observations end with the values of the task's parameters."""

    world: World
    parameters: int

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """One lane's observation space."""
        size = self.world.observation_space.shape[0] + self.parameters
        return gymnasium.spaces.Box(-np.inf, np.inf, (size,), dtype=np.float32)

    @property
    def action_space(self) -> gymnasium.Space:
        """One lane's action space."""
        return self.world.action_space

    @property
    def simulators(self) -> tuple[str, ...]:
        """Packages whose versions decide what the environments do."""
        return self.world.simulators

    def make_env(self, values: Mapping[str, float], render_mode: str | None) -> gymnasium.Env:
        """Build one ordinary environment."""
        told = np.array(list(values.values()))
        return gymnasium.wrappers.TransformObservation(
            self.world.make_env(values, render_mode),
            lambda observation: np.append(observation, told).astype(np.float32),
            self.observation_space,
        )

    def make_vec(self, tasks: Tasks, lanes: int, options: VecOptions) -> Environment:
        """Build K x E lanes."""
        environment = self.world.make_vec(tasks, lanes, options)
        return ToldEnvironment(environment, self.observation_space)


def register_oracle(name: str) -> TaskFamily:
    """Make the family known whose agents are told the task, and return it."""
    family = get_family(name)
    assert family.world is not None
    told = Told(family.world, len(family.parameters))
    return register(dataclasses.replace(family, name=f"{name}Told", world=told))


def bound_before(family: TaskFamily, tasks: Tasks) -> float:
    """Return what an agent that does not know the task cannot exceed, mean over the tasks."""
    if family.name == "HalfCheetahDir":
        return 0.0  # what one direction earns, the other loses
    speeds = tasks.values["velocity"]
    return -family.max_episode_steps * float(np.abs(speeds - np.median(speeds)).mean())


@dataclasses.dataclass(frozen=True)
class Seed:
    """The agents of one seed, measured on the held-out tasks.

    Attributes:
        seed: Of the trainings.
        runs: Seconds, processor seconds and environment steps of each training.
        evaluation: Of both agents that adapt.
        oracle: Of the oracle.
    """

    seed: int
    runs: Mapping[str, TrainedRun]
    evaluation: Evaluation
    oracle: Evaluation


def configs(name: FamilyName, seed: int) -> dict[str, TrainConfig]:
    """Return the three trainings of a seed."""
    trials = TrainConfig(mode="rl2", env_name=name, seed=seed, validate_every=30)
    return {
        "rl2": trials,
        "maml": TrainConfig(env_name=name, seed=seed, num_epochs=150),
        "oracle": dataclasses.replace(trials, env_name=f"{name}Told"),
    }


def measure(name: FamilyName, seed: int) -> Seed:
    """Train what is not trained yet, and evaluate it."""
    family, told = get_family(name), register_oracle(name)
    runs = {
        agent: trained(config, f"{FILES[name]}-{agent}-{seed}", console)
        for agent, config in configs(name, seed).items()
    }
    agents = {agent: load(run.folder) for agent, run in runs.items()}
    tasks = family.held_out(TASKS)
    by_steps = EvaluationPlan(BY_STEPS, BUDGETS, STEPS, return_episodes=RETURN_EPISODES, seed=seed)
    in_context = EvaluationPlan(
        ("in_context",), trial_episodes=EPISODES, return_episodes=RETURN_EPISODES, seed=seed
    )
    memory = Memory.of(agents["maml"])
    rows = [one.result for one in evaluate(agents["maml"], family, tasks, by_steps, memory)]
    rows += [one.result for one in evaluate(agents["rl2"], family, tasks, in_context)]
    found = summarise(family, tasks, "held_out", by_steps, rows)
    best = [one.result for one in evaluate(agents["oracle"], told, tasks, in_context)]
    return Seed(
        seed,
        runs,
        dataclasses.replace(found, differences=()),  # two agents: not to be paired
        summarise(told, tasks, "held_out", in_context, best),
    )


def shares(one: Seed, bound: float) -> dict[str, Any]:
    """Return the share of the oracle's gain that each episode in context recovers."""
    returns = [row.mean for row in one.evaluation.results if row.mode == "in_context"]
    oracle = max(row.mean for row in one.oracle.results)
    maml = next(row.mean for row in one.evaluation.results if row.mode == "zero_shot")
    stepped = [row.mean for row in one.evaluation.results if row.mode in ("standard", "hybrid")]

    def share(adapted: Sequence[float], before: float) -> list[float]:
        return [(each - before) / (oracle - before) for each in adapted]

    return {
        "seed": one.seed,
        "oracle": oracle,
        "before_at_most": bound,
        "before_of_maml": maml,
        "in_context": returns,
        "share_from_at_most": share(returns, bound),
        "share_from_maml": share(returns, maml),
        "share_of_best_gradient_step_from_maml": share([max(stepped)], maml)[0],
    }


def show(name: FamilyName, seeds: Sequence[Seed], pooled: Evaluation, found: list[Any]) -> None:
    """Print the table, and the share of every seed."""
    console.print(make_table(pooled))
    columns = ("seed", "before", "MAML before", "in context", "oracle", "share", "share from MAML")
    table = Table(*columns, title=f"{name}: share of the oracle's gain, by episode of the trial")
    for one in found:
        returns = [f"{value:.1f}" for value in one["in_context"]]
        ends = (f"{one[key]:.1f}" for key in ("before_at_most", "before_of_maml"))
        told = [[f"{s:.0%}" for s in one[f"share_from_{key}"]] for key in ("at_most", "maml")]
        cells = " ".join(returns), f"{one['oracle']:.1f}", *(" ".join(each) for each in told)
        table.add_row(str(one["seed"]), *ends, *cells)
    console.print(table)
    for one in seeds:
        for agent, run in one.runs.items():
            console.print(
                f"seed {one.seed}, {agent}: {run.seconds:.0f} s, {run.cpu_seconds:.0f} s of CPU, "
                f"{run.environment_steps:,} steps"
            )


def record(
    name: FamilyName, seeds: Sequence[Seed], pooled: Evaluation, found: list[Any], note: str
) -> None:
    """Write the JSON and the figure."""
    content = {
        "command": f"python benchmarks/cheetah.py {name} --seeds {len(seeds)}",
        "note": note,
        "machine": machine() | current_software(get_family(name).simulators),
        "configs": {
            agent: dataclasses.asdict(config.resolve(get_family(config.env_name)))
            for agent, config in configs(name, 0).items()
        },
        "shares": found,
        "pooled": json.loads(pooled.to_json()),
        "seeds": [
            {
                "seed": one.seed,
                "trainings": {
                    agent: {key: v for key, v in vars(run).items() if key != "folder"}
                    for agent, run in one.runs.items()
                },
                "evaluation": json.loads(one.evaluation.to_json()),
                "oracle": json.loads(one.oracle.to_json()),
            }
            for one in seeds
        ],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{FILES[name]}.json").write_text(json.dumps(content, indent=1) + "\n")
    oracle = float(np.mean([one["oracle"] for one in found]))
    count = f"{len(seeds)} seed{'s'[: len(seeds) > 1]}"
    title = f"{name}: {pooled.tasks} held-out tasks, {count}; oracle {oracle:.1f}"
    figure = budget_curve(pooled, titles=[title])
    write_png(figure, RESULTS / f"{FILES[name]}.png")


def main(name: Annotated[FamilyName, tyro.conf.Positional], seeds: int = 3, note: str = "") -> None:
    """Train and measure one family, and write the results.

    Args:
        name: Of the family.
        seeds: Number of training seeds, from 0.
        note: To be written into the results: what else there is to know of the runs.
    """
    torch.set_num_threads(1)
    measured = [measure(name, seed) for seed in range(seeds)]
    pooled = over_seeds([one.evaluation for one in measured])
    family = get_family(name)
    bound = bound_before(family, family.held_out(TASKS))
    found = [shares(one, bound) for one in measured]
    show(name, measured, pooled, found)
    record(name, measured, pooled, found, note)


if __name__ == "__main__":
    tyro.cli(main)
