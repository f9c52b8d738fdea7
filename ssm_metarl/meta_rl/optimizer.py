"""Outer optimisers: what changes the learned tensors, given losses of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ssm_metarl.core.processes import sum_gradients
from ssm_metarl.errors import DivergenceError

Losses = Callable[[], Iterable[Tensor]]
"""Evaluates, at the current parameters, the scalar losses whose sum is to become smaller. Each is
differentiated before the next is asked for, so that one graph is in memory at a time."""


class OuterOptimizer(Protocol):
    """What training needs of every outer optimiser."""

    def anneal(self, fraction: float) -> None:
        """Prepare for an iteration, before which some fraction of the training is done."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return what it keeps from one iteration to the next."""
        ...

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over copies of what :meth:`state` returned."""
        ...


MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what Adam keeps of each tensor


@dataclass(frozen=True)
class OptimizerStep:
    """The sum of the losses that a step was based on, and its gradient's norm before clipping."""

    loss: float
    gradient_norm: float


class AdamOptimizer:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980) on the clipped gradient of some named tensors."""

    def __init__(
        self, learned: Mapping[str, Tensor], lr: float, max_grad_norm: float, eps: float = 1e-8
    ) -> None:
        self.learned, self._initial_lr, self._max_grad_norm = learned, lr, max_grad_norm
        self._adam = torch.optim.Adam(learned.values(), lr=lr, eps=eps)

    @property
    def learning_rate(self) -> float:
        """Return the rate of the next step."""
        return self._adam.param_groups[0]["lr"]

    def anneal(self, fraction: float) -> None:
        """Let the rate fall linearly to zero over the training, of which some fraction is done."""
        self._adam.param_groups[0]["lr"] = self._initial_lr * (1.0 - fraction)

    def step(self, losses: Losses) -> OptimizerStep:
        """Take one step down the gradient of the sum of the losses, those of all processes.

        Raises:
            DivergenceError: The loss or its gradient is not finite; nothing was changed.
        """
        self._adam.zero_grad()
        total = 0.0
        for loss in losses():
            loss.backward()
            total += loss.item()
        total = sum_gradients(self.learned.values(), total)
        norm = torch.nn.utils.clip_grad_norm_(self.learned.values(), self._max_grad_norm).item()
        if not (abs(total) < float("inf") and norm < float("inf")):
            raise DivergenceError(f"loss {total}, gradient norm {norm}")
        self._adam.step()
        return OptimizerStep(total, norm)

    def state(self) -> dict[str, Tensor]:
        """Return the moments of each tensor, as ``name/moment``."""
        return {
            f"{name}/{moment}": value.float() if moment == "step" else value
            for name, tensor in self.learned.items()
            for moment, value in (self._adam.state[tensor] or _no_moments(tensor)).items()
        }  # Adam counts steps in torch's default dtype

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over copies of what :meth:`state` returned, on whatever device it was."""
        for name, tensor in self.learned.items():
            step, *moments = (state[f"{name}/{moment}"].clone() for moment in MOMENTS)
            moved = [moment.to(tensor.device) for moment in moments]  # the step stays on the CPU
            self._adam.state[tensor] = dict(zip(MOMENTS, [step, *moved], strict=True))


def _no_moments(tensor: Tensor) -> dict[str, Tensor]:
    zero = torch.zeros_like(tensor)
    return dict(zip(MOMENTS, (torch.zeros((), dtype=torch.float32), zero, zero), strict=True))
