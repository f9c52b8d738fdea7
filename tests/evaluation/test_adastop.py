"""AdaStop: exact for one group, at most the promised share of false differences, and power."""

import itertools

import numpy as np
import pytest

from ssm_metarl.errors import UserError
from ssm_metarl.evaluation import adastop as module
from ssm_metarl.evaluation.adastop import Decision, adastop

RNG_SEED = 3


def test_one_group_of_two_methods_is_the_permutation_test() -> None:
    rng = np.random.default_rng(RNG_SEED)
    verdicts = set()
    for shift in np.linspace(0.5, 3.0, 12):
        a, b = rng.normal(size=4) + shift, rng.normal(size=4)
        both = np.concatenate([a, b])
        differences = [
            abs(2 * both[list(chosen)].sum() - both.sum())
            for chosen in itertools.combinations(range(8), 4)
        ]
        p_value = np.mean(np.array(differences) >= abs(a.sum() - b.sum()) - 1e-12)
        if abs(p_value - 0.1) < 0.02:  # the drawn permutations are not exact
            continue
        (found,) = adastop([a, b], 4, groups=1, alpha=0.1)
        assert found.sign == (1 if p_value <= 0.1 else 0)
        verdicts.add(found.sign)
    assert verdicts == {0, 1}


def test_equal_methods_are_seldom_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PERMUTATIONS", 500)
    rng, wrong, repeats = np.random.default_rng(RNG_SEED), 0, 400
    for seed in range(repeats):
        scores = rng.exponential(size=(3, 15))
        wrong += any(one.sign for one in adastop(list(scores), 5, 3, alpha=0.1, seed=seed))
    assert wrong / repeats < 0.1 + 2 * np.sqrt(0.09 / repeats)
    assert wrong > 0.03 * repeats, "it tests nothing"


def test_clear_differences_need_few_seeds_and_small_ones_more() -> None:
    rng = np.random.default_rng(RNG_SEED)
    scores = rng.normal(size=(3, 25)) + np.array([[0.0], [0.0], [4.0]])
    equal, second, third = adastop(list(scores), 5)
    assert equal == Decision(0, 1, 0, 25)
    assert (second[:3], third[:3]) == ((0, 2, -1), (1, 2, -1))
    assert second.seeds == third.seeds == 5
    (small,) = adastop(list(scores[:2] + np.array([[1.2], [0.0]])), 5)
    assert small.sign == 1
    assert small.seeds > 5


def test_before_the_last_group_further_seeds_are_asked_for() -> None:
    scores = np.random.default_rng(RNG_SEED).normal(size=(2, 12))
    assert adastop(list(scores), 5) == [Decision(0, 1, None, 10)]


def test_too_few_seeds_are_refused() -> None:
    for scores in ([np.zeros(5)], [np.zeros(5), np.zeros(4)]):
        with pytest.raises(UserError, match="two methods of at least 5 seeds"):
            adastop(scores, 5)
