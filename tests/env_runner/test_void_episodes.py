"""Episodes that failed have no return, wherever returns are made; the others keep theirs."""

import numpy as np
import pytest
import torch
from failing import HOPELESS, SOME, SOUND
from numpy.random import SeedSequence

from ssm_metarl.core.policy import BoundPolicy, Policy, PolicyConfig
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.rollout import (
    Trajectory,
    collect_episodes,
    collect_trials,
    episode_returns,
    follow_trials,
    mean_return,
    per_trial_episode,
)
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.meta_rl.batch import make_batch
from ssm_metarl.meta_rl.losses import sampling_credit

SEED, LANES = SeedSequence(5), 4
TASKS = SOUND.held_out(3)
FAILED = (np.arange(3)[:, None] + np.arange(LANES)) % 3 == 0


def bound_policy() -> BoundPolicy:
    policy = Policy(PolicyConfig(width=8, state_size=4), policy_spaces(SOUND))
    return policy.bind(policy.init(torch.Generator().manual_seed(1)))


def episodes(family: TaskFamily) -> Trajectory:
    environment = family.make_vec(TASKS, LANES, autoreset=False)
    return collect_episodes(bound_policy(), environment, SEED)


def trials(family: TaskFamily) -> Trajectory:
    environment = family.make_vec(TASKS, LANES, autoreset=True)
    return collect_trials(bound_policy(), environment, SEED, 2)


def assert_void(returns: torch.Tensor, sound: torch.Tensor, failed: np.ndarray = FAILED) -> None:
    """Check that failed episodes have no return, and the others that of the sound family."""
    assert torch.equal(returns.isnan(), torch.from_numpy(failed))
    assert torch.equal(returns[~returns.isnan()], sound[~returns.isnan()])
    assert sound.max() < 0.0  # so that 0 would be the best return of all


def test_an_episode_that_failed_has_no_return_and_costs_nothing() -> None:
    some, sound = episodes(SOME), episodes(SOUND)
    assert_void(episode_returns(some), episode_returns(sound))
    assert torch.equal(some.failed.any(0), torch.from_numpy(FAILED))
    assert some.environment_steps == sound.environment_steps * (~FAILED).mean()


def test_in_a_trial_the_episodes_after_it_have_theirs() -> None:
    some, sound = trials(SOME), trials(SOUND)
    first, second = per_trial_episode(some.reward, some, 2)
    assert_void(first, per_trial_episode(sound.reward, sound, 2)[0])
    assert second.isfinite().all()
    assert (second < 0.0).all()
    lengths = per_trial_episode(torch.ones_like(some.reward), some, 2)
    assert torch.equal(lengths[0].isnan(), torch.from_numpy(FAILED))


def test_trials_that_are_followed_say_the_same() -> None:
    some = trials(SOME)
    environment = SOME.make_vec(TASKS, LANES, autoreset=True)
    told = [each.returns for each in follow_trials(bound_policy(), environment, SEED, 2)]
    expected = per_trial_episode(some.reward, some, 2)
    for mine, theirs in zip(told, expected, strict=True):
        torch.testing.assert_close(mine, theirs, equal_nan=True)


def test_means_leave_them_out() -> None:
    returns = torch.tensor([[-3.0, torch.nan, -5.0], [torch.nan] * 3, [-1.0, -2.0, -3.0]])
    torch.testing.assert_close(
        mean_return(returns), torch.tensor([-4.0, torch.nan, -2.0]), equal_nan=True
    )


@pytest.mark.parametrize("collect", [episodes, trials])
def test_a_task_without_sound_episodes_teaches_nothing(collect) -> None:  # noqa: ANN001
    policy = bound_policy().policy
    whole = make_batch(collect(HOPELESS), policy, 0.9, 0.9)
    for name, value in vars(whole).items():
        assert not isinstance(value, torch.Tensor) or value.isfinite().all(), name
    if collect is episodes:
        assert not whole.valid[:, 1].any()
        assert not whole.advantage[:, 1].any()


def test_a_task_without_a_return_is_credited_with_nothing() -> None:
    credit = sampling_credit(torch.tensor([3.0, torch.nan, 1.0]), torch.tensor([1.0, 0.0, 3.0]))
    assert credit.tolist() == pytest.approx([1.5, 0.0, -1.5])
    nothing = sampling_credit(torch.tensor([3.0, torch.nan]), torch.ones(2))
    assert nothing.tolist() == [0.0, 0.0]
