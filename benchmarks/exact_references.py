"""What :mod:`benchmarks.exact` compares with: rules, planners and optima of each kind of world."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float
from numpy.random import SeedSequence

from ssm_metarl.analysis import bandits, grid_search, posterior_sampling
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.simulators.bandit import BernoulliBandit
from ssm_metarl.env_runner.simulators.tabular_mdp import HORIZON, TabularMDP
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.env_runner.walk import ENVIRONMENT_STREAM

Curve = Float[np.ndarray, "points K"]
"""Reward summed over each part of a trial, by task."""
POINTS = 10  # of a bandit's curve
WHOLE: dict[str, object] = {  # one episode is the trial; lambda as in the RL^2 paper
    "episodes_per_trial": 1,
    "tasks_per_epoch": 400,
    "gae_lambda": 0.3,
    "validation_tasks": 400,  # a single return says little
}
COUNTED = 10  # pulls up to which all counts are gone through: of any number of arms


@dataclass(frozen=True)
class World:
    """A family, and how a trial of it is measured.

    Attributes:
        episodes: Of a trial.
        part: Steps that are one point of a curve.
        unit: What a point is.
        yardstick: The reference whose gain over random is 100%.
        settings: Of a training, beside the learner's own defaults.
    """

    family: TaskFamily
    episodes: int
    part: int
    unit: str
    yardstick: str
    settings: Mapping[str, object]


def world_of(family: TaskFamily) -> World:
    """Return how a family is measured."""
    steps = family.max_episode_steps
    if isinstance(family.simulator, BernoulliBandit):
        part = max(1, steps // POINTS)
        pulls = f"{part} pulls" if part > 1 else "pull"
        # With short trials at first, no bonus and 3e-3 an agent settled on one arm, for good.
        settings = {**WHOLE, "first_steps": steps, "entropy": 0.02, "outer_lr": 0.001}
        return World(family, 1, part, pulls, "Gittins index", settings)
    if isinstance(family.simulator, TabularMDP):
        settings = {**WHOLE, "first_steps": min(steps, 2 * HORIZON)}
        return World(family, 1, HORIZON, "episode", "knows the MDP", settings)
    trial = {"episodes_per_trial": 4, "tasks_per_epoch": 210, "first_steps": steps}
    return World(family, 4, steps, "episode", "Bayes-optimal", trial)


def references(world: World, tasks: Tasks, lanes: int, seed: SeedSequence) -> dict[str, Curve]:
    """Return the curve of every reference; agents that play with this seed meet the same numbers.

    Those that are computed rather than played, such as the optimum, are the same for all tasks
    where they are known as a mean only.
    """
    family, own = world.family, substream(seed, ENVIRONMENT_STREAM)

    def curves(play: Callable[..., np.ndarray], rules: Mapping[str, object]) -> dict[str, Curve]:
        return {
            name: in_parts(play(rule, family, tasks, lanes, own), world.part).mean(-1)
            for name, rule in rules.items()
        }

    if isinstance(family.simulator, BernoulliBandit):
        return curves(bandits.play, bandit_rules(family.max_episode_steps))
    if isinstance(family.simulator, TabularMDP):
        values = posterior_sampling.optimal_values(family, tasks)
        known = np.tile(values, (family.max_episode_steps // HORIZON, 1))
        return {**curves(posterior_sampling.play, PLANNERS), "knows the MDP": known}
    best = grid_search.best_search(world.episodes).returns
    known = np.full(world.episodes, grid_search.returns_with_known_goal())
    means = {"Bayes-optimal": best, "knows the goal": known}
    played = {name: np.repeat(mean[:, None], len(tasks), 1) for name, mean in means.items()}
    return {**played, "random": random_walk(family, tasks, lanes, own, world.episodes)}


PLANNERS: dict[str, posterior_sampling.Planner] = {
    "upper bounds": posterior_sampling.upper_bounds,
    "optimistic PSRL": posterior_sampling.optimistic_psrl,
    "PSRL": posterior_sampling.psrl,
    "greedy": posterior_sampling.greedy,
    "random": posterior_sampling.uniform,
}


def bandit_rules(pulls: int) -> dict[str, bandits.Rule]:
    """Return the rules of bandits."""
    return {
        "Gittins index": bandits.GittinsIndex(pulls),
        "Thompson": bandits.thompson,
        "greedy": bandits.greedy,
        "UCB1": bandits.ucb1,
        "random": bandits.uniform,
    }


def optimum(family: TaskFamily) -> float | None:
    """Return the Bayes-optimal return of a trial of bandits, where it takes seconds."""
    simulator, pulls = family.simulator, family.max_episode_steps
    if isinstance(simulator, BernoulliBandit) and pulls <= COUNTED:
        return bandits.bayes_optimum(simulator.arms, pulls)
    return None


def in_parts(
    reward: Float[np.ndarray, "T *batch"], part: int
) -> Float[np.ndarray, "points *batch"]:
    """Sum rewards over each part of a trial, a shorter last one left out."""
    points = len(reward) // part
    parts = reward[: points * part].reshape(points, part, *reward.shape[1:])
    return parts.sum(1, dtype=np.float64)


def random_walk(
    family: TaskFamily, tasks: Tasks, lanes: int, seed: SeedSequence, episodes: int
) -> Curve:
    """Return the curve of random actions in ordinary episodes."""
    import torch

    rng, env = np.random.default_rng(seed), family.make_vec(tasks, lanes, autoreset=False)
    play = partial(rng.integers, int(family.action_space.n))  # pyright: ignore
    curve = []
    for episode in range(episodes):
        env.reset(substream(seed, episode))
        steps = range(family.max_episode_steps)
        actions = (torch.from_numpy(play(size=(len(tasks), lanes))) for _ in steps)
        curve.append(sum(env.step(action).reward for action in actions).mean(-1).numpy())
    return np.stack(curve).astype(np.float64)
