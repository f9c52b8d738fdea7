"""Batches: advantages per task, standardised, from baselines of their own data."""

import dataclasses

import torch
from numpy.random import SeedSequence

from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import Trajectory, collect_episodes, collect_steps
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.meta_rl.batch import episode_age, make_batch

FAMILY = get_family("CartPole-v1")
POLICY = Policy(PolicyConfig(), policy_spaces(FAMILY))
PARAMS = POLICY.init(torch.Generator().manual_seed(0))


def rollout(horizon: int | None = None) -> Trajectory:
    environment = FAMILY.make(FAMILY.held_out(4), 6, autoreset=False, horizon=horizon)
    return collect_episodes(POLICY.bind(PARAMS), environment, SeedSequence(0))


def test_advantages_of_each_task_have_zero_mean_and_unit_variance() -> None:
    batch = make_batch(rollout(), POLICY, 0.99, 1.0)
    for k in range(4):
        advantage = batch.advantage[:, k][batch.valid[:, k]]
        torch.testing.assert_close(advantage.mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
        torch.testing.assert_close(advantage.std(correction=0), torch.tensor(1.0))
    assert (batch.advantage[~batch.valid] == 0).all()


def test_a_task_of_the_batch_equals_that_task_alone() -> None:
    together = rollout()
    alone = Trajectory(**{name: value[:, 2:3] for name, value in vars(together).items()})
    batch = make_batch(together, POLICY, 0.99, 0.95).tasks(slice(2, 3))
    torch.testing.assert_close(batch.advantage, make_batch(alone, POLICY, 0.99, 0.95).advantage)


def test_the_scale_of_the_advantages_is_in_units_of_the_rewards() -> None:
    once = rollout()
    tenfold = dataclasses.replace(once, reward=10 * once.reward)
    small, large = (make_batch(data, POLICY, 0.99, 1.0) for data in (once, tenfold))
    torch.testing.assert_close(large.advantage, small.advantage, atol=1e-3, rtol=0)
    torch.testing.assert_close(large.scale, 10 * small.scale)
    length = small.valid.sum((0, 2)) / 6
    torch.testing.assert_close(small.unit, small.scale * length)


def test_surviving_everywhere_leaves_no_advantage_to_step_on() -> None:
    batch = make_batch(rollout(horizon=6), POLICY, 0.9, 1.0)
    assert batch.valid.all()
    assert batch.advantage.abs().max() < 1e-2  # and not noise blown up to unit variance


def test_age_counts_from_the_start_of_each_episode() -> None:
    environment = FAMILY.make(FAMILY.held_out(2), 3, autoreset=True)
    steps = collect_steps(POLICY.bind(PARAMS), environment, SeedSequence(0), 60)
    age = episode_age(steps)
    assert (age[steps.episode_start] == 0).all()
    going_on = ~steps.episode_start[1:]
    assert torch.equal(age[1:][going_on], age[:-1][going_on] + 1)
