"""The wrappers that make environments harder, and what a formula may not do."""

import gymnasium
import numpy as np
import pytest

import ssm_metarl as sm
from ssm_metarl.env_runner.formula import Formula
from ssm_metarl.env_runner.wrappers import (
    FixedLayout,
    ObservationNoise,
    ReversedActions,
    SensorDropout,
)


def rod() -> gymnasium.Env:
    return gymnasium.make("Pendulum-v1")


@pytest.mark.parametrize("kind", [ObservationNoise, SensorDropout])
def test_the_same_seed_gives_the_same_noise_and_the_same_world(kind: type) -> None:
    env = kind(rod())
    seen = [np.array([env.reset(seed=3)[0], env.step(np.ones(1))[0]]) for _ in range(2)]
    np.testing.assert_array_equal(seen[0], seen[1])
    plain = rod()
    plain.reset(seed=3)
    env.reset(seed=3)
    assert env.step(np.zeros(1))[1] == plain.step(np.zeros(1))[1]


def test_sensors_that_are_broken_read_0() -> None:
    env = SensorDropout(rod(), probability=1, sensors=[1])
    seen, plain = env.reset(seed=0)[0], rod().reset(seed=0)[0]
    np.testing.assert_array_equal(seen, plain * np.array([1, 0, 1]))
    with pytest.raises(sm.UserError, match="sensors must be from 0 to 2"):
        SensorDropout(rod(), sensors=[3])


def test_actions_are_reversed_in_their_range() -> None:
    assert ReversedActions(rod()).action(np.array([1.5], np.float32)) == -1.5
    cart = ReversedActions(gymnasium.make("CartPole-v1"))
    assert [cart.action(np.int64(k)) for k in (0, 1)] == [1, 0]


def test_some_actions_alone_are_reversed() -> None:
    swapped = ReversedActions(gymnasium.make("MountainCar-v0"), only=[0, 2])
    assert [swapped.action(k) for k in range(3)] == [2, 1, 0]
    swapped = ReversedActions(gymnasium.make("Acrobot-v1"), only=[1, 2])
    assert [swapped.action(k) for k in range(3)] == [0, 2, 1]

    class Four(gymnasium.Env):
        action_space = gymnasium.spaces.Box(0, 1, (4,), np.float32)

    action = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    reversed_ones = ReversedActions(Four(), only=[0, 3]).action(action)
    np.testing.assert_allclose(reversed_ones, [0.9, 0.2, 0.3, 0.6], rtol=1e-6)
    assert reversed_ones.dtype == np.float32
    with pytest.raises(sm.UserError, match=r"whole numbers from 0 to 3, got \[4\]"):
        ReversedActions(Four(), only=[4])


def test_episodes_of_one_layout_differ_after_the_start() -> None:
    env = FixedLayout(rod(), seed=7.9)
    seen = [env.reset(seed=seed)[0] for seed in (None, 0, 1)]
    np.testing.assert_array_equal(seen, [rod().reset(seed=7)[0]] * 3)
    later = [env.reset(seed=seed) and env.unwrapped.np_random.random() for seed in (3, 3, 4, None)]
    assert later[0] == later[1]
    assert len(set(later)) == 3
    with pytest.raises(sm.UserError, match="from 0 to 2147483647, got -1"):
        FixedLayout(rod(), seed=-1)


@pytest.mark.parametrize(
    "text",
    ["x.__class__", "(lambda: x)()", "__import__('os')", "[y for y in x]", "x := 1", "f'{x}'", ""],
)
def test_a_formula_only_computes(text: str) -> None:
    with pytest.raises(sm.UserError):
        Formula(text, ["x"])


@pytest.mark.parametrize(("text", "words"), [("1 / x", "ZeroDivision"), ("9 ** 9 ** 9", "cannot")])
def test_what_cannot_be_computed_is_one_line(text: str, words: str) -> None:
    with pytest.raises(sm.UserError, match=words):
        Formula(text, ["x"])({"x": 0.0})
