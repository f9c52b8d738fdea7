"""The inner losses by name: what adapting to a task minimises on its support data.

Adding one takes a function here and its line in :data:`ssm_metarl.meta_rl.registry.INNER_LOSSES`.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from ssm_metarl.core.policy import BoundPolicy
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.losses import (
    dice_loss,
    loaded_dice_loss,
    lvc_loss,
    prediction_loss,
    score_loss,
)

InnerLoss = Callable[[BoundPolicy, Batch], Tensor]
"""Returns the loss of each task, ``[K]``, of the scale of one episode."""


def lvc(bound: BoundPolicy, batch: Batch) -> Float[Tensor, "K"]:
    """Low-variance curvature, :func:`ssm_metarl.meta_rl.losses.lvc_loss`."""
    return lvc_loss(_log_prob(bound, batch), batch.log_prob, batch.advantage) / batch.episodes


def dice(bound: BoundPolicy, batch: Batch) -> Float[Tensor, "K"]:
    """DiCE, :func:`ssm_metarl.meta_rl.losses.dice_loss`."""
    return dice_loss(_log_prob(bound, batch), batch.advantage, batch.valid) / batch.episodes


def loaded_dice(bound: BoundPolicy, batch: Batch, dice_lambda: float = 1.0) -> Float[Tensor, "K"]:
    """Loaded DiCE, :func:`ssm_metarl.meta_rl.losses.loaded_dice_loss`.

    An agent's own steps are of first order, for which lambda does not matter.
    """
    log_prob = _log_prob(bound, batch)
    loss = loaded_dice_loss(log_prob, batch.advantage, batch.valid, dice_lambda)
    return loss / batch.episodes


def score(bound: BoundPolicy, batch: Batch) -> Float[Tensor, "K"]:
    """Plain policy gradient, :func:`ssm_metarl.meta_rl.losses.score_loss`."""
    return score_loss(_log_prob(bound, batch), batch.advantage) / batch.episodes


def prediction(bound: BoundPolicy, batch: Batch) -> Float[Tensor, "K"]:
    """Prediction of observations, :func:`ssm_metarl.meta_rl.losses.prediction_loss`."""
    predicted = bound.prediction(batch.features(bound), batch.action)
    return prediction_loss(predicted, batch.change, batch.valid)


def _log_prob(bound: BoundPolicy, batch: Batch) -> Float[Tensor, "T K E"]:
    return batch.distribution(bound).log_prob(batch.action)
