"""Runs on environments whose observations and rewards are in other units."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from ssm_metarl.checkpoint.format import load_checkpoint, save_checkpoint
from ssm_metarl.env_runner import registry
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.errors import CheckpointError
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import load, save
from ssm_metarl.training.loop import resume, train

pytestmark = pytest.mark.filterwarnings("ignore:.*declares no parameters:UserWarning")
NAME = "CartPoleInOtherUnits-v0"
TINY = TrainConfig(
    mode="policy_gradient", env_name=NAME, num_episodes=30, width=8, state_size=4, seed=3
)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    yield
    gymnasium.registry.pop(NAME, None)
    registry._one_task_family.cache_clear()


def register(observation: float = 1.0, reward: float = 1.0, shift: float = 0.0) -> None:
    def make(**options: Any) -> gymnasium.Env:  # noqa: ANN401
        env = gymnasium.make("CartPole-v1", **options).unwrapped
        env = gymnasium.wrappers.TransformObservation(
            env,
            lambda seen: (seen * observation + shift).astype(np.float32),
            spaces.Box(-np.inf, np.inf, (4,), np.float32),
        )
        return gymnasium.wrappers.TransformReward(env, lambda paid: float(paid) * reward)

    gymnasium.register(NAME, entry_point=make, max_episode_steps=100)


@pytest.mark.slow
@pytest.mark.parametrize(
    "units",
    [{}, {"reward": 1e3}, {"reward": 1e-3}, {"observation": 1e-3}, {"shift": 100.0}],
    ids=str,
)
def test_cartpole_is_learned_in_any_units(units: dict[str, float], tmp_path: Path) -> None:
    register(**units)
    config = TrainConfig(mode="policy_gradient", env_name=NAME, num_episodes=80)
    survived = [
        progress.return_before / units.get("reward", 1.0)
        for progress in train(config, tmp_path / "run")
        if progress.return_before is not None
    ]
    assert survived[0] < 30
    assert np.mean(survived[-2:]) > 70


def test_a_resumed_run_keeps_the_units_it_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(observation=1e-3, reward=1e3, shift=5.0)
    list(train(TINY, tmp_path / "whole"))
    stream = train(TINY, tmp_path / "parts")
    next(stream)
    stream.close()
    monkeypatch.setattr("ssm_metarl.training.loop.measured_spaces", None)  # not a second time
    assert [progress.iteration for progress in resume(tmp_path / "parts")] == [2, 3]
    whole, parts = (load_checkpoint(tmp_path / n / "checkpoint") for n in ("whole", "parts"))
    assert whole.meta["spaces"] == parts.meta["spaces"]
    assert whole.tensors.keys() == parts.tensors.keys()
    assert all(torch.equal(whole.tensors[name], parts.tensors[name]) for name in whole.tensors)


def test_agents_keep_the_units_of_their_run(tmp_path: Path) -> None:
    register(observation=1e-3, reward=1e3, shift=5.0)
    list(train(TINY, tmp_path / "run"))
    agent = load(tmp_path / "run")
    measured = agent.policy.spaces
    assert measured.reward_scale == 1e3
    assert measured.observation_offset == pytest.approx((5.0,) * 4, abs=1e-3)
    assert max(measured.observation_scale) < 1e-2
    assert load(save(agent, tmp_path / "agent")).policy.spaces == measured


def test_what_is_saved_without_units_has_those_of_its_family(tmp_path: Path) -> None:
    register()
    list(train(TINY, tmp_path / "run"))
    place = tmp_path / "run" / "checkpoint"
    agent, checkpoint = load(tmp_path / "run"), load_checkpoint(place)
    meta = {name: value for name, value in checkpoint.meta.items() if name != "spaces"}
    save_checkpoint(place, checkpoint.tensors, meta)
    declared = policy_spaces(get_family(NAME))
    assert load(tmp_path / "run").policy.spaces == declared

    folder = save(agent, tmp_path / "agent") / "agent"
    saved = load_checkpoint(folder)
    for name in ("observation_offset", "reward_scale"):
        del saved.meta["agent"]["spaces"][name]
    save_checkpoint(folder, saved.tensors, saved.meta)
    expected = dataclasses.replace(
        agent.policy.spaces, observation_offset=declared.observation_offset, reward_scale=1.0
    )
    assert load(tmp_path / "agent").policy.spaces == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reward_scale": 0.0}, "reward_scale must be positive"),
        ({"reward_scale": "big"}, "reward_scale cannot be 'big'"),
        ({"observation_offset": [1.0]}, "observation_offset does not fit"),
        ({"observation_scale": [1.0] * 3, "observation_offset": []}, "other observations"),
        ({"actions": 3}, "other actions"),
    ],
)
def test_spaces_of_another_environment_are_refused(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    register()
    stream = train(TINY, tmp_path / "run")
    next(stream)
    stream.close()
    place = tmp_path / "run" / "checkpoint"
    checkpoint = load_checkpoint(place)
    checkpoint.meta["spaces"].update(change)
    save_checkpoint(place, checkpoint.tensors, checkpoint.meta)
    for read in (load, resume):
        with pytest.raises(CheckpointError, match=words) as caught:
            read(tmp_path / "run")
        assert "\n" not in str(caught.value)
