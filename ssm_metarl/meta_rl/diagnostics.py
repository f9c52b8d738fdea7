"""The diagnostics that every learner logs, as CleanRL and Stable-Baselines3 define them."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssm_metarl.core.processes import gathered
from ssm_metarl.env_runner.trajectory import Trajectory, episode_successes
from ssm_metarl.meta_rl.losses import step_mean

ROUNDING = 1e-5  # of float32, after the sums and the least squares behind a target

Diagnostics = Mapping[str, Tensor]
"""Name to one number per task, ``[K]``, constant under the gradient."""


@torch.no_grad()
def policy_diagnostics(
    log_ratio: Float[Tensor, "T K E"],
    entropy: Float[Tensor, "T K E"],
    valid: Bool[Tensor, "T K E"],
    clip: float,
) -> Diagnostics:
    """Return how far a policy is from the one that played, averaged over each task's steps.

    They are ``approx_kl``, the estimate ``(ratio - 1) - log ratio`` of KL(played || policy) in nats
    (http://joschu.net/blog/kl-approx.html); ``clip_fraction``, the share of steps whose ratio is
    outside of the range; and ``entropy``, in nats.
    """
    ratio = log_ratio.exp()
    return {
        "approx_kl": step_mean((ratio - 1.0) - log_ratio, valid),
        "clip_fraction": step_mean(((ratio - 1.0).abs() > clip).to(ratio.dtype), valid),
        "entropy": step_mean(entropy, valid),
    }


def averaged(parts: Sequence[Diagnostics]) -> dict[str, float]:
    """Average diagnostics over the tasks of several parts, those of all processes."""
    every = [{name: value.cpu() for name, value in part.items()} for part in parts]
    every = [part for parts in gathered(every) for part in parts]
    return {name: torch.cat([part[name] for part in every]).mean().item() for name in every[0]}


@torch.no_grad()
def explained_variance(value: Float[Tensor, "N"], target: Float[Tensor, "N"]) -> float:
    """Return ``1 - Var(target - value) / Var(target)``, over N steps together.

    1 is a perfect baseline, 0 one that might as well be constant; also 0 where the targets do not
    vary but for rounding, of which there is nothing to explain, or where there are none.
    """
    aim = target.double()
    if not len(aim) or aim.std(correction=0) <= ROUNDING * aim.abs().max():
        return 0.0
    left = (aim - value.double()).var(correction=0)
    return (1.0 - left / aim.var(correction=0)).item()


def success_rates(played: Trajectory, episodes: int = 1) -> list[float]:
    """Return the share of the lanes that solved their task, in each episode of a trial.

    It is empty where the environment says nothing of success.
    """
    success = episode_successes(played, episodes)
    return [] if success is None else [each.nanmean().item() for each in success]
