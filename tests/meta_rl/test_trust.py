"""The trust region of steps that were not meta-trained, against divergences taken directly."""

import dataclasses
import math

import pytest
import torch
from numpy.random import SeedSequence
from rules import rule

from ssm_metarl.adaptation import standard
from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import collect_episodes
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.meta_rl.batch import Batch, make_batch
from ssm_metarl.meta_rl.losses import step_mean
from ssm_metarl.meta_rl.natural import natural_step, within_trust

BOUND = 0.01


def setting(family_name: str = "CartPole-v1") -> tuple[Policy, Params, Batch]:
    family = get_family(family_name)
    policy = Policy(PolicyConfig(width=8, state_size=4), policy_spaces(family))
    params = policy.init(torch.Generator().manual_seed(0))
    environment = family.make_vec(family.validation(3), 5, autoreset=False, horizon=30)
    rollout = collect_episodes(policy.bind(params), environment, SeedSequence(0))
    return policy, params, make_batch(rollout, policy, 0.95, 1.0)


def moved(policy: Policy, before: Params, after: Params, batch: Batch) -> torch.Tensor:
    """Divergence of each task, from the distributions of torch."""
    pairs = [batch.distribution(policy.bind(params)) for params in (before, after)]
    return step_mean(pairs[0].kl(pairs[1]), batch.valid)


@pytest.mark.parametrize("family", ["CartPole-v1", "Pendulum-v1"])
def test_long_steps_end_at_the_bound_on_the_same_line(family: str) -> None:
    policy, params, batch = setting(family)
    after = rule(policy, 5.0).step(params, batch)
    assert (moved(policy, params, after, batch) > BOUND).all()
    kept = within_trust(policy, params, after, batch, BOUND)
    reached = moved(policy, params, kept, batch)
    assert (reached <= BOUND).all()
    for name, value in kept.items():
        if name.startswith(("value.", "prediction.")):
            assert value is params[name]
            continue
        share = (value - params[name]).flatten(1).norm(dim=1)
        share = share / (after[name] - params[name]).flatten(1).norm(dim=1)
        halvings = -share[share > 0].log2()
        torch.testing.assert_close(halvings, halvings.round(), atol=0.1, rtol=0)
    twice = {name: params[name] + 2 * (kept[name] - params[name]) for name in kept}
    assert (moved(policy, params, twice, batch) > BOUND).all()  # no shorter than needed


def test_short_steps_are_left_as_they_are_and_tasks_do_not_interact() -> None:
    policy, params, batch = setting()
    short, long = (rule(policy, rate).step(params, batch) for rate in (1e-4, 5.0))
    mixed = {
        name: long[name].clone().index_copy_(0, torch.tensor([1]), short[name][1:2])
        if long[name] is not params[name]
        else long[name]
        for name in long
    }
    kept = within_trust(policy, params, mixed, batch, BOUND)
    alone = within_trust(policy, params, long, batch, BOUND)
    for name, value in kept.items():
        if value is params[name]:
            continue
        torch.testing.assert_close(value[1], short[name][1])
        assert torch.equal(value[[0, 2]], alone[name][[0, 2]])


def test_only_steps_beyond_the_trained_ones_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded = []

    def spy(policy, before, gradients, after, batch, bound):  # noqa: ANN001, ANN202
        bounded.append(bound)
        return natural_step(policy, before, gradients, after, batch, bound)

    monkeypatch.setattr(standard, "natural_step", spy)
    policy, params, _ = setting()
    family = get_family("CartPole-v1")
    for inner_steps, expected in ((1, [0.02, 0.02]), (2, [0.02])):
        config = dataclasses.replace(AdaptationConfig(), inner_steps=inner_steps, trust=0.02)
        agent = Agent(policy, params, 0.1, config, family.name)
        adaptation = standard.adapt_tasks(
            agent, family, family.validation(2), episodes=2, steps=3, seed=SeedSequence(0)
        )
        bounded.clear()
        assert len(list(adaptation)) == 4
        assert bounded == expected


@pytest.mark.parametrize("shared", [True, False])
def test_an_adapted_policy_acts_with_no_more_spread_than_its_configuration_allows(
    shared: bool,
) -> None:
    """And learns as without the limit: means, and spreads below it, are those of a free step."""
    policy, params, _ = setting("Pendulum-v1")
    if not shared:
        params = {name: value.expand(2, *value.shape) for name, value in params.items()}
    params["action.log_std"] = torch.full_like(params["action.log_std"], math.log(0.8))
    family = get_family("Pendulum-v1")
    agent = Agent(policy, params, 0.01, AdaptationConfig(horizon=20), family.name)
    played = standard.play_tasks(agent, params, family, family.validation(2), 3, SeedSequence(0))
    free, narrow, wide = (
        standard.take_step(
            Agent(policy, params, 0.01, AdaptationConfig(adapted_std=limit), family.name),
            params,
            played,
            step=0,
        )[0]
        for limit in (None, 0.3, 5.0)
    )
    assert (free["action.log_std"] > math.log(0.5)).all()
    torch.testing.assert_close(narrow["action.log_std"].exp(), torch.full((2, 1), 0.3))
    for name, value in free.items():
        assert torch.equal(wide[name], value)
        assert name == "action.log_std" or torch.equal(narrow[name], value)


def test_the_limit_on_the_spread_does_not_use_up_the_trust_region() -> None:
    policy, params, _ = setting("Pendulum-v1")
    family = get_family("Pendulum-v1")
    agent = Agent(policy, params, 0.01, AdaptationConfig(horizon=20), family.name)
    played = standard.play_tasks(agent, params, family, family.validation(2), 3, SeedSequence(0))
    free, narrow = (
        standard.take_step(
            Agent(
                policy, params, 1.0, AdaptationConfig(inner_steps=0, adapted_std=limit), family.name
            ),
            params,
            played,
            step=0,
        )[0]
        for limit in (None, 0.1)
    )
    torch.testing.assert_close(narrow["action.log_std"].exp(), torch.full((2, 1), 0.1))
    assert torch.equal(narrow["action.weight"], free["action.weight"])


def test_discrete_actions_have_no_spread_to_limit() -> None:
    policy, params, _ = setting("CartPole-v1")
    family = get_family("CartPole-v1")
    free, limited = (
        Agent(policy, params, 0.1, AdaptationConfig(horizon=20, adapted_std=limit), family.name)
        for limit in (None, 0.1)
    )
    tasks = family.validation(2)
    played = standard.play_tasks(free, params, family, tasks, 3, SeedSequence(0))
    steps = [standard.take_step(agent, params, played, step=0)[0] for agent in (free, limited)]
    assert all(torch.equal(value, steps[1][name]) for name, value in steps[0].items())
