"""Outer objectives: how good the policies are that adapting leads to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from ssm_metarl.core.distributions import Distribution
from ssm_metarl.core.parameters import Params
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.diagnostics import Diagnostics, policy_diagnostics
from ssm_metarl.meta_rl.inner_rule import InnerRule
from ssm_metarl.meta_rl.losses import clipped_loss, sampling_loss, step_mean


@dataclass(frozen=True)
class OuterLoss:
    """What one evaluation of an objective gives.

    Attributes:
        loss: Of each task.
        diagnostics: Of the policies that were evaluated.
    """

    loss: Float[Tensor, "K"]
    diagnostics: Diagnostics


OuterObjective = Callable[[Sequence[Batch], Batch, Params], OuterLoss]
"""Support data of each inner step, query data of the adapted policies, and shared parameters, from
which the adaptation is recomputed so that it is differentiated through."""


@dataclass(frozen=True)
class ClippedObjective:
    """PPO's clipped surrogate on the query data, of the parameters adapted on the support data.

    It is the outer objective of Rothfuss et al. (2019, arXiv:1810.06784). Support data with a
    credit add the sampling term of E-MAML, under the parameters that collected them.

    Attributes:
        rule: How parameters are adapted.
        clip: Clipping range of the likelihood ratio.
        entropy: Weight of the entropy of the adapted policies.
        support_weight: Weight of the return before adapting.
    """

    rule: InnerRule
    clip: float
    entropy: float = 0.0
    support_weight: float = 0.0

    def __call__(self, supports: Sequence[Batch], query: Batch, theta: Params) -> OuterLoss:
        """Return the loss of each task, differentiable in ``theta`` and the rule's rates."""
        policy, adapted, sampling = self.rule.policy, theta, 0.0
        for support in supports:
            if support.credit is not None:
                log_prob = support.distribution(policy.bind(adapted)).log_prob(support.action)
                sampling = sampling + sampling_loss(
                    log_prob, support.behaviour, support.credit, support.valid, self.clip
                )
            adapted = self.rule.step(adapted, support, create_graph=True)
        terms = batch_terms(query.distribution(policy.bind(adapted)), query, self.clip)
        loss = terms.loss
        if self.entropy:
            loss = loss - self.entropy * terms.entropy
        if self.support_weight:
            first = supports[0]
            before = batch_terms(first.distribution(policy.bind(theta)), first, self.clip)
            loss = loss + self.support_weight * before.loss
        return OuterLoss(loss + sampling, terms.diagnostics)


@dataclass(frozen=True)
class SurrogateTerms:
    """The terms of PPO's objective for a policy, of each task.

    Attributes:
        loss: Clipped surrogate.
        entropy: Mean entropy over the steps, in nats.
        diagnostics: Of the policy, as constants.
    """

    loss: Float[Tensor, "K"]
    entropy: Float[Tensor, "K"]
    diagnostics: Diagnostics


def batch_terms(distribution: Distribution, batch: Batch, clip: float) -> SurrogateTerms:
    """Return the terms of a policy's distributions along a batch."""
    return surrogate_terms(
        distribution, batch.action, batch.behaviour, batch.advantage, batch.valid, clip
    )


def surrogate_terms(
    distribution: Distribution,
    action: Tensor,
    behaviour: Float[Tensor, "T K E"],
    advantage: Float[Tensor, "T K E"],
    valid: Bool[Tensor, "T K E"],
    clip: float,
) -> SurrogateTerms:
    """Return the terms of a policy's distributions.

    Args:
        distribution: At each step.
        action: That was taken.
        behaviour: Log-probability that it had.
        advantage: Of it.
        valid: False on dead steps.
        clip: Clipping range of the likelihood ratio.
    """
    log_prob = distribution.log_prob(action)
    entropy = distribution.entropy()
    return SurrogateTerms(
        loss=clipped_loss(log_prob, behaviour, advantage, valid, clip),
        entropy=step_mean(entropy, valid),
        diagnostics=policy_diagnostics(log_prob - behaviour, entropy, valid, clip),
    )
