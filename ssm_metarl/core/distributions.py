"""Action distributions: differentiable log-probabilities, sampling from noise that is given."""

import functools
import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

LOG_2_PI = math.log(2.0 * math.pi)


@dataclass(frozen=True)
class Categorical:
    """A distribution over discrete actions, with unnormalised log-probabilities.

    An action is one of ``A`` choices, or several independent choices ``[F]``: then the logits are
    those of the first choice, of the second, and so on, one segment after another.
    """

    logits: Float[Tensor, "*batch A"]
    choices: tuple[int, ...] = ()
    """Sizes of the segments; empty if there is one choice, and actions have no axis for it."""

    def sample(self, noise: Float[Tensor, "*batch A"]) -> Int[Tensor, "..."]:
        """Draw by the Gumbel-max trick: ``argmax(logits + noise)`` with Gumbel noise."""
        return self._largest(self.logits + noise)

    def mode(self) -> Int[Tensor, "..."]:
        """Return the most likely action."""
        return self._largest(self.logits)

    def log_prob(self, action: Int[Tensor, "..."]) -> Float[Tensor, "*batch"]:
        """Return the log-probability of each action ``[...]`` or ``[..., F]``, in nats."""
        actions = action.unbind(-1) if self.choices else (action,)
        return _sum(
            log_p.gather(-1, one.unsqueeze(-1)).squeeze(-1)
            for log_p, one in zip(self._log_probs(), actions, strict=True)
        )

    def entropy(self) -> Float[Tensor, "*batch"]:
        """Return the entropy in nats."""
        return _sum(-(log_p.exp() * log_p).sum(-1) for log_p in self._log_probs())

    def kl(self, other: "Categorical | DiagonalGaussian") -> Float[Tensor, "*batch"]:
        """Return the divergence KL(self || other) from one of the same kind, in nats."""
        assert isinstance(other, Categorical)
        pairs = zip(self._log_probs(), other._log_probs(), strict=True)
        return _sum((log_p.exp() * (log_p - log_q)).sum(-1) for log_p, log_q in pairs)

    def part(self, steps: slice, tasks: slice | Int[Tensor, "k"]) -> "Categorical":
        """Return those of some steps of some tasks, from ``[T, K, E]`` of them."""
        return replace(self, logits=self.logits[steps, tasks])

    def probabilities(self) -> Float[Tensor, "*batch A"]:
        """Return the probability of every choice."""
        return torch.cat([part.softmax(-1) for part in self._segments(self.logits)], -1)

    def _largest(self, scores: Float[Tensor, "*batch A"]) -> Int[Tensor, "..."]:
        chosen = [part.argmax(-1) for part in self._segments(scores)]
        return torch.stack(chosen, -1) if self.choices else chosen[0]

    def _log_probs(self) -> list[Tensor]:
        return [_log_softmax(part) for part in self._segments(self.logits)]

    def _segments(self, values: Tensor) -> Sequence[Tensor]:
        return values.split(self.choices, -1) if self.choices else (values,)


def _log_softmax(logits: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
    """Return log-probabilities of choices, which are few: along such an axis PyTorch is slow."""
    if logits.requires_grad:  # the gradient would come back in a layout that is slow everywhere
        return logits.log_softmax(-1)
    return logits.movedim(-1, 0).contiguous().log_softmax(0).movedim(0, -1)


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return functools.reduce(operator.add, terms)


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

    def part(self, steps: slice, tasks: slice | Int[Tensor, "k"]) -> "DiagonalGaussian":
        """Return those of some steps of some tasks, from ``[T, K, E]`` of them."""
        log_std = self.log_std.expand_as(self.mean)  # which may be shared by all tasks
        return DiagonalGaussian(self.mean[steps, tasks], log_std[steps, tasks])


Distribution = Categorical | DiagonalGaussian
NoiseKind = Literal["gumbel", "normal"]
