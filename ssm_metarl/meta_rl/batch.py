"""Batches: what losses need of a trajectory, prepared once."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Shaped
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.distributions import Categorical, DiagonalGaussian
from ssm_metarl.core.policy import BoundPolicy, Policy
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import Trajectory, collect_episodes, collect_trials
from ssm_metarl.meta_rl.baseline import baseline_features, baseline_values, fit_baseline
from ssm_metarl.meta_rl.losses import per_episode, step_mean
from ssm_metarl.meta_rl.returns import (
    deviation,
    generalized_advantages,
    standardize,
)

NOISE_FLOOR = 0.05  # of the size of the returns


@dataclass(frozen=True)
class Batch:
    """A trajectory with advantages; all of it is constant under the gradient."""

    inputs: Float[Tensor, "T K E I"]
    keep: Bool[Tensor, "T K E"] | None
    action: Shaped[Tensor, "T K E ..."]
    behaviour: Float[Tensor, "T K E"]
    advantage: Float[Tensor, "T K E"]
    valid: Bool[Tensor, "T K E"]
    change: Float[Tensor, "T K E O"]
    """Of the observation at each step, in units of its root mean square on the task."""
    scale: Float[Tensor, "K"]
    """What the advantages were divided by, in units of the rewards."""
    value: Float[Tensor, "T K E"]
    """What the baseline says, in units of the rewards."""
    target: Float[Tensor, "T K E"]
    """What it should say: the lambda-return, which is the value plus the advantage."""
    episodes: int = 1
    """In each lane."""
    credit: Float[Tensor, "K"] | None = None
    """For support data: what adapting from them led to, if they are credited with it (E-MAML)."""

    def tasks(self, tasks: slice) -> "Batch":
        """Return the part of some of the tasks."""
        return Batch(
            inputs=self.inputs[:, tasks],
            keep=None if self.keep is None else self.keep[:, tasks],
            action=self.action[:, tasks],
            behaviour=self.behaviour[:, tasks],
            advantage=self.advantage[:, tasks],
            valid=self.valid[:, tasks],
            change=self.change[:, tasks],
            scale=self.scale[tasks],
            value=self.value[:, tasks],
            target=self.target[:, tasks],
            episodes=self.episodes,
            credit=None if self.credit is None else self.credit[tasks],
        )

    @property
    def unit(self) -> Float[Tensor, "K"]:
        """Return the return that a unit of the outer loss stands for.

        The average over steps of standardised advantages has the gradient of the mean return of
        an episode divided by this: the advantages' scale times the mean episode length.
        """
        return self.scale * per_episode(self.valid.to(self.scale.dtype)) / self.episodes

    def features(self, bound: BoundPolicy) -> Float[Tensor, "T K E D"]:
        """Run a policy along the batch, from an empty memory."""
        _, tasks, lanes = self.valid.shape
        state = bound.policy.initial_state(tasks, lanes, self.inputs)
        return bound.scan(self.inputs, state, self.keep)[0]

    def distribution(self, bound: BoundPolicy) -> Categorical | DiagonalGaussian:
        """Return a policy's action distributions along the batch."""
        return bound.distribution(self.features(bound))


def make_batch(
    trajectory: Trajectory,
    policy: Policy,
    discount: float,
    gae_lambda: float,
) -> Batch:
    """Compute advantages against a baseline fitted to this trajectory, task by task.

    Each task's baseline and standardisation use nothing but the task's own data.

    Args:
        trajectory: Of K tasks.
        policy: The network whose inputs and memory they are for.
        discount: Gamma.
        gae_lambda: Lambda.
    """
    keep = trajectory.keep(policy)
    fitted = fit_advantages(trajectory, policy, discount, gae_lambda)
    return Batch(
        inputs=trajectory.inputs(policy)[:-1],
        keep=None if keep is None else keep[:-1],
        action=trajectory.action,
        behaviour=trajectory.log_prob,
        advantage=fitted.advantage,
        valid=trajectory.valid,
        change=_relative_change(trajectory),
        scale=fitted.scale,
        value=fitted.value,
        target=fitted.target,
        episodes=max(1, int(trajectory.done[:, 0, 0].sum())),
    )


def _relative_change(trajectory: Trajectory) -> Float[Tensor, "T K E O"]:
    """Return how the observation changed at each valid step, of unit size in each dimension."""
    valid = trajectory.valid.unsqueeze(-1)
    change = (trajectory.observation[1:] - trajectory.observation[:-1]) * valid
    mean_square = change.square().sum((0, 2), keepdim=True) / valid.sum((0, 2), keepdim=True)
    return change / mean_square.sqrt().clamp_min(1e-8)


def collect_data(
    bound: BoundPolicy,
    family: TaskFamily,
    tasks: Tasks,
    seed: SeedSequence,
    *,
    episodes: int,
    per_trial: int,
    horizon: int,
    device: torch.device,
) -> Trajectory:
    """Play episodes of K tasks to learn from: trials, if the policy's memory lasts one.

    Args:
        bound: The policy.
        family: Of the tasks.
        tasks: K tasks.
        seed: Of this data.
        episodes: Episodes per task; as many lanes of one episode each.
        per_trial: Episodes per lane if the memory lasts a trial; the lanes are fewer accordingly.
        horizon: Step limit of the episodes.
        device: Where the data are.
    """
    trial = bound.policy.config.memory == "trial"
    each = min(per_trial, episodes) if trial else 1
    environment = family.make_vec(
        tasks, episodes // each, autoreset=trial, horizon=horizon, device=device
    )
    rollout = (
        collect_trials(bound, environment, seed, each)
        if trial
        else collect_episodes(bound, environment, seed)
    )
    environment.close()
    return rollout


@dataclass(frozen=True)
class FittedAdvantages:
    """Advantages ``[T, K, E]`` against a fitted baseline; fields as in :class:`Batch`."""

    advantage: Float[Tensor, "T K E"]
    scale: Float[Tensor, "K"]
    value: Float[Tensor, "T K E"]
    target: Float[Tensor, "T K E"]


@torch.no_grad()
def fit_advantages(
    trajectory: Trajectory, policy: Policy, discount: float, gae_lambda: float
) -> FittedAdvantages:
    """Return standardised GAE against the linear baseline of the same data.

    Where the baseline explains nearly all of the returns, as it does once every episode survives,
    what is left is noise; standardising must not scale that up to a full-sized step.
    """
    valid, done = trajectory.valid, trajectory.done
    seen = policy.spaces.normalized(trajectory.observation)
    features = baseline_features(seen, episode_age(trajectory))
    ends = trajectory.terminated, done, valid
    weights = fit_baseline(trajectory.reward, features, *ends, discount)
    value = baseline_values(features, weights)
    advantage = generalized_advantages(trajectory.reward, value, *ends, discount, gae_lambda)
    target = value[:-1] + advantage
    size = step_mean(target.square(), valid).sqrt()
    scale = deviation(advantage, valid, NOISE_FLOOR * size)
    return FittedAdvantages(standardize(advantage, valid, scale), scale, value[:-1], target)


def episode_age(trajectory: Trajectory) -> Float[Tensor, "T1 K E"]:
    """Return the number of steps since each observation's episode began."""
    start = trajectory.episode_start
    clock = torch.arange(len(start), device=start.device).view(-1, 1, 1)
    began = torch.where(start, clock, 0).cummax(0).values
    return (clock - began).to(trajectory.reward.dtype)
