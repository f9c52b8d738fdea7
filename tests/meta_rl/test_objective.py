"""The outer objective's terms, taken one by one where adapting changes nothing."""

import dataclasses

import torch
from numpy.random import SeedSequence
from rules import rule

from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import collect_episodes
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.meta_rl.batch import Batch, make_batch
from ssm_metarl.meta_rl.losses import clipped_loss, sampling_loss, step_mean
from ssm_metarl.meta_rl.objective import ClippedObjective

FAMILY = get_family("CartPole-v1")
POLICY = Policy(PolicyConfig(width=4, state_size=2), policy_spaces(FAMILY))
CLIP = 0.1


def params(seed: int) -> dict[str, torch.Tensor]:
    drawn = POLICY.init(torch.Generator().manual_seed(seed))
    drawn["action.weight"] = 100.0 * drawn["action.weight"]
    return drawn


def batch(seed: int) -> Batch:
    """What one policy played, to be evaluated under another."""
    environment = FAMILY.make_vec(FAMILY.validation(2), 3, autoreset=False, horizon=60)
    played = collect_episodes(POLICY.bind(params(1)), environment, SeedSequence(seed))
    return make_batch(played, POLICY, 0.9, 1.0)


SUPPORT, QUERY = batch(0), batch(1)
THETA = {name: value.requires_grad_() for name, value in params(2).items()}
STILL = rule(POLICY, 0.0)  # adapting with a rate of 0


def clipped(data: Batch) -> torch.Tensor:
    log_prob = data.distribution(POLICY.bind(THETA)).log_prob(data.action)
    return clipped_loss(log_prob, data.log_prob, data.advantage, data.valid, CLIP)


def test_it_is_the_clipped_loss_on_the_query_data() -> None:
    outer = ClippedObjective(STILL, CLIP)([SUPPORT], QUERY, THETA)
    torch.testing.assert_close(outer.loss, clipped(QUERY))
    assert (clipped(QUERY) - clipped(SUPPORT)).abs().min() > 1e-5


def test_entropy_and_the_return_before_adapting_have_their_weights() -> None:
    objective = ClippedObjective(STILL, CLIP, entropy=0.3, support_weight=0.7)
    outer = objective([SUPPORT, QUERY], QUERY, THETA)
    entropy = QUERY.distribution(POLICY.bind(THETA)).entropy()
    expected = clipped(QUERY) - 0.3 * step_mean(entropy, QUERY.valid) + 0.7 * clipped(SUPPORT)
    torch.testing.assert_close(outer.loss, expected)
    torch.testing.assert_close(outer.diagnostics["entropy"], step_mean(entropy, QUERY.valid))


def test_credits_of_every_support_batch_are_added() -> None:
    credit = torch.tensor([1.0, -2.0])
    supports = [dataclasses.replace(one, credit=credit) for one in (SUPPORT, QUERY)]
    outer = ClippedObjective(STILL, CLIP)(supports, QUERY, THETA)
    expected = clipped(QUERY)
    for one in supports:
        log_prob = one.distribution(POLICY.bind(THETA)).log_prob(one.action)
        expected = expected + sampling_loss(log_prob, one.log_prob, credit, one.valid, CLIP)
    torch.testing.assert_close(outer.loss, expected)


def test_the_diagnostics_are_of_the_adapted_policy() -> None:
    moving = rule(POLICY, 0.5)
    adapted = moving.step(THETA, SUPPORT)
    outer = ClippedObjective(moving, CLIP)([SUPPORT], QUERY, THETA)
    log_prob = QUERY.distribution(POLICY.bind(adapted)).log_prob(QUERY.action)
    ratio = (log_prob - QUERY.log_prob).exp()
    outside = step_mean(((ratio - 1.0).abs() > CLIP).float(), QUERY.valid)
    torch.testing.assert_close(outer.diagnostics["clip_fraction"], outside)
    assert (outside > 0).all()
