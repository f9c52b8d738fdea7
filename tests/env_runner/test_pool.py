"""Foreign environments are built once, closed at the end, and what they do wrong is theirs."""

import gc
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv
from numpy.random import SeedSequence

from ssm_metarl.env_runner.failures import MOST_FAILURES
from ssm_metarl.env_runner.family import Parameter, TaskFamily
from ssm_metarl.env_runner.gymnasium import GymnasiumEnvironment
from ssm_metarl.env_runner.observations import with_flat_observations
from ssm_metarl.errors import DivergenceError, EnvironmentFailure, UserError

SEED = SeedSequence(1)


class Counted(gymnasium.Env):
    """Counts how many of it were built and are open; the reward and the observation can be set."""

    observation_space, action_space = spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (1,))
    built = opened = closed = 0
    reward: Any = 1.0
    shown: float = 0.5
    seeds: list[int | None] = []  # noqa: RUF012

    def __init__(self) -> None:
        Counted.built += 1
        Counted.opened += 1

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        Counted.seeds.append(seed)
        return np.full(2, 0.5, np.float32), {}

    def step(self, action: np.ndarray) -> tuple:
        if action[0] == 1.0:
            raise RuntimeError("it broke")
        return np.full(2, Counted.shown, np.float32), Counted.reward, False, False, {}

    def close(self) -> None:
        Counted.opened -= 1
        Counted.closed += 1


@pytest.fixture
def family() -> Iterator[TaskFamily]:
    gymnasium.register("Counted-v0", entry_point=lambda **_: Counted(), disable_env_checker=True)
    Counted.built = Counted.opened = Counted.closed = 0
    Counted.reward, Counted.shown, Counted.seeds = 1.0, 0.5, []
    yield TaskFamily("Counted", "", "Counted-v0", 5)
    del gymnasium.registry["Counted-v0"]


def play(family: TaskFamily, tasks: int, lanes: int, action: float = 0.0) -> None:
    environment = family.make_vec(family.sample(tasks, SEED), lanes, autoreset=True)
    try:
        environment.reset(SEED)
        environment.step(torch.full((tasks, lanes, 1), action))
    finally:
        environment.close()


def test_environments_are_built_once_and_closed_at_the_end(family: TaskFamily) -> None:
    kept = family.reusing()
    assert kept == family
    for tasks, lanes in [(1, 2), (2, 3), (3, 1), (2, 3)]:
        play(kept, tasks, lanes)
    assert kept.action_space == Counted.action_space
    assert (Counted.built, Counted.opened) == (6, 6)
    kept.close()
    assert (Counted.built, Counted.closed) == (6, 6)


def test_without_reuse_they_are_closed_at_once(family: TaskFamily) -> None:
    play(family, 2, 2)
    assert (Counted.built, Counted.opened) == (5, 0)  # one to look at the spaces


def test_one_that_broke_or_was_never_given_back_is_closed_once(family: TaskFamily) -> None:
    kept = family.reusing()
    play(kept, 1, 2, action=1.0)
    assert Counted.closed == 2  # both raised an error
    lost = kept.make_vec(kept.nominal(), 3, autoreset=True)
    kept.close()
    assert (Counted.opened, Counted.closed) == (0, Counted.built)
    lost.close()
    assert Counted.closed == Counted.built


@pytest.mark.parametrize("reward", [None, np.ones(1), "1", [2.0], 1j], ids=repr)
def test_a_reward_that_is_no_number_is_the_environments(family: TaskFamily, reward: object) -> None:
    Counted.reward = reward
    with pytest.raises(EnvironmentFailure, match=r"the environment's reward is .*, not a number"):
        play(family, 1, 1)


@pytest.mark.parametrize("reward", [np.float32(1), np.array(1.0), 1, True], ids=repr)
def test_numbers_of_any_kind_are_rewards(family: TaskFamily, reward: object) -> None:
    Counted.reward = reward
    play(family, 1, 1)


@pytest.mark.parametrize(
    ("reward", "shown", "words"),
    [
        (np.nan, 0.5, "gave a reward that is not finite"),
        (-np.inf, 0.5, "gave a reward that is not finite"),
        (1e16, 0.5, r"gave a reward of 1e\+16 in size"),
        (-3e38, 0.5, r"gave a reward of 3e\+38 in size"),
        (1.0, np.nan, "gave an observation that is not finite"),
    ],
)
def test_numbers_that_cannot_be_used_stop_it_if_they_keep_coming(
    reward: float, shown: float, words: str, family: TaskFamily
) -> None:
    Counted.reward, Counted.shown = reward, shown
    environment = family.make_vec(family.nominal(), 3, autoreset=True)
    environment.reset(SEED)
    action = torch.zeros(1, 3, 1)
    for _ in range(MOST_FAILURES // 3):
        failed, begun = environment.step(action), environment.step(action)
        assert failed.failed is not None
        assert bool((failed.failed & failed.terminated & ~failed.truncated).all())
        assert not failed.reward.any()
        assert not failed.observation.any()
        assert begun.failed is None  # it is the step of the autoreset
        assert bool((begun.observation == 0.5).all())
    with pytest.raises(EnvironmentFailure, match=f"{words}.* in 21 of 21 episodes of the task"):
        environment.step(action)


def test_an_action_that_is_not_finite_is_the_policys(family: TaskFamily) -> None:
    with pytest.raises(DivergenceError, match="action of the policy"):
        play(family, 1, 1, action=np.nan)


def test_seeds_fit_32_bits_with_a_sign(family: TaskFamily) -> None:
    play(family, 20, 5)
    assert len(set(Counted.seeds)) == 101  # and one to look at the spaces
    assert all(seed is not None and 0 <= seed < 2**31 for seed in Counted.seeds)


def test_a_family_of_one_task_has_one_in_its_fixed_sets(family: TaskFamily) -> None:
    assert len(family.held_out()) == len(family.validation(7)) == len(family.shifted()) == 1
    assert len(family.sample(7, SEED)) == 7


def test_parameters_that_nothing_applies_are_refused() -> None:
    mass = Parameter("mass", 1.0, "kg", "", low=0.5, high=2.0)
    with pytest.raises(UserError, match=r"'Heavy' has parameters .mass. that its env_id alone"):
        TaskFamily("Heavy", "", "CartPole-v1", 200, parameters=(mass,))


class Mission(gymnasium.Space):
    """A kind of space that Gymnasium does not know."""

    def __init__(self) -> None:
        super().__init__((), str)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Dict(a=spaces.Box(0, 1, (2,)), b=Mission()), r"space\['b'\] Mission is not"),
        (spaces.Tuple([spaces.Tuple([Mission()])]), r"space\[0\]\[0\] Mission is not"),
        (spaces.Sequence(spaces.Discrete(2)), "Sequence"),
        (Mission(), "space Mission is not supported"),
    ],
    ids=["dict", "tuple", "sequence", "own"],
)
def test_spaces_that_are_no_numbers_are_refused(space: gymnasium.Space, words: str) -> None:
    env = Counted()
    env.observation_space = space  # pyright: ignore
    with pytest.raises(UserError, match=words):
        with_flat_observations(env)


def test_asynchronous_ones_without_shared_memory_are_refused(family: TaskFamily) -> None:
    envs = AsyncVectorEnv([lambda: gymnasium.make("CartPole-v1")], shared_memory=False)
    with pytest.raises(UserError, match="valid: shared_memory=True"):
        GymnasiumEnvironment(envs, family.nominal(), max_episode_steps=5)
    envs.close()


def test_a_forgotten_pool_closes_itself(family: TaskFamily) -> None:
    kept = family.reusing()
    play(kept, 1, 3)
    del kept
    gc.collect()
    assert Counted.opened == 0
