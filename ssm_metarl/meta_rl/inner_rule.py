"""Inner rules: from the data of a task to parameters adapted to it."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from ssm_metarl.core.parameters import (
    LeafFilter,
    Params,
    combine,
    expand_tasks,
    in_groups,
    partition,
)
from ssm_metarl.core.policy import Policy
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.inner_losses import InnerLoss
from ssm_metarl.meta_rl.registry import ADAPTS

Rates = float | Mapping[str, Tensor]
"""Inner learning rate: one number, or one for every entry of every parameter that moves."""

ACTING: LeafFilter = in_groups("encoder", "cell", "action")
"""Accepts the parameters that actions depend on, and that all tasks may share."""


def adapted_leaves(name: str) -> LeafFilter:
    """Return a filter that accepts what a value of ``--adapts`` lets gradient steps change."""
    return in_groups(*ADAPTS[name].groups)


@dataclass(frozen=True)
class InnerRule:
    """Gradient steps on the loss of each task: ``theta'_k = theta_k - alpha * grad_k``.

    ``leaves`` are the parameters that move, ``rates`` is alpha. First order treats the inner
    gradient as a constant when differentiating through a step.
    """

    policy: Policy
    loss: InnerLoss
    rates: Rates
    leaves: LeafFilter = ACTING
    first_order: bool = False

    def step(
        self, params: Params, batch: Batch, *, create_graph: bool = False
    ) -> dict[str, Tensor]:
        """Take one gradient step per task.

        Tasks do not interact, so the gradient of the *sum* of their losses with respect to
        parameters ``[K, ...]`` is every task's own gradient (Finn et al. 2017, arXiv:1703.03400).
        Given shared or per-task parameters, returns all; those that moved have a task axis.
        ``create_graph`` lets an outer loss be differentiated through the step.
        """
        theta, gradients = self._gradients(params, batch, create_graph=create_graph)
        adapted = descend(theta, gradients, self.rates)
        if not create_graph:
            adapted = {name: value.detach() for name, value in adapted.items()}
        return combine(params, adapted)

    def gradients(self, params: Params, batch: Batch) -> dict[str, Tensor]:
        """Return each task's gradient ``[K, ...]`` of the parameters that move, as constants."""
        return self._gradients(params, batch, create_graph=False)[1]

    def _gradients(
        self, params: Params, batch: Batch, *, create_graph: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        free, _ = partition(params, self.policy.leaves, self.leaves)
        theta = per_task_params(self.policy, free, batch.valid.shape[1])
        if not create_graph:
            theta = {name: value.detach().requires_grad_() for name, value in theta.items()}
        with torch.enable_grad():
            loss = self.loss(self.policy.bind(combine(params, theta)), batch).sum()
            gradients = torch.autograd.grad(
                loss,
                list(theta.values()),
                create_graph=create_graph and not self.first_order,
                materialize_grads=True,  # predicting does not go through the action head
            )
        return theta, dict(zip(theta, gradients, strict=True))


def descend(theta: Params, gradients: Params, rates: Rates) -> dict[str, Tensor]:
    """Return ``theta - alpha * gradient`` for every gradient there is."""
    return {
        name: theta[name] - (rates[name] if isinstance(rates, Mapping) else rates) * gradient
        for name, gradient in gradients.items()
    }


def per_task_params(policy: Policy, params: Params, tasks: int) -> dict[str, Tensor]:
    """Return parameters with a task axis, which shared ones get without a copy."""
    name, value = next(iter(params.items()))
    shared = value.ndim == len(policy.leaves[name].shape)
    return expand_tasks(params, tasks) if shared else dict(params)


def broadcast_tasks(number: Shaped[Tensor, "K"], like: Tensor) -> Tensor:
    """Make a number of each task broadcast against ``[K, ...]``."""
    return number.view(-1, *[1] * (like.ndim - 1))
