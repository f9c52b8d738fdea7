"""Bias and variance of estimators of the meta-gradient, from all that may be sampled.

A sample is the one support episode of a task and, of the policy adapted to it, one query episode.
Every pair is enumerated and weighed by its probability, so that nothing here is drawn.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from enumerated import ALPHA, POLICY, flatten, make_params, unflatten
from test_sampling_term import SCALE, Adaptations
from torch import Tensor

from ssm_metarl.core.parameters import combine, expand_tasks, partition
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.inner_rule import InnerRule, adapted_leaves
from ssm_metarl.meta_rl.objective import ClippedObjective
from ssm_metarl.meta_rl.registry import INNER_LOSSES


@dataclass(frozen=True)
class Estimator:
    """How the meta-gradient is estimated.

    Attributes:
        credited: Whether the support data are credited with the return of the query episode.
        summed: Whether the gradients along the way are summed instead (Reptile).
    """

    surrogate: str = "lvc"
    adapts: str = "all"
    first_order: bool = False
    credited: bool = False
    summed: bool = False
    settings: dict[str, float] = field(default_factory=dict)

    def rule(self) -> InnerRule:
        loss = partial(INNER_LOSSES[self.surrogate].load(), **self.settings)
        leaves = adapted_leaves(self.adapts)
        return InnerRule(POLICY, loss, ALPHA, leaves, first_order=self.first_order)


ESTIMATORS = {
    "Reptile": Estimator(summed=True),
    "FOMAML": Estimator(first_order=True),
    "log pi * A": Estimator("emaml"),
    "lvc": Estimator(),
    "loaded DiCE (0.5)": Estimator("loaded_dice", settings={"dice_lambda": 0.5}),
    "DiCE": Estimator("dice"),
    "E-MAML": Estimator("emaml", credited=True),
    "ANIL, lvc": Estimator(adapts="heads"),
    "ANIL, DiCE": Estimator("dice", adapts="heads"),
    "ANIL, E-MAML": Estimator("emaml", adapts="heads", credited=True),
}


@dataclass(frozen=True)
class Quality:
    """Of an estimator, in units of the norm of the true gradient.

    Attributes:
        bias: Norm of its mean minus the truth: the gradient of the return that is expected after
            adapting from one episode.
        spread: Root of its variances, summed over the parameters.
        endless: Bias where the support data are endless: all episodes, by their probability.
    """

    bias: float
    spread: float
    endless: float


def quality(estimator: Estimator, adaptations: Adaptations) -> Quality:
    truth = true_gradient(adaptations, estimator.adapts)
    mean, square = torch.zeros_like(truth), 0.0
    for probability, gradient in samples(estimator, adaptations):
        mean += probability * gradient
        square += float(probability * gradient.square().sum())
    size = truth.norm()
    spread = (square - mean.square().sum()).clamp_min(0.0).sqrt()
    bias, endless = (
        float((mean - truth).norm() / size),
        bias_of_endless_data(estimator, adaptations),
    )
    return Quality(bias, float(spread / size), endless)


def bias_of_endless_data(estimator: Estimator, adaptations: Adaptations) -> float:
    """Return that of what is differentiated; a credit has no part in it."""
    problem, task, params = adaptations.problem, adaptations.task, make_params()
    vector, exact = (flatten(params).requires_grad_() for _ in range(2))
    rule = estimator.rule()
    adapted = rule.step(unflatten(vector, params), problem.batch(params), create_graph=True)
    value = problem.expected_return(adapted)[task]

    shared = unflatten(exact, params)
    free, _ = partition(shared, POLICY.leaves, rule.leaves)
    gain = problem.expected_return(shared)[task]
    slopes = torch.autograd.grad(gain, list(free.values()), create_graph=True)
    moved = {n: v + ALPHA * s for (n, v), s in zip(free.items(), slopes, strict=True)}
    truth = problem.expected_return(combine(shared, moved))[task]

    found, true = (torch.autograd.grad(one, at)[0] for one, at in ((value, vector), (truth, exact)))
    return float((found - true).norm() / true.norm())


def true_gradient(adaptations: Adaptations, adapts: str) -> Tensor:
    params = make_params()
    vector = flatten(params).requires_grad_()
    theta = expand_tasks(unflatten(vector, params), len(adaptations.everything))
    data = adaptations.batch(theta, adaptations.supports[0])
    probability = adaptations.probability(theta, adaptations.supports[0]).prod(-1)
    gain = (data.log_prob * data.advantage).sum(0).mean(-1).sum()
    free, _ = partition(theta, POLICY.leaves, adapted_leaves(adapts))
    slopes = torch.autograd.grad(gain, list(free.values()), create_graph=True)
    moved = {n: v + ALPHA * s for (n, v), s in zip(free.items(), slopes, strict=True)}
    value = adaptations.expected_return(combine(theta, moved))
    return torch.autograd.grad((probability * value).sum(), vector)[0]


def samples(estimator: Estimator, adaptations: Adaptations) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every sample's probability and gradient."""
    params, rule, paths = make_params(), estimator.rule(), adaptations.supports[0]
    support = adaptations.batch(params, paths)
    first = adaptations.probability(params, paths).prod(-1).detach()
    adapted = rule.step(params, support)
    baseline = (first * adaptations.expected_return(adapted)).sum().detach()
    returns = adaptations.problem.reward[:, adaptations.task].sum(0)
    for episode, value in enumerate(returns):
        one = torch.full((len(first), 1), episode)
        query = adaptations.batch(adapted, one)
        chance = first * adaptations.probability(adapted, one)[:, 0].detach()
        credit = (value - baseline) / query.unit if estimator.credited else None
        own = replace(support, credit=credit)
        query = replace(query, advantage=query.advantage / SCALE)
        yield from zip(chance, gradients(estimator, rule, own, query), strict=True)


def gradients(
    estimator: Estimator, rule: InnerRule, support: Batch, query: Batch
) -> Iterator[Tensor]:
    """Yield the gradient of each task, to ascend."""
    if estimator.summed:
        along = rule.gradients(make_params(), support)
        query = replace(query, advantage=query.advantage * SCALE)
        after = rule.gradients(rule.step(make_params(), support), query)
        slopes = [along[name] + after[name] for name in along]
    else:  # each task has parameters of its own, so that one pass gives the gradients of all
        theta = expand_tasks(make_params(), len(query.scale))
        theta = {name: value.clone().requires_grad_() for name, value in theta.items()}
        losses = ClippedObjective(rule, clip=0.2)([support], query, theta).loss * query.unit
        slopes = torch.autograd.grad(losses.sum(), list(theta.values()))
    yield from -torch.cat([slope.flatten(1) for slope in slopes], 1)
