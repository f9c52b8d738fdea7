"""The kernel for GPUs against the loop; without a GPU, as Triton's interpreter runs it."""

from pathlib import Path

import pytest
import torch

from ssm_metarl.core import scan
from ssm_metarl.core.scan import linear_recurrence, loop

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
triton = pytest.importorskip("triton", reason="triton is there for Linux only")
with pytest.MonkeyPatch.context() as patch:
    if DEVICE == "cpu":
        patch.setenv("TRITON_INTERPRET", "1")  # read when the kernel is defined
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from ssm_metarl.core.triton_scan import _recurrence, triton_scan

T, K, E, N = 5, 2, 65, 2  # K E N numbers do not fill the last program
SHAPES = {"shared": (N,), "per task": (K, 1, N), "per step": (T, K, E, N)}


def make(dtype: torch.dtype, shape: tuple[int, ...], lanes: int = E) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(0)
    sizes = tuple(lanes if size == E else size for size in shape), (T, K, lanes, N), (K, lanes, N)
    numbers = (torch.randn(size, dtype=dtype, generator=rng).to(DEVICE) for size in sizes)
    keep = torch.rand(T, K, lanes, generator=rng) > 0.3
    return *numbers, keep.to(DEVICE)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_equals_the_loop(
    dtype: torch.dtype, shape: tuple[int, ...], resets: bool, reverse: bool
) -> None:
    decay, drive, initial, keep = make(dtype, shape)
    mask = keep if resets else None
    tasks_first = drive.transpose(0, 1).contiguous().transpose(0, 1)
    for laid_out in (drive, tasks_first):
        expected, states = torch.empty_like(laid_out), torch.empty_like(laid_out)
        loop(decay, laid_out, initial, mask, reverse, expected)
        scan.BACKENDS["on_gpu"](decay, laid_out, initial, mask, reverse, states)
        torch.testing.assert_close(states, expected)


def test_axes_may_be_missing_and_sizes_zero_or_one() -> None:
    decay, drive, initial, _ = make(torch.complex128, (N,))
    for batch in ((0, 0), (0,)):  # drives [T, N] and [T, E, N]
        part, start = drive[(slice(None), *batch)], initial[batch]
        states = torch.empty_like(part)
        triton_scan(decay, part, start, None, False, states)
        torch.testing.assert_close(states, linear_recurrence(decay, part, start))
    one = drive[:, 0, 0, :1]
    states = torch.zeros_like(one)
    triton_scan(decay[:1], one, initial[0, 0, :1], None, False, states)
    torch.testing.assert_close(states, linear_recurrence(decay[:1], one, initial[0, 0, :1]))
    nothing = drive[:, :, :0]
    triton_scan(decay, nothing, initial[:, :0], None, False, torch.empty_like(nothing))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_both_orders_of_gradients(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of the loop, which are tested against finite differences."""
    decay, drive, initial, keep = make(torch.complex128, shape, lanes=2)
    inputs = tuple(x.requires_grad_() for x in (decay, drive, initial))

    def gradients() -> list[torch.Tensor]:
        states = linear_recurrence(*inputs, keep)
        first = torch.autograd.grad(states.abs().pow(3).sum(), inputs, create_graph=True)
        size = torch.stack([grad.abs().pow(3).sum() for grad in first]).sum()
        return [*first, *torch.autograd.grad(size, inputs)]

    expected = gradients()
    monkeypatch.setattr(scan, "backend_of", lambda *_: triton_scan)
    for found, wanted in zip(gradients(), expected, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
def test_a_gpu_takes_the_kernel() -> None:
    decay, drive, _, keep = make(torch.complex64, (N,))
    assert scan.backend_of(decay, drive, keep) is scan.on_gpu


@pytest.mark.parametrize("complex_numbers", [False, True])
def test_the_kernel_compiles_for_a_gpu_that_is_not_there(
    complex_numbers: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # Triton 3.9 warns where it is not set
    kernel = triton.JITFunction(_recurrence.fn)
    types = {"decay": "*fp32", "drive": "*fp32", "initial": "*fp32", "keep": "*u8"}
    types |= {"states": "*fp32", "drive_k": "i64"}  # a stride that takes more than 32 bits
    constants = {"HAS_KEEP": True, "COMPLEX": complex_numbers, "BLOCK": 128}
    signature = {
        name: "constexpr" if name in constants else types.get(name, "i32")
        for name in kernel.arg_names
    }
    source = ASTSource(kernel, signature, constants)
    assert triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]
