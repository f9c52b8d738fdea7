"""MAML whose outer step is one of TRPO: the algorithm of Finn et al. (2017, arXiv:1703.03400).

The loss is the importance-weighted surrogate of the adapted policies, and the divergence the mean
over tasks of that of the adapted policies from those that played the query data. Every trial of the
line search adapts again.
"""

import math
from collections.abc import Iterator, Sequence

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.diagnostics import Diagnostics, averaged
from ssm_metarl.meta_rl.learner import Settings
from ssm_metarl.meta_rl.meta_learner import MetaLearner
from ssm_metarl.meta_rl.objective import ClippedObjective
from ssm_metarl.meta_rl.trust_region import Share, TrustRegionOptimizer


class MAMLTRPO(MetaLearner[TrustRegionOptimizer]):
    """MAML by one step of TRPO an iteration."""

    keeps_behaviour = True

    def __init__(
        self, policy: Policy, family: TaskFamily, params: Params, settings: Settings
    ) -> None:
        super().__init__(policy, family, params, settings)
        self.optimizer = TrustRegionOptimizer(self.learned, self.settings.target_kl)

    def objective(self) -> ClippedObjective:
        """Return the surrogate, which a divergence bounds instead of clipping."""
        own = self.settings
        return ClippedObjective(self.rule(), math.inf, own.entropy, own.support_weight)

    def update(self, supports: Sequence[Batch], query: Batch) -> dict[str, float]:
        """Take one outer step; see the base class."""
        parts: list[Diagnostics] = []

        def shares() -> Iterator[Share]:
            parts.clear()  # those of the last evaluation are reported
            for outer in self.outer_losses(supports, query):
                assert outer.divergence is not None
                parts.append(outer.diagnostics)
                tasks = self.settings.tasks_per_epoch
                yield Share(outer.loss.sum() / tasks, outer.divergence.sum() / tasks)

        step = self.optimizer.step(shares)
        told = averaged(parts)
        return {
            "meta_loss": step.loss,
            "gradient_norm": step.gradient_norm,
            "kl": step.divergence,
            "step_fraction": step.fraction,
            "approx_kl": told["approx_kl"],
            "entropy": told["entropy"],
        }


make = MAMLTRPO
