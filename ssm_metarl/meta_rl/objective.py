"""Outer objectives: how good the policies are that adapting leads to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ssm_metarl.core.distributions import Distribution
from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.diagnostics import Diagnostics, policy_diagnostics
from ssm_metarl.meta_rl.inner_rule import InnerRule
from ssm_metarl.meta_rl.losses import clipped_loss, sampling_loss, step_mean


@dataclass(frozen=True)
class OuterLoss:
    """A loss of the policies of K tasks; ``diagnostics`` are of these policies, as constants."""

    loss: Float[Tensor, "K"]
    entropy: Float[Tensor, "K"]
    """Mean over the steps, in nats."""
    diagnostics: Diagnostics
    divergence: Float[Tensor, "K"] | None = None
    """KL(played || adapted) on the query data, mean over the steps, in nats; differentiable. Only
    where the query data know their behaviour."""


OuterObjective = Callable[[Sequence[Batch], Batch, Params], OuterLoss]
"""Support data of each inner step, query data of the adapted policies, and shared parameters, from
which the adaptation is recomputed so that it is differentiated through."""


@dataclass(frozen=True)
class ClippedObjective:
    """PPO's clipped surrogate on the query data, of the parameters adapted on the support data.

    It is the outer objective of Rothfuss et al. (2019, arXiv:1810.06784). Support data with a
    credit add the sampling term of E-MAML, under the parameters that collected them. The entropy of
    the adapted policies and the surrogate before adapting (``support_weight``) have weights.
    Penalties on the divergence before each inner step, from what played, have coefficients.
    """

    rule: InnerRule
    clip: float
    entropy: float = 0.0
    support_weight: float = 0.0
    kl_coefficients: Float[Tensor, "steps"] | None = None

    def __call__(self, supports: Sequence[Batch], query: Batch, theta: Params) -> OuterLoss:
        """Return the loss of each task.

        It is differentiable in ``theta`` and the rule's rates, unless gradients are off.
        """
        adapted, before = theta, torch.zeros_like(query.scale)
        for step, support in enumerate(supports):
            before = before + self._before_step(step, support, adapted)
            adapted = self.rule.step(adapted, support, create_graph=torch.is_grad_enabled())
        outer = self._surrogate(query, adapted)
        loss = outer.loss
        if self.entropy:
            loss = loss - self.entropy * outer.entropy
        if self.support_weight:
            loss = loss + self.support_weight * self._surrogate(supports[0], theta).loss
        return replace(outer, loss=loss + before)

    def _before_step(self, step: int, support: Batch, params: Params) -> Float[Tensor, "K"] | float:
        """Return what an inner step's data add to the loss, under the parameters before it."""
        loss = 0.0
        if support.credit is not None:
            log_prob = self._policy(support, params).log_prob(support.action)
            credited = support.log_prob, support.credit, support.valid
            loss = loss + sampling_loss(log_prob, *credited, self.clip)
        if self.kl_coefficients is not None:
            moved = divergence(self.rule.policy, params, support)
            loss = loss + self.kl_coefficients[step] * moved / len(self.kl_coefficients)
        return loss

    def _policy(self, batch: Batch, params: Params) -> Distribution:
        return batch.distribution(self.rule.policy.bind(params))

    def _surrogate(self, batch: Batch, params: Params) -> OuterLoss:
        policy = self._policy(batch, params)
        outer = surrogate_loss(policy, batch, batch.advantage, self.clip)
        if batch.behaviour is None:
            return outer
        return replace(outer, divergence=step_mean(batch.behaviour.kl(policy), batch.valid))


def divergence(policy: Policy, params: Params, batch: Batch) -> Float[Tensor, "K"]:
    """Return the KL divergence of a policy from the one that played, mean over steps, in nats."""
    assert batch.behaviour is not None
    now = batch.distribution(policy.bind(params))
    return step_mean(batch.behaviour.kl(now), batch.valid)


def surrogate_loss(
    distribution: Distribution,
    played: Batch | Trajectory,
    advantage: Float[Tensor, "T K E"],
    clip: float,
) -> OuterLoss:
    """Return PPO's clipped surrogate of a policy, given its distributions on what was played."""
    log_prob, entropy = distribution.log_prob(played.action), distribution.entropy()
    return OuterLoss(
        clipped_loss(log_prob, played.log_prob, advantage, played.valid, clip),
        step_mean(entropy, played.valid),
        policy_diagnostics(log_prob - played.log_prob, entropy, played.valid, clip),
    )
