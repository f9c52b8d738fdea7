"""The collector: masks, memory, randomness, and agreement between acting and training."""

import dataclasses

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.core.policy import BoundPolicy, Policy, PolicyConfig
from ssm_metarl.env_runner import walk
from ssm_metarl.env_runner.environment import Step
from ssm_metarl.env_runner.family import Tasks
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import (
    Trajectory,
    collect_episodes,
    collect_trials,
    episode_returns,
    follow_trials,
    per_trial_episode,
)
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.errors import DivergenceError

CARTPOLE = get_family("CartPole-v1")
SEED = SeedSequence(5)


def bound_policy(family_name: str = "CartPole-v1", **config: object) -> BoundPolicy:
    policy = Policy(PolicyConfig(**config), policy_spaces(get_family(family_name)))
    return policy.bind(policy.init(torch.Generator().manual_seed(1)))


def episodes(tasks: int = 4, lanes: int = 3, horizon: int | None = None) -> Trajectory:
    environment = CARTPOLE.make_vec(
        CARTPOLE.held_out(tasks), lanes, autoreset=False, horizon=horizon
    )
    return collect_episodes(bound_policy(), environment, SEED)


def test_an_episode_is_valid_up_to_its_end_and_dead_from_then_on() -> None:
    rollout = episodes()
    assert rollout.done.sum(0).eq(1).all()
    end = rollout.done.long().argmax(0)
    clock = torch.arange(len(rollout.reward)).view(-1, 1, 1)
    assert torch.equal(rollout.valid, clock <= end)
    assert rollout.valid.any(1).any(1).all()  # trimmed to the longest episode
    assert (rollout.reward[~rollout.valid] == 0).all()
    assert (rollout.observation[1:][~rollout.valid] == 0).all()
    assert rollout.environment_steps == int((end + 1).sum())
    assert torch.equal(episode_returns(rollout), (end + 1).float())


def test_a_horizon_truncates_and_is_not_a_termination() -> None:
    rollout = episodes(horizon=12)
    assert len(rollout.reward) == 12
    survivors = ~rollout.terminated.any(0)
    assert survivors.any()
    assert rollout.truncated[-1][survivors].all()
    assert not (rollout.truncated & rollout.terminated).any()


def test_a_return_of_an_episode_that_was_cut_is_refused() -> None:
    environment = CARTPOLE.make_vec(CARTPOLE.held_out(2), 2, autoreset=True)
    rollout = collect_trials(bound_policy(), environment, SEED, 1)
    cut = dataclasses.replace(rollout, terminated=torch.zeros_like(rollout.valid))
    with pytest.raises(ValueError, match="cut"):
        episode_returns(cut)


def test_results_do_not_depend_on_how_the_tasks_are_split() -> None:
    tasks = CARTPOLE.held_out(6)
    bound = bound_policy()

    def collect(part: slice) -> Trajectory:
        environment = CARTPOLE.make_vec(tasks[part], 3, autoreset=False)
        return collect_episodes(bound, environment, SEED)

    whole = collect(slice(0, 6))
    for part in (slice(0, 1), slice(1, 4), slice(4, 6)):
        rollout = collect(part)
        length = len(rollout.reward)
        assert torch.equal(whole.action[:length, part], rollout.action)
        assert torch.equal(whole.valid[:length, part], rollout.valid)
        torch.testing.assert_close(whole.observation[: length + 1, part], rollout.observation)
        torch.testing.assert_close(whole.log_prob[:length, part], rollout.log_prob)
        assert not whole.valid[length:, part].any()


def trials(
    tasks: Tasks, bound: BoundPolicy, lanes: int = 3, count: int = 3, horizon: int = 40
) -> Trajectory:
    environment = CARTPOLE.make_vec(tasks, lanes, autoreset=True, horizon=horizon)
    return collect_trials(bound, environment, SEED, count)


def test_a_trial_is_some_complete_episodes_and_nothing_after_them() -> None:
    rollout = trials(CARTPOLE.held_out(4), bound_policy())
    assert (rollout.done.sum(0) == 3).all()
    assert rollout.truncated.any()
    assert rollout.terminated.any()
    assert rollout.valid[-1].any()  # trimmed to the longest trial
    lengths = per_trial_episode(torch.ones_like(rollout.reward), rollout, 3)
    for task in range(4):
        for lane in range(3):
            valid = rollout.valid[:, task, lane].tolist()
            expected = []
            for length in lengths[:, task, lane].int().tolist():
                expected += [True] * length + [False]  # and the dead step after each episode
            assert valid == (expected + [False] * len(valid))[: len(valid)]
    assert (rollout.reward[~rollout.valid] == 0).all()
    over = rollout.done.cumsum(0) == 3
    assert (rollout.observation[2:][over[:-1]] == 0).all()
    assert not rollout.episode_start[2:][over[:-1]].any()


def test_a_lone_lane_keeps_its_last_episode_whole() -> None:
    rollout = trials(CARTPOLE.held_out(1), bound_policy(), lanes=1)
    assert rollout.done[-1].all()
    assert per_trial_episode(rollout.reward, rollout, 3).sum() == rollout.environment_steps


def test_the_returns_of_a_trial_are_those_of_its_episodes_summed_one_by_one() -> None:
    rollout = trials(CARTPOLE.held_out(3), bound_policy(), lanes=2)
    reward = torch.randn(rollout.reward.shape, generator=torch.Generator().manual_seed(0))
    returns = per_trial_episode(reward, rollout, 3)
    for task in range(3):
        for lane in range(2):
            slow, number = [0.0, 0.0, 0.0], 0
            for t in range(len(reward)):
                if rollout.valid[t, task, lane]:
                    slow[number] += reward[t, task, lane].item()
                number += int(rollout.done[t, task, lane])
            assert returns[:, task, lane].tolist() == pytest.approx(slow, rel=1e-4, abs=1e-4)
    with pytest.raises(ValueError, match="not every trial has 4"):
        per_trial_episode(reward, rollout, 4)


def test_trials_do_not_depend_on_how_the_tasks_are_split() -> None:
    tasks, bound = CARTPOLE.held_out(6), bound_policy(trial_inputs=True, memory="trial")
    whole = trials(tasks, bound)
    for part in (slice(0, 1), slice(1, 4), slice(4, 6)):
        rollout = trials(tasks[part], bound)
        length = len(rollout.reward)
        for name in ("action", "valid", "terminated", "truncated"):
            assert torch.equal(getattr(whole, name)[:length, part], getattr(rollout, name))
        torch.testing.assert_close(whole.observation[: length + 1, part], rollout.observation)
        torch.testing.assert_close(whole.log_prob[:length, part], rollout.log_prob)
        assert not whole.valid[length:, part].any()


@pytest.mark.parametrize("memory", ["episode", "trial"])
def test_an_earlier_episode_reaches_later_ones_through_a_memory_of_the_trial_alone(
    memory: str,
) -> None:
    bound = bound_policy(trial_inputs=True, memory=memory, blocks=2)
    rollout = trials(CARTPOLE.held_out(2), bound, lanes=2)
    first = rollout.done.cumsum(0) == 0
    bent = rollout.observation.clone()
    bent[:-1][first] += 0.1
    other = dataclasses.replace(rollout, observation=bent).features(bound)[:-1]
    plain = rollout.features(bound)[:-1]
    later = (rollout.done.cumsum(0) - rollout.done.long() > 0) & rollout.valid
    assert torch.equal(plain[later], other[later]) == (memory == "episode")
    assert not torch.allclose(plain[first], other[first])


def test_the_same_seed_repeats_and_another_one_does_not() -> None:
    environment = CARTPOLE.make_vec(CARTPOLE.held_out(2), 3, autoreset=False)
    first = collect_episodes(bound_policy(), environment, SEED)
    again = collect_episodes(bound_policy(), environment, SEED)
    other = collect_episodes(bound_policy(), environment, SeedSequence(6))
    assert torch.equal(first.observation, again.observation)
    assert not torch.equal(first.observation[0], other.observation[0])


def test_tasks_and_lanes_have_streams_of_their_own() -> None:
    environment = CARTPOLE.make_vec(CARTPOLE.held_out(3), 3, autoreset=False)
    first = collect_episodes(bound_policy(), environment, SEED).observation[0]
    assert len(np.unique(first.reshape(9, 4).numpy(), axis=0)) == 9


@pytest.mark.parametrize("memory", ["episode", "trial"])
@pytest.mark.parametrize("trial_inputs", [False, True])
@pytest.mark.parametrize("family_name", ["CartPole-v1", "Navigation2D-v0"])
def test_log_probs_while_acting_equal_those_of_the_scan(
    family_name: str, trial_inputs: bool, memory: str
) -> None:
    family = get_family(family_name)
    bound = bound_policy(family_name, trial_inputs=trial_inputs, memory=memory, blocks=2)
    environment = family.make_vec(family.held_out(3), 2, autoreset=True, horizon=20)
    rollout = collect_trials(bound, environment, SEED, 3)
    assert rollout.episode_start[1:].any()
    scanned = bound.distribution(rollout.features(bound)[:-1]).log_prob(rollout.action)
    played = rollout.valid
    torch.testing.assert_close(scanned[played], rollout.log_prob[played], atol=2e-5, rtol=1e-4)


def test_autoreset_has_one_dead_step_between_episodes_and_shows_the_true_last_state() -> None:
    environment = CARTPOLE.make_vec(CARTPOLE.held_out(3), 4, autoreset=True)
    rollout = collect_trials(bound_policy(), environment, SEED, 3)
    between = rollout.done[:-1] & (rollout.done.cumsum(0)[:-1] < 3)  # episodes of the trial
    assert between.sum() == 3 * 4 * 2
    assert torch.equal(rollout.episode_start[2:], between)
    assert not rollout.valid[1:][between].any()
    assert rollout.episode_start[0].all()
    last = rollout.observation[1:-1][between & rollout.terminated[:-1]]
    assert ((last[:, 0].abs() > 2.4) | (last[:, 2].abs() > 0.2094)).all()
    fresh = rollout.observation[2:][between]
    assert (fresh.abs() <= 0.05).all()


def test_a_memory_of_an_episode_is_wiped_and_one_of_a_trial_is_not() -> None:
    family = get_family("CartPole-v1")
    for memory, same in (("episode", True), ("trial", False)):
        bound = bound_policy(memory=memory, state_size=4, width=8)
        environment = family.make_vec(family.held_out(1), 1, autoreset=True)
        rollout = collect_trials(bound, environment, SEED, 2)
        start = int(rollout.episode_start[2:, 0, 0].long().argmax()) + 2
        features = rollout.features(bound)[start:]
        observation = rollout.observation[start:]
        fresh, _ = bound.scan(observation, bound.policy.initial_state(1, 1, observation))
        length = int(rollout.valid[start:, 0, 0].long().argmin()) or 5
        close = torch.allclose(features[:length], fresh[:length], atol=1e-5)
        assert close == same


def test_deterministic_actions_are_the_modes() -> None:
    environment = CARTPOLE.make_vec(CARTPOLE.held_out(2), 2, autoreset=False)
    bound = bound_policy()
    rollout = collect_episodes(bound, environment, SEED, deterministic=True)
    modes = bound.distribution(rollout.features(bound)[:-1]).mode()
    assert torch.equal(modes[rollout.valid], rollout.action[rollout.valid])


class Poisoned:
    """CartPole, but with a NaN in one observation."""

    def __init__(self) -> None:
        inner = CARTPOLE.make_vec(CARTPOLE.held_out(2), 2, autoreset=False)
        self.inner, self.tasks, self.lanes = inner, inner.tasks, inner.lanes
        self.observation_space, self.action_space = inner.observation_space, inner.action_space
        self.max_episode_steps, self.device = inner.max_episode_steps, inner.device
        self.count = 0

    def reset(self, seed: SeedSequence) -> torch.Tensor:
        return self.inner.reset(seed)

    def step(self, action: torch.Tensor) -> Step:
        step = self.inner.step(action)
        self.count += 1
        if self.count == 3:
            observation = step.observation.clone()
            observation[1, 0, 2] = torch.nan
            return step._replace(observation=observation)
        return step

    def close(self) -> None:
        self.inner.close()


def test_an_observation_that_is_not_finite_is_named() -> None:
    with pytest.raises(DivergenceError, match="observation is not finite at step 3 of task 1"):
        collect_episodes(bound_policy(), Poisoned(), SEED)


def test_numbers_whose_sum_is_too_large_are_finite() -> None:
    walk._check_finite(torch.full((2, 1, 2, 3), 3e38), torch.zeros(2, 1, 2))
    with pytest.raises(DivergenceError, match="reward is not finite at step 1 of task 0, lane 1"):
        walk._check_finite(
            torch.zeros(2, 1, 2, 3), torch.tensor([[[0.0, 1.0]], [[0.0, -torch.inf]]])
        )


@pytest.mark.parametrize("memory", ["episode", "trial"])
def test_following_trials_tells_what_collecting_them_finds(memory: str) -> None:
    tasks, bound = CARTPOLE.held_out(4), bound_policy(memory=memory)
    collected = trials(tasks, bound)
    environment = CARTPOLE.make_vec(tasks, 3, autoreset=True, horizon=40)
    told = list(follow_trials(bound, environment, SEED, 3))
    returns = torch.stack([each.returns for each in told])
    lengths = torch.stack([each.lengths for each in told])
    assert torch.equal(returns, per_trial_episode(collected.reward, collected, 3))
    assert torch.equal(lengths, per_trial_episode(collected.valid.float(), collected, 3).long())
    assert lengths.unique().numel() > 5


class Breaking:
    """CartPole, but the second episode of some lanes ends because the environment broke down."""

    def __init__(self) -> None:
        inner = CARTPOLE.make_vec(CARTPOLE.held_out(2), 3, autoreset=True, horizon=40)
        self.inner, self.tasks, self.lanes = inner, inner.tasks, inner.lanes
        self.observation_space, self.action_space = inner.observation_space, inner.action_space
        self.max_episode_steps, self.device = inner.max_episode_steps, inner.device
        self.ended = torch.zeros(2, 3)

    def reset(self, seed: SeedSequence) -> torch.Tensor:
        return self.inner.reset(seed)

    def step(self, action: torch.Tensor) -> Step:
        step = self.inner.step(action)
        done = step.terminated | step.truncated
        failed = done & (self.ended == 1) & torch.tensor([True, False, True])
        self.ended = self.ended + done
        return step._replace(failed=failed)

    def close(self) -> None:
        self.inner.close()


def test_of_an_episode_that_broke_down_no_step_is_valid() -> None:
    broken = collect_trials(bound_policy(), Breaking(), SEED, 3)
    whole_env = CARTPOLE.make_vec(CARTPOLE.held_out(2), 3, autoreset=True, horizon=40)
    whole = collect_trials(bound_policy(), whole_env, SEED, 3)
    number = whole.done.cumsum(0) - whole.done.long()
    void = (number == 1) & torch.tensor([True, False, True])
    assert torch.equal(broken.valid, whole.valid & ~void)
    assert torch.equal(broken.done, whole.done)
    assert torch.equal(broken.observation, whole.observation)
    assert torch.equal(broken.reward, whole.reward.masked_fill(void, 0.0))
