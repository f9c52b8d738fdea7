"""The linear recurrence, as one operation that can be differentiated any number of times."""

import functools
import importlib.util
import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor


def linear_recurrence(
    decay: Shaped[Tensor, "..."],
    drive: Shaped[Tensor, "T *batch N"],
    initial: Shaped[Tensor, "*batch N"],
    keep: Bool[Tensor, "T *batch"] | None = None,
    *,
    reverse: bool = False,
) -> Shaped[Tensor, "T *batch N"]:
    r"""Solve ``h_t = m_t a_t h_{t-1} + b_t`` for all t, with ``h_{-1}`` given.

    The backward pass is the same recurrence run the other way in time,

    .. math:: \lambda_t = g_t + \bar{m_{t+1} a_{t+1}} \lambda_{t+1}, \quad
              \partial b_t = \lambda_t, \quad
              \partial a_t = m_t \bar h_{t-1} \lambda_t, \quad
              \partial h_{-1} = \bar{m_0 a_0} \lambda_0,

    and the tangent is the same recurrence with the drive ``m_t \dot a_t h_{t-1} + \dot b_t``. Both
    are written with differentiable operations, so that derivatives are right to any order, also
    under ``torch.func.grad``, ``vmap`` and ``jvp``. ``torch.compile`` loses the second order of
    any ``autograd.Function`` (torch 2.13); only acting is compiled in this package.

    Args:
        decay: ``a``, real or complex. Either constant in time, with any shape that broadcasts to
            ``[*batch, N]`` (``[N]``, ``[K, 1, N]``), or of the full shape ``[T, *batch, N]``.
        drive: ``b``, of the same dtype.
        initial: ``h_{-1}``, the state carried in.
        keep: ``m``, False at the steps where the carried state is forgotten (an episode starts);
            None keeps it everywhere.
        reverse: Run from the last step to the first; ``initial`` then comes after the last one.

    Returns:
        ``h``, with the memory layout of ``drive``.

    See Martin & Cundy (2018), arXiv:1709.04057, for the backward pass of a linear recurrence.
    """
    return _LinearRecurrence.apply(decay, drive, initial, keep, reverse)  # pyright: ignore[reportReturnType]


class _LinearRecurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        decay: Tensor, drive: Tensor, initial: Tensor, keep: Tensor | None, reverse: bool
    ) -> Tensor:
        # Views that are to be conjugated would be, once more at each step.
        decay, drive, initial = (x.resolve_conj() for x in (decay, drive, initial))
        states = torch.empty_like(drive)  # keeps the strides of the drive
        backend_of(decay, drive, keep)(decay, drive, initial, keep, reverse, states)
        return states

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401 (torch has no type for it)
        decay, _, initial, keep, ctx.reverse = inputs
        ctx.save_for_backward(decay, initial, output, keep)
        ctx.save_for_forward(decay, initial, output, keep)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,  # noqa: ANN401 (as above)
        grad: Tensor,
    ) -> tuple[Tensor | None, ...]:
        decay, initial, states, keep = ctx.saved_tensors
        reverse: bool = ctx.reverse
        # The coefficient of the costate at t is that of the following step. What the roll brings
        # round from the other end only ever multiplies the zero that is carried in.
        shift, start = (1, -1) if reverse else (-1, 0)
        timed = decay.ndim == states.ndim
        following = (torch.roll(decay, shift, 0) if timed else decay).conj()
        following_keep = None if keep is None else torch.roll(keep, shift, 0)
        costate = linear_recurrence(
            following, grad, torch.zeros_like(initial), following_keep, reverse=not reverse
        )
        masked = costate if keep is None else costate * keep.unsqueeze(-1)
        grad_decay = grad_initial = None
        if ctx.needs_input_grad[0]:
            grad_decay = _decay_gradient(decay, initial, states, masked, reverse)
        if ctx.needs_input_grad[2]:
            first = decay[start] if timed else decay
            grad_initial = first.conj() * masked[start]
        return grad_decay, costate, grad_initial, None, None

    @staticmethod
    def jvp(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,  # noqa: ANN401 (as above)
        decay_tangent: Tensor,  # zeros where there is none, as are the others
        drive_tangent: Tensor,
        initial_tangent: Tensor,
        *_: None,
    ) -> Tensor:
        decay, initial, states, keep = ctx.saved_tensors
        edge = initial.unsqueeze(0)
        before = [states[1:], edge] if ctx.reverse else [edge, states[:-1]]
        moved = decay_tangent * torch.cat(before)
        drive = drive_tangent + (moved if keep is None else moved * keep.unsqueeze(-1))
        return linear_recurrence(decay, drive, initial_tangent, keep, reverse=ctx.reverse)

    @staticmethod
    def vmap(  # pyright: ignore[reportIncompatibleMethodOverride]
        info: Any,  # noqa: ANN401 (as above)
        in_dims: tuple[int | None, ...],
        decay: Tensor,
        drive: Tensor,
        initial: Tensor,
        keep: Tensor | None,
        reverse: bool,
    ) -> tuple[Tensor, int]:
        """Make the new axis the first one of the batch: after time, where there is time."""
        size, rank = info.batch_size, initial.ndim - (in_dims[2] is not None)

        def batched(x: Tensor, dim: int | None, place: int) -> Tensor:
            if dim is not None:
                return x.movedim(dim, place)
            return x.unsqueeze(place).expand(*x.shape[:place], size, *x.shape[place:])

        timed = decay.ndim - (in_dims[0] is not None) > rank
        decay = batched(decay, in_dims[0], int(timed))
        if not timed:  # [V, N] becomes [V, 1, ..., N]
            decay = decay.view(size, *[1] * (rank + 1 - decay.ndim), *decay.shape[1:])
        states = linear_recurrence(
            decay,
            batched(drive, in_dims[1], 1),
            batched(initial, in_dims[2], 0),
            None if keep is None else batched(keep, in_dims[3], 1),
            reverse=reverse,
        )
        return states, 1


def _decay_gradient(
    decay: Tensor, initial: Tensor, states: Tensor, masked: Tensor, reverse: bool
) -> Tensor:
    """Sum ``m_t conj(h_{t-1}) lambda_t`` down to the shape of the decay."""
    if reverse:
        rest, first = states[1:].conj() * masked[:-1], initial.conj() * masked[-1]
    else:
        rest, first = states[:-1].conj() * masked[1:], initial.conj() * masked[0]
    if decay.ndim == states.ndim:
        edge = first.unsqueeze(0)
        return torch.cat([rest, edge] if reverse else [edge, rest])
    return (rest.sum(0) + first).sum_to_size(decay.shape)


Backend = Callable[[Tensor, Tensor, Tensor, Tensor | None, bool, Tensor], object]
"""``run(decay, drive, initial, keep, reverse, states)`` writes the states where it is told to."""


def loop(
    decay: Tensor,
    drive: Tensor,
    initial: Tensor,
    keep: Tensor | None,
    reverse: bool,
    states: Tensor,
) -> Tensor:
    """Compute the states one after another; return the last."""
    steps = range(len(drive))
    decays = decay.unbind(0) if decay.ndim == drive.ndim else (decay,) * len(drive)
    drives, rows = drive.unbind(0), states.unbind(0)
    forgets = [False] * len(drive) if keep is None else (~keep).flatten(1).any(1).tolist()
    state = initial
    for t in reversed(steps) if reverse else steps:
        if forgets[t]:
            state = state * keep[t].unsqueeze(-1)  # pyright: ignore[reportOptionalSubscript]
        state = torch.addcmul(drives[t], decays[t], state, out=rows[t])
    return state


def chunked(
    decay: Tensor,
    drive: Tensor,
    initial: Tensor,
    keep: Tensor | None,
    reverse: bool,
    states: Tensor,
) -> None:
    """Compute chunks of sqrt(T) steps, all at the same time: no resets, decay constant in time.

    That makes it a recurrence of recurrences: a chunk is computed as if it started from zero; the
    ends of the chunks obey the recurrence with decay ``a^size``; and a chunk that starts from h has
    ``a^j h`` more, j steps into it. So there are 2 sqrt(T) operations in a row, not T.
    """
    size = math.isqrt(len(drive))
    count, rest = divmod(len(drive), size)
    chunks, tail = slice(count * size), slice(count * size, None)
    if reverse:
        chunks, tail = slice(rest, None), slice(rest)
    shape = (count, size)
    inside = states[chunks].unflatten(0, shape).transpose(0, 1)  # [size, count, ...], a view
    split = drive[chunks].unflatten(0, shape).transpose(0, 1)
    ends = loop(decay, split, torch.zeros_like(split[0]), keep, reverse, inside)
    powers = decay.expand(size, *decay.shape).cumprod(0)
    after = torch.empty_like(ends)
    last = loop(powers[-1], ends, initial, keep, reverse, after)
    first = initial.unsqueeze(0)
    before = torch.cat([after[1:], first] if reverse else [first, after[:-1]])
    powers = powers.flip(0) if reverse else powers
    inside.addcmul_(powers.view(size, *[1] * (before.ndim - decay.ndim), *decay.shape), before)
    loop(decay, drive[tail], last, keep, reverse, states[tail])


def on_gpu(*arguments: Any) -> None:  # noqa: ANN401 (those of a backend)
    """Compute all states in one Triton kernel."""
    from ssm_metarl.core.triton_scan import triton_scan

    triton_scan(*arguments)


BACKENDS: dict[str, Backend] = {"loop": loop, "chunked": chunked, "on_gpu": on_gpu}
KERNEL_RANK = 4
"""Of a drive ``[T, K, E, N]``, up to which there is a kernel."""
CHUNKED_STEPS, CHUNKED_BYTES = 64, 16 * 1024
"""Steps from which, and bytes of one step's state up to which, ``chunked`` is the faster one.

Chunks save operations and cost a second pass over memory: what they save is the same for any size
of a step, what they cost is not. ``python -m benchmarks --only recurrence`` measures them.
"""


def backend_of(decay: Tensor, drive: Tensor, keep: Tensor | None) -> Backend:
    """Return the backend that is the fastest for these arguments, of those that can run them."""
    if drive.is_cuda and drive.ndim <= KERNEL_RANK and _has_triton():
        return on_gpu
    constant = keep is None and decay.ndim < drive.ndim
    small = drive[0].nbytes <= CHUNKED_BYTES
    return BACKENDS["chunked" if constant and small and len(drive) >= CHUNKED_STEPS else "loop"]


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None
