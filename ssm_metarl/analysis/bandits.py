"""What is known to play Bernoulli bandits well, computed exactly: uniform priors, n pulls.

Counts are successes and failures ``[..., A]``. Every rule is a function of them and of how many
pulls are left; :func:`play` lets one play the tasks of a family.
"""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.random import SeedSequence

from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.streams import substream

Counts = Int[np.ndarray, "*batch A"]
Scores = Float[np.ndarray, "*batch A"]
Rule = Callable[[Counts, Counts, int, np.random.Generator], Scores]
"""``rule(won, lost, left, rng)``: scores, of which the highest is pulled; `left` includes this."""

RULE_STREAM = 7
GRID = 128  # charges per pull at which the stopping problem is solved; between them it is linear


def bayes_optimum(arms: int, pulls: int) -> float:
    """Return the largest expected return, by dynamic programming over all counts.

    Arms that were never pulled are alike, and the order of the others does not matter. Exact for
    any sizes, and feasible for about 10 pulls of any number of arms, or 60 of two.
    """

    @cache
    def value(known: tuple[tuple[int, int], ...], left: int) -> float:
        if not left:
            return 0.0
        choices = [(k, known[:k] + known[k + 1 :]) for k in range(len(known))]
        tried = {known[k]: rest for k, rest in choices}
        if len(known) < arms:
            tried[0, 0] = known
        return max(_after(value, arm, rest, left) for arm, rest in tried.items())

    return value((), pulls)


def _after(
    value: Callable[[tuple[tuple[int, int], ...], int], float],
    arm: tuple[int, int],
    rest: tuple[tuple[int, int], ...],
    left: int,
) -> float:
    """Return what pulling an arm is worth: what it pays, and what can be done after."""
    won, lost = arm
    mean = (won + 1) / (won + lost + 2)
    up = value(tuple(sorted((*rest, (won + 1, lost)))), left - 1)
    down = value(tuple(sorted((*rest, (won, lost + 1)))), left - 1)
    return mean * (1.0 + up) + (1.0 - mean) * down


def value_of(rule: Rule, arms: int, pulls: int) -> float:
    """Return the expected return of a rule that draws nothing, over all counts; ties are shared."""
    rng = np.random.default_rng(0)

    @cache
    def value(counts: tuple[tuple[int, int], ...], left: int) -> float:
        if not left:
            return 0.0
        won, lost = np.array(counts).T
        scores = rule(won, lost, left, rng)
        best = np.flatnonzero(scores >= scores.max() - 1e-12)
        worths = [_after(value, counts[k], counts[:k] + counts[k + 1 :], left) for k in best]
        return sum(worths) / len(worths)

    return value(((0, 0),) * arms, pulls)


def greedy(won: Counts, lost: Counts, left: int, rng: np.random.Generator) -> Scores:
    """Pull the arm with the highest posterior mean."""
    return (won + 1) / (won + lost + 2)


def thompson(won: Counts, lost: Counts, left: int, rng: np.random.Generator) -> Scores:
    """Draw each arm's chance from its posterior, and pull the highest (Thompson 1933)."""
    return rng.beta(won + 1, lost + 1)


def uniform(won: Counts, lost: Counts, left: int, rng: np.random.Generator) -> Scores:
    """Pull any arm."""
    return rng.random(won.shape)


def ucb1(won: Counts, lost: Counts, left: int, rng: np.random.Generator) -> Scores:
    """Add sqrt(2 ln t / pulls) to the mean; untried arms first (Auer et al. 2002)."""
    pulled = won + lost
    total = pulled.sum(-1, keepdims=True).clip(1)
    tried = pulled.clip(1)
    scores = won / tried + np.sqrt(2.0 * np.log(total) / tried)
    return np.where(pulled == 0, np.inf, scores)


class GittinsIndex:
    """The Gittins index of an arm for as many pulls as are left: of the reward per pull, the most.

    That is the charge per pull at which it is worth nothing to go on with this arm, and stop
    whenever that is best. Solved backwards for a grid of charges; what going on is worth is a
    convex function of the charge, and taken as linear between two of them. Kaufmann
    (2018, arXiv:1601.01190) compares it: with two arms or more it is not quite optimal for a finite
    horizon, and very near.
    """

    def __init__(self, pulls: int, grid: int = GRID) -> None:
        """Solve it: of the order of ``grid * pulls ** 3`` operations, 20 s for 500 pulls."""
        self.tables = list(_index_tables(pulls, np.linspace(0.0, 1.0, grid)))

    def __call__(self, won: Counts, lost: Counts, left: int, rng: np.random.Generator) -> Scores:
        """Return the index of each arm."""
        return self.tables[left - 1][won, lost]


def _index_tables(pulls: int, charges: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the index ``[won, lost]`` with 1, 2, ... pulls left."""
    after = np.zeros((pulls + 1, pulls + 1, len(charges)), np.float32)
    charges = charges.astype(np.float32)
    for left in range(1, pulls + 1):
        most = pulls - left + 1  # counts are below
        won, lost = np.arange(most)[:, None], np.arange(most)[None, :]
        mean = ((won + 1) / (won + lost + 2)).astype(np.float32)[..., None]
        on = mean * (1.0 + after[1:, :-1]) + (1.0 - mean) * after[:-1, 1:] - charges
        yield _root(on, charges)
        after = np.maximum(on, 0.0)


def _root(on: Float[np.ndarray, "W L G"], charges: Float[np.ndarray, "G"]) -> np.ndarray:
    """Return the charge at which decreasing worths are 0."""
    last = (on > 0.0).sum(-1, keepdims=True).clip(1, len(charges) - 1) - 1
    above, below = (np.take_along_axis(on, last + k, -1)[..., 0] for k in (0, 1))
    step = charges[1] - charges[0]
    return charges[last[..., 0]] + step * above / (above - below)


def play(
    rule: Rule, family: TaskFamily, tasks: Tasks, lanes: int, seed: SeedSequence
) -> Float[np.ndarray, "T K E"]:
    """Return the rewards of a rule on every task; ties are broken at random.

    With the same seed all rules, and agents, meet the same random numbers of the world.
    """
    env = family.make_vec(tasks, lanes, autoreset=False)
    env.reset(seed)
    rng, rewards = np.random.default_rng(substream(seed, RULE_STREAM)), []
    arms = int(family.action_space.n)  # pyright: ignore[reportAttributeAccessIssue]
    won, lost = (np.zeros((len(tasks), lanes, arms), np.int64) for _ in range(2))
    for left in range(family.max_episode_steps, 0, -1):
        scores = rule(won, lost, left, rng)
        best = scores == scores.max(-1, keepdims=True)
        arm = np.where(best, rng.random(best.shape), -1.0).argmax(-1)[..., None]
        reward = env.step(torch.from_numpy(arm[..., 0])).reward.numpy()
        paid = reward[..., None] > 0
        np.put_along_axis(won, arm, np.take_along_axis(won, arm, -1) + paid, -1)
        np.put_along_axis(lost, arm, np.take_along_axis(lost, arm, -1) + ~paid, -1)
        rewards.append(reward)
    return np.stack(rewards)
