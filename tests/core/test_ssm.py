"""The initial eigenvalues of the diagonal SSM, and a step without complex numbers."""

import math

import pytest
import torch

from ssm_metarl.core.config import PolicyConfig
from ssm_metarl.core.ssm import DiagonalSSM
from ssm_metarl.errors import UserError


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


@pytest.mark.parametrize(("r_min", "r_max"), [(0.5, None), (None, 0.5), (0.9, 0.5), (0.0, 1.0)])
def test_a_ring_needs_both_radii_in_order(r_min: float | None, r_max: float | None) -> None:
    with pytest.raises(UserError, match="r_min"):
        PolicyConfig(r_min=r_min, r_max=r_max)


@pytest.mark.parametrize("phase", [0.0, 7.0])
def test_a_phase_is_within_a_turn(phase: float) -> None:
    with pytest.raises(UserError, match="max_phase"):
        PolicyConfig(max_phase=phase)


def test_a_step_takes_and_returns_real_numbers() -> None:
    cell = DiagonalSSM("a", PolicyConfig(width=3, state_size=2))
    bound = cell.bind(cell.init(torch.Generator().manual_seed(0)))
    x = torch.randn(1, 4, 3)
    _, state = bound.step(x, cell.initial_state(1, 4, x), None)
    assert state.dtype == torch.float32
    assert state.shape == (1, 4, 4)
