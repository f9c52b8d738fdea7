"""The recurrence against its definition, and its gradients against finite differences."""

import pytest
import torch

from ssm_metarl.core import scan
from ssm_metarl.core.scan import (
    BACKENDS,
    CHUNKED_BYTES,
    CHUNKED_STEPS,
    backend_of,
    linear_recurrence,
)

T, K, E, N = 5, 2, 2, 2
# torch's own forward-mode rules still use what it deprecates.
IGNORE_JIT = pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")
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
    assert torch.autograd.gradgradcheck(run, (decay, drive, initial), fast_mode=True)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 9, 64, 70])  # with and without steps left over
@pytest.mark.parametrize("shape", [(N,), (K, 1, N)], ids=["shared", "per task"])
@pytest.mark.parametrize("name", ["loop", "chunked"])  # the other one has a file of its own
def test_backends_equal_the_definition(
    name: str, shape: tuple[int, ...], steps: int, reverse: bool
) -> None:
    decay, drive, initial, _ = (x.detach() for x in make(torch.complex128, shape, steps))
    tasks_first = drive.transpose(0, 1).contiguous().transpose(0, 1)
    for laid_out in (drive, tasks_first):
        states = torch.empty_like(laid_out)
        BACKENDS[name](decay, laid_out, initial, None, reverse, states)
        expected = by_definition(decay, drive, initial, None, reverse)
        torch.testing.assert_close(states, expected)


def test_chunks_are_for_long_sequences_of_small_steps_with_a_constant_decay() -> None:
    small, large = CHUNKED_BYTES // 8, CHUNKED_BYTES // 8 + 1  # float64
    long, keep = CHUNKED_STEPS, torch.ones(CHUNKED_STEPS, 1, dtype=torch.bool)

    def name(decay: torch.Tensor, steps: int, size: int, mask: torch.Tensor | None = None) -> str:
        drive = torch.zeros(steps, 1, size, dtype=torch.float64)
        return backend_of(decay, drive, mask).__name__

    one = torch.ones(1, dtype=torch.float64)
    assert name(one, long, small) == "chunked"
    assert name(one, long - 1, small) == "loop"
    assert name(one, long, large) == "loop"
    assert name(one, long, small, keep) == "loop"
    assert name(one.expand(long, 1, small), long, small) == "loop"


class OnGPU(torch.Tensor):
    """Says that it is where it is not."""

    is_cuda = True  # pyright: ignore


@pytest.mark.parametrize(
    ("axes", "triton", "name"), [(2, True, "on_gpu"), (3, True, "loop"), (2, False, "loop")]
)
def test_a_gpu_takes_the_kernel_for_the_shapes_it_knows(
    axes: int, triton: bool, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "_has_triton", lambda: triton)
    drive = torch.zeros(T, *[1] * axes, N).as_subclass(OnGPU)
    assert backend_of(torch.ones(N), drive, None).__name__ == name


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_through_chunks(reverse: bool) -> None:
    decay, drive, initial, _ = make(torch.complex128, (K, 1, N), CHUNKED_STEPS + 6)

    def run(a: torch.Tensor, b: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        return linear_recurrence(a, b, h, reverse=reverse)

    assert torch.autograd.gradcheck(run, (decay, drive, initial), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (decay, drive, initial), fast_mode=True)


def test_each_input_may_be_the_only_one_with_a_gradient() -> None:
    inputs, keep = make(torch.float64, (K, 1, N))[:3], make(torch.float64, (N,))[3]
    expected = torch.autograd.grad(linear_recurrence(*inputs, keep).pow(3).sum(), inputs)
    for index, wanted in enumerate(expected):
        alone = [x.detach().requires_grad_(i == index) for i, x in enumerate(inputs)]
        linear_recurrence(*alone, keep).pow(3).sum().backward()
        grads = [x.grad for x in alone]
        torch.testing.assert_close(grads.pop(index), wanted)
        assert grads == [None, None]


@IGNORE_JIT
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("shape", DECAYS.values(), ids=DECAYS.keys())
def test_torch_func_agrees_with_autograd(
    shape: tuple[int, ...], resets: bool, reverse: bool
) -> None:
    decay, drive, initial, keep = make(torch.float64, shape)
    inputs, mask = (decay.detach(), drive.detach(), initial.detach()), keep if resets else None

    def value(a: torch.Tensor, b: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        return (linear_recurrence(a, b, h, mask, reverse=reverse) ** 3).sum()

    expected = torch.autograd.grad(value(decay, drive, initial), (decay, drive, initial))
    gradients = torch.func.grad(value, (0, 1, 2))(*inputs)
    tangents = tuple(torch.randn_like(x) for x in inputs)
    _, slope = torch.func.jvp(value, inputs, tangents)
    for found, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, wanted)
    along = sum((g * t).sum() for g, t in zip(expected, tangents, strict=True))
    torch.testing.assert_close(slope, along)
    for index, tangent in enumerate(tangents):  # a tangent of one input alone

        def along_one(x: torch.Tensor, index: int = index) -> torch.Tensor:
            a, b, h = (x if i == index else one for i, one in enumerate(inputs))
            return value(a, b, h)

        _, slope = torch.func.jvp(along_one, (inputs[index],), (tangent,))
        torch.testing.assert_close(slope, (expected[index] * tangent).sum())


@IGNORE_JIT
@pytest.mark.parametrize("shape", DECAYS.values(), ids=DECAYS.keys())
def test_forward_over_reverse_is_the_hessian(shape: tuple[int, ...]) -> None:
    decay, drive, initial, keep = make(torch.float64, shape)
    small = decay.detach()

    def value(a: torch.Tensor) -> torch.Tensor:
        return (linear_recurrence(a, drive.detach(), initial.detach(), keep) ** 3).sum()

    expected = torch.autograd.functional.hessian(value, small)
    torch.testing.assert_close(torch.func.hessian(value)(small), expected)


@pytest.mark.parametrize("which", [(0,), (1,), (2,), (3,), (0, 1, 2, 3), (0, 2)])
@pytest.mark.parametrize("shape", DECAYS.values(), ids=DECAYS.keys())
def test_vmap_equals_one_at_a_time(shape: tuple[int, ...], which: tuple[int, ...]) -> None:
    single = [x.detach() for x in make(torch.float64, shape)]
    many = [torch.stack([x, x.flip(-1), x.roll(1, 0)], 1) for x in single]
    dims = tuple(1 if i in which else None for i in range(4))
    given = [many[i] if i in which else single[i] for i in range(4)]

    def run(a: torch.Tensor, b: torch.Tensor, h: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        return linear_recurrence(a, b, h, m)

    def gradient(*args: torch.Tensor) -> torch.Tensor:
        return torch.func.grad(lambda a: (run(a, *args[1:]) ** 3).sum())(args[0])

    for call in (run, gradient):
        together = torch.func.vmap(call, in_dims=dims)(*given)
        for lane in range(3):
            alone = call(*[x[:, lane] if i in which else x for i, x in enumerate(given)])
            torch.testing.assert_close(together[lane], alone)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("which", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("shape", DECAYS.values(), ids=DECAYS.keys())
def test_vmap_without_resets(shape: tuple[int, ...], which: tuple[int, ...], reverse: bool) -> None:
    single = [x.detach() for x in make(torch.float64, shape)[:3]]
    given = [torch.stack([x, x.flip(-1)]) if i in which else x for i, x in enumerate(single)]

    def run(a: torch.Tensor, b: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        return linear_recurrence(a, b, h, reverse=reverse)

    dims = tuple(0 if i in which else None for i in range(3))
    together = torch.func.vmap(run, in_dims=dims)(*given)
    for lane in range(2):
        alone = run(*[x[lane] if i in which else x for i, x in enumerate(given)])
        torch.testing.assert_close(together[lane], alone)


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
