"""Model-agnostic meta-learning for policies, with a clipped outer objective over several epochs.

The shared parameters are improved so that *adapting from the support data* does better on the
query data. The adaptation is recomputed inside the outer loss and differentiated through, in every
epoch (Finn et al. 2017, arXiv:1703.03400). Where the action head alone adapts it is ANIL (Raghu et
al. 2020, arXiv:1909.09157).
"""

from collections.abc import Sequence

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.learner import Settings
from ssm_metarl.meta_rl.meta_learner import MetaLearner, adam_epochs
from ssm_metarl.meta_rl.objective import ClippedObjective
from ssm_metarl.meta_rl.optimizer import AdamOptimizer


class MAML(MetaLearner[AdamOptimizer]):
    """MAML by Adam on PPO's clipped surrogate."""

    def __init__(
        self, policy: Policy, family: TaskFamily, params: Params, settings: Settings
    ) -> None:
        super().__init__(policy, family, params, settings)
        own = self.settings
        self.optimizer = AdamOptimizer(self.learned, own.outer_lr, own.max_grad_norm)

    def objective(self) -> ClippedObjective:
        """Return the clipped surrogate; see the base class."""
        own = self.settings
        return ClippedObjective(self.rule(), own.clip, own.entropy, own.support_weight)

    def update(self, supports: Sequence[Batch], query: Batch) -> dict[str, float]:
        """Take the epochs of outer steps; see the base class."""
        return adam_epochs(self, supports, query, self.settings.outer_epochs)


make = MAML
