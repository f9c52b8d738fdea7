"""The guard: restore a task's earlier parameters where its returns show that a step did harm."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.parameters import Params

LEVEL = 0.05  # of significance
DRAWS = 2000  # of the bootstrap
FEWEST = 3  # episodes on both sides; fewer say nothing about how much returns vary


@dataclass(frozen=True)
class Best:
    """The best parameters of each task so far, by the mean of their returns.

    Attributes:
        params: Of each task, ``[K, ...]``, or shared.
        returns: Of the episodes that were played with them.
        restored: Tasks whose current parameters are these, because later ones were worse.
    """

    params: Params
    returns: Float[np.ndarray, "K E"]
    restored: Bool[np.ndarray, "K"]


class Guard:
    """Keeps each task's best parameters, and tests whether the current ones are worse.

    It needs no episodes of its own: those that the next step learns from were played with the
    parameters that the last step led to. Where the best parameters were restored, their new returns
    replace the old ones, which may have been lucky, or of a task that has changed since.
    """

    def __init__(self, seed: SeedSequence) -> None:
        self._rng = np.random.default_rng(seed)
        self._best: Best | None = None

    def check(
        self, params: Params, returns: Float[np.ndarray, "K E"]
    ) -> tuple[Params, Bool[np.ndarray, "K"]]:
        """Return the best parameters so far, and the tasks on which the current ones are worse.

        Args:
            params: Those that the episodes were played with.
            returns: Of these episodes.
        """
        if self._best is None:
            none = np.zeros(len(returns), dtype=bool)
            self._best = Best(params, returns, none)
            return params, none
        best = self._best
        worse = significantly_lower(returns, best.returns, self._rng) & ~best.restored
        newer = best.restored | (returns.mean(1) >= best.returns.mean(1))
        self._best = Best(
            choose(newer, params, best.params),
            np.where(newer[:, None], returns, best.returns),
            worse,
        )
        return self._best.params, worse


def significantly_lower(
    now: Float[np.ndarray, "K E"], best: Float[np.ndarray, "K E"], rng: np.random.Generator
) -> Bool[np.ndarray, "K"]:
    """Test, task by task, whether mean returns have dropped: a one-sided bootstrap at 5%."""
    if now.shape[1] < FEWEST:
        return np.zeros(len(now), dtype=bool)
    drop = _bootstrap_means(best, rng) - _bootstrap_means(now, rng)
    return (drop <= 0.0).mean(1) < LEVEL


def _bootstrap_means(
    returns: Float[np.ndarray, "K E"], rng: np.random.Generator
) -> Float[np.ndarray, "K D"]:
    drawn = rng.integers(returns.shape[1], size=(DRAWS, returns.shape[1]))
    return returns[:, drawn].mean(-1)


def choose(which: Bool[np.ndarray, "K"], chosen: Params, other: Params) -> Params:
    """Take some tasks' parameters from one set and the rest from another."""
    if not which.any():
        return other
    if which.all():
        return chosen
    mask = torch.from_numpy(which)
    return {name: _choose_rows(mask, value, other[name]) for name, value in chosen.items()}


def _choose_rows(which: Bool[Tensor, "K"], chosen: Tensor, other: Tensor) -> Tensor:
    if chosen is other:  # a head that adaptation leaves alone
        return chosen
    full = max(chosen.ndim, other.ndim)
    rows = which.to(chosen.device).view(-1, *[1] * (full - 1))
    return torch.where(rows, chosen, other)
