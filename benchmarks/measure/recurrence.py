"""The recurrence alone, of a chunk of tasks as the meta-step takes it; runs in a worker."""

from collections.abc import Callable

import torch

from benchmarks.measure.worker import Work
from ssm_metarl.core.memory import keep_large_blocks
from ssm_metarl.core.scan import linear_recurrence

TASKS, LANES, STATES = 8, 20, 32
Run = Callable[[torch.Tensor], torch.Tensor]


def differentiated(run: Run, drive: torch.Tensor, weights: torch.Tensor, order: int) -> Work:
    """Return work that computes the states, or also a derivative of an order.

    The second is that of the derivative with respect to the drive, with respect to the weights.
    """

    def work() -> float:
        states = run(drive)
        if order:
            seed = torch.ones_like(states)
            (first,) = torch.autograd.grad(states, drive, seed, create_graph=order > 1)
            if order > 1:
                torch.autograd.grad(first, weights, first)
        return 1

    return work


def _drive(steps: int, order: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    keep_large_blocks()
    rng = torch.Generator().manual_seed(0)
    shape = (TASKS, steps, LANES, STATES)
    drive = torch.randn(shape, dtype=torch.complex64, generator=rng).transpose(0, 1)
    decay = torch.full((TASKS, 1, STATES), 0.9 + 0.1j)
    first = torch.zeros(TASKS, LANES, STATES, dtype=torch.complex64)
    return drive.requires_grad_(order > 0), decay.requires_grad_(order > 1), first


def ours(steps: int, order: int) -> Work:
    """Run the package's operation."""
    drive, decay, first = _drive(steps, order)

    def run(drive: torch.Tensor) -> torch.Tensor:
        return linear_recurrence(decay, drive, first)

    return differentiated(run, drive, decay, order)


def python_loop(steps: int, order: int) -> Work:
    """Run it as a loop of plain operations, with autograd's own backward pass."""
    drive, decay, first = _drive(steps, order)

    def run(drive: torch.Tensor) -> torch.Tensor:
        state, states = first, []
        for row in drive.unbind(0):
            state = decay * state + row
            states.append(state)
        return torch.stack(states)

    return differentiated(run, drive, decay, order)


def gru(steps: int, order: int) -> Work:
    """Run ``nn.GRU`` on as many lanes, with as many real states."""
    keep_large_blocks()
    cell = torch.nn.GRU(2 * STATES, 2 * STATES)
    drive = torch.randn(steps, TASKS * LANES, 2 * STATES, requires_grad=order > 0)

    def run(drive: torch.Tensor) -> torch.Tensor:
        return cell(drive)[0]

    return differentiated(run, drive, cell.weight_hh_l0, order)


def copy(steps: int, order: int) -> Work:
    """Copy what the recurrence has to read and write: once, or once more for each derivative."""
    drive, _, _ = _drive(steps, 0)
    states = torch.empty_like(drive)

    def work() -> float:
        for _ in range(2**order):
            states.copy_(drive)
        return 1

    return work
