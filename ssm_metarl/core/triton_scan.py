"""The linear recurrence as one Triton kernel, for GPUs; see :mod:`ssm_metarl.core.scan`.

A program holds the state of `BLOCK` numbers of the batch and walks through time, so that every
drive is read once and every state written once: with numbers enough to fill the card, a copy is
the floor. Complex numbers are pairs of real ones, as Triton has no others.
"""

# ruff: noqa: ANN001 (a kernel's arguments have no types that Python knows)

import torch
import triton
import triton.language as tl
from torch import Tensor

from ssm_metarl.core.scan import KERNEL_RANK

BLOCK = 128


@triton.jit
def _recurrence(
    decay, drive, initial, keep, states,  # keep is read as bytes, the others as real numbers
    steps, lanes, numbers, total,  # T, E, N and K E N
    decay_t, decay_k, decay_e, decay_n,  # strides; those of time are negative to go backwards
    drive_t, drive_k, drive_e, drive_n,
    initial_k, initial_e, initial_n,
    keep_t, keep_k, keep_e,
    states_t, states_k, states_e, states_n,
    HAS_KEEP: tl.constexpr, COMPLEX: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = index < total
    n, e, k = index % numbers, index // numbers % lanes, index // (numbers * lanes)
    decay += k * decay_k + e * decay_e + n * decay_n
    drive += k * drive_k + e * drive_e + n * drive_n
    initial += k * initial_k + e * initial_e + n * initial_n
    keep += k * keep_k + e * keep_e
    states += k * states_k + e * states_e + n * states_n
    real = tl.load(initial, inside, 0.0)
    imaginary = tl.load(initial + 1, inside, 0.0) if COMPLEX else real
    for _ in range(steps):
        if HAS_KEEP:
            kept = tl.load(keep, inside, 0) != 0
            real = tl.where(kept, real, 0.0)
            imaginary = tl.where(kept, imaginary, 0.0)
            keep += keep_t
        a, b = tl.load(decay, inside, 0.0), tl.load(drive, inside, 0.0)
        if COMPLEX:
            c, d = tl.load(decay + 1, inside, 0.0), tl.load(drive + 1, inside, 0.0)
            real, imaginary = a * real - c * imaginary + b, a * imaginary + c * real + d
            tl.store(states + 1, imaginary, inside)
        else:
            real = a * real + b
        tl.store(states, real, inside)
        decay += decay_t
        drive += drive_t
        states += states_t


def triton_scan(
    decay: Tensor,
    drive: Tensor,
    initial: Tensor,
    keep: Tensor | None,
    reverse: bool,
    states: Tensor,
) -> None:
    """Write the states of :func:`ssm_metarl.core.scan.linear_recurrence`, whatever the strides.

    The drive is ``[T, K, E, N]``; K and E may be missing.
    """
    axes = (slice(None), *[None] * (KERNEL_RANK - drive.ndim))
    shape = drive[axes].shape
    total = shape[1:].numel()
    if total == 0:
        return
    # All are read as [T, K, E, N], with strides of 0 where an axis is missing.
    mask = drive.new_ones((), dtype=torch.bool) if keep is None else keep.unsqueeze(-1)
    tensors = [x.expand(drive.shape)[axes] for x in (decay, drive, initial, mask, states)]
    strides, pointers = [], []
    for x in tensors:
        parts = torch.view_as_real(x) if x.is_complex() else x
        by_time, *others = parts.stride()[:KERNEL_RANK]
        strides.append((-by_time if reverse else by_time, *others))
        first = parts[-1 if reverse else 0]
        pointers.append(first.view(torch.uint8) if first.dtype == torch.bool else first)
    of_decay, of_drive, of_initial, of_mask, of_states = strides
    by_axis = [*of_decay, *of_drive, *of_initial[1:], *of_mask[:3], *of_states]
    arguments = [*pointers, len(drive), shape[2], shape[3], total, *by_axis]
    constants = {"HAS_KEEP": keep is not None, "COMPLEX": drive.is_complex(), "BLOCK": BLOCK}
    grid = (triton.cdiv(total, BLOCK),)
    _recurrence[grid](*arguments, **constants)  # pyright: ignore[reportIndexIssue] (Triton's way)
