"""Natural gradient steps within a trust region (Schulman et al. 2015, arXiv:1502.05477)."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ssm_metarl.core.parameters import Params, combine
from ssm_metarl.core.policy import Policy
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.inner_rule import broadcast_tasks, per_task_params
from ssm_metarl.meta_rl.losses import step_mean

DAMPING = 1e-2  # added to the Fisher matrix, which may be singular
ITERATIONS = 10  # of conjugate gradients
AIM = 2.0 / 3.0  # of the trust: the quadratic model of the divergence is not exact
TINY = 1e-12
MAX_HALVINGS = 12
Vector = dict[str, Tensor]  # of each task: a tensor [K, ...] per parameter


def natural_step(
    policy: Policy, before: Params, gradients: Params, after: Params, batch: Batch, trust: float
) -> dict[str, Tensor]:
    """Replace gradient steps by natural ones within a trust region.

    ``-F^-1 gradient``, with ``F`` the Fisher matrix of the policy on the episodes' observations, is
    the direction that lowers the loss most among those that change the policy by the same
    divergence (Kakade 2001, "A Natural Policy Gradient"). The step ends where the quadratic model
    of the divergence comes near ``trust``, or earlier, where it lowers the loss as much as the
    plain step does to first order: once little is left to gain, the gradient is mostly noise.

    The batch was collected with ``before``, shared or per task; the plain steps to ``after`` went
    down the gradients there, at whatever rates. ``trust`` is the largest KL(before || after) in
    nats, the mean over a task's steps.
    """
    down = scaled(-1.0 / (dot(gradients, gradients).sqrt() + TINY), gradients)
    plain = {name: after[name] - before[name] for name in gradients}
    fisher = fisher_product(policy, before, batch, gradients)
    direction = conjugate_gradients(fisher, down)
    until_trust = (2.0 * AIM * trust / (dot(direction, fisher(direction)) + TINY)).sqrt()
    as_good = dot(down, plain) / (dot(down, direction) + TINY)
    step = scaled(torch.minimum(until_trust, as_good), direction)
    natural = combine(before, {name: before[name] + value for name, value in step.items()})
    return within_trust(policy, before, natural, batch, trust)


@torch.no_grad()
def within_trust(
    policy: Policy, before: Params, after: Params, batch: Batch, bound: float
) -> dict[str, Tensor]:
    """Halve each task's step until the divergence on the step's data is within a bound.

    Parameters of a task whose step is small enough are those ``after`` it.
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
    """Interpolate, for each task; a tensor that is shared did not move."""
    if after is before:
        return after
    return torch.lerp(before.expand_as(after), after, broadcast_tasks(scale, after))


def fisher_product(
    policy: Policy, params: Params, batch: Batch, like: Params
) -> Callable[[Params], Vector]:
    """Return products of vectors with each task's damped Fisher matrix, which is never formed.

    It is the Hessian of the divergence KL(before || after) at ``before``: that is differentiated
    once here, and a product differentiates it again. ``like`` names the parameters of vectors.
    """
    theta = per_task_params(policy, {name: params[name] for name in like}, batch.valid.shape[1])
    theta = {name: value.detach().requires_grad_() for name, value in theta.items()}
    before = batch.distribution(policy.bind(params))

    def differentiate(value: Tensor, *, create_graph: bool = False) -> Vector:
        slopes = torch.autograd.grad(
            value,
            list(theta.values()),
            retain_graph=True,
            create_graph=create_graph,
            materialize_grads=True,
        )
        return dict(zip(theta, slopes, strict=True))

    with torch.enable_grad():
        after = batch.distribution(policy.bind(combine(params, theta)))
        divergence = step_mean(before.kl(after), batch.valid).sum()  # tasks do not interact
        slope = differentiate(divergence, create_graph=True)

    def product(vector: Params) -> Vector:
        along = torch.stack([(slope[name] * vector[name]).sum() for name in vector]).sum()
        curved = differentiate(along)
        return {name: curved[name] + DAMPING * vector[name] for name in vector}

    return product


def conjugate_gradients(product: Callable[[Params], Vector], target: Params) -> Vector:
    """Solve ``product(x) = target`` for each task (Hestenes and Stiefel 1952), roughly."""
    x = {name: torch.zeros_like(value) for name, value in target.items()}
    residual = direction = dict(target)
    error = dot(residual, residual)
    for _ in range(ITERATIONS):
        along = product(direction)
        step = error / (dot(direction, along) + TINY)
        x = plus(x, scaled(step, direction))
        residual = plus(residual, scaled(-step, along))
        last, error = error, dot(residual, residual)
        direction = plus(residual, scaled(error / (last + TINY), direction))
    return x


def dot(a: Params, b: Params) -> Float[Tensor, "K"]:
    """Return each task's inner product of two vectors."""
    return torch.stack([(a[name] * b[name]).flatten(1).sum(1) for name in a]).sum(0)


def plus(a: Params, b: Params) -> Vector:
    """Return the sum of two vectors."""
    return {name: a[name] + b[name] for name in a}


def scaled(scale: Float[Tensor, "K"], vector: Mapping[str, Tensor]) -> Vector:
    """Return a vector times a number of each task's own."""
    return {name: broadcast_tasks(scale, value) * value for name, value in vector.items()}
