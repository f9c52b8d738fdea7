"""MAML-TRPO: the outer step against dense linear algebra, and what its line search promises."""

import dataclasses
from collections.abc import Iterator, Sequence

import pytest
import torch
from methods import doubled, learner, on_one_sign
from numpy.random import SeedSequence
from test_natural import flat, score_outer_products
from torch import Tensor

from ssm_metarl.core.distributions import Categorical, Distribution
from ssm_metarl.errors import DivergenceError
from ssm_metarl.meta_rl import natural
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.maml_trpo import MAMLTRPO
from ssm_metarl.meta_rl.trust_region import Share, TrustRegionOptimizer

FAMILIES = pytest.mark.parametrize("family", ["CartPole-v1", "Pendulum-v1"])
TINY = {
    **{"width": 2, "state_size": 1, "tasks_per_epoch": 2, "episodes_per_task": 3},
    **{"support_steps": 8, "query_steps": 15, "inner_lr": 0.3},
}


def in_double(family: str) -> tuple[MAMLTRPO, list[Batch], Batch]:
    """Return a tiny learner in double precision, and what it played."""
    learning = learner("maml_trpo", family, **TINY)
    assert isinstance(learning, MAMLTRPO)
    tasks = learning.family.validation(2)
    batches = [doubled(batch) for _, batch in learning._collect(tasks, SeedSequence(0))]
    for name, value in learning.params.items():
        learning.params[name] = value.detach().double().requires_grad_()
    names = [name.removeprefix("params/") for name in learning.learned]
    learning.learned = {name: learning.params[name] for name in names}
    learning.optimizer = TrustRegionOptimizer(learning.learned, 0.01)
    support, query = batches
    adapted = learning.rule().step(learning.detached(), support)
    behaviour = query.distribution(learning.policy.bind(adapted))
    return learning, [support], dataclasses.replace(query, behaviour=behaviour)


def shares(learning: MAMLTRPO, supports: Sequence[Batch], query: Batch) -> Iterator[Share]:
    for outer in learning.outer_losses(supports, query):
        yield Share(outer.loss.sum() / 2, outer.divergence.sum() / 2)


def vector_of(values: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.flatten() for value in values.values()])


def hessian(learning: MAMLTRPO, supports: list[Batch], query: Batch) -> Tensor:
    """``mean_k J_k' F_k J_k``: J by finite differences of adapting, F from the scores."""
    names, start = list(learning.learned), learning.detached()
    sizes = [start[name].numel() for name in names]

    def adapted(moved: Tensor) -> list[Tensor]:
        parts = zip(names, moved.split(sizes), strict=True)
        theta = start | {name: part.view_as(start[name]) for name, part in parts}
        after = learning.rule().step(theta, supports[0])
        return [flat({name: after[name] for name in names}, task) for task in range(2)]

    point = torch.cat([start[name].flatten() for name in names])
    columns = []
    for unit in torch.eye(len(point), dtype=torch.float64) * 1e-5:
        pairs = zip(adapted(point + unit), adapted(point - unit), strict=True)
        columns.append([(up - down) / 2e-5 for up, down in pairs])
    after = learning.rule().step(start, supports[0])
    total = torch.zeros(len(point), len(point), dtype=torch.float64)
    for task in range(2):
        own = {name: value[task] if name in names else value for name, value in after.items()}
        fisher = score_outer_products(learning.policy, own, query, task)
        jacobian = torch.stack([column[task] for column in columns], 1)
        total += jacobian.T @ fisher @ jacobian / 2
    return total


@FAMILIES
def test_the_first_trial_is_the_natural_step_of_dense_algebra(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    learning, supports, query = in_double(family)
    monkeypatch.setattr(natural, "ITERATIONS", 28)
    monkeypatch.setattr(natural, "TINY", 1e-40)
    before = vector_of(learning.learned).detach().clone()
    gradients = torch.autograd.grad(
        sum(share.loss for share in shares(learning, supports, query)), [*learning.learned.values()]
    )
    slope, curvature = (
        torch.cat([g.flatten() for g in gradients]),
        hessian(learning, supports, query),
    )
    damped = curvature + natural.DAMPING * torch.eye(len(slope), dtype=torch.float64)
    direction = torch.linalg.solve(damped, -slope)
    expected = direction * (0.02 / (direction @ damped @ direction)).sqrt()

    step = learning.optimizer.step(lambda: shares(learning, supports, query))
    taken = vector_of(learning.learned).detach() - before
    assert 0.4 < step.fraction <= 1.0
    torch.testing.assert_close(taken, step.fraction * expected, rtol=2e-3, atol=2e-6)
    assert step.gradient_norm == pytest.approx(slope.norm().item())


def by_torch(distribution: Distribution) -> torch.distributions.Distribution:
    if isinstance(distribution, Categorical):
        return torch.distributions.Categorical(logits=distribution.logits)
    std = distribution.log_std.exp().expand_as(distribution.mean)
    return torch.distributions.Independent(torch.distributions.Normal(distribution.mean, std), 1)


@FAMILIES
def test_the_mean_divergence_stays_within_its_bound(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    learning, seen = learner("maml_trpo", family, **TINY, target_kl=0.02), []
    update = type(learning).update
    monkeypatch.setattr(
        learning, "update", lambda *data: [seen.append(data), update(learning, *data)][1]
    )
    for iteration in (1, 2):
        before = {name: value.clone() for name, value in learning.detached().items()}
        told = learning.iterate(SeedSequence(0), iteration).metrics
        supports, query = seen[-1]
        old, new = (
            by_torch(
                query.distribution(learning.policy.bind(learning.rule().step(theta, *supports)))
            )
            for theta in (before, learning.detached())
        )
        each = torch.distributions.kl_divergence(old, new) * query.valid
        mean = (each.sum((0, 2)) / query.valid.sum((0, 2))).mean().item()
        assert 0.2 * 0.02 < mean <= 0.02
        assert told["kl"] == pytest.approx(mean, rel=1e-3)


def test_chunks_of_tasks_take_the_step_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(natural, "ITERATIONS", 4)
    after = []
    for chunk in (1, 3):
        learning = learner("maml_trpo", **TINY)
        learning.chunk = chunk
        learning.iterate(SeedSequence(3), 1)
        after.append(vector_of(learning.learned).detach())
    torch.testing.assert_close(*after, atol=1e-3, rtol=0)


@pytest.mark.parametrize("wrong", ["too far", "no better", "not a number"])
def test_where_no_trial_is_good_all_is_as_before_to_the_bit(wrong: str) -> None:
    x = torch.tensor([0.1, -1.2, 3e-9], requires_grad=True)
    start = x.detach().clone()

    def evaluate() -> Iterator[Share]:
        moved, loss = x - start, x.sum()
        divergence = moved.square().sum()
        if moved.any() and wrong == "too far":
            divergence = divergence + 1.0
        if moved.any() and wrong == "no better":
            loss = -loss + 2 * start.sum()
        if moved.any() and wrong == "not a number":
            loss = loss * torch.nan
        yield Share(loss, divergence)

    step = TrustRegionOptimizer({"x": x}, 0.01).step(evaluate)
    assert torch.equal(x.detach(), start)
    assert (step.fraction, step.divergence) == (0.0, 0.0)


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    x = torch.tensor([0.1, -1.2], requires_grad=True)
    start = x.detach().clone()
    with pytest.raises(DivergenceError, match="loss nan"):
        TrustRegionOptimizer({"x": x}, 0.01).step(lambda: [Share(x.sum() * torch.nan, x.sum())])
    assert torch.equal(x.detach(), start)


def test_it_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(natural, "ITERATIONS", 4)
    horizon = {"support_steps": 30, "query_steps": 60, "inner_lr": 0.01, "target_kl": 0.1}
    learning = learner("maml_trpo", tasks_per_epoch=4, episodes_per_task=5, **horizon)
    learning.family = on_one_sign(learning.family)
    told = [learning.iterate(SeedSequence(0), i).metrics for i in range(1, 5)]
    first, *_, last = [each["query_reward"] for each in told]
    assert first < 36
    assert last > 52
