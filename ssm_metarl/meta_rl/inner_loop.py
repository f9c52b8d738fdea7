"""The inner loop: from shared parameters to one set of parameters per task."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ssm_metarl.core.parameters import Params, expand_tasks
from ssm_metarl.core.policy import Policy
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.losses import Surrogate, dice_loss, lvc_loss

Rates = float | Mapping[str, Tensor]
"""Inner learning rate: one number, or one per parameter."""

HEADS_LEFT_ALONE = ("value.", "prediction.")


def adaptable(name: str) -> bool:
    """Whether the inner loop changes a parameter: all those the policy's actions depend on."""
    return not name.startswith(HEADS_LEFT_ALONE)


def inner_loss(policy: Policy, params: Params, batch: Batch, surrogate: Surrogate) -> Tensor:
    """Return the inner loss of each task, ``[K]``, of the scale of an episode."""
    log_prob = batch.distribution(policy.bind(params)).log_prob(batch.action)
    if surrogate == "dice":
        return dice_loss(log_prob, batch.advantage, batch.valid) / batch.episodes
    return lvc_loss(log_prob, batch.behaviour, batch.advantage) / batch.episodes


def inner_step(
    policy: Policy,
    params: Params,
    batch: Batch,
    rates: Rates,
    *,
    surrogate: Surrogate = "lvc",
    create_graph: bool = False,
    first_order: bool = False,
) -> dict[str, Tensor]:
    """Take one gradient step per task: ``theta'_k = theta_k - alpha * grad_k``.

    Tasks do not interact, so the gradient of the *sum* of their losses with respect to
    parameters ``[K, ...]`` is every task's own gradient (Finn et al. 2017, arXiv:1703.03400).

    Args:
        policy: The network.
        params: Shared (``[...]``) or per task (``[K, ...]``).
        batch: On-policy data of K tasks.
        rates: ``alpha``.
        surrogate: Which inner loss.
        create_graph: Keep the graph, so that an outer loss can be differentiated through it.
        first_order: With the graph, treat the inner gradient as a constant.

    Returns:
        All parameters; those adapted have a task axis.
    """
    count = batch.valid.shape[1]
    free = {name: value for name, value in params.items() if adaptable(name)}
    shared = is_shared(params)
    theta = expand_tasks(free, count) if shared else free
    if not create_graph:
        theta = {name: value.detach().requires_grad_() for name, value in theta.items()}
    with torch.enable_grad():
        loss = inner_loss(policy, {**params, **theta}, batch, surrogate).sum()
        gradients = torch.autograd.grad(
            loss, list(theta.values()), create_graph=create_graph and not first_order
        )
    adapted = {
        name: value - (rates[name] if isinstance(rates, Mapping) else rates) * gradient
        for (name, value), gradient in zip(theta.items(), gradients, strict=True)
    }
    if not create_graph:
        adapted = {name: value.detach() for name, value in adapted.items()}
    return {**params, **adapted}


def is_shared(params: Params) -> bool:
    """Whether the parameters have no task axis yet."""
    return params["encoder.bias"].ndim == 1
