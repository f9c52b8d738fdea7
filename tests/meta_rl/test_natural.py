"""Natural steps, against Fisher matrices that are written out."""

import pytest
import torch
from numpy.random import SeedSequence
from rules import rule
from torch import Tensor

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import collect_episodes
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.meta_rl import natural
from ssm_metarl.meta_rl.batch import Batch, make_batch
from ssm_metarl.meta_rl.inner_rule import descend
from ssm_metarl.meta_rl.losses import step_mean
from ssm_metarl.meta_rl.natural import conjugate_gradients, fisher_product, natural_step

TASKS = 2
FAMILIES = pytest.mark.parametrize("family", ["CartPole-v1", "Pendulum-v1"])


def setting(family_name: str, horizon: int = 60) -> tuple[Policy, Params, Batch]:
    """A tiny policy and what it played, in double precision."""
    family = get_family(family_name)
    policy = Policy(PolicyConfig(width=3, state_size=2), policy_spaces(family))
    params = policy.init(torch.Generator().manual_seed(0))
    environment = family.make_vec(family.validation(TASKS), 3, autoreset=False, horizon=horizon)
    rollout = collect_episodes(policy.bind(params), environment, SeedSequence(0))
    batch = make_batch(rollout, policy, 0.9, 1.0)
    floats = {
        name: value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in vars(batch).items()
    }
    return policy, {name: value.double() for name, value in params.items()}, Batch(**floats)


def divergence(policy: Policy, before: Params, after: Params, batch: Batch) -> Tensor:
    pairs = [batch.distribution(policy.bind(params)) for params in (before, after)]
    return step_mean(pairs[0].kl(pairs[1]), batch.valid)


def flat(vector: Params, task: int) -> Tensor:
    return torch.cat([value[task].flatten() for value in vector.values()])


def score_outer_products(policy: Policy, params: Params, batch: Batch, task: int) -> Tensor:
    """The Fisher matrix by its definition: the mean of score times score, over actions too.

    Actions of a categorical policy are enumerated. Of a Gaussian one, the two terms of its mean and
    of its spread are known: ``J_mean' J_mean / var + 2 J_logstd' J_logstd``.
    """
    names = list(rule(policy).gradients(params, batch))
    theta = [params[name].clone().requires_grad_() for name in names]
    alone = batch.tasks(slice(task, task + 1))
    found = alone.distribution(policy.bind({**params, **dict(zip(names, theta, strict=True))}))

    def jacobian(value: Tensor) -> Tensor:
        slopes = torch.autograd.grad(value, theta, retain_graph=True, materialize_grads=True)
        return torch.cat([slope.flatten() for slope in slopes])

    total = torch.zeros(2 * [sum(one.numel() for one in theta)], dtype=torch.float64)
    steps = alone.valid.nonzero().tolist()
    for t, _, e in steps:
        if hasattr(found, "logits"):
            log_probs = found.logits[t, 0, e].log_softmax(-1)
            for log_prob in log_probs:
                score = jacobian(log_prob)
                total += log_prob.exp().detach() * torch.outer(score, score)
        else:
            for mean, log_std in zip(
                found.mean[t, 0, e], found.log_std.expand_as(found.mean)[t, 0, e], strict=True
            ):
                score, spread = jacobian(mean), jacobian(log_std)
                total += torch.outer(score, score) * (-2.0 * log_std).exp().detach()
                total += 2.0 * torch.outer(spread, spread)
    return total / len(steps)


@FAMILIES
def test_products_are_those_of_the_matrix_of_scores(family: str) -> None:
    policy, params, batch = setting(family, horizon=20)
    vector = rule(policy).gradients(params, batch)
    product = fisher_product(policy, params, batch, vector)(vector)
    for task in range(TASKS):
        matrix = score_outer_products(policy, params, batch, task)
        given = flat(vector, task)
        expected = matrix @ given + natural.DAMPING * given
        torch.testing.assert_close(flat(product, task), expected, rtol=1e-8, atol=1e-10)


@FAMILIES
def test_conjugate_gradients_solve_what_elimination_solves(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, params, batch = setting(family, horizon=20)
    vector = rule(policy).gradients(params, batch)
    monkeypatch.setattr(natural, "ITERATIONS", 100)
    monkeypatch.setattr(natural, "TINY", 1e-40)
    found = conjugate_gradients(fisher_product(policy, params, batch, vector), vector)
    for task in range(TASKS):
        matrix = score_outer_products(policy, params, batch, task)
        matrix += natural.DAMPING * torch.eye(len(matrix), dtype=torch.float64)
        expected = torch.linalg.solve(matrix, flat(vector, task))
        torch.testing.assert_close(flat(found, task), expected, rtol=1e-4, atol=1e-6)


@FAMILIES
def test_long_steps_end_near_the_trust_and_gain_more_than_plain_ones(family: str) -> None:
    policy, params, batch = setting(family)
    gradients = rule(policy).gradients(params, batch)
    trust = 1e-3
    plain = rule(policy, 1e6).step(params, batch)
    after = natural_step(policy, params, gradients, plain, batch, trust)
    moved = divergence(policy, params, after, batch)
    assert (moved <= trust).all()
    assert (moved > 0.4 * trust).all()
    for task in range(TASKS):
        way = torch.cat([(after[n] - params[n])[task].flatten() for n in gradients])
        slope = flat(gradients, task)
        plain = -slope
        matrix = score_outer_products(policy, params, batch, task)
        as_far = plain * ((way @ matrix @ way) / (plain @ matrix @ plain)).sqrt()
        assert slope @ way < slope @ as_far  # lower at the same divergence


@FAMILIES
def test_short_steps_are_to_gain_as_much_and_change_the_policy_less(family: str) -> None:
    policy, params, batch = setting(family)
    gradients = rule(policy).gradients(params, batch)
    plain = descend(params, gradients, 1e-5)
    after = natural_step(policy, params, gradients, {**params, **plain}, batch, 0.1)
    for task in range(TASKS):
        ways = [
            torch.cat([(each[n] - params[n])[task].flatten() for n in gradients])
            for each in (plain, after)
        ]
        gains = [-(flat(gradients, task) @ way) for way in ways]
        torch.testing.assert_close(gains[0], gains[1], rtol=1e-6, atol=0.0)
        matrix = score_outer_products(policy, params, batch, task)
        assert ways[1] @ matrix @ ways[1] < ways[0] @ matrix @ ways[0]


def test_rates_of_their_own_say_how_far_and_not_where_to() -> None:
    policy, params, batch = setting("CartPole-v1")
    gradients = rule(policy).gradients(params, batch)
    generator = torch.Generator().manual_seed(0)
    uneven = {
        name: 1e-5 * torch.randn(params[name].shape, generator=generator, dtype=torch.float64).exp()
        for name in gradients
    }
    ways, gains = [], []
    for rates in (1e-5, uneven):
        plain = {**params, **descend(params, gradients, rates)}
        after = natural_step(policy, params, gradients, plain, batch, 0.1)
        for each in (plain, after):
            way = torch.cat([(each[n] - params[n])[0].flatten() for n in gradients])
            gains.append(-(flat(gradients, 0) @ way))
            ways.append(way / way.norm())
    torch.testing.assert_close(ways[1], ways[3], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(gains[0], gains[1], rtol=1e-6, atol=0.0)
    torch.testing.assert_close(gains[2], gains[3], rtol=1e-6, atol=0.0)


def test_tasks_do_not_interact_and_no_gradient_is_no_step() -> None:
    policy, params, batch = setting("CartPole-v1")
    gradients = rule(policy).gradients(params, batch)
    for gradient in gradients.values():
        gradient[1] = 0.0
    plain = {**params, **descend(params, gradients, 1.0)}
    both = natural_step(policy, params, gradients, plain, batch, 0.01)
    first = {n: v[:1] if v is not params[n] else v for n, v in plain.items()}
    slopes = {name: gradient[:1] for name, gradient in gradients.items()}
    alone = natural_step(policy, params, slopes, first, batch.tasks(slice(1)), 0.01)
    for name in gradients:
        torch.testing.assert_close(both[name][0], alone[name][0])
        assert torch.equal(both[name][1], params[name])
    for name in set(params) - set(gradients):
        assert both[name] is params[name]
