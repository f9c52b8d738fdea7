"""A value baseline in closed form: ridge regression on features, per task and per inner step."""

import functools

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from ssm_metarl.core.linear import linear
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.errors import DivergenceError
from ssm_metarl.meta_rl.returns import discounted_sum

TIME_UNIT = 100.0  # steps
PSEUDO_STEPS = 16.0  # observed steps that the ridge weighs as much as
RIDGE_GROWTH, RIDGE_TRIES = 10.0, 12
TINY = 1e-9  # where features do not vary at all
FEATURE_CLIP = 10.0
WAVES = 32  # random Fourier features
WAVE_SIZE = 0.5  # below 1 the ridge weighs more on them, so that little data are not overfitted


@torch.no_grad()
def linear_values(
    trajectory: Trajectory, policy: Policy, discount: float
) -> Float[Tensor, "T1 K E"]:
    """Return what the baseline that is fitted to a trajectory says of each of its observations."""
    seen = policy.spaces.condensed(policy.spaces.normalized(trajectory.observation))
    features = baseline_features(seen, episode_age(trajectory))
    ends = trajectory.terminated, trajectory.done, trajectory.valid
    return baseline_values(features, fit_baseline(trajectory.reward, features, *ends, discount))


def episode_age(trajectory: Trajectory) -> Float[Tensor, "T1 K E"]:
    """Return the number of steps since each observation's episode began."""
    start = trajectory.episode_start
    clock = torch.arange(len(start), device=start.device).view(-1, 1, 1)
    began = torch.where(start, clock, 0).cummax(0).values
    return (clock - began).to(trajectory.reward.dtype)


def baseline_features(
    observation: Float[Tensor, "T K E O"], age: Float[Tensor, "T K E"]
) -> Float[Tensor, "T K E F"]:
    """Return observations, their squares and changes, powers of time, Fourier features, and a 1.

    The features of Duan et al. (2016, arXiv:1604.06778), with two additions: the last change of
    the observation, which stands in for velocities where those are hidden, and random Fourier
    features of the observation (Rahimi and Recht 2007), for values that are no quadratic: those of
    a pendulum depend on the product of angle and spin.

    Observations are in units of their typical magnitude, ``age`` in steps since the episode began.
    """
    x = observation.clamp(-FEATURE_CLIP, FEATURE_CLIP)
    change = torch.cat([torch.zeros_like(x[:1]), x[1:] - x[:-1]])
    change = torch.where(age.unsqueeze(-1) > 0, change, 0.0)
    t = age.unsqueeze(-1) / TIME_UNIT
    powers = [x, x.square(), change, t, t**2, t**3]
    waves = WAVE_SIZE * fourier_features(x, WAVES)
    return torch.cat([*powers, waves, torch.ones_like(t)], -1)


def fourier_features(
    x: Float[Tensor, "*B X"], count: int, width: float = 1.0
) -> Float[Tensor, "*B W"]:
    """Return cosines along fixed random directions (Rahimi and Recht 2007).

    Their products vary with the distance of two inputs like a Gaussian kernel of a width.
    """
    directions, phases = (
        torch.from_numpy(part).to(x) for part in _directions(x.shape[-1], count, width)
    )
    return (x @ directions + phases).cos()


@functools.cache
def _directions(size: int, count: int, width: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((size, count)) / width, 2 * np.pi * rng.random(count)


def fit_baseline(
    reward: Float[Tensor, "T K E"],
    features: Float[Tensor, "T+1 K E F"],
    terminated: Bool[Tensor, "T K E"],
    done: Bool[Tensor, "T K E"],
    valid: Bool[Tensor, "T K E"],
    discount: float,
) -> Float[Tensor, "K F"]:
    """Fit, for every task on its own, values to the discounted rewards that followed.

    Where an episode was cut by a time limit, the value of the observation it led to belongs to
    what followed. With a linear value that is linear in the weights too: the least squares are
    of ``(phi_t - gamma^(H - t) phi_H) w`` on the rewards up to H.

    A ridge weighs as much as a few observed steps would, so that a handful of episodes is not
    overfitted and many are fitted freely; the last feature, a constant, is left out of it.

    Raises:
        DivergenceError: No ridge helped, so the features or rewards are not finite.
    """
    ends = done.clone()
    ends[-1] = True  # what was going on at the end of the rollout was cut
    cut = (valid & ~terminated & ends).to(features.dtype).unsqueeze(-1)
    tail = discounted_sum(features[1:] * (discount * cut), done, discount)
    target = discounted_sum(reward * valid, done, discount).unsqueeze(-1)
    weight = _by_task(valid.unsqueeze(-1))
    seen, phi, y = (_by_task(x).mul_(weight) for x in (features[:-1], features[:-1] - tail, target))
    count = weight.sum((1, 2)).clamp_min(1.0)
    mean = seen.sum(1) / count.unsqueeze(-1)
    variance = torch.linalg.vector_norm(seen, dim=(1, 2)).square() / count - mean.square().sum(-1)
    ridge = variance.unsqueeze(-1).expand_as(mean) / (mean.shape[-1] - 1)  # a constant has none
    ridge = torch.cat([ridge[:, 1:], torch.zeros_like(ridge[:, :1])], -1)
    return _solve(phi.mT @ phi, (y.mT @ phi).mT, ridge).squeeze(-1).to(features.dtype)


def _by_task(x: Shaped[Tensor, "T K E F"]) -> Float[Tensor, "K N F"]:
    """Return the steps of each task as rows, in float64."""
    return x.transpose(0, 1).flatten(1, 2).double()


def _solve(
    gram: Float[Tensor, "K F F"], moment: Float[Tensor, "K F 1"], ridge: Float[Tensor, "K F"]
) -> Float[Tensor, "K F 1"]:
    """Solve the normal equations with the smallest ridge that makes all of them solvable."""
    for power in range(RIDGE_TRIES):
        penalty = PSEUDO_STEPS * RIDGE_GROWTH**power * ridge + TINY
        factor, info = torch.linalg.cholesky_ex(gram + torch.diag_embed(penalty))
        weights = torch.cholesky_solve(moment, factor)
        if not info.any() and torch.isfinite(weights).all():
            return weights
    raise DivergenceError("the value baseline could not be fitted: its data are not finite")


def baseline_values(
    features: Float[Tensor, "T K E F"], weights: Float[Tensor, "K F"]
) -> Float[Tensor, "T K E"]:
    """Evaluate a fitted baseline."""
    return linear(features, weights.unsqueeze(-1)).squeeze(-1)
