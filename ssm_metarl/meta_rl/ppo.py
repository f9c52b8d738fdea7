"""What training over trials and on one task share: a step of PPO through the sequence model."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import BoundPolicy, Policy
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.errors import DivergenceError
from ssm_metarl.meta_rl.losses import clipped_loss, step_mean


@dataclass(frozen=True)
class PPOConfig:
    """How to take steps of PPO.

    Attributes:
        lr: Rate of Adam.
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


class PPOLearner:
    """The parameters, their optimiser, and its step; what it learns from is for others to say.

    Attributes:
        params: Shared parameters, leaves of the graph.
        tensors: All that defines the learned agent.
        learned: Those of them that the optimiser changes: all but the prediction head.
        value_scale: What a unit of the value head stands for, in units of the rewards.
        on_phase: Called as an iteration goes on: with "play" and "update".
    """

    def __init__(
        self, policy: Policy, config: PPOConfig, family: TaskFamily, params: Params
    ) -> None:
        self.policy, self.config, self.family = policy, config, family
        self.params = {name: v.detach().clone().requires_grad_() for name, v in params.items()}
        self.tensors = {f"params/{name}": v for name, v in self.params.items()}
        self.learned = {n: v for n, v in self.tensors.items() if "prediction." not in n}
        self.optimizer = torch.optim.Adam(self.learned.values(), lr=config.lr, eps=1e-5)
        steps = family.max_episode_steps  # all that can follow, where nothing is discounted
        self.value_scale = 1.0 / max(1.0 - config.discount, 1.0 / steps)
        self.on_phase: Callable[[str], object] = lambda phase: None

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.params["encoder.bias"].device

    def acting(self) -> BoundPolicy:
        """Return the policy as it is now, for collecting data."""
        return self.policy.bind({name: value.detach() for name, value in self.params.items()})

    def value(self, bound: BoundPolicy, features: Tensor) -> Tensor:
        """Return values in reward units; the head works in units of ``value_scale``."""
        return self.value_scale * bound.value(features)

    def step(
        self,
        part: Trajectory,
        advantage: Float[Tensor, "T K E"],
        target: Float[Tensor, "T K E"],
    ) -> tuple[float, float]:
        """Take one step of Adam on some trajectories, each run through from its first step.

        Args:
            part: The trajectories (Schulman et al. 2017, arXiv:1707.06347).
            advantage: Of their actions.
            target: What their values should be, in reward units.

        Returns:
            The loss, and the gradient's norm before clipping.

        Raises:
            DivergenceError: They are not finite; nothing was changed.
        """
        bound, config = self.policy.bind(self.params), self.config
        features = part.features(bound)[:-1]
        distribution = bound.distribution(features)
        log_prob = distribution.log_prob(part.action)
        loss = clipped_loss(log_prob, part.log_prob, advantage, part.valid, config.clip)
        error = (self.value(bound, features) - target) / self.value_scale
        loss = loss + config.value_weight * step_mean(error.square(), part.valid)
        loss = (loss - config.entropy * step_mean(distribution.entropy(), part.valid)).mean()
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.learned.values(), config.max_grad_norm).item()
        if not (torch.isfinite(loss) and norm < float("inf")):
            raise DivergenceError(f"loss {loss.item()}, gradient norm {norm}")
        self.optimizer.step()
        return loss.item(), norm
