"""Returns and advantages of trajectories ``[T, K, E]``."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssm_metarl.core.scan import linear_recurrence
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.meta_rl.losses import step_mean

NOISE_FLOOR = 0.05  # of the size of the returns


@dataclass(frozen=True)
class Targets:
    """What a trajectory says about its actions and values; constant under the gradient."""

    advantage: Float[Tensor, "T K E"]
    """Of each action, standardised."""
    scale: Float[Tensor, "K"]
    """What the advantages were divided by, in units of the rewards."""
    value: Float[Tensor, "T K E"]
    """What the baseline says, in units of the rewards."""
    target: Float[Tensor, "T K E"]
    """What it should say: the lambda-return, which is the value plus the advantage."""


@torch.no_grad()
def make_targets(
    trajectory: Trajectory,
    value: Float[Tensor, "T1 K E"],
    discount: float,
    gae_lambda: float,
    floor: float = NOISE_FLOOR,
) -> Targets:
    """Return GAE against a baseline's values, standardised by task.

    Where the baseline explains nearly all of the returns, as it does once every episode survives,
    what is left is noise; standardising must not scale that up to a full-sized step. So the spread
    counts as at least ``floor`` times the size of the returns.
    """
    valid = trajectory.valid
    ends = trajectory.terminated, trajectory.done, valid
    advantage = generalized_advantages(trajectory.reward, value, *ends, discount, gae_lambda)
    target = value[:-1] + advantage
    size = step_mean(target.square(), valid).sqrt()
    standard, scale = standardize(advantage, valid, floor * size)
    return Targets(standard, scale, value[:-1], target)


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
    A lambda of 1 gives returns minus values.
    """
    following = value[1:] * (~terminated).to(value.dtype)
    surprise = (reward + discount * following - value[:-1]) * valid
    return discounted_sum(surprise, done | ~valid, discount * gae_lambda) * valid


def standardize(
    x: Float[Tensor, "T K E"], valid: Bool[Tensor, "T K E"], floor: Float[Tensor, "K"]
) -> tuple[Float[Tensor, "T K E"], Float[Tensor, "K"]]:
    """Give the valid steps of every task, on its own, zero mean and unit variance.

    Dead steps become zero. Also returns the standard deviation, at least ``floor``, that each task
    was divided by.
    """
    count = valid.sum((0, 2)).clamp_min(1)
    mean = (x * valid).sum((0, 2)) / count
    centred = (x - mean.unsqueeze(-1)) * valid
    std = (centred.square().sum((0, 2)) / count).sqrt()
    scale = torch.maximum(std, floor).clamp_min(1e-8)
    return centred / scale.unsqueeze(-1), scale
