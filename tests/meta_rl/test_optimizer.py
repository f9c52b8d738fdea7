"""The outer optimiser: what it steps on, how far, and what it remembers."""

import pytest
import torch
from torch import Tensor

from ssm_metarl.errors import DivergenceError
from ssm_metarl.meta_rl.optimizer import AdamOptimizer


def leaves() -> dict[str, Tensor]:
    return {
        "a": torch.tensor([1.0, -2.0], requires_grad=True),
        "b": torch.tensor([3.0], requires_grad=True),
    }


def linear(tensors: dict[str, Tensor], a: tuple[float, float], b: float) -> Tensor:
    """A loss whose gradient is the numbers given."""
    return tensors["a"] @ torch.tensor(a, dtype=torch.float32) + b * tensors["b"].sum()


def test_it_descends_the_sum_of_the_losses_and_reports_it() -> None:
    tensors = leaves()
    optimizer = AdamOptimizer(tensors, lr=0.1, max_grad_norm=1e9)
    step = optimizer.step(lambda: [linear(tensors, (3, 0), 0), linear(tensors, (0, 0), -4)])
    assert step.loss == 3.0 - 12.0
    assert step.gradient_norm == 5.0
    # Adam's first step is the rate times the sign of the gradient.
    torch.testing.assert_close(tensors["a"].detach(), torch.tensor([0.9, -2.0]))
    torch.testing.assert_close(tensors["b"].detach(), torch.tensor([3.1]))


def test_each_loss_is_differentiated_before_the_next_is_evaluated() -> None:
    tensors = leaves()
    optimizer, seen = AdamOptimizer(tensors, lr=0.1, max_grad_norm=1e9), []

    def losses():  # noqa: ANN202
        for _ in range(2):
            seen.append(None if tensors["b"].grad is None else tensors["b"].grad.item())
            yield linear(tensors, (0, 0), 1)

    optimizer.step(losses)
    assert seen == [None, 1.0]
    seen.clear()
    optimizer.step(losses)
    assert seen == [None, 1.0]  # gradients of the step before are gone


@pytest.mark.parametrize(("bound", "factor"), [(2.5, 0.5), (100.0, 1.0)])
def test_gradients_are_clipped_together_and_the_norm_is_that_before(
    bound: float, factor: float
) -> None:
    tensors = leaves()
    optimizer = AdamOptimizer(tensors, lr=0.1, max_grad_norm=bound)
    step = optimizer.step(lambda: [linear(tensors, (3, 0), -4)])
    assert step.gradient_norm == 5.0
    state = optimizer.state()  # first moment: a tenth of the gradient; second: a thousandth
    torch.testing.assert_close(state["a/exp_avg"], 0.1 * factor * torch.tensor([3.0, 0.0]))
    torch.testing.assert_close(state["b/exp_avg"], 0.1 * factor * torch.tensor([-4.0]))
    torch.testing.assert_close(state["b/exp_avg_sq"], 1e-3 * factor**2 * torch.tensor([16.0]))


def test_the_rate_falls_linearly_to_zero() -> None:
    for fraction, rate in ((0.0, 0.2), (0.25, 0.15), (1.0, 0.0)):
        tensors = leaves()
        optimizer = AdamOptimizer(tensors, lr=0.2, max_grad_norm=1e9)
        optimizer.anneal(0.7)
        optimizer.anneal(fraction)  # of the rate at the start, not of the last one
        assert optimizer.learning_rate == pytest.approx(rate)
        optimizer.step(lambda tensors=tensors: [linear(tensors, (0, 0), 1)])
        assert tensors["b"].item() == pytest.approx(3.0 - rate, abs=1e-6)


@pytest.mark.parametrize(
    ("scale", "offset"), [(torch.nan, 0.0), (torch.inf, 0.0), (1.0, torch.inf), (1.0, torch.nan)]
)
def test_what_is_not_finite_changes_nothing(scale: float, offset: float) -> None:
    tensors = leaves()
    optimizer = AdamOptimizer(tensors, lr=0.1, max_grad_norm=1.0)
    with pytest.raises(DivergenceError, match=r"loss .*, gradient norm "):
        optimizer.step(lambda: [linear(tensors, (0, 0), 1) * scale + offset])
    assert torch.equal(tensors["a"], leaves()["a"])
    assert torch.equal(tensors["b"], leaves()["b"])
    assert all((value == 0).all() for value in optimizer.state().values())


def test_a_restored_optimiser_goes_on_as_the_saved_one() -> None:
    tensors, others = leaves(), leaves()
    optimizer, other = (AdamOptimizer(t, lr=0.1, max_grad_norm=1e9) for t in (tensors, others))
    for gradient in (1.0, -3.0):
        optimizer.step(lambda gradient=gradient: [linear(tensors, (gradient, 1), 2)])
    saved = {name: value.clone() for name, value in optimizer.state().items()}
    other.load_state(saved)
    with torch.no_grad():
        for name, value in others.items():
            value.copy_(tensors[name])
    for one, its in ((optimizer, tensors), (other, others)):
        one.step(lambda its=its: [linear(its, (0.5, 0.5), 0.5)])
    assert all(torch.equal(others[name], value) for name, value in tensors.items())
    assert saved["a/step"] == 2  # copies: the saved numbers have not moved on
    assert sorted(saved) == sorted(
        f"{name}/{moment}" for name in "ab" for moment in ("step", "exp_avg", "exp_avg_sq")
    )


def test_an_optimiser_that_has_not_stepped_has_a_state_to_save_too() -> None:
    optimizer = AdamOptimizer(leaves(), lr=0.1, max_grad_norm=1.0)
    shapes = {name: tuple(value.shape) for name, value in optimizer.state().items()}
    assert shapes["a/step"] == ()
    assert shapes["a/exp_avg"] == shapes["a/exp_avg_sq"] == (2,)


def test_an_infinite_gradient_of_a_finite_loss_changes_nothing_either() -> None:
    tensors = leaves()
    optimizer = AdamOptimizer(tensors, lr=0.1, max_grad_norm=1.0)
    with pytest.raises(DivergenceError, match=r"loss 0\.0, gradient norm inf"):
        optimizer.step(lambda: [(tensors["b"] - 3.0).sqrt().sum()])
    assert torch.equal(tensors["b"], leaves()["b"])


@pytest.mark.parametrize(("settings", "share"), [({}, 1 / 2), ({"eps": 3e-8}, 1 / 4)])
def test_a_gradient_of_the_size_of_eps_moves_less(settings: dict, share: float) -> None:
    tensors = leaves()
    optimizer = AdamOptimizer(tensors, lr=0.1, max_grad_norm=1.0, **settings)
    optimizer.step(lambda: [linear(tensors, (0, 0), 1e-8)])
    assert 3.0 - tensors["b"].item() == pytest.approx(0.1 * share, rel=1e-3)


def test_the_state_has_the_same_types_whatever_torch_s_default_is() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        tensors = {"a": torch.tensor([1.0], dtype=torch.float64, requires_grad=True)}
        optimizer = AdamOptimizer(tensors, lr=0.1, max_grad_norm=1.0)
        fresh = optimizer.state()
        optimizer.step(lambda: [tensors["a"].sum()])
        stepped = optimizer.state()
    finally:
        torch.set_default_dtype(torch.float32)
    for state in (fresh, stepped):
        assert state["a/step"].dtype == torch.float32
        assert state["a/exp_avg"].dtype == torch.float64
