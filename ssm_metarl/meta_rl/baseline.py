"""A value baseline in closed form: ridge regression on features, per task and per inner step."""

import functools

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssm_metarl.errors import DivergenceError
from ssm_metarl.meta_rl.returns import discounted_sum

TIME_UNIT = 100.0  # steps
PSEUDO_STEPS = 16.0  # observed steps that the ridge weighs as much as
RIDGE_GROWTH, RIDGE_TRIES = 10.0, 12
TINY = 1e-9  # where features do not vary at all
FEATURE_CLIP = 10.0
WAVES = 32  # random Fourier features
WAVE_SIZE = 0.5  # below 1 the ridge weighs more on them, so that little data are not overfitted


def baseline_features(
    observation: Float[Tensor, "T K E O"], age: Float[Tensor, "T K E"]
) -> Float[Tensor, "T K E F"]:
    """Return observations, their squares and changes, powers of time, Fourier features, and a 1.

    The features of Duan et al. (2016, arXiv:1604.06778), with two additions: the last change of
    the observation, which stands in for velocities where those are hidden, and random Fourier
    features of the observation (Rahimi and Recht 2007), for values that are no quadratic: those of
    a pendulum depend on the product of angle and spin.

    Args:
        observation: In units of its typical magnitude.
        age: Steps since the episode began.
    """
    x = observation.clamp(-FEATURE_CLIP, FEATURE_CLIP)
    change = torch.cat([torch.zeros_like(x[:1]), x[1:] - x[:-1]])
    change = torch.where(age.unsqueeze(-1) > 0, change, 0.0)
    t = age.unsqueeze(-1) / TIME_UNIT
    powers = [x, x.square(), change, t, t**2, t**3]
    return torch.cat([*powers, _waves(x), torch.ones_like(t)], -1)


def _waves(x: Float[Tensor, "T K E O"]) -> Float[Tensor, "T K E _"]:
    """Return cosines of fixed random directions, whose differences vary like a Gaussian kernel."""
    directions, phases = (torch.from_numpy(part).to(x) for part in _wave_numbers(x.shape[-1]))
    return WAVE_SIZE * (x @ directions + phases).cos()


@functools.cache
def _wave_numbers(size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((size, WAVES)), 2 * np.pi * rng.random(WAVES)


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
    overfitted and many are fitted freely; the constant is left out of it.

    Args:
        reward: Of each step.
        features: Of each observation, the last one included; the last feature is constant.
        terminated: The episode ended for good: nothing follows.
        done: The episode ended, for good or by truncation.
        valid: False on the steps to leave out.
        discount: Gamma, per step.

    Returns:
        Weights for :func:`baseline_values`.

    Raises:
        DivergenceError: No ridge helped, so the features or rewards are not finite.
    """
    cut = (valid & ~terminated & (done | _is_final(done))).unsqueeze(-1)
    tail = discounted_sum(torch.where(cut, discount * features[1:], 0.0), done, discount)
    weight = valid.unsqueeze(-1).double()
    phi = ((features[:-1] - tail).double() * weight).transpose(0, 1).flatten(1, 2)
    target = discounted_sum(reward * valid, done, discount)
    y = (target.unsqueeze(-1).double() * weight).transpose(0, 1).flatten(1, 2)
    seen = (features[:-1].double() * weight).transpose(0, 1).flatten(1, 2)  # [K, T * E, F]
    count = weight.sum((0, 2)).clamp_min(1.0)
    variance = seen.square().sum(1) / count - (seen.sum(1) / count).square()
    ridge = variance[:, :-1].mean(-1, keepdim=True).expand(-1, seen.shape[-1] - 1)
    ridge = torch.cat([ridge, torch.zeros_like(ridge[:, :1])], -1)
    return _solve(phi.mT @ phi, phi.mT @ y, ridge).squeeze(-1).to(features.dtype)


def _is_final(done: Bool[Tensor, "T K E"]) -> Bool[Tensor, "T K E"]:
    """Mark the last step of the rollout, where what was going on was cut."""
    final = torch.zeros_like(done)
    final[-1] = True
    return final


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
    return torch.einsum("tkef,kf->tke", features, weights)
