"""Random streams: named by key, the same whatever else is drawn."""

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.env_runner.streams import NoiseKind, NoiseStream, substream


def stream(
    index: list[int],
    kind: NoiseKind = "normal",
    *,
    lanes: int = 3,
    dtype: torch.dtype = torch.float32,
    block: int = 64,
) -> NoiseStream:
    return NoiseStream(SeedSequence(7), index, lanes, 2, kind, dtype=dtype, block=block)


def test_substream_is_named_by_its_key_alone() -> None:
    seed = SeedSequence(7)
    first = substream(seed, 2, 5).generate_state(4)
    seed.spawn(3)  # children made in between change nothing
    np.testing.assert_array_equal(first, substream(substream(seed, 2), 5).generate_state(4))
    others = [substream(seed, *key).generate_state(4) for key in ((2,), (5, 2), (2, 6), ())]
    assert not any(np.array_equal(first, other) for other in others)


@pytest.mark.parametrize("kind", ["uniform", "normal", "gumbel"])
def test_a_task_draws_the_same_alone_and_in_any_batch(kind: NoiseKind) -> None:
    together, alone, reverse = stream([4, 9, 1], kind), stream([9], kind), stream([1, 9], kind)
    for _ in range(130):  # beyond two blocks
        noise = together.next()
        assert torch.equal(noise[1:2], alone.next())
        assert torch.equal(noise[[2, 1]], reverse.next())
        assert not torch.equal(noise[0], noise[1])


@pytest.mark.parametrize("kind", ["uniform", "normal", "gumbel"])
def test_block_size_and_skipped_steps_change_nothing(kind: NoiseKind) -> None:
    every, some = stream([0, 1], kind, block=64), stream([0, 1], kind, block=5)
    steps = [every.next().clone() for _ in range(150)]
    for step in (0, 0, 3, 4, 64, 65, 149):
        assert torch.equal(some.at(step), steps[step])


def test_dtype_changes_the_tensor_and_not_the_numbers() -> None:
    single, double = stream([3]).next(), stream([3], dtype=torch.float64).next()
    assert double.dtype == torch.float64
    assert torch.equal(single.double(), double)


@pytest.mark.parametrize(
    ("kind", "mean", "variance"),
    [("uniform", 0.5, 1 / 12), ("normal", 0.0, 1.0), ("gumbel", 0.5772, 1.6449)],
)
def test_distribution(kind: NoiseKind, mean: float, variance: float) -> None:
    noise = stream([0], kind, lanes=50_000).next()
    assert noise.shape == (1, 50_000, 2)
    assert noise.mean().item() == pytest.approx(mean, abs=0.015)
    assert noise.var().item() == pytest.approx(variance, rel=0.03)


def test_handed_out_noise_is_never_overwritten() -> None:
    numbers = stream([0], block=2)
    first = numbers.next()
    kept = first.clone()
    for _ in range(5):
        numbers.next()
    assert torch.equal(first, kept)
