"""Learning again from earlier episodes: as on-policy data where it is, and by weight elsewhere."""

import dataclasses

import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.reuse import join_earlier
from ssm_metarl.adaptation.source import TaskSource
from ssm_metarl.adaptation.standard import Adaptation, adapt_tasks
from ssm_metarl.core.parameters import Params, expand_tasks
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import Trajectory, side_by_side
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.batch import make_batch
from ssm_metarl.meta_rl.inner_loop import inner_gradients
from ssm_metarl.meta_rl.maml import MetaConfig

FAMILY = get_family("CartPole-v1")
SOURCE = TaskSource(FAMILY, FAMILY.validation(3), 60, torch.device("cpu"))


@pytest.fixture(scope="module")
def agent() -> Agent:
    policy = Policy(PolicyConfig(width=8, state_size=4), policy_spaces(FAMILY))
    params = policy.init(torch.Generator().manual_seed(0))
    return Agent(policy, params, 0.1, MetaConfig(), FAMILY.name)


def gradients(agent: Agent, params: Params, played: Trajectory) -> dict[str, torch.Tensor]:
    batch = make_batch(played, agent.policy, agent.config.adaptation_discount, 1.0)
    return inner_gradients(agent.policy, params, batch, "lvc")


def test_rewards_are_not_reused_where_they_are_not_used(agent: Agent) -> None:
    blind = dataclasses.replace(agent, config=MetaConfig(surrogate="prediction"))
    with pytest.raises(UserError, match="without"):
        Adaptation(blind, 3, seed=SeedSequence(0), reuse=True)


def test_episodes_of_the_same_policy_count_in_full(agent: Agent) -> None:
    theta = expand_tasks(agent.params, 3)
    bound = agent.policy.bind(theta)
    first, second = (SOURCE.play(bound, count, SeedSequence(count)) for count in (6, 3))
    joined = join_earlier(agent, theta, gradients(agent, theta, second), 3, [first])
    for name, earlier in gradients(agent, theta, first).items():
        expected = (6 * earlier + 3 * gradients(agent, theta, second)[name]) / 9
        torch.testing.assert_close(joined[name], expected, atol=1e-5, rtol=1e-3)


def test_episodes_of_a_policy_far_away_count_for_little(agent: Agent) -> None:
    theta = expand_tasks(agent.params, 3)
    played = SOURCE.play(agent.policy.bind(theta), 6, SeedSequence(1))
    far = {name: value.clone() for name, value in theta.items()}
    far["action.bias"] = far["action.bias"] + torch.tensor([8.0, -8.0])  # always to the left
    near = {name: torch.zeros_like(v) for name, v in gradients(agent, theta, played).items()}
    left = (played.action == 0) & played.valid
    share = left.sum((0, 2)) / played.valid.sum((0, 2))
    joined = join_earlier(agent, far, near, 1, [played])
    alone = join_earlier(agent, far, near, 0, [played])
    weight = 6 * share / (1 + 6 * share)
    torch.testing.assert_close(
        joined["encoder.bias"], weight[:, None] * alone["encoder.bias"], atol=1e-6, rtol=1e-2
    )


def test_only_later_steps_differ(agent: Agent) -> None:
    plan = {"episodes": 4, "steps": 2, "seed": SeedSequence(0)}
    with_it, without = (
        list(adapt_tasks(agent, SOURCE, reuse=reuse, guarded=False, **plan))  # pyright: ignore[reportArgumentType]
        for reuse in (True, False)
    )
    name = "encoder.bias"
    assert torch.equal(with_it[1].params[name], without[1].params[name])
    assert not torch.equal(with_it[2].params[name], without[2].params[name])
    assert side_by_side([with_it[1].played, with_it[2].played]).valid.shape[2] == 8  # pyright: ignore[reportArgumentType]
