"""Returns and advantages against slow loops that say what they mean."""

import itertools

import pytest
import torch
from torch import Tensor

from ssm_metarl.meta_rl.returns import discounted_sum, generalized_advantages, standardize

T, K, E = 23, 2, 5


def slow_advantages(
    reward: Tensor,
    value: Tensor,
    terminated: Tensor,
    done: Tensor,
    valid: Tensor,
    gamma: float,
    trace: float,
) -> Tensor:
    """For every step, add up the discounted surprises that follow in its episode."""
    result = torch.zeros_like(reward)
    for k, e, t in itertools.product(range(K), range(E), range(T)):
        if not valid[t, k, e]:
            continue
        weight, total = 1.0, 0.0
        for s in range(t, T):
            if not valid[s, k, e]:
                break
            after = 0.0 if terminated[s, k, e] else value[s + 1, k, e].item()
            total += weight * (reward[s, k, e].item() + gamma * after - value[s, k, e].item())
            if done[s, k, e]:
                break
            weight *= gamma * trace
        result[t, k, e] = total
    return result


def example(seed: int, *, autoreset: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Random episodes: some end for good, some are cut, some still run at the end."""
    rng = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    reward, value = draw(T, K, E), draw(T + 1, K, E)
    ends, good = draw(T, K, E) > 1.0, draw(T, K, E) > 0.0
    valid = torch.ones(T, K, E, dtype=torch.bool)
    for t in range(1, T):
        over = ends[t - 1] & valid[t - 1]
        valid[t] = ~over if autoreset else valid[t - 1] & ~over
    done = ends & valid
    assert (done & good).any()
    assert (done & ~good).any()
    assert (~valid).any()
    return reward * valid, value, done & good, done, valid


@pytest.mark.parametrize("autoreset", [False, True])
@pytest.mark.parametrize(("discount", "trace"), [(0.9, 0.8), (0.99, 1.0), (0.7, 0.0)])
def test_advantages_equal_the_loop(discount: float, trace: float, autoreset: bool) -> None:
    for seed in range(3):
        parts = example(seed, autoreset=autoreset)
        fast = generalized_advantages(*parts, discount, trace)
        torch.testing.assert_close(fast, slow_advantages(*parts, discount, trace))


def test_dead_steps_do_not_reach_the_living() -> None:
    reward, value, terminated, done, valid = example(0, autoreset=True)
    plain = generalized_advantages(reward, value, terminated, done, valid, 0.9, 0.8)
    assert (plain[~valid] == 0).all()
    poisoned = torch.where(valid, reward, 1e6)
    other = generalized_advantages(poisoned, value, terminated, done, valid, 0.9, 0.8)
    assert torch.equal(plain, other)


def test_a_time_limit_is_not_an_end() -> None:
    shape = (3, 1, 1)
    reward, value = torch.ones(shape), torch.full((4, 1, 1), 10.0)
    valid, never = torch.ones(shape).bool(), torch.zeros(shape).bool()
    done = never.clone()
    done[-1] = True
    cut = generalized_advantages(reward, value, never, done, valid, 0.9, 1.0)
    ended = generalized_advantages(reward, value, done, done, valid, 0.9, 1.0)
    # Rewards of 1 for ever are worth 10: nothing was a surprise, unless the episode really ended.
    torch.testing.assert_close(cut, torch.zeros(shape))
    torch.testing.assert_close(ended.flatten(), -10.0 * 0.9 ** torch.tensor([3.0, 2.0, 1.0]))


def test_a_full_trace_gives_discounted_returns_minus_values() -> None:
    reward, value, _, done, valid = example(1, autoreset=False)
    advantage = generalized_advantages(reward, value, done, done, valid, 0.9, 1.0)
    lanes = done.any(0) & valid.any(0)
    target = discounted_sum(reward, done | ~valid, 0.9)
    expected = torch.where(valid, target - value[:-1], 0.0)
    assert lanes.any()
    torch.testing.assert_close(advantage[:, lanes], expected[:, lanes])


def test_discounted_sum_takes_features_along() -> None:
    reward, _, _, done, _ = example(2, autoreset=True)
    stacked = discounted_sum(torch.stack([reward, 2 * reward], -1), done, 0.9)
    single = discounted_sum(reward, done, 0.9)
    torch.testing.assert_close(stacked, torch.stack([single, 2 * single], -1))


def test_standardising_is_per_task_and_ignores_the_dead() -> None:
    reward, _, _, _, valid = example(3, autoreset=False)
    x = torch.where(valid, reward * torch.tensor([1.0, 100.0])[:, None] + 3.0, 1e9)
    result = standardize(x, valid)
    assert (result[~valid] == 0).all()
    for k in range(K):
        alive = result[:, k][valid[:, k]]
        assert alive.mean().abs() < 1e-6
        torch.testing.assert_close(alive.std(correction=0), torch.ones((), dtype=alive.dtype))


def test_the_floor_keeps_noise_small() -> None:
    reward, _, _, _, valid = example(4, autoreset=False)
    floor = torch.tensor([0.0, 1e3], dtype=reward.dtype)
    result = standardize(reward, valid, floor)
    assert result[:, 0].abs().max() > 1.0
    assert result[:, 1].abs().max() < 0.1
