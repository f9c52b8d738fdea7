"""Matrix products, one per task, that are fast in every order of differentiation.

PyTorch differentiates ``x @ w`` to the right numbers, but in the second order it lays gradients out
column by column, which every later operation then pays for; and products with a few columns, such
as those of an action head, take several times as long as their transposes (torch 2.13, CPU).
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

NARROW = 8
"""Columns up to which a product is computed as its transpose, and `ROWS` of all tasks together
from which it is."""
ROWS = 200
MANY = 128
"""Rows from which a gradient that is laid out well is worth the Python that it takes."""


def product(
    x: Float[Tensor, "B R I"], w: Float[Tensor, "B I O"], bias: Float[Tensor, "B O"] | None = None
) -> Float[Tensor, "B R O"]:
    """Return ``x @ w + bias``, differentiable any number of times."""
    if not torch.is_grad_enabled() or x.shape[1] < MANY:
        return _product(x, w, bias)  # acting, or a single step of a loop
    return _Product.apply(x, w, bias)  # pyright: ignore[reportReturnType]


def _product(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    if w.shape[-1] > NARROW or x.shape[0] * x.shape[1] < ROWS:
        return torch.bmm(x, w) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, w)
    columns = w.mT, x.mT
    y = torch.bmm(*columns) if bias is None else torch.baddbmm(bias.unsqueeze(2), *columns)
    return y.mT.contiguous()


class _Product(torch.autograd.Function):
    """``x @ w + bias``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        return _product(x, w, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401 (torch has no type for it)
        ctx.save_for_backward(*inputs[:2])
        ctx.save_for_forward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride]
        x, w = ctx.saved_tensors
        return (
            product(grad, w.mT) if ctx.needs_input_grad[0] else None,
            _contraction(x, grad) if ctx.needs_input_grad[1] else None,
            grad.sum(1) if ctx.needs_input_grad[2] else None,
        )

    @staticmethod
    def jvp(ctx: Any, dx: Tensor, dw: Tensor, db: Tensor | None) -> Tensor:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride]
        x, w = ctx.saved_tensors
        return product(dx, w, db) + product(x, dw)


def _contraction(x: Float[Tensor, "B R I"], y: Float[Tensor, "B R O"]) -> Float[Tensor, "B I O"]:
    """Return ``x^T y``, the gradient of a weight."""
    return _Contraction.apply(x, y)  # pyright: ignore[reportReturnType]


class _Contraction(torch.autograd.Function):
    """``x^T y``, with both gradients laid out row by row."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> Tensor:
        return torch.bmm(y.mT, x).mT if y.shape[-1] <= NARROW else torch.bmm(x.mT, y)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride]
        x, y = ctx.saved_tensors
        return (
            product(y, grad.mT) if ctx.needs_input_grad[0] else None,
            product(x, grad) if ctx.needs_input_grad[1] else None,
        )

    @staticmethod
    def jvp(ctx: Any, dx: Tensor, dy: Tensor) -> Tensor:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride]
        x, y = ctx.saved_tensors
        return _contraction(dx, y) + _contraction(x, dy)
