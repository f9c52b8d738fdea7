"""The outer optimiser of MAML-TRPO: natural gradient steps of shared tensors, by line search."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.processes import gathered, sum_gradients
from ssm_metarl.errors import DivergenceError
from ssm_metarl.meta_rl.natural import DAMPING, TINY, Vector, conjugate_gradients, dot, scaled

BACKTRACK, TRIALS = 0.8, 15  # as published with MAML and in garage


class Share(NamedTuple):
    """What some of the tasks add to the loss and to the mean divergence: scalars."""

    loss: Tensor
    divergence: Tensor


Evaluate = Callable[[], Iterable[Share]]
"""Evaluates both anew at the current tensors, adaptation included. Each share is differentiated
before the next is asked for, so that one graph is in memory at a time."""


@dataclass(frozen=True)
class TrustRegionStep:
    """A step.

    Attributes:
        loss: Before it.
        gradient_norm: Likewise.
        divergence: Of what the step changed, in nats; 0 where no trial was good enough.
        fraction: Of the step that the quadratic model allows, which was taken; 0 likewise.
    """

    loss: float
    gradient_norm: float
    divergence: float
    fraction: float


class TrustRegionOptimizer:
    """Trust region policy optimisation (Schulman et al. 2015, arXiv:1502.05477) of named tensors.

    Tensors are shared by all tasks; as vectors they have a task axis of length 1.
    """

    def __init__(self, learned: Mapping[str, Tensor], target_kl: float) -> None:
        self.learned, self.target_kl = learned, target_kl

    def step(self, evaluate: Evaluate) -> TrustRegionStep:
        """Take the longest step that lowers the loss and keeps the divergence within its bound.

        The direction is ``-F^-1 gradient``, where the divergence is ``x' F x / 2`` to second order.
        Where no trial of the line search is good, all is as before, to the bit.

        Raises:
            DivergenceError: The loss or its gradient is not finite; nothing was changed.
        """
        before = {name: value.detach().clone() for name, value in self.learned.items()}
        loss, slope = self._gradient(evaluate)
        norm = dot(slope, slope).sqrt()
        if not (abs(loss) < float("inf") and norm.item() < float("inf")):
            raise DivergenceError(f"loss {loss}, gradient norm {norm.item()}")
        direction = conjugate_gradients(
            lambda vector: self._product(evaluate, vector), scaled(-1.0 / (norm + TINY), slope)
        )
        curvature = dot(direction, self._product(evaluate, direction))
        step = scaled((2.0 * self.target_kl / (curvature + TINY)).sqrt(), direction)
        for trial in range(TRIALS):
            fraction = BACKTRACK**trial
            self._place({name: value + fraction * step[name][0] for name, value in before.items()})
            now, divergence = self._values(evaluate)
            if now < loss and divergence <= self.target_kl:
                return TrustRegionStep(loss, norm.item(), divergence, fraction)
        self._place(before)
        return TrustRegionStep(loss, norm.item(), 0.0, 0.0)

    def anneal(self, fraction: float) -> None:
        """Do nothing: the bound stays."""

    def state(self) -> dict[str, Tensor]:
        """Return nothing: an iteration does not depend on those before it."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over nothing."""

    def _gradient(self, evaluate: Evaluate) -> tuple[float, Vector]:
        """Return the loss and its gradient."""
        self._clear()
        total = 0.0
        for share in evaluate():
            share.loss.backward(inputs=[*self.learned.values()])
            total += share.loss.item()
        return self._summed(total)

    def _product(self, evaluate: Evaluate, vector: Params) -> Vector:
        """Return the product of the damped Hessian of the divergence with a vector."""
        self._clear()
        tensors = [*self.learned.values()]
        for share in evaluate():
            slopes = torch.autograd.grad(
                share.divergence, tensors, create_graph=True, materialize_grads=True
            )
            pairs = zip(slopes, vector.values(), strict=True)
            along = torch.stack([(slope * part[0]).sum() for slope, part in pairs]).sum()
            along.backward(inputs=tensors)
        _, product = self._summed(0.0)
        return {name: product[name] + DAMPING * value for name, value in vector.items()}

    @torch.no_grad()
    def _values(self, evaluate: Evaluate) -> tuple[float, float]:
        """Return the loss and the divergence."""
        mine = [(share.loss.item(), share.divergence.item()) for share in evaluate()]
        every = [pair for part in gathered(mine) for pair in part]
        return sum(loss for loss, _ in every), sum(divergence for _, divergence in every)

    def _clear(self) -> None:
        for value in self.learned.values():
            value.grad = None

    def _summed(self, loss: float) -> tuple[float, Vector]:
        """Return a loss and the gradients that were accumulated, those of all processes."""
        loss = sum_gradients(self.learned.values(), loss)
        slopes = {
            name: torch.zeros_like(value) if value.grad is None else value.grad
            for name, value in self.learned.items()
        }
        return loss, {name: slope.unsqueeze(0) for name, slope in slopes.items()}

    @torch.no_grad()
    def _place(self, values: Params) -> None:
        for name, value in self.learned.items():
            value.copy_(values[name])
