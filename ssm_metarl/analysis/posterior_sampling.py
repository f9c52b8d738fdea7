"""What is known to play the random MDPs of ``TabularMDP-n25`` well, and who knows them.

The prior is the one that they are drawn from: mean rewards N(1, 1), seen through noise N(0, 1), and
transitions Dirichlet(1). Posterior sampling draws an MDP from the posterior at the start of every
10 steps, and plays what is best in it (PSRL; Osband et al. 2013, arXiv:1306.0940).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.random import Generator, SeedSequence

from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.simulators.tabular_mdp import (
    ACTIONS,
    HORIZON,
    STATES,
    Tables,
    TabularMDP,
)
from ssm_metarl.env_runner.streams import substream

PLANNER_STREAM = 7
OPTIMISTIC_SAMPLES = 5


class Plan(NamedTuple):
    """What is best in some MDPs."""

    actions: Int[np.ndarray, "horizon *batch S"]
    value: Float[np.ndarray, "*batch"]
    """Expected return of 10 steps from state 0."""


def plan(reward: Float[np.ndarray, "*batch S A"], transition: np.ndarray) -> Plan:
    """Plan 10 steps ahead, backwards.

    Args:
        reward: Means.
        transition: ``[*batch, S, A, S]``; or ``[draws, *batch, S, A, S]`` together with rewards of
            one axis more too, by :func:`optimistic_plan`.
    """
    return optimistic_plan(reward[None], transition[None])


def optimistic_plan(reward: np.ndarray, transition: np.ndarray) -> Plan:
    """Plan with the most promising of several MDPs, ``[draws, ...]``, at every state and action."""
    ahead, actions = np.zeros(reward.shape[1:-1]), []
    for _ in range(HORIZON):
        follows = (transition @ ahead[..., None, :, None])[..., 0]
        worth = (reward + follows).max(0)
        actions.append(worth.argmax(-1))
        ahead = worth.max(-1)
    return Plan(np.stack(actions[::-1]), ahead[..., 0])


class Posterior:
    """Counts of what was seen in K x E lanes, and draws from what they leave possible."""

    def __init__(self, tasks: int, lanes: int) -> None:
        table = (tasks, lanes, STATES, ACTIONS)
        self.visits, self.earned = np.zeros(table), np.zeros(table)
        self.arrivals = np.ones((*table, STATES))
        self._lane = np.ix_(range(tasks), range(lanes))

    def learn(
        self,
        state: Int[np.ndarray, "K E"],
        action: Int[np.ndarray, "K E"],
        reward: Float[np.ndarray, "K E"],
        following: Int[np.ndarray, "K E"] | None,
    ) -> None:
        """Count a step; None where it is not seen what it led to."""
        tasks, lanes = self._lane
        self.visits[tasks, lanes, state, action] += 1
        self.earned[tasks, lanes, state, action] += reward
        if following is not None:
            self.arrivals[tasks, lanes, state, action, following] += 1

    def mean(self) -> Tables:
        """Return the mean MDP."""
        reward = (1.0 + self.earned) / (1.0 + self.visits)
        return Tables(reward, self.arrivals / self.arrivals.sum(-1, keepdims=True))

    def draw(self, draws: int, rng: Generator) -> Tables:
        """Return MDPs ``[draws, K, E, ...]``."""
        shape = (draws, *self.visits.shape)
        spread = rng.standard_normal(shape) / np.sqrt(1.0 + self.visits)
        weights = rng.standard_gamma(self.arrivals, (*shape, STATES))
        return Tables(self.mean().reward + spread, weights / weights.sum(-1, keepdims=True))


Planner = Callable[[Posterior, Generator], Int[np.ndarray, "horizon K E S"]]
"""``planner(posterior, rng)``: what to do in the next 10 steps, by time and state."""


def psrl(posterior: Posterior, rng: Generator) -> Int[np.ndarray, "horizon K E S"]:
    """Plan with one draw."""
    return optimistic_plan(*posterior.draw(1, rng)).actions


def optimistic_psrl(posterior: Posterior, rng: Generator) -> Int[np.ndarray, "horizon K E S"]:
    """Plan with the best of several draws at every state and action."""
    return optimistic_plan(*posterior.draw(OPTIMISTIC_SAMPLES, rng)).actions


def upper_bounds(posterior: Posterior, rng: Generator) -> Int[np.ndarray, "horizon K E S"]:
    """Plan with mean rewards plus their standard deviations: better here than draws."""
    reward, transition = posterior.mean()
    return plan(reward + 1.0 / np.sqrt(1.0 + posterior.visits), transition).actions


def greedy(posterior: Posterior, rng: Generator) -> Int[np.ndarray, "horizon K E S"]:
    """Plan with the mean."""
    return plan(*posterior.mean()).actions


def uniform(posterior: Posterior, rng: Generator) -> Int[np.ndarray, "horizon K E S"]:
    """Do anything."""
    return rng.integers(ACTIONS, size=(HORIZON, *posterior.visits.shape[:3]))


def tables_of(family: TaskFamily, tasks: Tasks) -> Tables:
    """Return the K MDPs of tasks."""
    assert isinstance(family.simulator, TabularMDP)
    values = {name: torch.from_numpy(column)[:, None] for name, column in tasks.values.items()}
    return family.simulator.tables(values)


def optimal_values(family: TaskFamily, tasks: Tasks) -> Float[np.ndarray, "K"]:
    """Return what 10 steps are worth to who knows the MDP, exactly."""
    return plan(*tables_of(family, tasks)).value


def play(
    planner: Planner, family: TaskFamily, tasks: Tasks, lanes: int, seed: SeedSequence
) -> Float[np.ndarray, "T K E"]:
    """Return the rewards of a planner on every task.

    With the same seed all planners, and agents, meet the same random numbers of the world.
    """
    env = family.make_vec(tasks, lanes, autoreset=False)
    seen = env.reset(seed).numpy()
    rng, rewards = np.random.default_rng(substream(seed, PLANNER_STREAM)), []
    posterior, state = Posterior(len(tasks), lanes), seen[..., :STATES].argmax(-1)
    actions = planner(posterior, rng)
    for time in range(1, family.max_episode_steps + 1):
        action = np.take_along_axis(actions[(time - 1) % HORIZON], state[..., None], -1)[..., 0]
        step = env.step(torch.from_numpy(action))
        rewards.append(step.reward.numpy())
        following, last = step.observation[..., :STATES].numpy().argmax(-1), time % HORIZON == 0
        posterior.learn(state, action, rewards[-1], None if last else following)
        state = following
        if last:
            actions = planner(posterior, rng)
    return np.stack(rewards)
