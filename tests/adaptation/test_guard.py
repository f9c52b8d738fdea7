"""The guard: statistics that can be checked by hand, and parameters chosen task by task."""

import numpy as np
import scipy.stats
import torch
from numpy.random import SeedSequence

from ssm_metarl.adaptation.guard import Guard, choose, significantly_lower


def params(value: float, tasks: int | None = None) -> dict[str, torch.Tensor]:
    shape = (2,) if tasks is None else (tasks, 2)
    return {"encoder.bias": torch.full(shape, value)}


def test_a_drop_is_significant_where_a_t_test_says_so() -> None:
    rng = np.random.default_rng(0)
    best = rng.normal(100.0, 10.0, (60, 20))
    now = best.mean(1, keepdims=True) + rng.normal(np.linspace(-12, 6, 60)[:, None], 10.0, (60, 20))
    found = significantly_lower(now, best, np.random.default_rng(1))
    p = scipy.stats.ttest_ind(now, best, axis=1, alternative="less").pvalue
    assert found[p < 0.02].all()
    assert not found[p > 0.1].any()
    assert 10 < found.sum() < 50


def test_equal_returns_and_too_few_episodes_are_no_drop() -> None:
    rng = np.random.default_rng(0)
    full = np.full((3, 20), 500.0)
    assert not significantly_lower(full, full, rng).any()
    assert not significantly_lower(full[:, :2] - 400, full[:, :2], rng).any()
    assert significantly_lower(full - 1, full, rng).all()


def test_three_episodes_on_each_side_are_enough() -> None:
    best, now = np.full((2, 3), 500.0), np.array([[499.0] * 3, [500.0] * 3])
    assert significantly_lower(now, best, np.random.default_rng(0)).tolist() == [True, False]


def test_it_goes_back_to_the_best_and_only_where_it_is_worse() -> None:
    guard = Guard(SeedSequence(0))
    start, noise = params(0.0), np.linspace(-1, 1, 10)
    _, worse = guard.check(start, np.stack([50 + noise, 50 + noise, 50 + noise]))
    assert not worse.any()
    second = params(1.0, 3)
    best, worse = guard.check(second, np.stack([80 + noise, 20 + noise, 50 + noise]))
    assert worse.tolist() == [False, True, False]
    assert best["encoder.bias"][:, 0].tolist() == [1.0, 0.0, 1.0]
    best, worse = guard.check(params(2.0, 3), np.stack([60 + noise, 55 + noise, 49.9 + noise]))
    assert worse.tolist() == [True, False, False]  # 60 was fine at first, but 80 has been seen
    assert best["encoder.bias"][:, 0].tolist() == [1.0, 2.0, 1.0]


def test_what_was_restored_is_not_compared_with_itself() -> None:
    """Returns of another task, as where a live system has changed: nothing is learned else."""
    guard, noise = Guard(SeedSequence(0)), np.linspace(-1, 1, 10)
    guard.check(params(0.0), np.stack([80 + noise]))
    best, worse = guard.check(params(1.0, 1), np.stack([20 + noise]))
    assert worse.tolist() == [True]
    best, worse = guard.check(best, np.stack([10 + noise]))
    assert worse.tolist() == [False]
    best, worse = guard.check(params(2.0, 1), np.stack([12 + noise]))
    assert worse.tolist() == [False]
    _, worse = guard.check(params(3.0, 1), np.stack([5 + noise]))
    assert worse.tolist() == [True]


def test_luck_does_not_pile_up() -> None:
    """Where nothing ever changes, the best of many returns is the luckiest, not the best."""
    rng, rounds, tasks = np.random.default_rng(0), 60, 200
    guard, same = Guard(SeedSequence(0)), params(0.0, tasks)
    back = [guard.check(same, rng.normal(100, 30, (tasks, 10)))[1].mean() for _ in range(rounds)]
    assert np.mean(back[-20:]) < 0.25


def test_rows_are_chosen_from_shared_and_own_parameters() -> None:
    which = np.array([True, False, True])
    value_head = torch.zeros(4)
    shared = {"a": torch.tensor([7.0, 8.0]), "value.bias": value_head}
    own = {"a": torch.arange(6.0).view(3, 2), "value.bias": value_head}
    assert choose(which, shared, own)["a"].tolist() == [[7, 8], [2, 3], [7, 8]]
    assert choose(which, own, shared)["a"].tolist() == [[0, 1], [7, 8], [4, 5]]
    assert choose(which, own, shared)["value.bias"] is value_head
    assert choose(~which & which, shared, own) is own
    assert choose(which | ~which, shared, own) is shared


def test_episodes_that_failed_do_not_count() -> None:
    rng, nan = np.random.default_rng(0), np.nan
    best = np.array([[-50.0, -51.0, -52.0, -50.0]] * 4)
    now = np.array(
        [
            [nan, -50.0, -51.0, -52.0],  # as good: 0 in place of NaN would be better
            [nan, -90.0, -91.0, -92.0],
            [nan, nan, -90.0, -91.0],  # too few to tell
            [nan, nan, nan, nan],  # it never went well
        ]
    )
    assert significantly_lower(now, best, rng).tolist() == [False, True, False, True]
    few = np.where(np.arange(4) < 2, best, nan)
    assert not significantly_lower(now, few, rng).any()


def test_parameters_whose_episodes_all_fail_are_never_the_best() -> None:
    guard, start = Guard(SeedSequence(0)), params(0.0, 2)
    guard.check(start, np.full((2, 4), -50.0))
    best, worse = guard.check(params(1.0, 2), np.array([[np.nan] * 4, [np.nan, -40, -40, -40]]))
    assert worse.tolist() == [True, False]
    assert best["encoder.bias"][:, 0].tolist() == [0.0, 1.0]


def test_any_return_is_better_than_none() -> None:
    guard = Guard(SeedSequence(0))
    guard.check(params(0.0, 1), np.full((1, 4), np.nan))
    best, worse = guard.check(params(1.0, 1), np.full((1, 4), -1e6))
    assert (worse.tolist(), best["encoder.bias"][:, 0].tolist()) == ([False], [1.0])
