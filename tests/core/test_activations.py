"""Activations: values and derivatives of every order are those of PyTorch's own."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from ssm_metarl.core.activations import silu, tanh

IGNORE_JIT = pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")
PAIRS = [(tanh, torch.tanh), (silu, torch.nn.functional.silu)]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_values(ours: object, theirs: object) -> None:
    x = torch.cat([torch.linspace(-200.0, 200.0, 4001), torch.linspace(-1e-3, 1e-3, 101)])
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=0.0, atol=2e-7)  # pyright: ignore
    torch.testing.assert_close(ours(x), theirs(x), rtol=0.0, atol=2e-7)  # pyright: ignore


@IGNORE_JIT
@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_derivatives(ours: object, theirs: object) -> None:
    x = torch.linspace(-3.0, 3.0, 7, dtype=torch.float64, requires_grad=True)
    assert gradcheck(ours, x)
    assert gradgradcheck(ours, x)
    third, expected = (
        torch.func.grad(torch.func.grad(torch.func.grad(lambda x, f=f: f(x).square())))(x[2])  # pyright: ignore
        for f in (ours, theirs)
    )
    torch.testing.assert_close(third, expected)
    tangent = torch.ones_like(x)
    for jvp, plain in zip(
        *(torch.func.jvp(f, (x.detach(),), (tangent,)) for f in (ours, theirs)),  # pyright: ignore
        strict=True,
    ):
        torch.testing.assert_close(jvp, plain)
    hessians = [torch.func.hessian(lambda x, f=f: f(x).sum())(x.detach()) for f in (ours, theirs)]  # pyright: ignore
    torch.testing.assert_close(*hessians)


@pytest.mark.parametrize(("ours", "name"), [(tanh, "_TanhBackward"), (silu, "_SiluBackward")])
def test_gradients_take_the_quick_way_and_acting_none(ours: object, name: str) -> None:
    x = torch.ones(2, requires_grad=True)
    assert type(ours(x).grad_fn).__name__ == name  # pyright: ignore
    with torch.no_grad():
        assert not ours(x).requires_grad  # pyright: ignore
