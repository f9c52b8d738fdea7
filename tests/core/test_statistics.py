"""Running statistics against NumPy on everything at once."""

import numpy as np
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
