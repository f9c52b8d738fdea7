"""The closed-form value baseline against numpy, and against values that are known."""

import numpy as np
import pytest
import torch

from ssm_metarl.errors import DivergenceError
from ssm_metarl.meta_rl import baseline
from ssm_metarl.meta_rl.baseline import baseline_features, baseline_values, fit_baseline

T, K, E, F, GAMMA = 12, 3, 4, 5, 0.9


def make_features() -> torch.Tensor:
    torch.manual_seed(0)
    features = torch.randn(T + 1, K, E, F, dtype=torch.float64)
    features[..., -1] = 1.0
    return features


def flags(*ends: tuple[int, bool]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One episode per lane of task 0, which ends at the given step, for good or cut."""
    terminated = torch.zeros(T, K, E, dtype=torch.bool)
    done, valid = terminated.clone(), ~terminated
    for lane, (end, for_good) in enumerate(ends):
        terminated[end, :, lane] = for_good
        done[end, :, lane] = True
        valid[end + 1 :, :, lane] = False
    return terminated, done, valid


def test_recovers_linear_values_through_terminations_and_time_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(baseline, "PSEUDO_STEPS", 1e-9)
    features = make_features()
    truth = torch.randn(K, F, dtype=torch.float64)
    value = baseline_values(features, truth)
    terminated, done, valid = flags((11, True), (5, True), (7, False), (11, False))
    reward = value[:-1] - GAMMA * value[1:] * ~terminated
    weights = fit_baseline(reward, features, terminated, done, valid, GAMMA)
    torch.testing.assert_close(weights, truth, atol=1e-6, rtol=0)


def test_what_goes_on_when_the_rollout_stops_is_cut_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a time limit: the value of the last observation stands for the rest."""
    monkeypatch.setattr(baseline, "PSEUDO_STEPS", 1e-9)
    features = make_features()
    truth = torch.randn(K, F, dtype=torch.float64)
    value = baseline_values(features, truth)
    terminated, done, valid = flags((11, True), (5, True))
    assert not done[:, :, 2:].any()
    reward = value[:-1] - GAMMA * value[1:] * ~terminated
    weights = fit_baseline(reward, features, terminated, done, valid, GAMMA)
    torch.testing.assert_close(weights, truth, atol=1e-6, rtol=0)


def test_equals_ridge_regression_written_out_with_numpy() -> None:
    """Of lanes with one episode or, after a dead step, another; a ridge of 16 steps' weight."""
    features = make_features()
    terminated, done, valid = flags((11, True), (5, True), (7, True), (2, True))
    valid[4:, :, 3] = True  # the dead step is the third
    terminated[9, :, 3] = done[9, :, 3] = True
    valid[10:, :, 3] = False
    reward = torch.randn(T, K, E, dtype=torch.float64)
    weights = fit_baseline(reward, features, terminated, done, valid, GAMMA)
    for k in range(K):
        rows, targets = [], []
        for lane, first, end in ((0, 0, 11), (1, 0, 5), (2, 0, 7), (3, 0, 2), (3, 4, 9)):
            for t in range(first, end + 1):
                rows.append(features[t, k, lane].numpy())
                discounts = GAMMA ** np.arange(end + 1 - t)
                targets.append(discounts @ reward[t : end + 1, k, lane].numpy())
        phi, y = np.array(rows), np.array(targets)
        ridge = np.full(F, 16.0 * phi[:, :-1].var(0).mean())
        ridge[-1] = 0.0
        expected = np.linalg.solve(phi.T @ phi + np.diag(ridge), phi.T @ y)
        np.testing.assert_allclose(weights[k].numpy(), expected, atol=1e-8)


def test_where_the_ridge_is_too_small_it_grows_tenfold_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []
    cholesky = torch.linalg.cholesky_ex

    def refuse(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        factor, info = cholesky(matrix)
        tried.append(matrix[0, 0, 0].item())
        return factor, torch.ones_like(info)

    monkeypatch.setattr(torch.linalg, "cholesky_ex", refuse)
    gram, moment = torch.zeros(1, 1, 1).double(), torch.zeros(1, 1, 1).double()
    with pytest.raises(DivergenceError, match="baseline"):
        baseline._solve(gram, moment, torch.ones(1, 1).double())
    assert tried == pytest.approx([16.0 * 10.0**power for power in range(12)])


def test_weights_that_are_not_finite_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    solve, calls = torch.cholesky_solve, []

    def overflow(moment: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        calls.append(factor)
        found = solve(moment, factor)
        return found * torch.inf if len(calls) == 1 else found

    monkeypatch.setattr(torch, "cholesky_solve", overflow)
    ones = torch.ones(1, 1, 1).double()
    found = baseline._solve(ones, ones, torch.ones(1, 1).double())
    assert found.item() == pytest.approx(1.0 / (1.0 + 160.0))


def test_observations_are_clipped_for_the_baseline() -> None:
    far = torch.tensor([[[[12.0]]], [[[-30.0]]]])
    features = baseline_features(far, torch.zeros(2, 1, 1))
    assert features[:, 0, 0, 0].tolist() == [10.0, -10.0]


def test_episodes_that_all_survive_to_the_limit_are_worth_the_same_everywhere() -> None:
    features = make_features()
    terminated, done, valid = flags(*[(11, False)] * E)
    weights = fit_baseline(torch.ones(T, K, E).double(), features, terminated, done, valid, GAMMA)
    value = baseline_values(features, weights)
    torch.testing.assert_close(value, torch.full_like(value, 1 / (1 - GAMMA)))


def test_tasks_are_fitted_on_their_own_data_only() -> None:
    features = make_features()
    ends = flags((11, True), (5, True), (7, False), (2, True))
    reward = torch.randn(T, K, E, dtype=torch.float64)
    before = fit_baseline(reward, features, *ends, GAMMA)
    reward[:, 1] *= -3.0
    features[:, 1, :, 0] += 2.0
    after = fit_baseline(reward, features, *ends, GAMMA)
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.allclose(before[1], after[1])


def test_dead_steps_do_not_matter() -> None:
    features = make_features()
    ends = flags((3, True), (5, True), (7, False), (2, True))
    reward = torch.randn(T, K, E, dtype=torch.float64)
    before = fit_baseline(reward, features, *ends, GAMMA)
    reward[~ends[2]] = 1e6
    features[:-1][~ends[2]] = 7.0
    features[8, :, 2] = make_features()[8, :, 2]  # what the cut episode led to does matter
    torch.testing.assert_close(fit_baseline(reward, features, *ends, GAMMA), before)


def test_the_ridge_grows_until_features_that_coincide_can_be_fitted() -> None:
    features = torch.ones(T + 1, K, E, F, dtype=torch.float64)
    ends = flags(*[(11, True)] * E)
    weights = fit_baseline(torch.ones(T, K, E).double(), features, *ends, GAMMA)
    assert torch.isfinite(weights).all()


def test_data_that_are_not_finite_are_refused() -> None:
    features = make_features()
    features[2, 1, 0, 0] = torch.nan
    expected = r"^the value baseline could not be fitted: its data are not finite$"
    with pytest.raises(DivergenceError, match=expected):
        fit_baseline(torch.ones(T, K, E).double(), features, *flags(*[(11, True)] * E), GAMMA)


def test_features_hold_squares_changes_powers_of_time_and_a_constant() -> None:
    observation = torch.tensor([1.0, 3.0, -2.0, 4.0]).view(4, 1, 1, 1)
    age = torch.tensor([0.0, 1.0, 200.0, 0.0]).view(4, 1, 1)  # the last starts an episode
    rows = baseline_features(observation, age)[:, 0, 0].tolist()
    assert [*rows[0][:3], rows[0][-1]] == [1, 1, 0, 1]
    assert [*rows[1][:6], rows[1][-1]] == pytest.approx([3, 9, 2, 0.01, 1e-4, 1e-6, 1])
    assert [*rows[2][:6], rows[2][-1]] == [-2, 4, -5, 2, 4, 8, 1]
    assert [*rows[3][:6], rows[3][-1]] == [4, 16, 0, 0, 0, 0, 1]


def test_waves_fit_a_product_that_squares_cannot() -> None:
    torch.manual_seed(0)
    observation = torch.randn(400, 1, 2, 2, dtype=torch.float64)
    features = baseline_features(observation, torch.zeros(400, 1, 2, dtype=torch.float64))
    product = observation.prod(-1)
    terminated = torch.ones_like(product, dtype=torch.bool)  # so that each value is its reward

    def unexplained(columns: list[int]) -> torch.Tensor:
        chosen = features[..., columns]
        grown = torch.cat([chosen, chosen[:1]])
        ends = terminated, terminated, terminated
        weights = fit_baseline(product, grown, *ends, GAMMA)
        return (product - baseline_values(chosen, weights)).square().mean() / product.var()

    assert unexplained([*range(9), -1]) > 0.9
    assert unexplained(list(range(features.shape[-1]))) < 0.2


def test_waves_are_the_same_in_every_process_and_for_every_batch() -> None:
    x = torch.tensor([[0.5, -1.0, 2.0]]).expand(2, 3, 4, 3)
    features = baseline_features(x, torch.zeros(2, 3, 4))
    waves = features[..., 12:-1]
    assert waves.shape[-1] == baseline.WAVES
    torch.testing.assert_close(waves, waves[:1, :1, :1].expand_as(waves))
    assert waves[0, 0, 0, 0].item() == pytest.approx(0.49107, abs=1e-4)
