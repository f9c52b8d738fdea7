"""ProMP: its penalties, against torch.distributions, and the coefficients that follow them."""

import pytest
import torch
from methods import learner, on_one_sign
from numpy.random import SeedSequence
from test_maml_trpo import by_torch

from ssm_metarl.meta_rl.promp import ProMP, adapted_coefficients

FAMILIES = pytest.mark.parametrize("family", ["CartPole-v1", "Pendulum-v1"])


def small(family: str = "CartPole-v1", **changes: object) -> ProMP:
    learning = learner("promp", family, **changes)
    assert isinstance(learning, ProMP)
    return learning


@FAMILIES
def test_the_penalty_is_the_divergence_before_each_inner_step(family: str) -> None:
    learning, plain = small(family, inner_steps=2), learner("maml", family, inner_steps=2)
    tasks = learning.family.validation(3)
    *supports, query = [batch for _, batch in learning._collect(tasks, SeedSequence(0))]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # what a few outer epochs may have led to
        for name, value in learning.params.items():
            value += 0.05 * torch.randn(value.shape, generator=generator)
            plain.params[name].copy_(value)
    coefficients = torch.tensor([0.7, 1.9])
    learning.kl_coefficients.copy_(coefficients)
    (outer,), (without,) = (one.outer_losses(supports, query) for one in (learning, plain))

    expected, theta = torch.zeros(3), learning.detached()
    for support, coefficient in zip(supports, coefficients, strict=True):
        now = support.distribution(learning.policy.bind(theta))
        assert support.behaviour is not None
        each = torch.distributions.kl_divergence(by_torch(support.behaviour), by_torch(now))
        steps = support.valid.sum((0, 2))
        expected += 0.5 * coefficient * (each * support.valid).sum((0, 2)) / steps
        theta = learning.rule().step(theta, support)
    assert (expected > 1e-4).all()
    torch.testing.assert_close(outer.loss - without.loss, expected, rtol=1e-3, atol=1e-6)
    assert outer.loss.requires_grad
    chunks = [outer.loss for outer in chunked(learning, supports, query)]
    torch.testing.assert_close(torch.cat(chunks).sort().values, outer.loss.sort().values)


def chunked(learning: ProMP, *data: object) -> list:
    learning.chunk = 1
    return list(learning.outer_losses(*data))


def test_without_a_step_there_is_no_divergence_and_no_gradient_of_it() -> None:
    learning = small(kl_coefficient=1.0, outer_epochs=1)
    plain = learner("maml", outer_epochs=1)
    learning.iterate(SeedSequence(0), 1)
    plain.iterate(SeedSequence(0), 1)
    for name, value in plain.params.items():
        torch.testing.assert_close(learning.params[name], value, atol=1e-4, rtol=0)


def test_coefficients_double_far_above_the_target_and_halve_far_below() -> None:
    found = torch.tensor([0.5, 0.66, 0.67, 1.0, 1.49, 1.51, 9.0])
    after = adapted_coefficients(torch.full((7,), 3.0), found, 1.0)
    assert after.tolist() == [1.5, 1.5, 3.0, 3.0, 3.0, 6.0, 6.0]


@pytest.mark.parametrize(("outer_lr", "factor"), [(1e-9, 0.5), (0.3, 2.0)])
def test_they_follow_what_an_update_led_to(outer_lr: float, factor: float) -> None:
    learning = small(outer_lr=outer_lr, outer_epochs=3, inner_steps=2)
    told = learning.iterate(SeedSequence(0), 1).metrics
    start = learning.settings.kl_coefficient
    assert told["kl_coefficient"] == pytest.approx(start)
    assert learning.kl_coefficients.tolist() == pytest.approx([factor * start] * 2)
    assert (told["kl"] > 0.015) == (factor == 2.0)


def test_a_large_coefficient_holds_back_the_policy_before_adapting() -> None:
    moved = []
    for coefficient in (1e-6, 100.0):
        learning = small(kl_coefficient=coefficient, outer_epochs=8, outer_lr=0.02)
        moved.append(learning.iterate(SeedSequence(0), 1).metrics["kl"])
    assert moved[1] < 0.3 * moved[0]


def test_it_learns() -> None:
    horizon = {"support_steps": 30, "query_steps": 60, "inner_lr": 0.01, "num_epochs": 6}
    learning = small(tasks_per_epoch=4, episodes_per_task=5, outer_lr=0.03, **horizon)
    learning.family = on_one_sign(learning.family)
    told = [learning.iterate(SeedSequence(0), i).metrics for i in range(1, 7)]
    first, *_, last = [each["query_reward"] for each in told]
    assert first < 36
    assert last > 50
