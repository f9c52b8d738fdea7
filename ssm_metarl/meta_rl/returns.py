"""Returns and advantages of trajectories ``[T, K, E]``."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssm_metarl.core.scan import linear_recurrence


def discounted_sum(
    values: Float[Tensor, "T K E *F"], done: Bool[Tensor, "T K E"], discount: float
) -> Float[Tensor, "T K E *F"]:
    """Return ``y_t = x_t + discount * (not done_t) * y_{t+1}``: sums to the episode's end."""
    decay = discount * (~done).to(values.dtype)
    decay = decay.view(*decay.shape, *[1] * (values.ndim - decay.ndim)).expand_as(values)
    return linear_recurrence(decay, values, torch.zeros_like(values[0]), reverse=True)


def generalized_advantages(
    reward: Float[Tensor, "T K E"],
    value: Float[Tensor, "T+1 K E"],
    terminated: Bool[Tensor, "T K E"],
    done: Bool[Tensor, "T K E"],
    valid: Bool[Tensor, "T K E"],
    discount: float,
    gae_lambda: float,
) -> Float[Tensor, "T K E"]:
    """Return GAE(lambda) (Schulman et al. 2016, arXiv:1506.02438), zero on dead steps.

    A time limit is not an end: where an episode was truncated, or the rollout stopped, the value
    of the observation it led to stands for the rest. Only termination is worth nothing after.

    Args:
        reward: Of each step.
        value: Of each observation, the last one included.
        terminated: The episode ended for good.
        done: The episode ended, for good or by truncation; nothing is summed across it.
        valid: False on dead steps.
        discount: Gamma, per step.
        gae_lambda: Lambda; 1 gives returns minus values.
    """
    following = value[1:] * (~terminated).to(value.dtype)
    surprise = (reward + discount * following - value[:-1]) * valid
    return discounted_sum(surprise, done | ~valid, discount * gae_lambda) * valid


def standardize(
    x: Float[Tensor, "T K E"],
    valid: Bool[Tensor, "T K E"],
    floor: Float[Tensor, "K"] | None = None,
) -> Float[Tensor, "T K E"]:
    """Give the valid steps of every task, on its own, zero mean and unit variance.

    Args:
        x: What to standardise.
        valid: False on dead steps, which become zero.
        floor: Smallest standard deviation to divide by, for each task.
    """
    return _centred(x, valid) / deviation(x, valid, floor).unsqueeze(-1)


def deviation(
    x: Float[Tensor, "T K E"],
    valid: Bool[Tensor, "T K E"],
    floor: Float[Tensor, "K"] | None = None,
) -> Float[Tensor, "K"]:
    """Return what :func:`standardize` divides by, with the same arguments."""
    count = valid.sum((0, 2)).clamp_min(1)
    std = (_centred(x, valid).square().sum((0, 2)) / count).sqrt()
    if floor is not None:
        std = torch.maximum(std, floor)
    return std.clamp_min(1e-8)


def _centred(x: Float[Tensor, "T K E"], valid: Bool[Tensor, "T K E"]) -> Float[Tensor, "T K E"]:
    count = valid.sum((0, 2), keepdim=True).clamp_min(1)
    return (x - (x * valid).sum((0, 2), keepdim=True) / count) * valid
