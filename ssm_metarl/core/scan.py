"""The linear recurrence, as one operation that can be differentiated any number of times."""

import math

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

LONG = 64  # steps from which chunks are worth their overhead


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

    written with differentiable operations, so gradients of gradients are right to any order.

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
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: torch.autograd.function.FunctionCtx,
        decay: Tensor,
        drive: Tensor,
        initial: Tensor,
        keep: Tensor | None,
        reverse: bool,
    ) -> Tensor:
        states = _run(decay, drive, initial, keep, reverse)
        ctx.save_for_backward(decay, initial, states, keep)  # pyright: ignore[reportArgumentType]
        ctx.reverse = reverse  # pyright: ignore[reportAttributeAccessIssue]
        return states

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: torch.autograd.function.BackwardCFunction, grad: Tensor
    ) -> tuple[Tensor | None, ...]:
        decay, initial, states, keep = ctx.saved_tensors  # pyright: ignore[reportAssignmentType]
        reverse: bool = ctx.reverse  # pyright: ignore[reportAttributeAccessIssue]
        # The coefficient of the costate at t is that of the following step. What the roll brings
        # round from the other end only ever multiplies the zero that is carried in.
        shift, start = (1, -1) if reverse else (-1, 0)
        timed = decay.ndim == states.ndim
        following = (torch.roll(decay, shift, 0) if timed else decay).conj()
        following_keep = None if keep is None else torch.roll(keep, shift, 0)
        costate = linear_recurrence(
            following, grad, torch.zeros_like(initial), following_keep, reverse=not reverse
        )
        needs = list(ctx.needs_input_grad)
        masked = costate if keep is None else costate * keep.unsqueeze(-1)
        grad_decay = grad_initial = None
        if needs[0]:
            grad_decay = _decay_gradient(decay, initial, states, masked, reverse)
        if needs[2]:
            first = decay[start] if timed else decay
            grad_initial = first.conj() * masked[start]
        return grad_decay, costate, grad_initial, None, None


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


def _run(
    decay: Tensor, drive: Tensor, initial: Tensor, keep: Tensor | None, reverse: bool
) -> Tensor:
    """Walk through time once, writing each state into one preallocated result."""
    states = torch.empty_like(drive)  # keeps the strides of the drive
    if keep is None and decay.ndim < drive.ndim and len(drive) >= LONG:
        _walk_in_chunks(decay, drive, initial, reverse, states)
    else:
        _walk(decay, drive, initial, keep, reverse, states)
    return states


def _walk(
    decay: Tensor,
    drive: Tensor,
    initial: Tensor,
    keep: Tensor | None,
    reverse: bool,
    states: Tensor,
) -> Tensor:
    """Fill in the states one by one; return the last."""
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


def _walk_in_chunks(
    decay: Tensor, drive: Tensor, initial: Tensor, reverse: bool, states: Tensor
) -> None:
    """Fill in the states by walking through chunks of sqrt(T) steps, all at the same time.

    A decay that is constant in time makes this a recurrence of recurrences: a chunk is walked as
    if it started from nothing; the ends of the chunks obey the recurrence with decay ``a^size``;
    and a chunk that starts from h has ``a^j h`` more, j steps into it. So there are 2 sqrt(T)
    operations in a row, not T, and with few lanes each costs the same whatever its size.
    """
    size = math.isqrt(len(drive))
    count, rest = divmod(len(drive), size)
    chunks, tail = slice(count * size), slice(count * size, None)
    if reverse:
        chunks, tail = slice(rest, None), slice(rest)
    shape = (count, size)
    inside = states[chunks].unflatten(0, shape).transpose(0, 1)  # [size, count, ...], a view
    chunked = drive[chunks].unflatten(0, shape).transpose(0, 1)
    ends = _walk(decay, chunked, torch.zeros_like(chunked[0]), None, reverse, inside)
    powers = decay.expand(size, *decay.shape).cumprod(0)
    after = torch.empty_like(ends)
    last = _walk(powers[-1], ends, initial, None, reverse, after)
    first = initial.unsqueeze(0)
    before = torch.cat([after[1:], first] if reverse else [first, after[:-1]])
    powers = powers.flip(0) if reverse else powers
    inside.addcmul_(powers.view(size, *[1] * (before.ndim - decay.ndim), *decay.shape), before)
    _walk(decay, drive[tail], last, None, reverse, states[tail])
