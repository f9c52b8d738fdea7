"""Inner losses against problems so small that every trajectory can be enumerated."""

from collections.abc import Callable

import pytest
import torch
from enumerated import ALPHA, POLICY, Enumerated, K, flatten, make_params, unflatten
from rules import rule
from torch import Tensor

from ssm_metarl.meta_rl.losses import dice_loss, loaded_dice_loss, lvc_loss, score_loss


def hessian(loss: Callable[[dict[str, Tensor]], Tensor], task: int) -> Tensor:
    params = make_params()
    return torch.autograd.functional.hessian(
        lambda vector: loss(unflatten(vector, params))[task], flatten(params)
    )


def surrogate(name: str | float, problem: Enumerated) -> Callable[[dict[str, Tensor]], Tensor]:
    def loss(params: dict[str, Tensor]) -> Tensor:
        batch, log_prob = problem.batch(params), problem.log_prob(params)
        if name == "dice":
            return dice_loss(log_prob, batch.advantage, batch.valid)
        if isinstance(name, float):
            return loaded_dice_loss(log_prob, batch.advantage, batch.valid, name)
        if name == "lvc":
            return lvc_loss(log_prob, batch.log_prob, batch.advantage)
        return score_loss(log_prob, batch.advantage)

    return loss


def cross_terms(problem: Enumerated, task: int) -> Tensor:
    """``E[sum_{s != u} score_s score_u^T R_max(s, u)]``: the products across steps."""
    params = make_params()

    def log_probs(vector: Tensor) -> Tensor:
        return problem.log_prob(unflatten(vector, params))[:, task]

    scores = torch.autograd.functional.jacobian(log_probs, flatten(params))  # [2, E, P]
    weight = problem.probability(params)[task] * problem.reward[1, task]
    outer = torch.einsum("e,ep,eq->pq", weight, scores[0], scores[1])
    return outer + outer.T


@pytest.mark.parametrize("task", range(K))
@pytest.mark.parametrize("steps", [1, 2])
def test_all_of_them_have_the_right_gradient(steps: int, task: int) -> None:
    problem, params = Enumerated(steps), make_params()
    assert torch.allclose(problem.probability(params).sum(-1), torch.ones(K).double())
    vector = flatten(params).requires_grad_()

    def gradient(value: Tensor) -> Tensor:
        return torch.autograd.grad(value, vector)[0]

    shared = unflatten(vector, params)
    truth = gradient(-problem.expected_return(shared)[task])
    for name in ("dice", 0.3, "lvc", "log pi * A"):
        value = surrogate(name, problem)(unflatten(vector, params))[task]
        torch.testing.assert_close(gradient(value), truth, atol=1e-10, rtol=0)


@pytest.mark.parametrize("task", range(K))
@pytest.mark.parametrize("steps", [1, 2])
def test_dice_has_the_exact_hessian(steps: int, task: int) -> None:
    problem = Enumerated(steps)
    truth = hessian(lambda p: -problem.expected_return(p), task)
    ours = hessian(surrogate("dice", problem), task)
    torch.testing.assert_close(ours, truth, atol=1e-6, rtol=0)


@pytest.mark.parametrize("task", range(K))
def test_lvc_is_exact_for_one_step_and_drops_just_the_cross_terms_of_two(task: int) -> None:
    one, two = Enumerated(1), Enumerated(2)
    truth = hessian(lambda p: -one.expected_return(p), task)
    torch.testing.assert_close(hessian(surrogate("lvc", one), task), truth, atol=1e-6, rtol=0)

    missing = hessian(surrogate("lvc", two), task) - hessian(
        lambda p: -two.expected_return(p), task
    )
    assert missing.abs().max() > 1e-2
    torch.testing.assert_close(missing, cross_terms(two, task), atol=1e-6, rtol=0)


@pytest.mark.parametrize("task", range(K))
def test_loaded_dice_keeps_a_share_of_the_cross_terms(task: int) -> None:
    problem = Enumerated(2)
    truth = hessian(lambda p: -problem.expected_return(p), task)
    for share in (0.0, 0.3, 1.0):
        missing = hessian(surrogate(share, problem), task) - truth
        expected = (1.0 - share) * cross_terms(problem, task)
        torch.testing.assert_close(missing, expected, atol=1e-6, rtol=0)


def test_loaded_dice_is_its_definition_to_second_order() -> None:
    """Against boxes that are written out, with the constants in them held, by differences."""
    generator = torch.Generator().manual_seed(0)
    advantage = torch.randn(5, 1, 1, generator=generator, dtype=torch.float64)
    valid = torch.tensor([True] * 4 + [False]).view(5, 1, 1)
    still = torch.randn(5, 1, 1, generator=generator, dtype=torch.float64)

    def written_out(log_prob: Tensor) -> Tensor:
        total = torch.zeros(1, dtype=torch.float64)
        for t in range(4):
            earlier = sum(0.6 ** (t - s) * (log_prob[s] - still[s]) for s in range(t))
            own = log_prob[t] - still[t]
            total = (
                total - (torch.exp(earlier + own) - torch.exp(earlier + 0.0 * own)) * advantage[t]
            )
        return total.sum()

    def ours(log_prob: Tensor) -> Tensor:
        return loaded_dice_loss(log_prob, advantage, valid, 0.6).sum()

    found, expected = (
        torch.autograd.functional.hessian(one, still).view(5, 5) for one in (ours, written_out)
    )
    assert expected[0, 3].abs() > 1e-3
    torch.testing.assert_close(found, expected)
    assert torch.autograd.gradgradcheck(written_out, still.clone().requires_grad_())


@pytest.mark.parametrize("task", range(K))
@pytest.mark.parametrize("steps", [1, 2])
def test_log_pi_times_advantage_is_wrong_even_for_one_step(steps: int, task: int) -> None:
    problem = Enumerated(steps)
    error = hessian(surrogate("log pi * A", problem), task) - hessian(
        lambda p: -problem.expected_return(p), task
    )
    assert error.abs().max() > 1e-2


def meta_gradient(problem: Enumerated, kind: str) -> Tensor:
    """Gradient of the tasks' mean return after one step, through :class:`InnerRule`."""
    params = make_params()
    vector = flatten(params).requires_grad_()
    shared = unflatten(vector, params)
    surrogate, first_order = "dice" if kind == "dice" else "lvc", kind == "first order"
    inner = rule(POLICY, ALPHA, surrogate, first_order=first_order)
    theta = inner.step(shared, problem.batch(params), create_graph=True)
    return torch.autograd.grad(problem.expected_return(theta).mean(), vector)[0]


def true_meta_gradient(problem: Enumerated) -> Tensor:
    params = make_params()
    vector = flatten(params).requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for task in range(K):
        value = problem.expected_return(unflatten(vector, params))[task]
        (gradient,) = torch.autograd.grad(value, vector, create_graph=True)
        adapted = unflatten(vector + ALPHA * gradient, params)
        total = total + problem.expected_return(adapted)[task] / K
    return torch.autograd.grad(total, vector)[0]


def test_the_meta_gradient_is_exact_with_dice_and_with_lvc_where_it_should_be() -> None:
    one, two = Enumerated(1), Enumerated(2)
    for problem, kind in ((one, "dice"), (two, "dice"), (one, "lvc")):
        truth = true_meta_gradient(problem)
        torch.testing.assert_close(meta_gradient(problem, kind), truth, atol=1e-6, rtol=0)
    for kind in ("lvc", "first order"):
        error = meta_gradient(two, kind) - true_meta_gradient(two)
        assert error.abs().max() > 1e-4
    assert (meta_gradient(one, "first order") - true_meta_gradient(one)).abs().max() > 1e-3


def test_one_step_is_theta_minus_alpha_times_the_gradient() -> None:
    problem, params = Enumerated(2), make_params()
    rates = {name: torch.rand_like(value) for name, value in params.items()}
    for rate in (ALPHA, rates):
        adapted = rule(POLICY, rate).step(params, problem.batch(params))
        for task in range(K):
            vector = flatten(params).requires_grad_()
            value = -problem.expected_return(unflatten(vector, params))[task]
            gradient = unflatten(torch.autograd.grad(value, vector)[0], params)
            for name, theta in params.items():
                alpha = rate if isinstance(rate, float) else rate[name]
                assert adapted[name].shape == (K, *theta.shape)
                torch.testing.assert_close(adapted[name][task], theta - alpha * gradient[name])


def test_first_and_second_order_take_the_same_step() -> None:
    problem, params = Enumerated(2), make_params()
    plain = rule(POLICY, ALPHA).step(params, problem.batch(params))
    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    second = rule(POLICY, ALPHA).step(leaves, problem.batch(params), create_graph=True)
    for name in params:
        torch.testing.assert_close(plain[name], second[name])
