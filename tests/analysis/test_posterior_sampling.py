"""The references of random MDPs: plans, posteriors, and known figures."""

import numpy as np
import pytest
from numpy.random import SeedSequence

from ssm_metarl.analysis import posterior_sampling as ps
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.simulators.tabular_mdp import HORIZON, STATES, draw_tables

RNG = np.random.default_rng(0)


def slow_value(tables: "ps.Tables", state: int, left: int, chosen: np.ndarray | None) -> float:
    """Return what the steps that are left are worth: by a plan's actions, or at best."""
    ahead = np.zeros(STATES)
    for time in range(HORIZON - 1, HORIZON - left - 1, -1):
        follows = [[sum(p * ahead) for p in row] for row in tables.transition]
        pairs = zip(tables.reward, follows, strict=True)
        worth = [[now + later for now, later in zip(*pair, strict=True)] for pair in pairs]
        ahead = np.array(
            [max(worth[s]) if chosen is None else worth[s][chosen[time, s]] for s in range(STATES)]
        )
    return ahead[state]


def test_a_plan_is_the_best_one() -> None:
    tables = draw_tables(RNG)
    found = ps.plan(*tables)
    best = slow_value(tables, 0, HORIZON, None)
    assert found.value == pytest.approx(best)
    assert slow_value(tables, 0, HORIZON, found.actions) == pytest.approx(best)


def test_the_posterior_after_some_steps() -> None:
    posterior = ps.Posterior(1, 1)
    state, action = np.array([[2]]), np.array([[3]])
    for reward in (2.0, 4.0, 3.0):
        posterior.learn(state, action, np.array([[reward]]), np.array([[7]]))
    posterior.learn(state, action, np.array([[3.0]]), None)
    reward, transition = posterior.draw(20_000, RNG)
    seen = reward[:, 0, 0, 2, 3]
    assert (seen.mean(), seen.std()) == pytest.approx((13 / 5, 5**-0.5), abs=0.01)
    unseen = reward[:, 0, 0, 0, 0]
    assert (unseen.mean(), unseen.std()) == pytest.approx((1.0, 1.0), abs=0.03)
    assert transition[:, 0, 0, 2, 3, 7].mean() == pytest.approx(4 / 13, abs=0.01)
    mean = posterior.mean()
    assert mean.reward[0, 0, 2, 3] == pytest.approx(13 / 5)
    assert mean.transition[0, 0, 2, 3, 7] == pytest.approx(4 / 13)


def test_who_knows_the_mdp_gets_what_is_known() -> None:
    family = get_family("TabularMDP-n1")
    values = ps.optimal_values(family, family.sample(2000, SeedSequence(0)))
    assert values.mean() == pytest.approx(21.825, abs=3 * values.std() / np.sqrt(2000))


def test_planners_play_better_the_more_they_know() -> None:
    family = get_family("TabularMDP-n10")
    tasks, seed = family.sample(200, SeedSequence(1)), SeedSequence(2)
    earned = {
        planner: ps.play(planner, family, tasks, 1, seed).sum(0).mean()
        for planner in (ps.uniform, ps.psrl, ps.upper_bounds)
    }
    assert earned[ps.uniform] == pytest.approx(99.98, abs=4.0)
    assert 125.0 < earned[ps.psrl] < earned[ps.upper_bounds] < 218.25

    known = ps.plan(*(table[:, None] for table in ps.tables_of(family, tasks)))
    played = ps.play(lambda posterior, rng: known.actions, family, tasks, 1, seed)
    each = played.reshape(10, HORIZON, 200).sum(1).mean()
    assert each == pytest.approx(known.value.mean(), abs=0.4)
    assert known.value[:, 0] == pytest.approx(ps.optimal_values(family, tasks))
