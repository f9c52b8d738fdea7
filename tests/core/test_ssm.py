"""The initial eigenvalues of the diagonal SSM, and a step without complex numbers."""

import math

import pytest
import torch

from ssm_metarl.core.config import PolicyConfig
from ssm_metarl.core.ssm import DiagonalSSM, as_complex, as_pairs, rotate


def test_eigenvalues_start_on_the_ring_uniform_in_area() -> None:
    config = PolicyConfig(state_size=4000, r_min=0.5, r_max=0.9, max_phase=2 * math.pi)
    cell = DiagonalSSM("a", config)
    decay = cell.bind(cell.init(torch.Generator().manual_seed(0))).decay
    modulus, phase = decay.abs(), decay.angle() % (2 * math.pi)
    assert 0.5 < modulus.min() < 0.51
    assert 0.89 < modulus.max() <= 0.9
    middle = math.sqrt((0.5**2 + 0.9**2) / 2)
    assert (modulus < middle).float().mean() == pytest.approx(0.5, abs=0.03)
    assert (phase < math.pi).float().mean() == pytest.approx(0.5, abs=0.03)


def test_a_step_takes_and_returns_real_numbers() -> None:
    cell = DiagonalSSM("a", PolicyConfig(width=3, state_size=2))
    bound = cell.bind(cell.init(torch.Generator().manual_seed(0)))
    x = torch.randn(1, 4, 3)
    _, state = bound.step(x, cell.initial_state(1, 4, x), None)
    assert state.dtype == torch.float32
    assert state.shape == (1, 4, 4)


def test_equals_the_equations_with_complex_numbers() -> None:
    cell = DiagonalSSM("a", PolicyConfig(width=3, state_size=4))
    drawn = cell.init(torch.Generator().manual_seed(0))
    params = {name: value.double() for name, value in drawn.items()}
    p = {name.removeprefix("a."): value for name, value in params.items()}
    torch.manual_seed(1)
    x, h = torch.randn(6, 2, 5, 3).double(), torch.randn(2, 5, 4, dtype=torch.complex128)
    keep = torch.rand(6, 2, 5) > 0.3
    decay = torch.exp(torch.complex(-p["nu"].exp(), p["theta"].exp()))
    gamma = (1 - decay.abs() ** 2).sqrt()
    B = torch.view_as_complex(p["B"].unflatten(-1, (-1, 2)))
    real, imaginary = p["C"].unflatten(0, (-1, 2)).unbind(1)  # C stores Re and -Im
    start, outputs = as_pairs(h), []
    for t in range(6):
        h = decay * h * keep[t].unsqueeze(-1) + gamma * (x[t].to(B.dtype) @ B)
        outputs.append(h.real @ real + h.imag @ imaginary + p["D"] * x[t])
    bound, state = cell.bind(params), start
    found, last = bound.scan(x, start, keep)
    torch.testing.assert_close(found, torch.stack(outputs))
    torch.testing.assert_close(last, as_pairs(h))
    for t in range(6):
        y, state = bound.step(x[t], state, keep[t])
        torch.testing.assert_close(y, outputs[t])
    torch.testing.assert_close(state, last)


def test_what_is_compiled_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = DiagonalSSM("a", PolicyConfig(width=3, state_size=4))
    bound = cell.bind(cell.init(torch.Generator().manual_seed(0)))
    x, state = torch.randn(2, 5, 3), torch.randn(2, 5, 8)
    expected = bound.step(x, state, None)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    for found, wanted in zip(bound.step(x, state, None), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_time_constants_are_log_uniform_and_phases_small() -> None:
    cell = DiagonalSSM("a", PolicyConfig(state_size=4000, max_time_constant=200.0))
    decay = cell.bind(cell.init(torch.Generator().manual_seed(0))).decay
    tau, phase = -1.0 / decay.abs().log(), decay.angle()
    assert 2.0 <= tau.min() < 2.02
    assert 198.0 < tau.max() <= 200.1
    assert float(tau.median()) == pytest.approx(20.0, rel=0.1)  # the geometric middle
    assert phase.min() > 0.0
    assert phase.max() <= math.pi / 10 + 1e-6
    assert float(phase.median()) == pytest.approx(math.pi / 20, rel=0.1)


def test_the_state_keeps_the_variance_of_its_input() -> None:
    cell = DiagonalSSM("a", PolicyConfig(width=16, state_size=64, max_time_constant=20.0))
    bound = cell.bind(cell.init(torch.Generator().manual_seed(0)))
    torch.manual_seed(0)
    x, states = torch.randn(400, 1, 8, 16), []
    state = cell.initial_state(1, 8, x)
    for row in x:
        _, state = bound.step(row, state, None)
        states.append(state)
    assert float(as_complex(torch.stack(states[100:])).abs().square().mean()) == pytest.approx(
        1.0, rel=0.15
    )


def test_pairs_rotate_as_the_complex_numbers_that_they_are() -> None:
    rng = torch.Generator().manual_seed(0)
    pairs, factor = torch.randn(3, 2, 8, generator=rng), torch.randn(3, 1, 4, 2, generator=rng)
    expected = as_pairs(torch.view_as_complex(factor) * as_complex(pairs))
    torch.testing.assert_close(rotate(pairs, factor), expected)
