"""Batches: what losses need of a trajectory, prepared once."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.distributions import Categorical, DiagonalGaussian, Distribution
from ssm_metarl.core.policy import BoundPolicy, Policy
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import Trajectory, collect_episodes, collect_trials
from ssm_metarl.meta_rl.baseline import linear_values
from ssm_metarl.meta_rl.losses import per_episode
from ssm_metarl.meta_rl.returns import Targets, make_targets


@dataclass(frozen=True)
class Batch(Targets):
    """A trajectory with advantages; all of it is constant under the gradient."""

    inputs: Float[Tensor, "T K E I"]
    keep: Bool[Tensor, "T K E"] | None
    action: Shaped[Tensor, "T K E ..."]
    log_prob: Float[Tensor, "T K E"]
    valid: Bool[Tensor, "T K E"]
    change: Float[Tensor, "T K E O"]
    """Of the observation at each step, in units of its root mean square on the task."""
    episodes: int = 1
    """In each lane."""
    behaviour: Distribution | None = None
    """Of the actions, under the parameters that played, for objectives that need divergences."""
    credit: Float[Tensor, "K"] | None = None
    """For support data: what adapting from them led to, if they are credited with it (E-MAML)."""

    def tasks(self, tasks: slice | Int[Tensor, "k"], steps: slice = slice(None)) -> "Batch":
        """Return the part of some of the tasks, and perhaps of their steps only some."""
        parts: dict[str, Any] = {
            name: value[tasks] if value.ndim == 1 else value[steps, tasks]
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        behaviour = self.behaviour and self.behaviour.part(steps, tasks)
        return replace(self, **parts, behaviour=behaviour)

    @property
    def lengths(self) -> Int[Tensor, "K"]:
        """Return how many steps there are up to the last that is valid, at least 1."""
        steps = torch.arange(1, len(self.valid) + 1, device=self.valid.device).unsqueeze(-1)
        return (steps * self.valid.any(-1)).amax(0).clamp_min(1)

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


def make_batch(trajectory: Trajectory, policy: Policy, discount: float, gae_lambda: float) -> Batch:
    """Compute advantages against a baseline fitted to this trajectory, task by task.

    Each task's baseline and standardisation use nothing but the task's own data.
    """
    keep = trajectory.keep(policy)
    value = linear_values(trajectory, policy, discount)
    return Batch(
        **vars(make_targets(trajectory, value, discount, gae_lambda)),
        inputs=trajectory.inputs(policy)[:-1],
        keep=None if keep is None else keep[:-1],
        action=trajectory.action,
        log_prob=trajectory.log_prob,
        valid=trajectory.valid,
        change=_relative_change(trajectory, policy),
        episodes=max(1, int(trajectory.done[:, 0, 0].sum())),
    )


def _relative_change(trajectory: Trajectory, policy: Policy) -> Float[Tensor, "T K E O"]:
    """Return how the observation changed at each valid step, of unit size in each dimension."""
    valid = trajectory.valid.unsqueeze(-1)
    seen = policy.spaces.condensed(trajectory.observation)
    change = (seen[1:] - seen[:-1]) * valid
    mean_square = change.square().sum((0, 2), keepdim=True) / valid.sum(
        (0, 2), keepdim=True
    ).clamp_min(1)
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
    compiled: bool = False,
) -> Trajectory:
    """Play ``episodes`` of each of K tasks to learn from, one in each lane.

    If the policy's memory lasts a trial, lanes have ``per_trial`` of them, and are fewer.
    """
    trial = bound.policy.config.memory == "trial"
    each = min(per_trial, episodes) if trial else 1
    environment = family.make_vec(
        tasks, episodes // each, autoreset=trial, horizon=horizon, device=device
    )
    rollout = (
        collect_trials(bound, environment, seed, each, compiled=compiled)
        if trial
        else collect_episodes(bound, environment, seed, compiled=compiled)
    )
    environment.close()
    return rollout
