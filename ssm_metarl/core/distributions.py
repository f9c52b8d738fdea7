"""Action distributions: differentiable log-probabilities, sampling from noise that is given."""

import math
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

LOG_2_PI = math.log(2.0 * math.pi)


@dataclass(frozen=True)
class Categorical:
    """A distribution over ``A`` discrete actions with unnormalised log-probabilities."""

    logits: Float[Tensor, "*batch A"]

    def sample(self, noise: Float[Tensor, "*batch A"]) -> Int[Tensor, "*batch"]:
        """Draw by the Gumbel-max trick: ``argmax(logits + noise)`` with Gumbel noise."""
        return (self.logits + noise).argmax(-1)

    def mode(self) -> Int[Tensor, "*batch"]:
        """Return the most likely action."""
        return self.logits.argmax(-1)

    def log_prob(self, action: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Return the log-probability of each action, in nats."""
        return self.logits.log_softmax(-1).gather(-1, action.unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Float[Tensor, "*batch"]:
        """Return the entropy in nats."""
        log_p = self.logits.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1)

    def kl(self, other: "Categorical | DiagonalGaussian") -> Float[Tensor, "*batch"]:
        """Return the divergence KL(self || other) from one of the same kind, in nats."""
        assert isinstance(other, Categorical)
        log_p, log_q = self.logits.log_softmax(-1), other.logits.log_softmax(-1)
        return (log_p.exp() * (log_p - log_q)).sum(-1)


@dataclass(frozen=True)
class DiagonalGaussian:
    """Independent normals over ``A`` action dimensions."""

    mean: Float[Tensor, "*batch A"]
    log_std: Float[Tensor, "... A"]

    def sample(self, noise: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
        """Return ``mean + std * noise`` with standard normal noise."""
        return self.mean + self.log_std.exp() * noise

    def mode(self) -> Float[Tensor, "*batch A"]:
        """Return the mean."""
        return self.mean

    def log_prob(self, action: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch"]:
        """Return the log-density, summed (not averaged) over the action dimensions."""
        z = (action - self.mean) * (-self.log_std).exp()
        return -(0.5 * z.square() + self.log_std + 0.5 * LOG_2_PI).sum(-1)

    def entropy(self) -> Float[Tensor, "*batch"]:
        """Return the differential entropy in nats."""
        each = (self.log_std + 0.5 * (1.0 + LOG_2_PI)).expand_as(self.mean)
        return each.sum(-1)

    def kl(self, other: "Categorical | DiagonalGaussian") -> Float[Tensor, "*batch"]:
        """Return the divergence KL(self || other) from one of the same kind, in nats."""
        assert isinstance(other, DiagonalGaussian)
        log_ratio = self.log_std - other.log_std
        z = (self.mean - other.mean) * (-other.log_std).exp()
        return (0.5 * ((2.0 * log_ratio).exp() + z.square() - 1.0) - log_ratio).sum(-1)


Distribution = Categorical | DiagonalGaussian
NoiseKind = Literal["gumbel", "normal"]
