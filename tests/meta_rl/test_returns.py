"""Advantages against a slow, readable reference."""

import pytest
import torch

from ssm_metarl.meta_rl.returns import discounted_sum, generalized_advantages, standardize

T, K, E, GAMMA = 9, 2, 3, 0.9
NO_FLOOR = torch.zeros(K)


def reference(reward, value, terminated, done, valid, gae_lambda) -> torch.Tensor:  # noqa: ANN001
    advantage = torch.zeros(T, K, E, dtype=torch.float64)
    for k in range(K):
        for e in range(E):
            after = 0.0
            for t in reversed(range(T)):
                if not valid[t, k, e]:
                    after = 0.0
                    continue
                bootstrap = 0.0 if terminated[t, k, e] else value[t + 1, k, e]
                surprise = reward[t, k, e] + GAMMA * bootstrap - value[t, k, e]
                after = surprise + (0.0 if done[t, k, e] else GAMMA * gae_lambda * after)
                advantage[t, k, e] = after
    return advantage


def episodes(*, autoreset: bool) -> tuple[torch.Tensor, ...]:
    """Random episodes, some of them terminated, cut, or still going on at the end."""
    torch.manual_seed(0)
    reward = torch.randn(T, K, E, dtype=torch.float64)
    value = torch.randn(T + 1, K, E, dtype=torch.float64)
    terminated, truncated = torch.rand(T, K, E) < 0.15, torch.rand(T, K, E) < 0.15
    valid = torch.ones(T, K, E, dtype=torch.bool)
    for t in range(T - 1):  # the step after an end is dead; without autoreset, all of them are
        ended = (terminated | truncated)[t] & valid[t]
        valid[t + 1] = ~ended if autoreset else valid[t] & ~ended
        terminated[t + 1] &= valid[t + 1]
        truncated[t + 1] &= valid[t + 1]
    done = terminated | truncated
    assert terminated.any()
    assert truncated.any()
    assert (~valid).any()
    return reward, value, terminated, done, valid


@pytest.mark.parametrize("autoreset", [True, False])
@pytest.mark.parametrize("gae_lambda", [0.0, 0.7, 1.0])
def test_equals_the_definition_with_resets_time_limits_and_dead_steps(
    gae_lambda: float, autoreset: bool
) -> None:
    parts = episodes(autoreset=autoreset)
    ours = generalized_advantages(*parts, GAMMA, gae_lambda)
    torch.testing.assert_close(ours, reference(*parts, gae_lambda))


def test_a_full_trace_makes_values_and_advantages_add_up_to_the_return() -> None:
    reward, value, _, done, valid = episodes(autoreset=True)
    ended = done | ~valid
    ended[-1] = True  # as if every episode ended there: no value stands for what follows
    advantage = generalized_advantages(reward, value, ended & valid, ended, valid, GAMMA, 1.0)
    target = discounted_sum(reward * valid, ended, GAMMA)
    torch.testing.assert_close((value[:-1] + advantage)[valid], target[valid])


def test_what_dead_steps_hold_changes_nothing() -> None:
    reward, value, terminated, done, valid = episodes(autoreset=True)
    ends = terminated, done, valid
    plain = generalized_advantages(reward, value, *ends, GAMMA, 0.9)
    other = generalized_advantages(torch.where(valid, reward, 1e6), value, *ends, GAMMA, 0.9)
    assert torch.equal(plain, other)
    assert (plain[~valid] == 0).all()


def test_a_time_limit_is_worth_what_follows_and_a_termination_nothing() -> None:
    reward, value = torch.zeros(1, 1, 1), torch.tensor([0.0, 10.0]).view(2, 1, 1)
    yes, no = torch.ones(1, 1, 1, dtype=torch.bool), torch.zeros(1, 1, 1, dtype=torch.bool)
    cut = generalized_advantages(reward, value, no, yes, yes, GAMMA, 1.0)
    ended = generalized_advantages(reward, value, yes, yes, yes, GAMMA, 1.0)
    assert cut.item() == pytest.approx(9.0)
    assert ended.item() == 0.0


def test_sums_stop_at_the_end_of_an_episode() -> None:
    done = torch.tensor([False, True, False, False]).view(4, 1, 1)
    sums = discounted_sum(torch.ones(4, 1, 1), done, 0.5)
    assert sums.flatten().tolist() == [1.5, 1.0, 1.5, 1.0]


def test_standardising_has_a_floor() -> None:
    x, valid = torch.tensor([1e-3, -1e-3]).view(2, 1, 1), torch.ones(2, 1, 1, dtype=torch.bool)
    for floor, largest in ((0.0, 1.0), (1.0, 1e-3)):
        standard, _ = standardize(x, valid, torch.tensor([floor]))
        assert standard.abs().max().item() == pytest.approx(largest, rel=1e-3)


def test_standardising_is_per_task_and_blind_to_dead_steps() -> None:
    reward, *_, valid = episodes(autoreset=True)
    x = reward * torch.tensor([[1.0], [100.0]]) + 3.0
    result, scale = standardize(torch.where(valid, x, 1e6), valid, NO_FLOOR.double())
    assert (result[~valid] == 0).all()
    for k in range(K):
        alive = result[:, k][valid[:, k]]
        assert scale[k].item() == pytest.approx(x[:, k][valid[:, k]].std(correction=0).item())
        assert alive.mean().abs() < 1e-6
        assert alive.std(correction=0).item() == pytest.approx(1.0)


def test_a_task_of_one_step_or_none_has_no_deviation() -> None:
    x = torch.tensor([[5.0, 5.0], [7.0, 5.0]]).unsqueeze(-1)  # [T, K, 1]
    valid = torch.tensor([[True, False], [False, False]]).unsqueeze(-1)
    standard, scale = standardize(x, valid, NO_FLOOR)
    assert scale.tolist() == pytest.approx([1e-8, 1e-8], rel=1e-3)
    assert (standard == 0).all()
