"""Proximal policy optimisation through the sequence model, for learners that take no inner step.

Whole lanes are the unit: each minibatch is a set of tasks or lanes, run through the network from
their first step to their last, so that the memory is trained exactly as it is used (Schulman et
al. 2017, arXiv:1707.06347).
"""

from typing import Literal

import torch
from jaxtyping import Float
from numpy.random import Generator
from torch import Tensor

from ssm_metarl.core.parameters import Params, in_groups
from ssm_metarl.core.policy import BoundPolicy, Policy
from ssm_metarl.core.processes import my_part
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.meta_rl.diagnostics import Diagnostics, averaged, explained_variance
from ssm_metarl.meta_rl.learner import Learner, Settings
from ssm_metarl.meta_rl.losses import step_mean
from ssm_metarl.meta_rl.objective import surrogate_loss
from ssm_metarl.meta_rl.optimizer import AdamOptimizer, OptimizerStep
from ssm_metarl.meta_rl.returns import Targets

LEARNED = in_groups("encoder", "cell", "action", "value")
ADAM_EPS = 1e-5


class PPOLearner(Learner[AdamOptimizer]):
    """The updates of PPO; a subclass collects the rollouts and estimates their targets.

    Attributes:
        epochs: Passes over one iteration's data.
        minibatches: Gradient steps per pass.
        value_weight: Weight of the value loss.
    """

    epochs: int
    minibatches: int
    value_weight = 0.5

    def __init__(
        self, policy: Policy, family: TaskFamily, params: Params, settings: Settings
    ) -> None:
        super().__init__(policy, family, params, settings)
        own = self.settings
        learned = {
            f"params/{name}": value
            for name, value in self.params.items()
            if LEARNED(policy.leaves[name])
        }
        self.optimizer = AdamOptimizer(learned, own.outer_lr, own.max_grad_norm, ADAM_EPS)

    @property
    def value_scale(self) -> float:
        """Return what a unit of the value head stands for, in units of the rewards."""
        steps = self.family.max_episode_steps  # all that can follow, where nothing is discounted
        return self.policy.spaces.reward_scale / max(1.0 - self.settings.discount, 1.0 / steps)

    def value(self, bound: BoundPolicy, features: Tensor) -> Tensor:
        """Return values in reward units; the head works in units of ``value_scale``."""
        return self.value_scale * bound.value(features)

    def improve(
        self, rollout: Trajectory, targets: Targets, rng: Generator, axis: Literal[1, 2]
    ) -> dict[str, float | None]:
        """Take all epochs of minibatch steps on a rollout; return the metrics of the update.

        Minibatches are of whole tasks (``axis`` 1) or lanes (2), in an order drawn from ``rng``.

        Raises:
            DivergenceError: A loss or its gradient is not finite; that step changed nothing.
        """
        select = rollout.tasks if axis == 1 else rollout.lanes
        size = rollout.valid.shape[axis]
        step, parts = OptimizerStep(0.0, 0.0), []
        for _ in range(self.epochs):
            parts: list[Diagnostics] = []  # those of the last epoch are reported
            order = torch.from_numpy(rng.permutation(size))
            for chosen in order.tensor_split(min(self.minibatches, size)):
                mine = chosen[my_part(len(chosen))]
                advantage = targets.advantage.index_select(axis, mine)
                target = targets.target.index_select(axis, mine)
                losses: list[Tensor] = []
                if len(mine):
                    loss, diagnostics = self.loss(select(mine), advantage, target)
                    losses.append(loss * (len(mine) / len(chosen)))
                    parts.append(diagnostics)
                step = self.optimizer.step(lambda losses=losses: losses)
        return {
            "loss": step.loss,
            "gradient_norm": step.gradient_norm,
            "learning_rate": self.optimizer.learning_rate,
            **averaged(parts),
            "explained_variance": explained_variance(
                targets.value[rollout.valid], targets.target[rollout.valid]
            ),
        }

    def loss(
        self,
        part: Trajectory,
        advantage: Float[Tensor, "T K E"],
        target: Float[Tensor, "T K E"],
    ) -> tuple[Float[Tensor, ""], Diagnostics]:
        """Return the loss of some lanes, each run through from its first step."""
        bound, own = self.policy.bind(self.params), self.settings
        features = part.features(bound)[:-1]
        outer = surrogate_loss(bound.distribution(features), part, advantage, own.clip)
        error = (self.value(bound, features) - target) / self.value_scale
        loss = outer.loss + self.value_weight * step_mean(error.square(), part.valid)
        return (loss - own.entropy * outer.entropy).mean(), outer.diagnostics
