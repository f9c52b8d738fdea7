"""Products per task: values, derivatives of any order and their layout in memory."""

import functools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from ssm_metarl.core import product as module
from ssm_metarl.core.linear import linear
from ssm_metarl.core.product import NARROW, product

TASKS, ROWS = 2, 16


def arguments(rows: int, columns: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    shapes = (TASKS, rows, 3), (TASKS, 3, columns), (TASKS, columns)
    return [torch.randn(*shape, generator=rng, dtype=dtype, requires_grad=True) for shape in shapes]


IGNORE_JIT = pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")


@pytest.fixture(autouse=True, params=[1, 1000], ids=["many rows", "few rows"])
def many(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY", request.param)
    monkeypatch.setattr(module, "ROWS", TASKS * ROWS)


SIZES = [(ROWS, 2), (ROWS, NARROW + 1), (3, 2), (3, NARROW + 1)]


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_values_and_both_orders_of_gradients(rows: int, columns: int) -> None:
    x, w, bias = arguments(rows, columns)
    torch.testing.assert_close(product(x, w, bias), x @ w + bias.unsqueeze(1))
    with torch.no_grad():  # another path
        torch.testing.assert_close(product(x, w, bias), x @ w + bias.unsqueeze(1))
        torch.testing.assert_close(product(x, w), x @ w)
    assert gradcheck(product, (x, w, bias))
    assert gradcheck(product, (x, w))
    assert gradgradcheck(product, (x, w, bias), fast_mode=True)


@IGNORE_JIT
@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_torch_func_agrees_with_plain_products(rows: int, columns: int) -> None:
    arrays = arguments(rows, columns)
    x, w, bias = (a.detach() for a in arrays)

    def loss(multiply: object, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return multiply(x, w, b).square().sum()  # pyright: ignore[reportCallIssue]

    def plain(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return x @ w + b.unsqueeze(-2)

    for transform in (torch.func.grad, torch.func.hessian):
        found, expected = (
            transform(lambda w, how=how: loss(how, x, w, bias))(w) for how in (product, plain)
        )
        torch.testing.assert_close(found, expected)
    several = torch.stack([w, 2.0 * w])
    torch.testing.assert_close(
        torch.func.vmap(product, in_dims=(None, 0, None))(x, several, bias),
        torch.stack([plain(x, one, bias) for one in several]),
    )


@IGNORE_JIT
@pytest.mark.parametrize(("rows", "columns"), SIZES)
@pytest.mark.parametrize("biased", [False, True])
def test_tangents_of_values_and_of_gradients(rows: int, columns: int, biased: bool) -> None:
    inputs = tuple(a.detach() for a in arguments(rows, columns)[: 2 + biased])
    rng = torch.Generator().manual_seed(1)
    tangents = tuple(torch.randn(a.shape, generator=rng, dtype=a.dtype) for a in inputs)

    def plain(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
        return x @ w if bias is None else x @ w + bias.unsqueeze(-2)

    def gradient(multiply: Callable[..., Tensor], *own: Tensor) -> tuple[Tensor, ...]:
        return torch.func.grad(lambda *a: multiply(*a).pow(3).sum(), (0, 1))(*own)

    for order in (lambda how: how, lambda how: functools.partial(gradient, how)):
        found, expected = (
            torch.func.jvp(order(how), inputs, tangents)[1] for how in (product, plain)
        )
        torch.testing.assert_close(found, expected)


def test_second_order_gradients_are_laid_out_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies column by column slows down everything that is done with it."""
    monkeypatch.setattr(module, "MANY", 1)
    x, w, bias = arguments(ROWS, NARROW + 1)
    strides = []
    hidden = x * 1.0
    hidden.register_hook(lambda grad: strides.append(grad.stride()))
    y = product(hidden, w, bias)
    (inner,) = torch.autograd.grad(y.square().sum(), w, create_graph=True)
    inner.square().sum().backward()
    assert strides == [x.stride()]


def test_shared_weights_equal_those_of_each_task() -> None:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(5, 2, 4, 3, generator=rng)  # [T, K, E, I]
    w, bias = torch.randn(3, 6, generator=rng), torch.randn(6, generator=rng)
    shared, each = linear(x, w, bias), linear(x, w.expand(2, 3, 6), bias.expand(2, 6))
    torch.testing.assert_close(shared, x @ w + bias)
    torch.testing.assert_close(each, shared)
