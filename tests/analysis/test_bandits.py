"""The references of bandits: known exact values, and rules that play as they are computed."""

import itertools

import numpy as np
import pytest
from numpy.random import SeedSequence

from ssm_metarl.analysis.bandits import (
    GittinsIndex,
    Rule,
    bayes_optimum,
    greedy,
    play,
    thompson,
    ucb1,
    uniform,
    value_of,
)
from ssm_metarl.env_runner.registry import get_family

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("arms", "best"), [(2, 6.021786), (5, 6.659988), (10, 6.713951), (50, 6.713951)]
)
def test_the_best_possible_return_of_10_pulls(arms: int, best: float) -> None:
    assert bayes_optimum(arms, 10) == pytest.approx(best, abs=5e-7)


def slow_optimum(history: tuple[tuple[int, int], ...], arms: int, left: int) -> float:
    """Return the best value after some pulls, over all histories."""
    if not left:
        return 0.0
    worths = []
    for arm in range(arms):
        paid = [outcome for which, outcome in history if which == arm]
        chance = (sum(paid) + 1) / (len(paid) + 2)
        after = [slow_optimum((*history, (arm, x)), arms, left - 1) for x in (0, 1)]
        worths.append(chance * (1 + after[1]) + (1 - chance) * after[0])
    return max(worths)


@pytest.mark.parametrize(("arms", "pulls"), [(2, 1), (2, 5), (3, 4)])
def test_the_optimum_over_all_histories(arms: int, pulls: int) -> None:
    assert bayes_optimum(arms, pulls) == pytest.approx(slow_optimum((), arms, pulls))


def test_the_index_is_best_for_three_arms_and_nearly_for_two() -> None:
    index = GittinsIndex(10)
    assert value_of(index, 5, 10) == pytest.approx(6.659988, abs=5e-7)
    assert value_of(index, 2, 10) == pytest.approx(6.021786, abs=1e-3)
    assert value_of(index, 2, 10) < 6.0217
    assert value_of(greedy, 5, 10) == pytest.approx(6.626, abs=1e-3)  # 0.03 lower


def per_pull(won: int, lost: int, left: int) -> float:
    """Return the most reward per pull of all ways to go on with one arm, tried one by one."""
    states = [(w, n - w) for n in range(1, left) for w in range(n + 1)]
    best = (won + 1) / (won + lost + 2)
    for stops in itertools.product((False, True), repeat=len(states)):
        stop, reach = dict(zip(states, stops, strict=True)), {(0, 0): 1.0}
        earned = pulls = 0.0
        for _ in range(left):
            after: dict[tuple[int, int], float] = {}
            for (w, v), chance in reach.items():
                if stop.get((w, v), False):
                    continue
                mean = (won + w + 1) / (won + lost + w + v + 2)
                earned, pulls = earned + chance * mean, pulls + chance
                for place, part in (((w + 1, v), mean), ((w, v + 1), 1 - mean)):
                    after[place] = after.get(place, 0.0) + chance * part
            reach = after
        best = max(best, earned / pulls)
    return best


@pytest.mark.parametrize(("won", "lost", "left"), [(0, 0, 1), (0, 0, 2), (0, 0, 4), (1, 2, 4)])
def test_the_index_is_the_most_reward_per_pull(won: int, lost: int, left: int) -> None:
    index = GittinsIndex(8).tables[left - 1][won, lost]
    assert index == pytest.approx(per_pull(won, lost, left), abs=2e-4)


@pytest.mark.parametrize(("rule", "value"), [(greedy, None), (uniform, 5.0)])
def test_a_rule_plays_what_it_is_worth(rule: Rule, value: float | None) -> None:
    family = get_family("BernoulliBandit-k3-n10")
    tasks = family.sample(4000, SeedSequence(0))
    rewards = play(rule, family, tasks, 2, SeedSequence(1))
    assert rewards.shape == (10, 4000, 2)
    expected = value_of(rule, 3, 10) if value is None else value
    assert rewards.sum(0).mean() == pytest.approx(expected, abs=0.11)  # three standard errors


def test_rules_as_they_are_written() -> None:
    won, lost = np.array([0, 3, 1]), np.array([0, 1, 1])
    assert ucb1(won, lost, 5, RNG)[0] == np.inf
    expected = 3 / 4 + np.sqrt(2 * np.log(6) / 4)
    assert ucb1(won, lost, 5, RNG)[1] == pytest.approx(expected)
    draws = np.stack([thompson(won, lost, 5, RNG) for _ in range(4000)])
    np.testing.assert_allclose(draws.mean(0), [1 / 2, 4 / 6, 2 / 4], atol=0.02)


def test_who_plays_well_earns_more() -> None:
    family = get_family("BernoulliBandit-k5-n100")
    tasks, seed = family.sample(1000, SeedSequence(3)), SeedSequence(4)
    index = GittinsIndex(100)
    earned = {
        rule: play(rule, family, tasks, 1, seed).sum(0)[:, 0] for rule in (index, thompson, ucb1)
    }
    ahead = earned[index] - earned[thompson]
    assert ahead.mean() == pytest.approx(78.56 - 74.97, abs=3.5 * ahead.std() / np.sqrt(1000))
    assert earned[thompson].mean() > earned[ucb1].mean() + 5.0
