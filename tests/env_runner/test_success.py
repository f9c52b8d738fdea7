"""Whether a task is solved, from the info of an environment to trajectories of episodes."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from lamp import MOMENT, lamps
from numpy.random import SeedSequence

import ssm_metarl as sm
from ssm_metarl.core.policy import BoundPolicy, Policy, PolicyConfig
from ssm_metarl.env_runner.family_file import parse_family
from ssm_metarl.env_runner.rollout import (
    Trajectory,
    collect_episodes,
    collect_trials,
    episode_successes,
    follow_trials,
    side_by_side,
)
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.env_runner.success import lanes_succeeded
from ssm_metarl.errors import UserError

SEED = SeedSequence(0)


def bound(family: sm.TaskFamily) -> BoundPolicy:
    policy = Policy(PolicyConfig(width=4, state_size=2), policy_spaces(family))
    return policy.bind(policy.init(torch.Generator().manual_seed(0)))


def trials(family: sm.TaskFamily, episodes: int) -> Trajectory:
    environment = family.make_vec(family.held_out(), 5, autoreset=True)
    return collect_trials(bound(family), environment, SEED, episodes)


@pytest.mark.parametrize(
    ("infos", "expected"),
    [
        ({"reward": np.ones(2)}, None),
        ({"success": np.array([1.0, 0.0]), "_success": np.array([True, True])}, [True, False]),
        ({"is_success": np.array([True, True]), "_is_success": np.array([False, True])}, [0, 1]),
        ({"success": np.array([None, np.True_], object), "_success": np.array([0, 1])}, [0, 1]),
        ({"success": np.array([[0], [3]])}, [False, True]),
        ({"success": {"left": np.ones(2)}, "is_success": np.array([1, 0])}, [True, False]),
    ],
)
def test_lanes_say_success_in_many_ways(infos: dict[str, Any], expected: list | None) -> None:
    found = lanes_succeeded(infos)
    assert (None if found is None else found.tolist()) == expected


@pytest.mark.parametrize("key", ["success", "is_success"])
def test_an_episode_succeeds_if_any_of_its_steps_did(key: str) -> None:
    family = lamps(key=key)
    played = trials(family, 3)
    assert played.success is not None
    success = episode_successes(played, 3)
    assert success is not None
    right = torch.tensor(family.held_out().values["right"])[None, :, None]
    # Episodes have 4 steps and, between them, a dead one.
    decisive = played.action[[MOMENT, MOMENT + 5, MOMENT + 10]]
    assert torch.equal(success, (decisive == right).float())
    assert 0 < success.mean() < 1
    assert not (played.success & ~played.valid).any()


def test_following_trials_tells_the_success_of_collecting_them() -> None:
    family = lamps()
    environment = family.make_vec(family.held_out(), 5, autoreset=True)
    told = [each.success for each in follow_trials(bound(family), environment, SEED, 3)]
    collected = episode_successes(trials(family, 3), 3)
    assert collected is not None
    for mine, theirs in zip(told, collected, strict=True):
        assert mine is not None
        assert torch.equal(mine, theirs > 0)


def test_what_says_nothing_of_success_has_none() -> None:
    played = trials(lamps(key=None), 2)
    assert played.success is None
    assert episode_successes(played, 2) is None
    environment = lamps(key=None).make_vec(lamps().nominal(), 1, autoreset=True)
    assert [each.success for each in follow_trials(bound(lamps()), environment, SEED, 2)] == [
        None,
        None,
    ]


def test_trajectories_beside_each_other_need_not_all_speak_of_success() -> None:
    family = lamps()
    environment = family.make_vec(family.nominal(), 3, autoreset=True)
    speaking = collect_episodes(bound(family), environment, SEED)
    silent = dataclasses.replace(speaking, success=None)
    together = side_by_side([silent, speaking]).success
    assert together is not None
    assert speaking.success is not None
    assert torch.equal(together[:, :, 3:], speaking.success)
    assert not together[:, :, :3].any()
    assert side_by_side([silent, silent]).success is None


def test_a_familys_own_key_becomes_the_usual_one() -> None:
    family = lamps(key="lit", success_key="lit")
    env = sm.make(family, {"right": 1})
    env.reset()
    said = [env.step(1)[-1] for _ in range(4)]
    assert [info["success"] for info in said] == [False, False, True, False]
    assert said[MOMENT]["lit"] == 1.0
    assert trials(family, 2).success is not None
    # What the environment means by the usual name is not what the family means.
    assert trials(lamps(key="success", success_key="lit"), 2).success is None


def test_a_file_names_the_key_or_computes_it() -> None:
    text = 'name = "A"\nenv_id = "CartPole-v1"\nsuccess_key = "upright"\n'
    assert parse_family(text, "a.toml").success_key == "upright"
    with pytest.raises(UserError, match=r"a.toml:3: success_key: .* one of the two"):
        parse_family(text + 'success = "observation[0] > 0"\n', "a.toml")
