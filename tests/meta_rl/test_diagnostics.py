"""What every learner logs, against loops over single steps."""

import math

import numpy as np
import pytest
import torch

from ssm_metarl.meta_rl.diagnostics import averaged, explained_variance, policy_diagnostics

CLIP = 0.2


def numbers() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    shape = (6, 3, 4)
    log_ratio = 0.3 * torch.randn(shape, generator=rng, dtype=torch.float64)
    entropy = torch.rand(shape, generator=rng, dtype=torch.float64)
    valid = torch.rand(shape, generator=rng) < 0.7
    return log_ratio, entropy, valid


def test_each_task_s_diagnostics_are_means_over_its_live_steps() -> None:
    log_ratio, entropy, valid = numbers()
    found = policy_diagnostics(log_ratio, entropy, valid, CLIP)
    for k in range(3):
        logs = log_ratio[:, k][valid[:, k]].tolist()
        kl = np.mean([(math.exp(x) - 1.0) - x for x in logs])
        outside = np.mean([not 1 - CLIP <= math.exp(x) <= 1 + CLIP for x in logs])
        assert 0 < outside < 1
        assert found["approx_kl"][k].item() == pytest.approx(kl)
        assert found["clip_fraction"][k].item() == pytest.approx(outside)
        assert found["entropy"][k].item() == pytest.approx(entropy[:, k][valid[:, k]].mean().item())


def test_the_policy_that_played_has_not_moved() -> None:
    _, entropy, valid = numbers()
    found = policy_diagnostics(torch.zeros_like(entropy), entropy, valid, CLIP)
    assert (found["approx_kl"] == 0).all()
    assert (found["clip_fraction"] == 0).all()


def test_parts_count_by_their_tasks() -> None:
    parts = [{"entropy": torch.tensor([1.0, 2.0])}, {"entropy": torch.tensor([6.0])}]
    assert averaged(parts) == {"entropy": 3.0}
    assert averaged(parts[1:]) == {"entropy": 6.0}


def test_explained_variance_is_one_less_the_share_that_is_left() -> None:
    target, value, valid = numbers()
    target, value = target[valid], value[valid]
    expected = 1 - np.var((target - value).numpy()) / np.var(target.numpy())
    assert explained_variance(value, target) == pytest.approx(expected)
    assert explained_variance(target, target) == 1.0
    assert explained_variance(target + 5.0, target) == pytest.approx(1.0)
    assert explained_variance(torch.zeros_like(target), target) == pytest.approx(0.0)
    assert explained_variance(-target, target) == pytest.approx(-3.0)


def test_targets_that_do_not_vary_leave_nothing_to_explain() -> None:
    _, value, _ = numbers()
    value = value.flatten()
    constant = torch.full_like(value, 100.0)
    assert explained_variance(value, constant) == 0.0
    rounded = constant + 1e-5 * torch.randn_like(constant)
    assert rounded.unique().numel() > 1
    assert explained_variance(constant, rounded) == 0.0
