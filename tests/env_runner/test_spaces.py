"""The units of a family that declares none are those of its data."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from numpy.random import SeedSequence

from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.core.statistics import RunningStatistics
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import list_families
from ssm_metarl.env_runner.spaces import measure, observation_units, policy_spaces
from ssm_metarl.errors import EnvironmentFailure

SEED = SeedSequence(5)


def measured_spaces(family: TaskFamily, seed: SeedSequence) -> Spaces:
    return policy_spaces(family, measure(family, seed))


def units(data: np.ndarray, space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    seen = torch.from_numpy(data)
    return observation_units(RunningStatistics.of(seen, seen[:, 0]), space)


class Scaled(gymnasium.Env):
    """A Gaussian, a constant, a flag, and a bounded number that hardly moves; pays 0 or 300."""

    seen: ClassVar[list[np.ndarray]] = []
    paid: ClassVar[list[float]] = []
    observation_space = spaces.Box(
        np.array([-np.inf, -np.inf, 0, 0], np.float32),
        np.array([np.inf, np.inf, 1, 200], np.float32),
    )
    action_space = spaces.Discrete(2, start=3)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        return self._look(), {}

    def _look(self) -> np.ndarray:
        gauss, slow = self.np_random.normal((100, 50), (5, 0.5))
        Scaled.seen.append(np.array([gauss, 7.0, self.np_random.integers(2), slow], np.float32))
        return Scaled.seen[-1]

    def step(self, action: int) -> tuple:
        assert action in self.action_space
        Scaled.paid.append(300.0 * (action == 4) * self.np_random.integers(1, 3))
        return self._look(), Scaled.paid[-1], bool(self.np_random.random() < 0.1), False, {}


class Broken(Scaled):
    """Shows what is no number as soon as it is acted in."""

    def step(self, action: int) -> tuple:
        return np.full(4, np.nan, np.float32), 0.0, False, False, {}


def family_of(kind: type[gymnasium.Env]) -> TaskFamily:
    gymnasium.register("Scaled-v0", entry_point=lambda **_: kind(), disable_env_checker=True)
    return TaskFamily("Scaled", "", "Scaled-v0", 50)


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    yield
    Scaled.seen.clear()
    Scaled.paid.clear()
    gymnasium.registry.pop("Scaled-v0", None)


def test_units_are_those_of_what_was_played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSM_METARL_WORKERS", "0")  # else steps are played to time them, too
    family = family_of(Scaled)
    assert family.observation_space.shape == (4,)  # which resets it
    Scaled.seen.clear()
    found = measured_spaces(family, SEED)
    seen, paid = np.array(Scaled.seen, np.float64), np.array(Scaled.paid)
    assert len(paid) >= 2000
    mean, std = seen.mean(0), seen.std(0)
    # Flags stay, what never moves has the unit 1, and the last moves by 1% of half its range.
    assert found.observation_offset == pytest.approx((mean[0], 7.0, 0.0, mean[3]))
    assert found.observation_scale == pytest.approx((std[0], 1.0, 1.0, 1.0))
    assert std[3] == pytest.approx(0.5, rel=0.1)
    assert found.reward_scale == pytest.approx(np.sqrt((paid[paid != 0] ** 2).mean()))
    assert (found.actions, found.action_start) == (2, 3)


def test_the_seed_alone_says_what_is_measured() -> None:
    family = family_of(Scaled)
    assert measured_spaces(family, SEED) == measured_spaces(family, SEED)
    assert measured_spaces(family, SEED) != measured_spaces(family, SeedSequence(6))


def test_what_is_not_finite_is_the_environments_fault() -> None:
    with pytest.raises(EnvironmentFailure, match="an observation that is not finite") as caught:
        measured_spaces(family_of(Broken), SEED)
    assert "\n" not in str(caught.value)


def test_bounds_far_from_the_data_say_little() -> None:
    data = np.random.default_rng(0).normal(0.3, 2.0, (500, 1))
    for bound in (1e6, 3e38):
        _, scale = units(data, spaces.Box(-bound, bound, (1,)))
        assert scale == pytest.approx(10.0 * data.std())
    still = np.full((500, 1), 7.0)
    assert units(still, spaces.Box(0, 1e6, (1,)))[1].tolist() == [1.0]


@pytest.mark.parametrize("family", list_families(), ids=lambda family: family.name)
def test_units_are_measured_only_where_that_is_asked_for(family: TaskFamily) -> None:
    seen, declared = measure(family, SEED), policy_spaces(family)
    assert policy_spaces(family, seen, norm_obs=False, norm_reward=False) == declared
    assert (declared.observation_offset, declared.reward_scale) == ((), 1.0)
    both = policy_spaces(family, seen)
    changed = both.observation_scale != declared.observation_scale
    assert changed or {*both.observation_scale} == {1.0}  # one-hot ones
    assert policy_spaces(family, seen, norm_reward=False) == replace(both, reward_scale=1.0)
    scale = replace(declared, reward_scale=seen.reward_scale)
    assert policy_spaces(family, seen, norm_obs=False) == scale


def test_one_hot_observations_stay_as_they_are() -> None:
    seen = np.eye(4)[np.random.default_rng(0).integers(3, size=100)]
    offset, scale = units(seen, spaces.Box(0, 1, (4,)))
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
    offset, scale = units(data, space)
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
