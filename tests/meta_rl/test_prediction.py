"""Adapting by prediction: it needs no rewards, learns its own head, and moves the policy."""

import dataclasses

import pytest
import torch
from numpy.random import SeedSequence
from resolved import resolved
from rules import rule

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import Trajectory, collect_episodes
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.batch import make_batch
from ssm_metarl.meta_rl.inner_losses import prediction
from ssm_metarl.meta_rl.maml import MAML
from ssm_metarl.training.config import TrainConfig

FAMILY = get_family("CartPole-v1")
POLICY = Policy(PolicyConfig(width=8, state_size=4), policy_spaces(FAMILY))


def setting() -> tuple[Params, Trajectory]:
    params = POLICY.init(torch.Generator().manual_seed(0))
    params["prediction.weight"] = params["prediction.weight"] * 100
    environment = FAMILY.make_vec(FAMILY.validation(3), 4, autoreset=False, horizon=30)
    return params, collect_episodes(POLICY.bind(params), environment, SeedSequence(0))


def test_the_loss_is_the_error_of_each_step_summed_over_an_episode() -> None:
    params, rollout = setting()
    batch = make_batch(rollout, POLICY, 0.9, 1.0)
    loss = prediction(POLICY.bind(params), batch)
    bound = POLICY.bind(params)
    for k in range(3):
        change = (rollout.observation[1:] - rollout.observation[:-1])[:, k]
        valid = rollout.valid[:, k]
        unit = change[valid].square().mean(0).sqrt()
        total = 0.0
        for lane in range(4):
            length = int(valid[:, lane].sum())
            inputs = rollout.inputs(POLICY)[:length, k : k + 1, lane : lane + 1]
            state = POLICY.initial_state(1, 1, inputs)
            features, _ = bound.scan(inputs, state)
            acted = rollout.action[:length, k : k + 1, lane : lane + 1]
            wrong = bound.prediction(features, acted)[:, 0, 0] - change[:length, lane] / unit
            total += 0.5 * wrong.square().mean(1).sum().item() / 4
        assert loss[k].item() == pytest.approx(total, rel=1e-4)


def test_a_step_needs_no_rewards_and_changes_how_the_policy_acts() -> None:
    params, rollout = setting()
    unpaid = dataclasses.replace(rollout, reward=torch.zeros_like(rollout.reward))
    steps = [
        rule(POLICY, 0.1, "prediction").step(params, make_batch(r, POLICY, 0.9, 1.0))
        for r in (rollout, unpaid)
    ]
    for name, value in steps[0].items():
        assert torch.equal(value, steps[1][name])
    batch = make_batch(rollout, POLICY, 0.9, 1.0)
    before, after = (batch.distribution(POLICY.bind(p)) for p in (params, steps[0]))
    assert before.kl(after)[batch.valid].max() > 0
    assert torch.equal(steps[0]["action.weight"], params["action.weight"].expand(3, -1, -1))


def test_meta_training_learns_the_head_that_predicts() -> None:
    params, _ = setting()
    settings = resolved(
        "meta_rl",
        **{"tasks_per_epoch": 3, "episodes_per_task": 4, "support_steps": 20, "query_steps": 30},
        **{"outer_epochs": 2, "surrogate": "prediction"},
    )
    learner = MAML(POLICY, FAMILY, params, settings)
    learner.iterate(SeedSequence(0), 1)
    moved = {n for n, v in learner.params.items() if not torch.equal(v, params[n])}
    assert {"prediction.weight", "prediction.bias", "action.weight", "encoder.weight"} <= moved
    assert "value.weight" not in moved


def test_first_order_is_refused() -> None:
    with pytest.raises(UserError, match="first_order"):
        TrainConfig(surrogate="prediction", first_order=True)
