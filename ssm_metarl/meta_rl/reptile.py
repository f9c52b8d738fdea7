"""Reptile: move the shared parameters towards adapted ones (Nichol et al. 2018, arXiv:1803.02999).

After k gradient steps on a task, what they changed by their rate is a gradient for Adam: ``(theta -
theta'_k) / alpha``, the sum of the k gradients on the way. Nothing is differentiated through. As in
the paper's comparison with MAML the query data are stepped on too: k is ``inner_steps + 1``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.inner_rule import InnerRule
from ssm_metarl.meta_rl.learner import Settings
from ssm_metarl.meta_rl.losses import step_mean
from ssm_metarl.meta_rl.meta_learner import MetaLearner, adam_epochs
from ssm_metarl.meta_rl.natural import dot
from ssm_metarl.meta_rl.objective import OuterLoss
from ssm_metarl.meta_rl.optimizer import AdamOptimizer


@dataclass(frozen=True)
class ReptileObjective:
    """Half the squared distance to the adapted parameters, which are constants, by the inner rate.

    Its gradient is ``(theta - theta'_k) / alpha``.
    """

    rule: InnerRule
    inner_lr: float

    def __call__(self, supports: Sequence[Batch], query: Batch, theta: Params) -> OuterLoss:
        """Return the loss of each task, differentiable in ``theta``."""
        policy, adapted = self.rule.policy, theta
        for support in supports:
            adapted = self.rule.step(adapted, support)
        with torch.no_grad():
            entropy = query.distribution(policy.bind(adapted)).entropy()
        adapted = self.rule.step(adapted, query)
        way = {
            name: theta[name] - value
            for name, value in adapted.items()
            if self.rule.leaves(policy.leaves[name])
        }
        entropy = step_mean(entropy, query.valid)
        return OuterLoss(dot(way, way) / (2.0 * self.inner_lr), entropy, {"entropy": entropy})


class Reptile(MetaLearner[AdamOptimizer]):
    """Reptile by Adam."""

    def __init__(
        self, policy: Policy, family: TaskFamily, params: Params, settings: Settings
    ) -> None:
        super().__init__(policy, family, params, settings)
        own = self.settings
        self.optimizer = AdamOptimizer(self.learned, own.outer_lr, own.max_grad_norm)

    def objective(self) -> ReptileObjective:
        """Return the distance to the adapted parameters; see the base class."""
        return ReptileObjective(self.rule(), self.settings.inner_lr)

    def update(self, supports: Sequence[Batch], query: Batch) -> dict[str, float]:
        """Take one outer step; see the base class."""
        return adam_epochs(self, supports, query, 1)


make = Reptile
