"""AdaStop: after how many training seeds do two methods differ for sure?

A group sequential permutation test (Mathieu et al. 2023, arXiv:2306.10882). Each method is trained
with a group of seeds, then with another one, and so on. After each group all pairs that are still
undecided are tested; those that differ by more than chance explains are decided, and at the end the
others are taken to be equal. The probability that any of equal methods is ever called different is
at most `alpha`, whatever the distribution of their scores and however often one looks.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ssm_metarl.errors import UserError

PERMUTATIONS = 10_000


class Decision(NamedTuple):
    """What is known of a pair of methods, by their places.

    Attributes:
        first: A method.
        second: Another one.
        sign: 1 if the first is better, -1 if the second is, 0 if they are taken to be equal, and
            None if further seeds have to decide.
        seeds: Of each method that had been used when it was decided.
    """

    first: int
    second: int
    sign: int | None
    seeds: int


def adastop(
    scores: Sequence[Float[np.ndarray, " _"]],
    group: int,
    groups: int = 5,
    alpha: float = 0.05,
    seed: int = 0,
) -> list[Decision]:
    """Decide which methods differ, from the scores of their training seeds so far.

    Args:
        scores: Of each method one score for each seed, in the order of training; those beyond the
            last group that is complete for all methods, or beyond the last group, are not used.
        group: Seeds of a group, which is to be decided before the first is trained.
        groups: At most, likewise.
        alpha: Probability of any false difference.
        seed: Of the random permutations.

    Raises:
        UserError: There are less than two methods, or less seeds than one group.
    """
    used = min(min(map(len, scores), default=0) // group, groups)
    if len(scores) < 2 or not used:
        raise UserError(f"the test needs two methods of at least {group} seeds each")
    pairs = list(itertools.combinations(range(len(scores)), 2))
    gains, drawn = _statistics(scores, pairs, group, used, np.random.default_rng(seed))
    left, decided = list(range(len(pairs))), {}
    for now in range(used):
        while left:
            bounds = _boundaries(drawn[: now + 1, :, left], alpha / groups)
            largest = max(left, key=lambda pair: abs(gains[now, pair]))
            if not abs(gains[now, largest]) > bounds[now]:
                break
            sign = 1 if gains[now, largest] > 0 else -1
            decided[largest] = Decision(*pairs[largest], sign, group * (now + 1))
            left.remove(largest)
    over = 0 if used == groups else None
    for pair in left:
        decided[pair] = Decision(*pairs[pair], over, group * used)
    return [decided[pair] for pair in range(len(pairs))]


def _statistics(
    scores: Sequence[Float[np.ndarray, " _"]],
    pairs: Sequence[tuple[int, int]],
    group: int,
    groups: int,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "G C"], Float[np.ndarray, "G M C"]]:
    """Return summed differences of each pair up to each group, and those of permuted groups."""
    halves = np.repeat([1.0, -1.0], group)
    observed, permuted = [], []
    for now in range(groups):
        part = [np.asarray(one, np.float64)[now * group : (now + 1) * group] for one in scores]
        both = np.array([np.concatenate([part[i], part[j]]) for i, j in pairs])  # [C, 2 group]
        signs = rng.permuted(np.tile(halves, (PERMUTATIONS, 1)), axis=1)
        observed.append(both @ halves)
        permuted.append(signs @ both.T)
    return np.cumsum(observed, 0), np.abs(np.cumsum(permuted, 0))


def _boundaries(drawn: Float[np.ndarray, "G M C"], spent: float) -> Float[np.ndarray, " G"]:
    """Return what the largest difference must exceed after each group.

    Of all permutations that were not rejected before, the share `spent` of all is above it.
    """
    largest = drawn.max(-1)  # [G, M]
    alive: Bool[np.ndarray, " M"] = np.ones(largest.shape[1], bool)
    allowed, bounds = int(spent * largest.shape[1]), []
    for values in largest:
        remaining = np.sort(values[alive])[::-1]
        bounds.append(remaining[allowed] if allowed < len(remaining) else 0.0)
        alive &= values <= bounds[-1]
    return np.array(bounds)
