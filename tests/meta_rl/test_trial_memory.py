"""Gradients with a memory of the trial: data by trials, losses of the scale of an episode."""

import dataclasses

import pytest
import torch
from numpy.random import SeedSequence
from resolved import resolved

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.adaptation.standard import adapt_tasks
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import collect_trials, per_trial_episode
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.meta_rl.batch import Batch, collect_data, make_batch
from ssm_metarl.meta_rl.maml import MAML
from ssm_metarl.meta_rl.registry import INNER_LOSSES

FAMILY = get_family("CartPole-v1")
SMALL = {
    **{"tasks_per_epoch": 3, "episodes_per_task": 4, "episodes_per_trial": 2, "outer_epochs": 2},
    **{"support_steps": 20, "query_steps": 30},
}


def make_policy(memory: str) -> Policy:
    network = PolicyConfig(width=8, state_size=4, trial_inputs=True, memory=memory)  # pyright: ignore[reportArgumentType]
    return Policy(network, policy_spaces(FAMILY))


def learner(memory: str = "trial", **changes: object) -> MAML:
    policy = make_policy(memory)
    params = policy.init(torch.Generator().manual_seed(0))
    return MAML(policy, FAMILY, params, resolved("meta_rl", **{**SMALL, **changes}))


@pytest.mark.parametrize(
    ("memory", "episodes", "lanes", "each"),
    [("episode", 4, 4, 1), ("trial", 4, 2, 2), ("trial", 5, 2, 2), ("trial", 1, 1, 1)],
)
def test_lanes_hold_trials_where_the_memory_lasts_one(
    memory: str, episodes: int, lanes: int, each: int
) -> None:
    learning = learner(memory)
    bound = learning.policy.bind({n: v.detach() for n, v in learning.params.items()})
    data = collect_data(
        bound,
        FAMILY,
        FAMILY.held_out(3),
        SeedSequence(1),
        episodes=episodes,
        per_trial=2,
        horizon=20,
        device=learning.device,
    )
    assert data.reward.shape[1:] == (3, lanes)
    assert (data.done.sum(0) == each).all()
    assert make_batch(data, learning.policy, 0.99, 1.0).episodes == each


@pytest.mark.parametrize("surrogate", ["lvc", "dice"])
def test_the_gradient_of_a_trial_is_the_mean_of_its_episodes_gradients(
    surrogate: str,
) -> None:
    """With a memory that ends with the episode, cutting a trial up must change nothing."""
    policy = make_policy("episode")
    fresh = policy.init(torch.Generator().manual_seed(0))
    params = {name: value.requires_grad_() for name, value in fresh.items()}
    environment = FAMILY.make_vec(FAMILY.held_out(2), 3, autoreset=True, horizon=15)
    data = collect_trials(policy.bind(params), environment, SeedSequence(2), 2)
    advantage = torch.randn(data.reward.shape, generator=torch.Generator().manual_seed(1))
    batch = make_batch(data, policy, 0.99, 1.0)
    whole = dataclasses.replace(batch, advantage=advantage * data.valid)

    def gradient(part: Batch) -> torch.Tensor:
        loss = INNER_LOSSES[surrogate].load()(policy.bind(params), part).sum()
        return torch.autograd.grad(loss, params["encoder.weight"])[0]

    episode, parts = data.done.cumsum(0) - data.done.long(), []
    for number in range(2):
        own = (episode == number) & data.valid
        parts.append(
            dataclasses.replace(whole, advantage=whole.advantage * own, valid=own, episodes=1)
        )
    mean = (gradient(parts[0]) + gradient(parts[1])) / 2
    torch.testing.assert_close(gradient(whole), mean)
    assert mean.abs().max() > 1e-3


def test_chunks_of_tasks_give_the_gradient_of_all_at_once() -> None:
    learned = []
    for chunk in (3, 1):
        learning = learner(outer_epochs=1)
        learning.chunk = chunk
        learning.iterate(SeedSequence(3), 1)
        learned.append(learning.params)
    for name, value in learned[0].items():
        torch.testing.assert_close(value, learned[1][name], atol=3e-5, rtol=0)


def test_rewards_are_reported_per_episode() -> None:
    learning = learner()
    report = learning.iterate(SeedSequence(3), 1)
    support, query = report.metrics["support_reward"], report.metrics["query_reward"]
    assert support <= 20
    assert query <= 30
    assert report.environment_steps == pytest.approx(12 * (support + query), rel=1e-4)


def test_adaptation_counts_the_episodes_it_played() -> None:
    learning, tasks = learner(), FAMILY.held_out(3)
    config = AdaptationConfig(horizon=20)
    agent = Agent(learning.policy, learning.detached(), 0.1, config, FAMILY.name)
    stages = list(adapt_tasks(agent, FAMILY, tasks, episodes=5, steps=2, seed=SeedSequence(4)))
    assert [stage.episodes for stage in stages] == [0, 5, 10]
    bound = learning.policy.bind(stages[1].params)
    environment = FAMILY.make_vec(tasks, 1, autoreset=True, horizon=20)
    trial = collect_trials(bound, environment, SeedSequence(5), 3)  # adapted weights, kept memory
    assert per_trial_episode(trial.reward, trial, 3).shape == (3, 3, 1)
