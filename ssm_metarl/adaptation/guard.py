"""Adaptation may not make things worse: go back where the episodes played say that it did."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.parameters import Params

LEVEL = 0.05
DRAWS = 2000
FEWEST = 3  # episodes on both sides; fewer say nothing about how much returns vary


@dataclass(frozen=True)
class Best:
    """Parameters of each task that were not seen to be bettered.

    Attributes:
        params: Theirs.
        returns: That they had.
        taken_up: Tasks that have gone back to them, and play with them now.
    """

    params: Params
    returns: Float[np.ndarray, "K E"]
    taken_up: Bool[np.ndarray, "K"]


class Guard:
    """Remembers each task's best parameters, and says when the current ones are worse.

    It needs no episodes of its own: those that the next step learns from were played with the
    parameters that the last step led to. Where those are the best ones, taken up again, their new
    returns replace the old ones, which were the luckiest of many, or of a task that has changed
    since.
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
        worse = significantly_lower(returns, best.returns, self._rng) & ~best.taken_up
        newer = best.taken_up | (returns.mean(1) >= best.returns.mean(1))
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
    episodes = min(now.shape[1], best.shape[1])
    if episodes < FEWEST:
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
