"""Proximal policy optimisation through the sequence model, for learners that take no inner step.

Whole lanes are the unit: each minibatch is a set of tasks or lanes, run through the network from
their first step to their last, so that the memory is trained exactly as it is used (Schulman et
al. 2017, arXiv:1707.06347).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from numpy.random import Generator
from torch import Tensor

from ssm_metarl.core.parameters import Params, in_groups
from ssm_metarl.core.policy import BoundPolicy, Policy
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.meta_rl.diagnostics import Diagnostics, averaged, explained_variance
from ssm_metarl.meta_rl.learner import Learner
from ssm_metarl.meta_rl.losses import step_mean
from ssm_metarl.meta_rl.objective import surrogate_terms
from ssm_metarl.meta_rl.optimizer import AdamOptimizer, OptimizerStep

LEARNED = in_groups("encoder", "cell", "action", "value")
ADAM_EPS = 1e-5


@dataclass(frozen=True)
class PPOConfig:
    """How to take steps of PPO.

    Attributes:
        lr: Rate of Adam at the start.
        gae_lambda: Lambda of the advantages.
        epochs: Passes over one iteration's data.
        minibatches: Gradient steps per pass.
        discount: Gamma.
        clip: Clipping range of the likelihood ratio.
        value_weight: Weight of the value loss.
        entropy: Weight of the entropy bonus.
        max_grad_norm: Bound on the gradient's norm.
    """

    lr: float
    gae_lambda: float
    epochs: int
    minibatches: int
    discount: float = 0.99
    clip: float = 0.2
    value_weight: float = 0.5
    entropy: float = 0.0
    max_grad_norm: float = 1.0


@dataclass(frozen=True)
class Targets:
    """What a rollout ``[T, K, E]`` says about its actions and values.

    Attributes:
        advantage: Of each action, standardised.
        value: That the baseline gave, in reward units.
        target: That it should have given.
    """

    advantage: Float[Tensor, "T K E"]
    value: Float[Tensor, "T K E"]
    target: Float[Tensor, "T K E"]


class PPOLearner(Learner):
    """The updates of PPO; a subclass collects the rollouts and estimates their targets.

    Attributes:
        value_scale: What a unit of the value head stands for, in units of the rewards.
    """

    def __init__(
        self,
        policy: Policy,
        config: PPOConfig,
        family: TaskFamily,
        params: Params,
        iterations: int,
    ) -> None:
        super().__init__(policy, family, params, iterations)
        self.config = config
        learned = {
            f"params/{name}": value
            for name, value in self.params.items()
            if LEARNED(policy.leaves[name])
        }
        self.optimizer = AdamOptimizer(learned, config.lr, config.max_grad_norm, ADAM_EPS)
        steps = family.max_episode_steps  # all that can follow, where nothing is discounted
        self.value_scale = policy.spaces.reward_scale / max(1.0 - config.discount, 1.0 / steps)

    def value(self, bound: BoundPolicy, features: Tensor) -> Tensor:
        """Return values in reward units; the head works in units of ``value_scale``."""
        return self.value_scale * bound.value(features)

    def improve(
        self, rollout: Trajectory, targets: Targets, rng: Generator, axis: Literal[1, 2]
    ) -> dict[str, float | None]:
        """Take all epochs of minibatch steps on a rollout; return the metrics of the update.

        Args:
            rollout: On-policy data ``[T, K, E]``.
            targets: Of the rollout.
            rng: Of the order of the minibatches.
            axis: What minibatches are made of: 1 for tasks, 2 for lanes.
        """
        select = rollout.tasks if axis == 1 else rollout.lanes
        size = rollout.valid.shape[axis]
        step, parts = OptimizerStep(0.0, 0.0), []
        for _ in range(self.config.epochs):
            parts: list[Diagnostics] = []  # those of the last epoch are reported
            order = torch.from_numpy(rng.permutation(size))
            for chosen in order.tensor_split(min(self.config.minibatches, size)):
                advantage = targets.advantage.index_select(axis, chosen)
                target = targets.target.index_select(axis, chosen)
                step = self.step(select(chosen), advantage, target, parts.append)
        return {
            "loss": step.loss,
            "gradient_norm": step.gradient_norm,
            "learning_rate": self.optimizer.learning_rate,
            **averaged(parts),
            "explained_variance": explained_variance(targets.value, targets.target, rollout.valid),
        }

    def step(
        self,
        part: Trajectory,
        advantage: Float[Tensor, "T K E"],
        target: Float[Tensor, "T K E"],
        report: Callable[[Diagnostics], object] = lambda diagnostics: None,
    ) -> OptimizerStep:
        """Take one step of the optimiser on some lanes, each run through from its first step.

        Args:
            part: The lanes.
            advantage: Of their actions.
            target: What their values should be, in reward units.
            report: Called with the diagnostics of the policy before the step.

        Raises:
            DivergenceError: The loss or its gradient is not finite; nothing was changed.
        """

        def losses() -> list[Tensor]:
            loss, diagnostics = self._loss(part, advantage, target)
            report(diagnostics)
            return [loss]

        return self.optimizer.step(losses)

    def _loss(
        self, part: Trajectory, advantage: Tensor, target: Tensor
    ) -> tuple[Tensor, Diagnostics]:
        bound, config = self.policy.bind(self.params), self.config
        features = part.features(bound)[:-1]
        terms = surrogate_terms(
            bound.distribution(features),
            part.action,
            part.log_prob,
            advantage,
            part.valid,
            config.clip,
        )
        error = (self.value(bound, features) - target) / self.value_scale
        loss = terms.loss + config.value_weight * step_mean(error.square(), part.valid)
        return (loss - config.entropy * terms.entropy).mean(), terms.diagnostics
