"""Losses against numbers worked out by hand; their gradients have tests of their own."""

import math

import pytest
import torch

from ssm_metarl.meta_rl.losses import (
    clipped_loss,
    per_episode,
    prediction_loss,
    sampling_credit,
    sampling_loss,
    step_mean,
)


def steps(*rows: list[float]) -> torch.Tensor:
    """Numbers of one task, a row per step and a column per lane: ``[T, 1, E]``."""
    return torch.tensor(rows, dtype=torch.float64).unsqueeze(1)


VALID = steps([1, 1], [1, 0]).bool()


def test_sums_of_an_episode_are_averaged_over_lanes_and_means_over_live_steps() -> None:
    x = steps([1.0, 2.0], [3.0, 4.0])
    assert per_episode(x).tolist() == [5.0]
    assert step_mean(x, VALID).tolist() == [2.0]
    assert step_mean(x, torch.zeros_like(VALID)).tolist() == [0.0]


@pytest.mark.parametrize(
    ("ratio", "advantage", "gain"),
    [(1.1, 2.0, 2.2), (1.5, 2.0, 2.4), (0.5, 2.0, 1.0), (1.5, -2.0, -3.0), (0.5, -2.0, -1.6)],
)
def test_gains_beyond_the_range_do_not_count_and_losses_do(
    ratio: float, advantage: float, gain: float
) -> None:
    log_prob, old = steps([math.log(ratio) - 0.7]), steps([-0.7])
    valid = torch.ones_like(old, dtype=torch.bool)
    loss = clipped_loss(log_prob, old, steps([advantage]), valid, 0.2)
    assert loss.item() == pytest.approx(-gain)


def test_the_clipped_loss_is_a_mean_over_live_steps() -> None:
    zero, advantage = steps([0.0, 0.0], [0.0, 0.0]), steps([1.0, 2.0], [6.0, 99.0])
    assert clipped_loss(zero, zero, advantage, VALID, 0.2).item() == -3.0


def test_predicting_is_punished_by_half_the_square_averaged_over_dimensions() -> None:
    predicted = steps([1.0, 2.0], [3.0, 9.0]).unsqueeze(-1).expand(2, 1, 2, 3)
    loss = prediction_loss(predicted, torch.zeros_like(predicted), VALID)
    assert loss.item() == pytest.approx(0.5 * (1.0 + 4.0 + 9.0) / 2)


def test_the_credit_is_the_return_beyond_that_of_the_others_in_units_of_the_loss() -> None:
    value, unit = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([1.0, 2.0, 3.0])
    expected = torch.tensor([1.0 - 4.0, 2.0 - 3.5, 6.0 - 1.5]) / 2.0
    torch.testing.assert_close(sampling_credit(value, unit), expected)
    alone = torch.tensor([torch.nan, 3.0, torch.nan], dtype=value.dtype)
    assert sampling_credit(alone, unit[:3]).tolist() == [0.0, 0.0, 0.0]


def test_the_sampling_loss_sums_live_steps_of_all_episodes_and_is_clipped() -> None:
    old = steps([-0.5, -0.5], [-0.5, -0.5])
    log_ratio = steps([1.1, 0.9], [2.0, 5.0]).log()
    credit = torch.tensor([3.0], dtype=torch.float64)
    assert sampling_loss(old, old, credit, VALID, 0.2).item() == 0.0
    loss = sampling_loss(old + log_ratio, old, credit, VALID, 0.2)
    assert loss.item() == pytest.approx(-3.0 * (0.1 - 0.1 + 0.2))
    both = [torch.cat([x, x, x], dim=1) for x in (old + log_ratio, old)]
    credits = torch.tensor([3.0, 0.0, -1.0], dtype=torch.float64)
    alive = VALID.expand(2, 3, 2)
    found = sampling_loss(*both, credits, alive, 0.2)
    assert found.tolist() == pytest.approx([-0.6, 0.0, 0.1 - 0.1 + 1.0])
