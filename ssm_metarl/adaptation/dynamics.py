"""Dynamics models that tell tasks apart: one per task, of its transitions and rewards.

A model is a ridge regression from the observation and action, of this step and of the one before,
to the change of the observation and the reward. It is too small to plan with; it only has to fit
the transitions of its own task better than those of others. Models are linear in their features, so
that sums of products are all that is needed of a task's data, and any number of models is compared
with any number of tasks at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.meta_rl.baseline import fourier_features

WAVES = 64
PSEUDO_STEPS = 16.0  # observed steps that the shrinkage towards the common model counts as
NOISE_FLOOR = 1e-4  # of the variance of a target: no model of so few features is better
TINY = 1e-9


@dataclass(frozen=True)
class Moments:
    """Sums over the transitions of each of K tasks, float64."""

    gram: Float[Tensor, "*K F F"]
    """Products of features."""
    cross: Float[Tensor, "*K F Y"]
    """Products of features and targets."""
    square: Float[Tensor, "*K Y"]
    """Squares of targets."""
    count: Float[Tensor, "*K"]
    """Transitions."""


@dataclass(frozen=True)
class Units:
    """Means and standard deviations, pooled over tasks, that the models' numbers are scaled by."""

    mean: Float[Tensor, "X"]
    std: Float[Tensor, "X"]
    target_std: Float[Tensor, "Y"]


@dataclass(frozen=True)
class Transitions:
    """The valid steps of one task, one after another, float64."""

    x: Float[Tensor, "n X"]
    """Observation and action, of this step and then of the one before (zeros at a start)."""
    start: Float[Tensor, "n 1"]
    """1 where an episode starts."""
    y: Float[Tensor, "n Y"]
    """Change of the observation, and reward."""


def transitions(trajectory: Trajectory, policy: Policy) -> list[Transitions]:
    """Return the transitions of each task of a trajectory."""
    observation = policy.spaces.condensed(trajectory.observation.double())
    now = torch.cat([observation[:-1], policy.action_features(trajectory.action, observation)], -1)
    start = trajectory.episode_start[:-1].unsqueeze(-1).double()
    before = torch.cat([torch.zeros_like(now[:1]), now[:-1]]) * (1.0 - start)
    reward = trajectory.reward.double().unsqueeze(-1)
    both = torch.cat([now, before], -1)
    after = torch.cat([observation[1:] - observation[:-1], reward], -1)
    return [
        Transitions(both[:, k][mask], start[:, k][mask], after[:, k][mask])
        for k, mask in enumerate(trajectory.valid.unbind(1))
    ]


def pooled_units(tasks: Sequence[Transitions]) -> Units:
    """Measure the magnitudes over the transitions of all tasks."""
    x, y = torch.cat([task.x for task in tasks]), torch.cat([task.y for task in tasks])
    half = x.shape[-1] // 2  # the step before has the units of this one
    mean, std = x[:, :half].mean(0), _positive(x[:, :half].std(0))
    return Units(torch.cat([mean, mean]), torch.cat([std, std]), _positive(y.std(0)))


def moments(tasks: Sequence[Transitions], units: Units) -> Moments:
    """Sum up the transitions of each task."""
    sums = []
    for task in tasks:
        phi, y = _features((task.x - units.mean) / units.std, task.start), task.y / units.target_std
        count = y.new_tensor(float(len(y)))
        sums.append((phi.mT @ phi, phi.mT @ y, y.square().sum(0), count))
    return Moments(*(torch.stack(parts) for parts in zip(*sums, strict=True)))


def fit(data: Moments) -> Float[Tensor, "K F Y"]:
    """Fit a model to each task, shrunk towards the one model of all tasks together."""
    gram, cross, count = data.gram.sum(0), data.cross.sum(0), data.count.sum()
    ridge = torch.diag_embed(gram.diagonal() / count * PSEUDO_STEPS + TINY)
    common = torch.linalg.solve(gram + ridge, cross)
    apart = torch.linalg.solve(data.gram + ridge, data.cross - data.gram @ common)
    return common + apart


def squared_errors(data: Moments, models: Float[Tensor, "S F Y"]) -> Float[Tensor, "K S Y"]:
    """Return the mean squared error of S models on the transitions of each of K tasks."""
    tasks = [Moments(*parts) for parts in zip(*vars(data).values(), strict=True)]
    return torch.stack(
        [_summed_errors(task, models).clamp_min(0.0) / task.count.clamp_min(1.0) for task in tasks]
    )


def noise(data: Moments, models: Float[Tensor, "K F Y"]) -> Float[Tensor, "Y"]:
    """Return the variance that models leave unexplained of their own tasks, averaged over tasks."""
    error = _summed_errors(data, models)
    return (error / data.count.unsqueeze(-1)).mean(0).clamp_min(NOISE_FLOOR)


def _summed_errors(data: Moments, models: Float[Tensor, "N F Y"]) -> Float[Tensor, "N Y"]:
    fitted = ((data.gram @ models) * models).sum(1)
    return data.square - 2.0 * (models * data.cross).sum(1) + fitted


def _features(x: Float[Tensor, "n X"], start: Float[Tensor, "n 1"]) -> Float[Tensor, "n F"]:
    """Return inputs, random Fourier features of them, and a constant."""
    waves = fourier_features(x, WAVES, x.shape[-1] ** 0.5)
    return torch.cat([x, start, waves, torch.ones_like(start)], -1)


def _positive(std: Tensor) -> Tensor:
    """Replace the standard deviation of what never varies by 1."""
    return torch.where(std > TINY, std, 1.0)
