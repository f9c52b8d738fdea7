"""Actions in the environment's units: in torch's operations, and in C, as `Spaces` gives them."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from following import c_runner, follow, make_agent
from gymnasium import spaces as kinds
from test_follow import needs_compiler

import ssm_metarl as sm
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.deployment.actions import ActionMapping

SPACES = [
    kinds.Discrete(5),
    kinds.Discrete(3, start=-7),
    kinds.Discrete(3, dtype=np.int32, start=2),
    kinds.MultiDiscrete([3, 4, 2]),
    kinds.MultiDiscrete([[3, 4], [2, 5]], start=[[1, -2], [0, 7]], dtype=np.int16),
    kinds.MultiBinary(4),
    kinds.MultiBinary((2, 3)),
    kinds.Box(-1.0, 1.0, (2,)),
    kinds.Box(-np.inf, np.inf, (3,)),
    kinds.Box(*np.array([[-1.0, -np.inf, 0.1], [np.inf, 0.2, 0.3]], np.float32)),
    kinds.Box(np.array([[-2.0], [0.0]]), np.array([[3.0], [7.0]]), dtype=np.float64),
    kinds.Box(-3.0, 3.0, (2,), np.float16),
    kinds.Box(0, 255, (2, 2), np.uint8),
    kinds.Box(-5, 9, (2,), np.int32),
    kinds.Box(0, 65_535, (2,), np.uint16),
    kinds.Box(-(2**63), 2**63 - 1, (2,), np.int64),
    kinds.Box(0, 1, (2,), bool),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_torch_maps_actions_as_spaces_does(space: gymnasium.Space) -> None:
    spaces = Spaces.of(np.ones(1), space)
    rng = torch.Generator().manual_seed(0)
    sizes = spaces.choices or (spaces.actions,)
    if spaces.discrete:
        draws = [torch.randint(size, (40,), generator=rng) for size in sizes]
        action = torch.stack(draws, -1) if spaces.choices else draws[0]
    else:
        action = 2.0 * torch.randn(40, spaces.actions, generator=rng)
        action[0], action[1], action[2] = 1.0, -1.0, 1e6
    found, expected = ActionMapping(spaces)(action).numpy(), spaces.contained(action)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@needs_compiler
@pytest.mark.parametrize("space", [each for each in SPACES if each.dtype != np.float16], ids=str)
def test_c_maps_actions_as_spaces_does(space: gymnasium.Space, tmp_path: Path) -> None:
    agent = make_agent(space, cell="gru", trial_inputs=True, memory="trial")
    follow(agent, c_runner(sm.export(agent, tmp_path / "policy.c"), agent), steps=20)
