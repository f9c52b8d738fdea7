"""Proximal meta-policy search (ProMP; Rothfuss et al. 2019, arXiv:1810.06784).

To MAML with the inner loss ``lvc`` and the clipped outer objective it adds what keeps the support
data of use over several epochs: a penalty on the divergence of the policies before each inner step
from those that played. Coefficients follow the divergences, as in the authors' code.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.core.processes import of_all
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.learner import Settings
from ssm_metarl.meta_rl.meta_learner import MetaLearner, adam_epochs
from ssm_metarl.meta_rl.objective import ClippedObjective, divergence
from ssm_metarl.meta_rl.optimizer import AdamOptimizer

TOLERANCE, FACTOR = 1.5, 2.0  # of divergences, and by which a coefficient then changes


class ProMP(MetaLearner[AdamOptimizer]):
    """ProMP by Adam.

    Attributes:
        kl_coefficients: Of the penalty before each inner step.
    """

    keeps_behaviour = True

    def __init__(
        self, policy: Policy, family: TaskFamily, params: Params, settings: Settings
    ) -> None:
        super().__init__(policy, family, params, settings)
        own = self.settings
        self.optimizer = AdamOptimizer(self.learned, own.outer_lr, own.max_grad_norm)
        self.kl_coefficients = torch.full((own.inner_steps,), own.kl_coefficient)
        self.tensors["kl_coefficients"] = self.kl_coefficients  # so that resuming continues them

    def objective(self) -> ClippedObjective:
        """Return the clipped surrogate with the penalties; see the base class."""
        own = self.settings
        return ClippedObjective(
            self.rule(), own.clip, own.entropy, own.support_weight, self.kl_coefficients
        )

    def update(self, supports: Sequence[Batch], query: Batch) -> dict[str, float]:
        """Take the epochs of outer steps, then adapt the coefficients; see the base class."""
        metrics = adam_epochs(self, supports, query, self.settings.outer_epochs)
        found = self._divergences(supports)
        metrics |= {"kl": found.mean().item(), "kl_coefficient": self.kl_coefficients.mean().item()}
        self.kl_coefficients.copy_(
            adapted_coefficients(self.kl_coefficients, found, self.settings.target_kl)
        )
        return metrics

    def _divergences(self, supports: Sequence[Batch]) -> Tensor:
        """Return the mean divergence before each inner step, of the parameters as they are now."""
        rule, theta, found = self.rule(), self.detached(), []
        for support in supports:
            with torch.no_grad():
                found.append(of_all(divergence(self.policy, theta, support)).mean())
            theta = rule.step(theta, support)
        return torch.stack(found).to(self.kl_coefficients)


def adapted_coefficients(coefficients: Tensor, found: Tensor, target: float) -> Tensor:
    """Double the coefficients of divergences far above a target, halve those far below."""
    doubled = torch.where(found > TOLERANCE * target, FACTOR * coefficients, coefficients)
    return torch.where(found < target / TOLERANCE, coefficients / FACTOR, doubled)


make = ProMP
