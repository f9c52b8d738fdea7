"""Batches: advantages per task, standardised, from baselines of their own data."""

import dataclasses

import torch
from numpy.random import SeedSequence

from ssm_metarl.core.distributions import Categorical
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import (
    Trajectory,
    collect_episodes,
    collect_trials,
    episode_returns,
)
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.meta_rl.baseline import episode_age
from ssm_metarl.meta_rl.batch import make_batch

FAMILY = get_family("CartPole-v1")
POLICY = Policy(PolicyConfig(), policy_spaces(FAMILY))
PARAMS = POLICY.init(torch.Generator().manual_seed(0))


def rollout(horizon: int | None = None) -> Trajectory:
    environment = FAMILY.make_vec(FAMILY.held_out(4), 6, autoreset=False, horizon=horizon)
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
    alone = Trajectory(**{name: value[:, 2:3] for name, value in together.tensors().items()})
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


def test_observations_of_other_units_have_the_same_baseline() -> None:
    unit = dataclasses.replace(POLICY.spaces, observation_scale=(1.0,) * 4)
    other = dataclasses.replace(
        unit, observation_offset=(100.0, -3.0, 0.0, 7.0), observation_scale=(1e3, 1e-3, 2.0, 0.5)
    )
    data = rollout()
    offset, scale = map(torch.tensor, (other.observation_offset, other.observation_scale))
    moved = dataclasses.replace(data, observation=offset + scale * data.observation.double())
    one, two = (
        make_batch(data, dataclasses.replace(POLICY, spaces=spaces), 0.99, 0.95)
        for data, spaces in ((data, unit), (moved, other))
    )
    torch.testing.assert_close(two.value.float(), one.value, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(two.advantage.float(), one.advantage, rtol=1e-3, atol=1e-3)


def test_surviving_everywhere_leaves_no_advantage_to_step_on() -> None:
    batch = make_batch(rollout(horizon=6), POLICY, 0.9, 1.0)
    assert batch.valid.all()
    assert batch.advantage.abs().max() < 1e-2  # and not noise blown up to unit variance


def test_age_counts_from_the_start_of_each_episode() -> None:
    environment = FAMILY.make_vec(FAMILY.held_out(2), 3, autoreset=True)
    steps = collect_trials(POLICY.bind(PARAMS), environment, SeedSequence(0), 3)
    age = episode_age(steps)
    assert (age[steps.episode_start] == 0).all()
    going_on = ~steps.episode_start[1:]
    assert torch.equal(age[1:][going_on], age[:-1][going_on] + 1)


def test_the_unit_is_of_one_episode_where_a_lane_has_several() -> None:
    environment = FAMILY.make_vec(FAMILY.held_out(2), 3, autoreset=True, horizon=20)
    batch = make_batch(
        collect_trials(POLICY.bind(PARAMS), environment, SeedSequence(0), 4), POLICY, 0.99, 1.0
    )
    assert batch.episodes == 4
    length = batch.valid.sum((0, 2)) / 3 / 4
    torch.testing.assert_close(batch.unit, batch.scale * length)


def test_values_and_targets_differ_by_the_advantage_before_it_was_standardised() -> None:
    batch = make_batch(rollout(), POLICY, 1.0, 1.0)
    for k in range(4):
        valid = batch.valid[:, k]
        left = (batch.target - batch.value)[:, k][valid]
        standard = (left - left.mean()) / batch.scale[k]
        torch.testing.assert_close(batch.advantage[:, k][valid], standard, atol=1e-4, rtol=1e-4)
    returns = episode_returns(rollout())
    torch.testing.assert_close(batch.target[0], returns, atol=1e-3, rtol=1e-4)


def test_some_of_the_tasks_are_all_that_is_known_of_them() -> None:
    batch = dataclasses.replace(
        make_batch(rollout(), POLICY, 0.99, 1.0), credit=torch.arange(4.0), episodes=3
    )
    some = batch.tasks(slice(1, 3))
    assert some.credit is not None
    assert some.credit.tolist() == [1.0, 2.0]
    assert some.episodes == 3
    assert torch.equal(some.scale, batch.scale[1:3])
    for name in ("inputs", "action", "log_prob", "advantage", "valid", "change"):
        assert torch.equal(getattr(some, name), getattr(batch, name)[:, 1:3]), name
    for name in ("value", "target"):
        assert torch.equal(getattr(some, name), getattr(batch, name)[:, 1:3]), name
    assert make_batch(rollout(), POLICY, 0.99, 1.0).tasks(slice(1, 3)).credit is None


def test_lengths_count_steps_up_to_the_last_valid_one() -> None:
    batch = make_batch(rollout(), POLICY, 0.99, 1.0)
    valid = torch.zeros_like(batch.valid)
    valid[3, 0, 1] = valid[5, 2, 0] = valid[:4, 3] = True
    assert dataclasses.replace(batch, valid=valid).lengths.tolist() == [4, 1, 6, 4]


def test_some_steps_of_some_tasks_in_any_order() -> None:
    batch = make_batch(rollout(), POLICY, 0.99, 1.0)
    batch = dataclasses.replace(batch, behaviour=Categorical(torch.randn(*batch.valid.shape, 2)))
    some = batch.tasks(torch.tensor([2, 0]), slice(5))
    assert some.behaviour is not None
    assert isinstance(batch.behaviour, Categorical)
    assert isinstance(some.behaviour, Categorical)
    assert torch.equal(some.behaviour.logits, batch.behaviour.logits[:5, [2, 0]])
    assert torch.equal(some.inputs, batch.inputs[:5, [2, 0]])
    assert torch.equal(some.scale, batch.scale[[2, 0]])


def test_changes_are_of_unit_size_in_each_dimension_of_each_task() -> None:
    once = rollout()
    batch = make_batch(once, POLICY, 0.99, 1.0)
    for k in range(4):
        valid = batch.valid[:, k]
        change = (once.observation[1:] - once.observation[:-1])[:, k][valid]
        unit = change.square().mean(0).sqrt()
        torch.testing.assert_close(batch.change[:, k][valid], change / unit)
    assert (batch.change[~batch.valid] == 0).all()
