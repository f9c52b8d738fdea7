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
from numpy.random import SeedSequence

from ssm_metarl.checkpoint.format import Checkpoint, load_checkpoint, save_checkpoint
from ssm_metarl.core.statistics import RunningStatistics
from ssm_metarl.env_runner import registry
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.spaces import measure, policy_spaces
from ssm_metarl.errors import CheckpointError
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.learners import make_trainer
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


def without_statistics(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Return the tensors that a run of version 0.1 has."""
    found = checkpoint.tensors.items()
    return {name: value for name, value in found if not name.startswith("statistics/")}


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
    monkeypatch.setattr("ssm_metarl.training.loop.measure", None)  # not a second time
    assert [progress.iteration for progress in resume(tmp_path / "parts")] == [2, 3]
    whole, parts = (load_checkpoint(tmp_path / n / "checkpoint") for n in ("whole", "parts"))
    assert whole.meta["spaces"] == parts.meta["spaces"]
    assert whole.tensors.keys() == parts.tensors.keys()
    assert all(torch.equal(whole.tensors[name], parts.tensors[name]) for name in whole.tensors)


def test_units_are_of_all_that_was_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(observation=1e-3, reward=1e3, shift=5.0)
    played, usual = [], RunningStatistics.of
    monkeypatch.setattr(
        RunningStatistics, "of", lambda *seen: played.append(usual(*seen)) or played[-1]
    )
    stream = train(TINY, tmp_path / "run")
    counts = [next(stream).environment_steps for _ in range(3)]
    stream.close()
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint")
    assert len(played) == 1 + 3  # the random play, and every iteration
    assert sum(float(one.count) for one in played[1:]) == counts[-1]
    weights = torch.stack([one.count for one in played])
    mean = (torch.stack([one.mean for one in played]) * weights.unsqueeze(-1)).sum(0)
    torch.testing.assert_close(checkpoint.tensors["statistics/mean"], mean / weights.sum())


def test_the_best_parameters_keep_the_units_they_were_the_best_with() -> None:
    register(observation=1e-3, reward=1e3, shift=5.0)
    family = get_family(NAME)
    statistics = measure(family, SeedSequence(0))
    first = policy_spaces(family, statistics)
    trainer = make_trainer(TINY.resolve(family), family, first, statistics=statistics)
    trainer.iterate()
    trainer.best_return = None  # so that the next ones are the best
    units = trainer.learner.policy.spaces
    trainer.iterate()
    assert trainer.snapshot().meta["spaces"] == dataclasses.asdict(units)
    assert len({first, units, trainer.learner.policy.spaces}) == 3


def test_units_of_a_run_without_statistics_stay(tmp_path: Path) -> None:
    register(observation=1e-3)
    stream = train(TINY, tmp_path / "run")
    next(stream)
    stream.close()
    place = tmp_path / "run" / "checkpoint"
    saved = load_checkpoint(place)
    kept = without_statistics(saved)
    save_checkpoint(place, kept, saved.meta)
    assert len(list(resume(tmp_path / "run"))) == 2
    assert load_checkpoint(place).meta["spaces"] == saved.meta["spaces"]
    assert load_checkpoint(place).tensors.keys() == kept.keys()


def test_without_normalisation_units_are_those_of_the_environment(tmp_path: Path) -> None:
    register(observation=1e-3, reward=1e3, shift=5.0)
    off = dataclasses.replace(TINY, num_episodes=10, norm_obs=False, norm_reward=False)
    list(train(off, tmp_path / "run"))
    saved = load_checkpoint(tmp_path / "run" / "checkpoint")
    assert without_statistics(saved).keys() == saved.tensors.keys()
    units = load(tmp_path / "run").policy.spaces
    assert (units.observation_scale, units.observation_offset) == ((1.0,) * 4, ())
    assert units.reward_scale == 1.0


def test_a_family_that_declares_scales_is_normalised_if_asked(tmp_path: Path) -> None:
    family = get_family("CartPole-v1")
    asked = dataclasses.replace(TINY, env_name="CartPole-v1", norm_obs=True, clip_obs=5.0)
    list(train(asked, tmp_path / "whole"))
    stream = train(asked, tmp_path / "parts")
    next(stream)
    stream.close()
    list(resume(tmp_path / "parts"))
    whole, parts = (load_checkpoint(tmp_path / n / "checkpoint") for n in ("whole", "parts"))
    assert whole.meta["spaces"] == parts.meta["spaces"]
    assert all(torch.equal(whole.tensors[name], parts.tensors[name]) for name in whole.tensors)
    agent = load(tmp_path / "whole")
    measured, declared = agent.policy.spaces, policy_spaces(family)
    assert measured.observation_scale != declared.observation_scale
    assert measured.reward_scale == declared.reward_scale
    assert agent.policy.config.clip_obs == 5.0
    again = load(save(agent, tmp_path / "agent")).policy
    assert (again.spaces, again.config) == (measured, agent.policy.config)


@pytest.mark.parametrize("norm_reward", [True, False])
def test_rl2_sees_rewards_in_units_that_fit_them(norm_reward: bool, tmp_path: Path) -> None:
    config = TrainConfig(
        **{"mode": "rl2", "env_name": NAME, "num_epochs": 2, "tasks_per_epoch": 4, "width": 8},
        **{"state_size": 4, "validation_tasks": 1, "first_steps": 10, "query_steps": 20},
        norm_reward=norm_reward,
    )

    def losses(unit: float) -> list[float | int | None]:
        register(reward=unit)
        place = tmp_path / str(unit)
        found = [progress.metrics["loss"] for progress in train(config, place)]
        gymnasium.registry.pop(NAME)
        registry._one_task_family.cache_clear()
        return found

    # Raw, 1024 is no more than the bound of what is seen, and values are far from their targets.
    assert (losses(1024.0) == pytest.approx(losses(1.0), rel=1e-4)) == norm_reward


def test_statistics_of_another_shape_are_refused(tmp_path: Path) -> None:
    register()
    stream = train(TINY, tmp_path / "run")
    next(stream)
    stream.close()
    place = tmp_path / "run" / "checkpoint"
    saved = load_checkpoint(place)
    short = saved.tensors["statistics/mean"][:3]
    save_checkpoint(place, {**saved.tensors, "statistics/mean": short}, saved.meta)
    for read in (load, resume):
        with pytest.raises(CheckpointError, match=r"mean is \[3\], not \[4\]"):
            read(tmp_path / "run")


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
    save_checkpoint(place, without_statistics(checkpoint), meta)
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
