"""The inner loop: from shared parameters to one set of parameters per task."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ssm_metarl.core.parameters import Params, expand_tasks
from ssm_metarl.core.policy import LOG_STD, Policy
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.losses import (
    Surrogate,
    dice_loss,
    lvc_loss,
    prediction_loss,
    score_loss,
    step_mean,
)

Rates = float | Mapping[str, Tensor]
"""Inner learning rate: one number, or one per parameter."""

MAX_HALVINGS = 12
HEADS_LEFT_ALONE = ("value.", "prediction.")


def adaptable(name: str) -> bool:
    """Whether the inner loop changes a parameter: all those the policy's actions depend on."""
    return not name.startswith(HEADS_LEFT_ALONE)


def inner_loss(policy: Policy, params: Params, batch: Batch, surrogate: Surrogate) -> Tensor:
    """Return the inner loss of each task, ``[K]``, of the scale of an episode."""
    bound = policy.bind(params)
    if surrogate == "prediction":
        predicted = bound.prediction(batch.features(bound), batch.action)
        return prediction_loss(predicted, batch.change, batch.valid)
    log_prob = batch.distribution(bound).log_prob(batch.action)
    if surrogate == "dice":
        return dice_loss(log_prob, batch.advantage, batch.valid) / batch.episodes
    if surrogate == "emaml":
        return score_loss(log_prob, batch.advantage) / batch.episodes
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
    theta, gradients = _gradients(
        policy, params, batch, surrogate, create_graph=create_graph, first_order=first_order
    )
    adapted = descend(theta, gradients, rates)
    if not create_graph:
        adapted = {name: value.detach() for name, value in adapted.items()}
    return {**params, **adapted}


def inner_gradients(
    policy: Policy, params: Params, batch: Batch, surrogate: Surrogate
) -> dict[str, Tensor]:
    """Return each task's gradient ``[K, ...]`` of what the inner loop adapts, as constants."""
    return _gradients(policy, params, batch, surrogate)[1]


def descend(theta: Params, gradients: Params, rates: Rates) -> dict[str, Tensor]:
    """Return ``theta - alpha * gradient`` for every gradient there is."""
    return {
        name: theta[name] - (rates[name] if isinstance(rates, Mapping) else rates) * gradient
        for name, gradient in gradients.items()
    }


def narrowed(params: Params, std: float) -> dict[str, Tensor]:
    """Return the spread of continuous actions, no wider than ``std`` in any dimension."""
    return {LOG_STD: params[LOG_STD].clamp_max(math.log(std))} if LOG_STD in params else {}


def _gradients(
    policy: Policy,
    params: Params,
    batch: Batch,
    surrogate: Surrogate,
    *,
    create_graph: bool = False,
    first_order: bool = False,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return what is adapted, per task, and its gradients."""
    free = {name: value for name, value in params.items() if adaptable(name)}
    theta = expand_tasks(free, batch.valid.shape[1]) if is_shared(params) else free
    if not create_graph:
        theta = {name: value.detach().requires_grad_() for name, value in theta.items()}
    with torch.enable_grad():
        loss = inner_loss(policy, {**params, **theta}, batch, surrogate).sum()
        gradients = torch.autograd.grad(
            loss,
            list(theta.values()),
            create_graph=create_graph and not first_order,
            materialize_grads=True,  # predicting does not go through the action head
        )
    return theta, dict(zip(theta, gradients, strict=True))


@torch.no_grad()
def within_trust(
    policy: Policy, before: Params, after: Params, batch: Batch, bound: float
) -> dict[str, Tensor]:
    """Halve each task's step until the policy has not moved too far on the data it is based on.

    Args:
        policy: The network.
        before: Parameters that collected the batch, shared or per task.
        after: Parameters after a step, with a task axis where they differ.
        batch: The data.
        bound: Largest divergence KL(before || after) in nats, the mean over a task's steps
            (Schulman et al. 2015, arXiv:1502.05477).

    Returns:
        The parameters between, per task; those of a task whose step is small enough are ``after``.
    """
    start = batch.distribution(policy.bind(before))
    scale = batch.advantage.new_ones(batch.valid.shape[1])
    for _ in range(MAX_HALVINGS):
        theta = {name: _between(before[name], value, scale) for name, value in after.items()}
        moved = step_mean(start.kl(batch.distribution(policy.bind(theta))), batch.valid)
        too_far = ~(moved <= bound)
        if not too_far.any():
            break
        scale = torch.where(too_far, 0.5 * scale, scale)
    return {name: _between(before[name], value, scale) for name, value in after.items()}


def _between(before: Tensor, after: Tensor, scale: Float[Tensor, "K"]) -> Tensor:
    """Return a point on each task's way; a tensor that is shared did not move."""
    if after is before:
        return after
    return torch.lerp(before.expand_as(after), after, per_task(scale, after))


def per_task(number: Float[Tensor, "K"], like: Tensor) -> Tensor:
    """Make a number of each task broadcast against ``[K, ...]``."""
    return number.view(-1, *[1] * (like.ndim - 1))


def is_shared(params: Params) -> bool:
    """Whether the parameters have no task axis yet."""
    return params["encoder.bias"].ndim == 1
