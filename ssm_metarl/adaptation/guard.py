"""The guard: restore a task's earlier parameters where its returns show that a step did harm."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.parameters import Params
from ssm_metarl.env_runner.rollout import mean_return
from ssm_metarl.meta_rl.inner_rule import broadcast_tasks

LEVEL = 0.05  # of significance
DRAWS = 2000  # of the bootstrap
FEWEST = 3  # episodes on both sides; fewer say nothing about how much returns vary


class Guard:
    """Keeps each task's best parameters, by mean return, and tests whether current ones are worse.

    It needs no episodes of its own: those that the next step learns from were played with the
    parameters that the last step led to. Where the best parameters were restored, their new returns
    replace the old ones, which may have been lucky, or of a task that has changed since.

    Returns of episodes that failed are NaN and do not count; parameters with which all failed are
    worse than any with which enough did not.
    """

    def __init__(self, seed: SeedSequence) -> None:
        self._rng = np.random.default_rng(seed)
        self._best: Params = {}
        self._returns = np.zeros((0, 0))  # of the best parameters
        self._restored = np.zeros(0, dtype=bool)  # tasks that went back to them

    def check(
        self, params: Params, returns: Float[np.ndarray, "K E"]
    ) -> tuple[Params, Bool[np.ndarray, "K"]]:
        """Return the best parameters so far, and the tasks on which those that played are worse."""
        if not self._best:
            self._best, self._returns = params, returns
            self._restored = np.zeros(len(returns), dtype=bool)
            return params, self._restored
        worse = significantly_lower(returns, self._returns, self._rng) & ~self._restored
        now, best = _means(returns), _means(self._returns)
        newer = ~np.isnan(now) & (self._restored | ~(now < best))
        self._best = choose(newer, params, self._best)
        self._returns = np.where(newer[:, None], returns, self._returns)
        self._restored = worse
        return self._best, worse


def significantly_lower(
    now: Float[np.ndarray, "K E"], best: Float[np.ndarray, "K E"], rng: np.random.Generator
) -> Bool[np.ndarray, "K"]:
    """Test, task by task, whether mean returns have dropped: a one-sided bootstrap at 5%."""
    known = (~np.isnan(best)).sum(1) >= FEWEST
    all_failed = known & np.isnan(now).all(1)
    enough = known & ((~np.isnan(now)).sum(1) >= FEWEST)
    if not enough.any():
        return all_failed
    drop = _bootstrap_means(best, rng) - _bootstrap_means(now, rng)
    return all_failed | (enough & ((drop <= 0.0).mean(1) < LEVEL))


def _bootstrap_means(
    returns: Float[np.ndarray, "K E"], rng: np.random.Generator
) -> Float[np.ndarray, "K D"]:
    drawn = rng.integers(returns.shape[1], size=(DRAWS, returns.shape[1]))
    means = returns[:, drawn].mean(-1)
    for k in np.flatnonzero(np.isnan(returns).any(1) & ~np.isnan(returns).all(1)):
        sound = returns[k, ~np.isnan(returns[k])]
        means[k] = rng.choice(sound, size=(DRAWS, len(sound))).mean(-1)
    return means


def _means(returns: Float[np.ndarray, "K E"]) -> Float[np.ndarray, "K"]:
    """Return each task's mean return of the episodes that did not fail."""
    return mean_return(torch.from_numpy(returns)).numpy()


def choose(which: Bool[np.ndarray, "K"], chosen: Params, other: Params) -> Params:
    """Take some tasks' parameters from one set and the rest from another."""
    if not which.any():
        return other
    if which.all():
        return chosen
    rows = torch.from_numpy(which)

    def mixed(a: Tensor, b: Tensor) -> Tensor:
        if a is b:  # a head that adaptation leaves alone
            return a
        like = a if a.ndim > b.ndim else b
        return torch.where(broadcast_tasks(rows.to(a.device), like), a, b)

    return {name: mixed(value, other[name]) for name, value in chosen.items()}
