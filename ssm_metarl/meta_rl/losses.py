"""Losses as pure functions of log-probabilities and advantages, one number per task.

All sum over the steps of an episode and average over the episodes of a task, as the gradient of
the expected return does; so ``inner_lr`` multiplies a policy gradient in its true scale. An
average over steps instead would need a rate larger by the mean episode length.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssm_metarl.core.scan import linear_recurrence


def per_episode(x: Float[Tensor, "T K E"]) -> Float[Tensor, "K"]:
    """Sum over steps, average over the lanes (one episode each, or one trial)."""
    return x.sum(0).mean(-1)


def lvc_loss(
    log_prob: Float[Tensor, "T K E"],
    behaviour: Float[Tensor, "T K E"],
    advantage: Float[Tensor, "T K E"],
) -> Float[Tensor, "K"]:
    """Low-variance curvature: ``-sum_t (pi / pi_behaviour) A_t``.

    First order it is the policy gradient. Second order it keeps the outer product of each step's
    score with itself, which ``log pi * A`` drops, and drops only the products across steps
    (Rothfuss et al. 2019, arXiv:1810.06784). Advantages are zero on dead steps.
    """
    return -per_episode((log_prob - behaviour).exp() * advantage)


def dice_loss(
    log_prob: Float[Tensor, "T K E"],
    advantage: Float[Tensor, "T K E"],
    valid: Bool[Tensor, "T K E"],
) -> Float[Tensor, "K"]:
    """DiCE with advantages: ``-sum_t (box_{<=t} - box_{<t}) A_t``, right to any order.

    ``box`` is the exponential of the summed log-probabilities minus their own value: 1, with the
    derivatives of the likelihood ratio (Foerster et al. 2018, arXiv:1802.05098; in the form of
    Farquhar et al. 2019, arXiv:1909.10549). Steps of one lane must belong to one episode, or to
    one trial of a memory that lasts it.
    """
    ratio = (log_prob - log_prob.detach()) * valid
    return _boxed(ratio, ratio.cumsum(0), advantage)


def loaded_dice_loss(
    log_prob: Float[Tensor, "T K E"],
    advantage: Float[Tensor, "T K E"],
    valid: Bool[Tensor, "T K E"],
    dice_lambda: float,
) -> Float[Tensor, "K"]:
    """Loaded DiCE (Farquhar et al. 2019, arXiv:1909.10549): DiCE that forgets earlier steps.

    In the sum of log-probabilities a step of n steps ago counts ``lambda^n``; so do, to second
    order, the products across n steps. With 1 it is :func:`dice_loss`, with 0 :func:`lvc_loss`.
    """
    ratio = (log_prob - log_prob.detach()) * valid
    decay = torch.full_like(ratio, dice_lambda)
    path = linear_recurrence(decay, ratio, torch.zeros_like(ratio[0]))
    return _boxed(ratio, path, advantage)


def _boxed(ratio: Tensor, path: Tensor, advantage: Tensor) -> Float[Tensor, "K"]:
    """Return the loss, given each step's ratio and the sum of those up to it, all of value 0."""
    return -per_episode((path.exp() - (path - ratio).exp()) * advantage)


def score_loss(
    log_prob: Float[Tensor, "T K E"], advantage: Float[Tensor, "T K E"]
) -> Float[Tensor, "K"]:
    """``-sum_t log pi A_t``: right to first order, and to second order *for fixed data*.

    How the data depend on the parameters is left to :func:`sampling_loss`.
    """
    return -per_episode(log_prob * advantage)


def prediction_loss(
    predicted: Float[Tensor, "T K E O"],
    change: Float[Tensor, "T K E O"],
    valid: Bool[Tensor, "T K E"],
) -> Float[Tensor, "K"]:
    """Squared error of the predicted change of the observation: needs no rewards.

    A policy that shares its features with the prediction is changed by learning to predict (Hansen
    et al. 2021, arXiv:2007.04309); meta-training makes that change the right one.
    """
    return per_episode(0.5 * (predicted - change).square().mean(-1) * valid)


def sampling_credit(value: Float[Tensor, "K"], unit: Float[Tensor, "K"]) -> Float[Tensor, "K"]:
    """Return how much better each task ended than the *other* tasks did on average.

    A baseline that saw a task's own return would depend on its support data, and bias what they
    are credited with. The scale is one number for all tasks, so it weighs them all alike. Values
    are mean returns of at least two tasks after adaptation, ``unit`` is :attr:`Batch.unit`. Tasks
    without a return, all of whose episodes failed, are credited with nothing.
    """
    known = ~value.isnan()
    others = (value.nansum() - value) / (known.sum() - 1).clamp_min(1)
    return torch.where(known & (known.sum() > 1), (value - others) / unit.mean(), 0.0)


def sampling_loss(
    log_prob: Float[Tensor, "T K E"],
    behaviour: Float[Tensor, "T K E"],
    credit: Float[Tensor, "K"],
    valid: Bool[Tensor, "T K E"],
    clip: float,
) -> Float[Tensor, "K"]:
    """Credit the support data of each task with what adapting from them led to.

    At first the gradient is that of ``-credit * log P(support data)``, the sampling term of
    E-MAML (Stadie et al. 2018, arXiv:1803.01118). The probability is that of *all* episodes
    together, so steps and episodes are summed; the loss is zero before the first outer step, and
    clipped like the outer loss in later ones.
    """
    credit = credit.unsqueeze(-1)
    gain = _clipped_gain((log_prob - behaviour).exp(), credit, clip)
    return -((gain - credit) * valid).sum((0, 2))


def clipped_loss(
    log_prob: Float[Tensor, "T K E"],
    behaviour: Float[Tensor, "T K E"],
    advantage: Float[Tensor, "T K E"],
    valid: Bool[Tensor, "T K E"],
    clip: float,
) -> Float[Tensor, "K"]:
    """PPO's clipped surrogate (Schulman et al. 2017, arXiv:1707.06347), averaged over steps."""
    return -step_mean(_clipped_gain((log_prob - behaviour).exp(), advantage, clip), valid)


def _clipped_gain(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
    return torch.minimum(ratio * advantage, clipped * advantage)


def step_mean(x: Float[Tensor, "T K E"], valid: Bool[Tensor, "T K E"]) -> Float[Tensor, "K"]:
    """Average over the valid steps of each task."""
    return (x * valid).sum((0, 2)) / valid.sum((0, 2)).clamp_min(1)
