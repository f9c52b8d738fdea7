"""The recurrence against its definition, and its gradients against finite differences."""

import pytest
import torch

from ssm_metarl.core.scan import LONG, linear_recurrence

T, K, E, N = 5, 2, 2, 3
DECAYS = {"shared": (N,), "per task": (K, 1, N), "per step": (T, K, E, N)}


def make(dtype: torch.dtype, shape: tuple[int, ...], steps: int = T) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    decay = (torch.rand(shape, dtype=dtype) * 0.9).requires_grad_()
    drive = torch.randn(steps, K, E, N, dtype=dtype, requires_grad=True)
    initial = torch.randn(K, E, N, dtype=dtype, requires_grad=True)
    keep = torch.rand(steps, K, E) > 0.3
    keep[0, 0, 0] = False
    return decay, drive, initial, keep


def by_definition(
    decay: torch.Tensor,
    drive: torch.Tensor,
    initial: torch.Tensor,
    keep: torch.Tensor | None,
    reverse: bool,
) -> torch.Tensor:
    state, states, steps = initial, {}, range(len(drive))
    for t in reversed(steps) if reverse else steps:
        a = decay[t] if decay.ndim == 4 else decay
        m = 1.0 if keep is None else keep[t].unsqueeze(-1)
        state = m * a * state + drive[t]
        states[t] = state
    return torch.stack([states[t] for t in steps])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("shape", DECAYS.values(), ids=DECAYS.keys())
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_equals_its_definition_with_both_orders_of_gradients(
    dtype: torch.dtype, shape: tuple[int, ...], resets: bool, reverse: bool
) -> None:
    decay, drive, initial, keep = make(dtype, shape)
    mask = keep if resets else None

    def run(a: torch.Tensor, b: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        return linear_recurrence(a, b, h, mask, reverse=reverse)

    expected = by_definition(decay, drive, initial, mask, reverse)
    torch.testing.assert_close(run(decay, drive, initial), expected)
    assert torch.autograd.gradcheck(run, (decay, drive, initial))
    assert torch.autograd.gradgradcheck(run, (decay, drive, initial))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [LONG, LONG + 6])  # chunks of eight, and six steps left over
@pytest.mark.parametrize("shape", [(N,), (K, 1, N)], ids=["shared", "per task"])
def test_a_long_sequence_walked_in_chunks_equals_its_definition(
    shape: tuple[int, ...], steps: int, reverse: bool
) -> None:
    decay, drive, initial, _ = make(torch.complex128, shape, steps)

    def run(a: torch.Tensor, b: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        return linear_recurrence(a, b, h, reverse=reverse)

    expected = by_definition(decay, drive, initial, None, reverse)
    torch.testing.assert_close(run(decay, drive, initial), expected)
    tasks_first = drive.detach().transpose(0, 1).contiguous().transpose(0, 1)
    torch.testing.assert_close(run(decay, tasks_first, initial), expected)
    assert torch.autograd.gradcheck(run, (decay, drive, initial), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (decay, drive, initial), fast_mode=True)


def test_third_order_agrees_with_plain_autograd() -> None:
    decay, drive, initial, keep = make(torch.float64, (N,))

    def third(run) -> torch.Tensor:  # noqa: ANN001
        value = (run(decay, drive, initial) ** 4).sum()
        for _ in range(3):
            (grad,) = torch.autograd.grad(value, decay, create_graph=True)
            value = grad.sum()
        return value

    ours = third(lambda a, b, h: linear_recurrence(a, b, h, keep))
    plain = third(lambda a, b, h: by_definition(a, b, h, keep, False))
    torch.testing.assert_close(ours, plain)


def test_memory_layout_of_the_drive_is_kept_and_does_not_matter() -> None:
    decay, drive, initial, keep = make(torch.float64, (K, 1, N))
    tasks_first = drive.detach().transpose(0, 1).contiguous().transpose(0, 1)
    result = linear_recurrence(decay, tasks_first, initial, keep)
    assert result.stride() == tasks_first.stride()
    torch.testing.assert_close(result, linear_recurrence(decay, drive, initial, keep))


def test_an_episode_does_not_feel_the_one_before() -> None:
    decay, drive, initial, keep = make(torch.float64, (N,))
    keep[:] = True
    keep[3] = False
    before = linear_recurrence(decay, drive, initial, keep)
    disturbed = drive.detach().clone()
    disturbed[:3] += 1e3
    after = linear_recurrence(decay, disturbed, initial * 7, keep)
    assert torch.equal(before[3:], after[3:])
    assert not torch.equal(before[2], after[2])
