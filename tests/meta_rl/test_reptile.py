"""Reptile against a loop over tasks and steps, one after the other."""

import pytest
import torch
from methods import config, learner, on_one_sign
from numpy.random import SeedSequence

from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.losses import lvc_loss
from ssm_metarl.meta_rl.meta_learner import MetaLearner
from ssm_metarl.training.config import TrainConfig


def slow_reptile(learning: MetaLearner, batches: list[Batch]) -> dict[str, torch.Tensor]:
    """Return ``theta - theta'``, the mean over tasks, by inner rate."""
    policy, rate = learning.policy, learning.settings.inner_lr
    start = {name: value for name, value in learning.detached().items() if "value" not in name}
    change = {name: torch.zeros_like(value) for name, value in start.items()}
    tasks = len(batches[0].scale)
    for task in range(tasks):
        theta = start
        for batch in batches:
            own = batch.tasks(slice(task, task + 1))
            theta = {name: value.clone().requires_grad_() for name, value in theta.items()}
            log_prob = own.distribution(policy.bind(theta)).log_prob(own.action)
            loss = lvc_loss(log_prob, own.log_prob, own.advantage)[0]
            slopes = torch.autograd.grad(loss, list(theta.values()), materialize_grads=True)
            moved = zip(theta.items(), slopes, strict=True)
            theta = {name: (value - rate * slope).detach() for (name, value), slope in moved}
        for name, value in theta.items():
            change[name] += (start[name] - value) / (rate * tasks)
    return change


@pytest.mark.parametrize("family", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("inner_steps", [1, 2])
def test_its_gradient_is_what_the_steps_changed(family: str, inner_steps: int) -> None:
    learning = learner("reptile", family, inner_steps=inner_steps, inner_lr=0.05)
    tasks = learning.family.sample(3, SeedSequence(1))
    batches = [batch for _, batch in learning._collect(tasks, SeedSequence(2))]
    assert len(batches) == inner_steps + 1
    expected = slow_reptile(learning, batches)

    *supports, query = batches
    (outer,) = learning.outer_losses(supports, query)
    assert not outer.entropy.requires_grad
    (outer.loss.sum() / 3).backward()
    for name, value in learning.params.items():
        if name.startswith(("value.", "prediction.")):
            assert value.grad is None or not value.grad.any()
        else:
            assert expected[name].abs().max() > 0
            torch.testing.assert_close(value.grad, expected[name], rtol=1e-3, atol=2e-5)


def test_a_loss_that_knows_no_rewards_is_refused() -> None:
    with pytest.raises(UserError, match="--surrogate prediction: reptile"):
        TrainConfig(mode="reptile", surrogate="prediction")
    assert config("reptile").clip == TrainConfig.clip


def test_it_learns_what_tasks_have_in_common() -> None:
    horizon = {"support_steps": 60, "query_steps": 60, "num_epochs": 8}
    rates = {"outer_lr": 0.05, "inner_lr": 0.01}
    learning = learner("reptile", tasks_per_epoch=6, episodes_per_task=6, **horizon, **rates)
    learning.family = on_one_sign(learning.family)
    told = [learning.iterate(SeedSequence(0), i).metrics for i in range(1, 9)]
    first, *_, last = [each["query_reward"] for each in told]
    assert first < 36
    assert last > 52
