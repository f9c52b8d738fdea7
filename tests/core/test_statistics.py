"""Running statistics against NumPy on everything at once."""

import numpy as np
import pytest
import torch

from ssm_metarl.core.statistics import RunningStatistics


def of(seen: np.ndarray, paid: np.ndarray) -> RunningStatistics:
    return RunningStatistics.of(torch.from_numpy(seen), torch.from_numpy(paid))


def test_merged_parts_are_the_statistics_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    sizes = [1, 700, 2, 50]
    # Far from 0, where sums of squares without the mean taken off would lose all digits.
    parts = [rng.normal(1e6 + n, [1.0, 0.1, 3.0], (n, 3)) for n in sizes]
    rewards = [rng.normal(size=n) * (rng.random(n) < 0.3) for n in sizes]
    merged = of(parts[0], rewards[0])
    for part, reward in zip(parts[1:], rewards[1:], strict=True):
        merged = merged.merged(of(part, reward))
    whole, paid = np.concatenate(parts), np.concatenate(rewards)
    np.testing.assert_allclose(merged.mean, whole.mean(0), rtol=1e-12)
    np.testing.assert_allclose(merged.std, whole.std(0), rtol=1e-9)
    assert merged.count == sum(sizes)
    assert np.isclose(merged.reward_scale, np.sqrt(np.square(paid[paid != 0]).mean()))


def test_what_was_other_than_0_or_1_once_is_a_number() -> None:
    flags, nothing = np.array([[0.0, 1.0], [1.0, 0.0]]), np.zeros(2)
    both = of(flags, nothing).merged(of(np.array([[1.0, 0.5]]), np.zeros(1)))
    assert of(flags, nothing).binary.tolist() == [True, True]
    assert both.binary.tolist() == [True, False]


def test_pixels_of_a_channel_are_taken_together() -> None:
    images = np.random.default_rng(0).normal([1.0, -2.0], [0.1, 3.0], (50, 4, 5, 2))
    images[:, 0] += 7.0
    rest = np.arange(100.0).reshape(50, 2)
    seen = np.concatenate([images.reshape(50, -1), rest], 1)
    pooled = of(seen, np.zeros(50)).pooled((4, 5, 2))
    np.testing.assert_allclose(pooled.mean[40:], rest.mean(0))
    pooled = of(images.reshape(50, -1), np.zeros(50)).pooled((4, 5, 2))
    np.testing.assert_allclose(pooled.mean.view(4, 5, 2)[1, 2], images.mean((0, 1, 2)))
    np.testing.assert_allclose(pooled.std.view(4, 5, 2)[3, 0], images.std((0, 1, 2)))


def test_without_rewards_their_scale_is_1() -> None:
    assert of(np.ones((3, 1)), np.zeros(3)).reward_scale == 1.0


def test_the_scale_of_rewards_is_theirs_however_few_or_small() -> None:
    for paid, scale in (([0.0, -3.0], 3.0), ([0.01, 0.0, -0.01], 0.01)):
        assert of(np.ones((1, 1)), np.array(paid)).reward_scale == pytest.approx(scale)


def test_all_is_kept_in_float64_by_name() -> None:
    found = RunningStatistics.of(torch.ones(3, 2, requires_grad=True), torch.ones(4))
    tensors = found.tensors()
    assert list(tensors) == ["count", "mean", "square", "binary", "paid", "reward_square"]
    kinds = [str(value.dtype).removeprefix("torch.") for value in tensors.values()]
    assert kinds == ["float64"] * 3 + ["bool"] + ["float64"] * 2
    assert not any(value.requires_grad for value in tensors.values())
    assert [tensors[name].item() for name in ("count", "paid", "reward_square")] == [3, 4, 4]


def test_a_channel_is_binary_where_all_its_pixels_are() -> None:
    seen = np.array([[0.0, 1.0, 1.0, 0.5, 1.0, 0.3], [1.0, 1.0, 0.0, 1.0, 0.0, 2.0]])
    pooled = of(seen, np.zeros(1)).pooled((1, 2, 2))
    assert pooled.binary.tolist() == [True, False, True, False, True, False]
    np.testing.assert_allclose(pooled.std[4:], seen.std(0)[4:])
    assert pooled.count == 2
