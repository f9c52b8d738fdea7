"""Statistics against scipy, full enumeration and simulated coverage."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats

from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.statistics import (
    Design,
    Statistic,
    compare,
    iqm,
    mean,
    paired_difference,
    stratified_bootstrap,
)

RNG_SEED = 7


def scipy_iqm(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """The interquartile mean as the code of Agarwal et al. computes it."""
    return scipy.stats.trim_mean(values, 0.25, axis=axis)


@pytest.mark.parametrize("count", range(1, 14))
def test_iqm_is_scipys_trimmed_mean_for_every_remainder(count: int) -> None:
    scores = np.random.default_rng(count).normal(size=(3, 5, count))
    before = scores.copy()
    np.testing.assert_allclose(iqm(scores), scipy_iqm(scores), rtol=1e-14)
    np.testing.assert_array_equal(scores, before)


def test_iqm_ignores_the_outer_quarters_and_the_mean_does_not() -> None:
    scores = np.array([1e6, 2.0, 4.0, -1e6])
    assert iqm(scores) == 3.0
    assert mean(scores) == 1.5


@pytest.mark.parametrize(("statistic", "oracle"), [(mean, np.mean), (iqm, scipy_iqm)])
def test_one_seed_agrees_with_scipys_percentile_bootstrap(
    statistic: Statistic, oracle: Callable[..., np.ndarray]
) -> None:
    scores = np.random.default_rng(RNG_SEED).exponential(100.0, size=60)
    expected = scipy.stats.bootstrap(
        (scores,),
        oracle,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    low, high = stratified_bootstrap(scores[None], statistic, resamples=20_000)
    # The 2.5% quantile of 20,000 normal draws has a standard error of 0.019 standard deviations.
    tolerance = 4 * np.sqrt(2) * 0.019 * expected.standard_error
    assert low == pytest.approx(expected.confidence_interval.low, abs=tolerance)
    assert high == pytest.approx(expected.confidence_interval.high, abs=tolerance)


def enumerated_interval(scores: np.ndarray, design: Design, statistic: Statistic) -> np.ndarray:
    """The exact interval: every resample that can occur, each as likely as any other."""
    seeds, tasks = scores.shape
    draws = list(itertools.product(range(tasks), repeat=tasks))
    if design == "stratified":
        values = [
            statistic(np.concatenate([scores[s, list(row)] for s, row in enumerate(rows)]))
            for rows in itertools.product(draws, repeat=seeds)
        ]
    else:
        values = [
            statistic(scores[np.ix_(rows, columns)].ravel())
            for rows in itertools.product(range(seeds), repeat=seeds)
            for columns in draws
        ]
    levels = np.array([[0.02, 0.98], [0.025, 0.975], [0.03, 0.97]])
    outer, interval, inner = np.quantile(values, levels, method="inverted_cdf")
    # Sampling finds these very atoms only if neither 2.5% nor 97.5% falls on the edge of one.
    np.testing.assert_allclose(outer, interval)
    np.testing.assert_allclose(inner, interval)
    return interval


@pytest.mark.parametrize(
    ("scores", "design", "statistic"),
    [
        ([[0.0, 0.0, 0.0, 0.0, 10.0]], "stratified", mean),
        ([[0.0, 0.0, 0.0, 0.0, 10.0]], "crossed", mean),
        ([[0.0, 1.0, 7.0, 50.0]], "stratified", iqm),
        ([[0.0, 0.0, 1.0], [5.0, 5.0, 7.0]], "stratified", mean),
        ([[0.0, 4.0], [10.0, 30.0]], "crossed", mean),
    ],
)
def test_bootstrap_equals_full_enumeration(
    scores: list[list[float]], design: Design, statistic: Statistic
) -> None:
    matrix = np.array(scores)
    sampled = stratified_bootstrap(matrix, statistic, resamples=40_000, design=design)
    np.testing.assert_allclose(sampled, enumerated_interval(matrix, design, statistic))


def test_seeds_are_strata_or_drawn_according_to_the_design() -> None:
    scores = np.repeat([[0.0], [100.0]], 10, axis=1)  # tasks alike, seeds far apart
    assert stratified_bootstrap(scores) == (50.0, 50.0)
    assert stratified_bootstrap(scores, design="crossed") == (0.0, 100.0)


def coverage(design: Design, seeds: int, task_effect: float, resamples: int = 300) -> float:
    """How often the interval of 60 tasks holds the true mean, 0, of the family they come from."""
    rng = np.random.default_rng(RNG_SEED)
    hits = 0
    for trial in range(400):
        scores = task_effect * rng.normal(size=60) + 0.5 * rng.normal(size=(seeds, 60))
        low, high = stratified_bootstrap(scores, mean, resamples, seed=trial, design=design)
        hits += low <= 0 <= high
    return hits / 400


def test_interval_covers_the_truth_95_percent_of_the_time() -> None:
    # 400 trials: a standard error of 0.011, and the percentile bootstrap of 60 falls short by 0.01.
    assert coverage("stratified", seeds=1, task_effect=1.0) == pytest.approx(0.945, abs=0.03)
    assert coverage("stratified", seeds=3, task_effect=0.0) == pytest.approx(0.95, abs=0.03)


def test_tasks_that_several_seeds_share_need_the_crossed_design() -> None:
    assert coverage("stratified", seeds=3, task_effect=1.0) < 0.85
    assert coverage("crossed", seeds=3, task_effect=1.0) == pytest.approx(0.95, abs=0.03)


def test_one_seed_makes_the_designs_identical_and_the_seed_decides() -> None:
    scores = np.random.default_rng(RNG_SEED).normal(size=(1, 30))
    interval = stratified_bootstrap(scores, iqm, 500, 3)
    assert stratified_bootstrap(scores, iqm, 500, 3, design="crossed") == interval
    assert stratified_bootstrap(scores, iqm, 500, 3) == interval
    assert stratified_bootstrap(scores, iqm, 500, 4) != interval


def test_paired_difference_cancels_what_both_share() -> None:
    b = np.random.default_rng(RNG_SEED).integers(0, 500, size=(3, 40)).astype(np.float64)
    difference = paired_difference(b + 10, b)
    assert difference.mean == 10.0
    assert difference.ci95 == (10.0, 10.0)


def test_paired_difference_agrees_with_scipy() -> None:
    rng = np.random.default_rng(RNG_SEED)
    b = rng.normal(100, 50, size=50)
    a = b + rng.normal(5, 10, size=50)
    expected = scipy.stats.bootstrap(
        (a, b),
        lambda x, y, axis=-1: np.mean(x, axis=axis) - np.mean(y, axis=axis),
        paired=True,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(2),
    )
    difference = paired_difference(a[None], b[None], resamples=20_000)
    tolerance = 4 * np.sqrt(2) * 0.019 * expected.standard_error
    np.testing.assert_allclose(difference.ci95, expected.confidence_interval, atol=tolerance)
    assert difference.mean == pytest.approx(a.mean() - b.mean())
    unpaired = stratified_bootstrap(a[None]), stratified_bootstrap(b[None])
    assert np.ptp(difference.ci95) < 0.3 * min(np.ptp(interval) for interval in unpaired)


@pytest.mark.parametrize("design", ["stratified", "crossed"])
def test_paired_difference_changes_sign_with_its_arguments(design: Design) -> None:
    a, b = np.random.default_rng(RNG_SEED).normal(size=(2, 3, 20))
    forth, back = paired_difference(a, b, design=design), paired_difference(b, a, design=design)
    assert forth.mean == -back.mean
    np.testing.assert_allclose(forth.ci95, (-back.ci95[1], -back.ci95[0]), rtol=1e-12)


def test_a_paired_difference_has_the_interval_of_the_differences_and_all_its_options() -> None:
    a, b = np.random.default_rng(RNG_SEED).normal(size=(2, 3, 20))
    interval = paired_difference(a, b, 300, 5, design="crossed").ci95
    assert interval == stratified_bootstrap(a - b, mean, 300, 5, design="crossed")
    assert interval != paired_difference(a, b, 300, 5).ci95
    assert interval != paired_difference(a, b, 300, 6, design="crossed").ci95
    assert interval != paired_difference(a, b, 200, 5, design="crossed").ci95


def test_scores_that_cannot_be_averaged_are_refused() -> None:
    scores = np.zeros((2, 3))
    scores[1, 2] = np.nan
    with pytest.raises(UserError, match="seed 1, task 2 is nan"):
        stratified_bootstrap(scores)
    with pytest.raises(UserError, match="seed 1, task 2 is nan"):
        paired_difference(np.zeros((2, 3)), scores)
    with pytest.raises(UserError, match=r"no scores to aggregate: shape \(1, 0\)"):
        stratified_bootstrap(np.zeros((1, 0)))
    with pytest.raises(UserError, match=r"need the same shape, got \(2, 3\) and \(2, 4\)"):
        paired_difference(np.zeros((2, 3)), np.zeros((2, 4)))


def test_published_intervals_can_be_computed_again() -> None:
    """They are those of 2,000 resamples and seed 0 where nothing else is said."""
    a, b = np.random.default_rng(RNG_SEED).normal(size=(2, 3, 20))
    assert stratified_bootstrap(a) == stratified_bootstrap(a, mean, 2000, 0, design="stratified")
    assert paired_difference(a, b) == paired_difference(a, b, 2000, 0, design="stratified")
    for statistic in (mean, iqm):
        assert statistic(a.astype(np.float32)).dtype == np.float64
    for whole in (np.arange(12).reshape(3, 4), np.arange(12, dtype=np.float32).reshape(3, 4)):
        assert stratified_bootstrap(whole) == stratified_bootstrap(whole.astype(np.float64))


def enumerated_comparison(a: np.ndarray, b: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Both means, and both quantiles over all draws of tasks and of either's seeds."""
    gain = a[:, None] - b
    better = np.where(gain > 0, 1.0, np.where(gain < 0, 0.0, 0.5))
    found = []
    for each in (gain, better):
        values = [
            each[np.ix_(ours, theirs, tasks)].mean()
            for ours in itertools.product(range(len(a)), repeat=len(a))
            for theirs in itertools.product(range(len(b)), repeat=len(b))
            for tasks in itertools.product(range(a.shape[1]), repeat=a.shape[1])
        ]
        found.append((each.mean(), np.quantile(values, (0.025, 0.975))))
    return found


def test_comparison_of_unequal_numbers_of_seeds_agrees_with_full_enumeration() -> None:
    rng = np.random.default_rng(RNG_SEED)
    a, b = rng.integers(0, 4, (2, 4)).astype(float), rng.integers(0, 4, (3, 4)).astype(float)
    assert (a[:, None] == b).any(), "ties count half"
    for (value, ends), found in zip(
        enumerated_comparison(a, b), compare(a, b, resamples=40_000), strict=True
    ):
        assert found.mean == pytest.approx(value)
        np.testing.assert_allclose(found.ci95, ends, atol=0.06)


def test_probability_of_improvement_is_mann_whitneys_statistic() -> None:
    a, b = np.random.default_rng(1).normal(size=(2, 6, 1))
    statistic = scipy.stats.mannwhitneyu(a[:, 0], b[:, 0]).statistic
    assert compare(a, b).improvement.mean == pytest.approx(statistic / 36)
    assert compare(b, a).improvement.mean == pytest.approx(1 - statistic / 36)


def test_comparison_on_other_tasks_is_refused() -> None:
    with pytest.raises(UserError, match="of 3 and of 2 tasks cannot be compared"):
        compare(np.zeros((1, 3)), np.zeros((1, 2)))
