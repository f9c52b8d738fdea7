"""Point estimates and confidence intervals over training seeds and held-out tasks.

Scores are a matrix ``[S, N]``: ``S`` training seeds, each tried on ``N`` tasks. The aggregate is
the mean or the interquartile mean of all ``S * N`` entries, its interval a percentile bootstrap,
after Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(arXiv 2108.13264).

That paper resamples *runs* within each task, because its tasks (the Atari games) are all there is.
Here the tasks are a sample from a family, and the question is about tasks not yet seen, so tasks
are what is resampled. How the seeds come in is the *design*:

* ``"stratified"``: each seed is a stratum, whose tasks are drawn apart from the other seeds' tasks.
  Right if each seed met tasks of its own, and speaks about these very seeds only.
* ``"crossed"``: one draw of tasks is shared by all seeds, and the seeds are drawn too (the
  pigeonhole bootstrap, Owen 2007, arXiv 0712.1111). The one to quote when the seeds met the same
  tasks: a task that is hard is hard for every seed, so that ``S * N`` scores are far fewer
  independent facts. Stratified intervals of such scores are too narrow: with 3 seeds, 100 tasks and
  task effects twice the noise, "95%" holds the truth in 78 of 100 cases, and in 45 once the seeds
  differ as well; crossed in 95 and 86 (three seeds say little about seeds).

With one seed the two are the same, to the last bit.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Shaped

from ssm_metarl.errors import UserError

Aggregate = npt.NDArray[np.float64] | np.float64
"""One value per leading index; a plain number if there is none."""

Statistic = Callable[[npt.NDArray[np.float64]], Aggregate]
"""Aggregates the last axis of an array of any rank."""

Design = Literal["stratified", "crossed"]


class Difference(NamedTuple):
    """Mean of ``a - b`` over the same tasks, and its 95% confidence interval."""

    mean: float
    ci95: tuple[float, float]


def mean(scores: Shaped[np.ndarray, "*batch n"]) -> Aggregate:
    """Average the last axis: ``[..., n] -> [...]``."""
    return np.asarray(scores, np.float64).mean(axis=-1)


def iqm(scores: Shaped[np.ndarray, "*batch n"]) -> Aggregate:
    """Average the middle half of the last axis: ``[..., n] -> [...]``.

    The convention is that of ``scipy.stats.trim_mean(scores, 0.25)``, which the code of Agarwal et
    al. 2021 calls: whole entries, ``floor(n / 4)`` dropped from each end, no fractional weights.
    """
    count = scores.shape[-1]
    drop = count // 4
    # Two pivots put the middle half in its place; sorting it too would be wasted.
    middle = np.partition(np.asarray(scores, np.float64), (drop, count - drop - 1), axis=-1)
    return middle[..., drop : count - drop].mean(axis=-1)


def stratified_bootstrap(
    scores: Shaped[np.ndarray, "S N"],
    statistic: Statistic = mean,
    resamples: int = 2000,
    seed: int = 0,
    *,
    design: Design = "stratified",
) -> tuple[float, float]:
    """Return the 95% percentile interval of a statistic of all scores.

    Args:
        scores: Return of every training seed (``S``) on every task (``N``).
        statistic: `mean`, `iqm`, or anything else that aggregates the last axis.
        resamples: Bootstrap repetitions.
        seed: Seed of the resampling; the same seed always draws the same tasks.
        design: How seeds and tasks are drawn (see the head of this file).

    Raises:
        UserError: No scores, or one that is not finite.
    """
    scores = _checked(scores)
    seeds, tasks = _draw(scores.shape[0], scores.shape[1], resamples, seed, design)
    values = statistic(scores[seeds, tasks].reshape(resamples, -1))  # [resamples]
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def paired_difference(
    a: Shaped[np.ndarray, "S N"],
    b: Shaped[np.ndarray, "_ _"],
    resamples: int = 2000,
    seed: int = 0,
    *,
    design: Design = "stratified",
) -> Difference:
    """Compare two modes on the same seeds and tasks, with the same resamples for both.

    What makes a task hard is common to both modes and cancels, so that the interval is narrower
    than two separate ones would suggest. The options are those of :func:`stratified_bootstrap`.

    Raises:
        UserError: No scores, one that is not finite, or shapes that differ.
    """
    if a.shape != b.shape:
        raise UserError(f"paired scores need the same shape, got {a.shape} and {b.shape}")
    # The mean is linear: a difference of resampled means is the mean of resampled differences.
    difference = _checked(a) - _checked(b)
    ci95 = stratified_bootstrap(difference, mean, resamples, seed, design=design)
    return Difference(float(difference.mean()), ci95)


class Comparison(NamedTuple):
    """Of two methods on the same tasks, with 95% confidence intervals.

    Attributes:
        difference: Of their means.
        improvement: The probability that the first is the better one on a task, each with a seed
            drawn at random; a tie counts half.
    """

    difference: Difference
    improvement: Difference


def compare(
    a: Shaped[np.ndarray, "R N"],
    b: Shaped[np.ndarray, "S _"],
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two methods, each with training seeds of its own, on the same tasks.

    The probability of improvement is that of Agarwal et al. 2021, a mean over tasks of Mann and
    Whitney's statistic. The bootstrap draws one set of tasks for both, and the seeds of each.

    Raises:
        UserError: No scores, one that is not finite, or other tasks.
    """
    a, b = _checked(a), _checked(b)
    if a.shape[1] != b.shape[1]:
        raise UserError(f"scores of {a.shape[1]} and of {b.shape[1]} tasks cannot be compared")
    gain = a[:, None] - b  # [R, S, N]
    better = (gain > 0) + 0.5 * (gain == 0)
    rng = np.random.default_rng(seed)
    tasks, ours, theirs = (
        rng.multinomial(n, np.full(n, 1 / n), size=resamples) / n
        for n in (a.shape[1], a.shape[0], b.shape[0])
    )
    found = []
    for values in (gain, better):
        # Weighted by how often each task, and then each seed, was drawn.
        drawn = np.einsum("ijn,rn->rij", values, tasks)
        drawn = np.einsum("rij,ri,rj->r", drawn, ours, theirs)
        low, high = np.quantile(drawn, (0.025, 0.975))
        found.append(Difference(float(values.mean()), (float(low), float(high))))
    return Comparison(*found)


def _checked(scores: Shaped[np.ndarray, "S N"]) -> Float[np.ndarray, "S N"]:
    """Return the scores in float64, or say which one is not a number one may average."""
    scores = np.asarray(scores, np.float64)
    if not scores.size:
        raise UserError(f"no scores to aggregate: shape {scores.shape}")
    bad = np.argwhere(~np.isfinite(scores))
    if len(bad):
        row, column = bad[0]
        raise UserError(f"score of seed {row}, task {column} is {scores[row, column]}")
    return scores


def _draw(
    seeds: int, tasks: int, resamples: int, seed: int, design: Design
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return seed and task indices that broadcast to ``[resamples, S, N]``."""
    rng = np.random.default_rng(seed)
    shared = design == "crossed"
    # Tasks first, so that with one seed both designs draw the same.
    task = rng.integers(tasks, size=(resamples, 1 if shared else seeds, tasks))
    if shared:
        return rng.integers(seeds, size=(resamples, seeds, 1)), task
    return np.arange(seeds)[:, None], task
