"""The units of a family that declares none are those of its data."""

from collections.abc import Iterator

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.random import SeedSequence

from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import list_families
from ssm_metarl.env_runner.spaces import measured_spaces, observation_units, policy_spaces

SEED = SeedSequence(5)


class Scaled(gymnasium.Env):
    """A Gaussian, a constant, a flag, and a bounded number that hardly moves; pays 0 or 300."""

    observation_space = spaces.Box(
        np.array([-np.inf, -np.inf, 0, 0], np.float32),
        np.array([np.inf, np.inf, 1, 200], np.float32),
    )
    action_space = spaces.Discrete(2, start=3)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        return self._look(), {}

    def _look(self) -> np.ndarray:
        seen = [self.np_random.normal(100, 5), 7.0, self.np_random.integers(2), 50.0]
        return np.array(seen, np.float32)

    def step(self, action: int) -> tuple:
        assert action in self.action_space
        return self._look(), 300.0 * (action == 4), bool(self.np_random.random() < 0.1), False, {}


@pytest.fixture
def family() -> Iterator[TaskFamily]:
    gymnasium.register("Scaled-v0", entry_point=lambda **_: Scaled())
    yield TaskFamily("Scaled", "", "Scaled-v0", 50)
    del gymnasium.registry["Scaled-v0"]


def test_units_are_measured(family: TaskFamily) -> None:
    found = measured_spaces(family, SEED)
    assert found == measured_spaces(family, SEED)
    assert found.observation_offset == pytest.approx((100.0, 7.0, 0.0, 50.0), rel=0.01)
    # its deviation; 1 for what never moves and for flags; 1% of half the range
    assert found.observation_scale == pytest.approx((5.0, 1.0, 1.0, 1.0), rel=0.05)
    assert found.reward_scale == pytest.approx(300.0)
    assert (found.actions, found.action_start) == (2, 3)


@pytest.mark.parametrize("family", list_families(), ids=lambda family: family.name)
def test_declared_units_stay(family: TaskFamily) -> None:
    found = measured_spaces(family, SEED)
    assert found == policy_spaces(family)
    assert (found.observation_offset, found.reward_scale) == ((), 1.0)


def test_one_hot_observations_stay_as_they_are() -> None:
    seen = np.eye(4)[np.random.default_rng(0).integers(3, size=100)]
    offset, scale = observation_units(seen, spaces.Box(0, 1, (4,)))
    assert offset.tolist() == [0.0] * 4
    assert scale.tolist() == [1.0] * 4


@pytest.mark.parametrize(("factor", "shift"), [(1000.0, 0.0), (0.001, 0.0), (1.0, 100.0)])
def test_units_of_the_data_do_not_reach_the_network(factor: float, shift: float) -> None:
    data = np.random.default_rng(0).normal(0.3, 2.0, (500, 3))
    space = spaces.Box(-np.inf, np.inf, (3,))
    one = policy_on(data, space, 1.0)
    other = policy_on(data * factor + shift, space, factor)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def policy_on(data: np.ndarray, space: spaces.Box, reward_scale: float) -> torch.Tensor:
    """Return the features of an untrained network for observations in some units."""
    offset, scale = observation_units(data, space)
    seen = Spaces(
        tuple(scale.tolist()),
        2,
        discrete=True,
        observation_offset=tuple(offset.tolist()),
        reward_scale=reward_scale,
    )
    policy = Policy(PolicyConfig(width=8, trial_inputs=True), seen)
    observation = torch.from_numpy(data).float().unsqueeze(0)
    reward = torch.full(observation.shape[:2], 1.5 * reward_scale)
    start = torch.zeros_like(reward, dtype=torch.bool)
    inputs = policy.inputs(observation, torch.zeros_like(start, dtype=torch.int64), reward, start)
    bound = policy.bind(policy.init(torch.Generator().manual_seed(0)))
    return bound.encoder(inputs)
