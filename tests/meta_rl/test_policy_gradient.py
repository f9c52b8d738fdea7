"""PPO on one task: whole episodes in, a better policy out."""

import dataclasses

import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.meta_rl.policy_gradient import PolicyGradientConfig, PolicyGradientLearner

FAMILY = get_family("CartPole-v1")


def learner(seed: int = 0, **changes: object) -> PolicyGradientLearner:
    policy = Policy(PolicyConfig(), policy_spaces(FAMILY))
    config = dataclasses.replace(PolicyGradientConfig(), **changes)
    params = policy.init(torch.Generator().manual_seed(seed))
    return PolicyGradientLearner(policy, config, FAMILY, params)


def test_every_episode_asked_for_is_played_and_no_more() -> None:
    learning = learner(total_episodes=19, episodes=8, epochs=1)
    counts = [learning.iterate(SeedSequence(0), i).episodes for i in (1, 2, 3)]
    assert counts == [8, 16, 19]


def test_all_that_acts_or_values_learns_and_the_prediction_head_does_not() -> None:
    learning = learner(epochs=1)
    before = {name: value.detach().clone() for name, value in learning.params.items()}
    learning.iterate(SeedSequence(0), 1)
    for name, value in learning.params.items():
        assert torch.equal(before[name], value) == name.startswith("prediction."), name


@pytest.mark.slow
def test_a_hundred_episodes_teach_to_balance() -> None:
    learning = learner()
    returns = [learning.iterate(SeedSequence(0), i).mean_return for i in range(1, 13)]
    assert returns[0] < 60
    assert sum(returns[-3:]) / 3 > 120
