"""The inner loop: data wait until there are enough, and a step that fails leaves no trace."""

import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import Trajectory, collect_episodes
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.errors import DivergenceError
from ssm_metarl.meta_rl.inner_loop import InnerLoop

FAMILY = get_family("CartPole-v1")
POLICY = Policy(PolicyConfig(width=4, state_size=2), policy_spaces(FAMILY))
PARAMS = POLICY.init(torch.Generator().manual_seed(0))


def rollout(lanes: int, seed: int) -> Trajectory:
    environment = FAMILY.make_vec(FAMILY.validation(2), lanes, autoreset=False, horizon=9)
    return collect_episodes(POLICY.bind(PARAMS), environment, SeedSequence(seed))


def test_a_step_waits_for_its_lanes_and_takes_all_that_came() -> None:
    seen: list[tuple[Params, Trajectory, int]] = []

    def step(params: Params, played: Trajectory, number: int) -> Params:
        seen.append((params, played, number))
        return {"encoder.bias": torch.full((2, 4), float(number + 1))}

    loop = InnerLoop(PARAMS, step, lanes=4)
    parts = [rollout(lanes, seed) for seed, lanes in enumerate((2, 1, 2, 4))]
    assert [loop.add(part) for part in parts] == [False, False, True, True]
    assert loop.steps == 2
    assert (loop.params["encoder.bias"] == 2.0).all()
    (first, data, zero), (second, alone, one) = seen
    assert first is PARAMS
    assert (second["encoder.bias"] == 1.0).all()
    assert (zero, one) == (0, 1)
    assert data.reward.shape[1:] == (2, 5)
    assert data.environment_steps == sum(part.environment_steps for part in parts[:3])
    assert torch.equal(alone.observation, parts[3].observation)


def test_by_default_anything_is_enough() -> None:
    assert InnerLoop(PARAMS, lambda params, played, number: params).add(rollout(1, 0))


def test_a_step_that_fails_drops_its_data_and_nothing_else() -> None:
    lanes: list[int] = []

    def step(params: Params, played: Trajectory, number: int) -> Params:
        lanes.append(played.valid.shape[2])
        raise DivergenceError("no")

    loop = InnerLoop(PARAMS, step, lanes=2)
    for seed in range(2):
        with pytest.raises(DivergenceError):
            loop.add(rollout(2, seed))
    assert lanes == [2, 2]
    assert (loop.params, loop.steps) == (PARAMS, 0)
