"""Figures of what happens as it happens: training, and one adaptation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from drawing import METRICS, pattern, points, texts

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.adaptation.online import AdaptProgress, adapt
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.evaluation import figures


def test_learning_curve_draws_records_and_their_mean() -> None:
    figure = figures.learning_curve(METRICS, family="Pendulum-v1", best=500.0)
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "Pendulum-v1: return during training"
    raw_before, mean_before, raw_after, mean_after = map(points, axes.lines[:4])
    steps = 1000.0 * np.arange(40)
    np.testing.assert_array_equal(raw_before, np.stack([steps, np.full(40, 34.0)], 1))
    np.testing.assert_array_equal(raw_after, np.stack([steps, np.arange(40.0)], 1))
    # A centred mean leaves a straight line where it was; of 5 records, so 2 are lost at each end.
    np.testing.assert_allclose(mean_before, raw_before[2:-2])
    np.testing.assert_allclose(mean_after, raw_after[2:-2])
    assert texts(axes) == ["before adapting", "after adapting", "best possible: 500"]


def test_learning_curve_passes_over_iterations_that_did_not_look() -> None:
    blind = {"environment_steps": 1.0, "return_before": None, "return_after": None}
    figure = figures.learning_curve([blind, *METRICS[:3], blind], family="Pendulum-v1")
    np.testing.assert_array_equal(points(figure.axes[0].lines[0])[:, 0], [0.0, 1000.0, 2000.0])


def test_learning_curve_of_training_without_adaptation_has_one_line() -> None:
    plain = [{**record, "return_after": None} for record in METRICS]
    figure = figures.learning_curve(plain, family="Pendulum-v1", learner="policy_gradient")
    (axes,) = figure.axes
    assert texts(axes) == ["training episodes"]


def test_learning_curve_of_trials_names_their_episodes() -> None:
    figure = figures.learning_curve(METRICS, family="Pendulum-v1", learner="rl2")
    assert texts(figure.axes[0]) == ["first episode", "last episode"]


def test_short_runs_are_drawn_too(tmp_path: Path) -> None:
    for count in (1, 2, 3):
        path = tmp_path / "short.png"
        assert figures.write_png(
            figures.learning_curve(METRICS[:count], family="Pendulum-v1"), path
        ).exists()


@pytest.fixture(scope="module")
def records() -> list[AdaptProgress]:
    """Two steps from three episodes each."""
    family = get_family("CartPole-v1")
    policy = Policy(PolicyConfig(width=8, state_size=4), policy_spaces(family))
    params = policy.init(torch.Generator().manual_seed(0))
    agent = Agent(policy, params, 0.1, AdaptationConfig(horizon=20), family.name)
    return list(adapt(agent, family.gymnasium(family.nominal()), episodes=3, steps=2))


def test_the_episodes_of_an_adaptation_are_drawn_in_turn_with_its_steps(
    records: list[AdaptProgress],
) -> None:
    figure = figures.episode_curve(records, 123.0, family="CartPole-v1", best=500.0)
    played, whole = figure.axes
    returns = [float(record.returns[0]) for record in records]
    number_of = [[number + 1, value] for number, value in enumerate(returns)]
    assert [points(line).tolist() for line in played.lines if not pattern(line)] == [number_of]
    assert points(whole.lines[0]).tolist() == [[0.0, 123.0]]
    assert texts(whole) == ["123.0"]
    dashed = [points(line) for line in played.lines if pattern(line)]
    assert sorted({line[0, 0].item() for line in dashed}) == [0.0, 3.5, 6.5]  # 0: the best line
    assert played.get_title(loc="left") == "CartPole-v1: adapting, standard"
    assert played.get_ylim() == whole.get_ylim()


def test_episodes_that_were_cut_have_a_scale_of_their_own(
    records: list[AdaptProgress],
) -> None:
    figure = figures.episode_curve(records, 450.0, family="CartPole-v1", best=500.0, cut=20)
    played, whole = figure.axes
    assert played.get_ylim()[1] < 25
    assert whole.get_ylim()[1] > 450
    assert played.get_ylabel() == "return within 20 steps"
    assert texts(played) == []  # the best possible return is one of whole episodes
