"""Normalisation beside that of Stable-Baselines3's VecNormalize, on one stream of observations."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.core.statistics import RunningStatistics

vec_env = pytest.importorskip("stable_baselines3.common.vec_env")


class Uneven(gymnasium.Env):
    """Observations of very different units, and a reward that depends on them."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def look(self) -> np.ndarray:
        return self.np_random.normal([100.0, 0.0, -3.0], [5.0, 0.1, 40.0]).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple:  # noqa: ANN401
        super().reset(seed=seed)
        self.time = 0
        return self.look(), {}

    def step(self, action: Any) -> tuple:  # noqa: ANN401
        self.time += 1
        seen = self.look()
        return seen, float(seen[2]), False, self.time == 50, {}


def test_observations_are_normalised_as_vec_normalize_does() -> None:
    inner = vec_env.DummyVecEnv([Uneven] * 4)
    inner.seed(3)
    theirs = vec_env.VecNormalize(inner, clip_obs=1.5)
    theirs.reset()
    ours: RunningStatistics | None = None
    for step in range(300):
        if step:
            theirs.step(np.zeros(4, np.int64))
        seen = torch.from_numpy(theirs.get_original_obs())
        mine = RunningStatistics.of(seen, torch.zeros(1))
        ours = mine if ours is None else ours.merged(mine)
    assert ours is not None
    # Theirs begin as if 1e-4 observations of mean 0 and variance 1 had been seen.
    np.testing.assert_allclose(ours.mean, theirs.obs_rms.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.std**2, theirs.obs_rms.var, rtol=1e-4)

    spaces = Spaces(tuple(ours.std.tolist()), 2, True, observation_offset=tuple(ours.mean.tolist()))
    policy = Policy(PolicyConfig(clip_obs=1.5), spaces)
    seen = torch.from_numpy(theirs.get_original_obs())
    inputs = policy.inputs(seen, torch.zeros(4), torch.zeros(4), torch.zeros(4).bool())
    shown = inputs / inputs.new_tensor(spaces.observation_scale)  # as the encoder does
    theirs.training = False
    np.testing.assert_allclose(shown, theirs.normalize_obs(seen.numpy()), rtol=1e-4, atol=1e-4)
    assert (shown.abs() == 1.5).any()
