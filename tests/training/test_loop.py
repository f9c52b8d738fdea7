"""Runs: what is on disk, what the caller has set, and stopping for good reasons."""

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from numpy.random import SeedSequence
from small_runs import CONFIGS, META, ONE, assert_same

from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.checkpoint.format import load_checkpoint
from ssm_metarl.env_runner import registry
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.errors import (
    CheckpointError,
    DivergenceError,
    EnvironmentFailure,
    UserError,
)
from ssm_metarl.evaluation.play import mean_returns, play_trials
from ssm_metarl.meta_rl.maml import MAML
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.learners import VALIDATION_STREAM
from ssm_metarl.training.loading import load
from ssm_metarl.training.loop import resume, train
from ssm_metarl.training.metrics import read_metrics
from ssm_metarl.training.validation import EPISODES

pytestmark = pytest.mark.slow
Whole = Callable[[str], Path]


def test_a_run_is_a_folder_that_explains_itself(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    last = list(train(META, run_dir))[-1]
    stored = TrainConfig.from_json((run_dir / "config.json").read_text())
    assert stored == META.resolve(get_family("CartPole-v1"))
    records = read_metrics(run_dir / "metrics.jsonl")
    assert [record["iteration"] for record in records] == [1, 2, 3, 4]
    assert records[0]["return_after"] is None
    assert records[1]["return_after"] is not None
    assert records[-1]["environment_steps"] == last.environment_steps
    assert last.best_return == max(r["return_after"] for r in records if r["return_after"])


def test_what_the_caller_has_set_in_torch_does_not_matter(whole: Whole, tmp_path: Path) -> None:
    plain = whole("meta_rl")
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            list(train(META, tmp_path / "other"))
            agent = load(plain)
        agent.predict(np.zeros(4, np.float32))
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same(plain, tmp_path / "other")


def test_another_working_folder_does_not_lose_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stream = train(META, "run")
    next(stream)
    agent = load("run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    next(stream)
    stream.close()
    assert Memory.of(agent) is not None
    monkeypatch.chdir(tmp_path)
    stream = resume("run")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert [progress.iteration for progress in stream] == [3, 4]
    assert list((tmp_path / "elsewhere").iterdir()) == []


NOT_RESOLVED = ["minibatches", "first_steps", "r_min", "r_max"]  # of meta_rl


def test_a_run_stores_what_its_family_suggested_at_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(train(ONE, tmp_path / "run"))
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert [name for name, value in stored.items() if value is None] == NOT_RESOLVED
    before = load(tmp_path / "run")
    family = get_family("CartPole-v1")
    other = dataclasses.replace(family, support_steps=7, adaptation_discount=0.5, trust=9.0)
    monkeypatch.setitem(registry._BUILT_IN, "CartPole-v1", other)
    assert load(tmp_path / "run").config == before.config


@pytest.mark.parametrize("mode", ["meta_rl", "rl2", "policy_gradient"])
def test_rewards_need_no_discount(mode: str, tmp_path: Path) -> None:
    config = dataclasses.replace(META, mode=mode, num_epochs=1, num_episodes=8, discount=1.0)
    assert len(list(train(config, tmp_path / "run"))) == 1


def test_torch_s_threads_are_the_program_s_to_choose(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        during = [torch.get_num_threads() for _ in train(ONE, tmp_path / "run")]
        assert {*during, torch.get_num_threads()} == {2}
    finally:
        torch.set_num_threads(threads)


def test_two_hundred_episodes_of_policy_gradient_solve_cartpole(tmp_path: Path) -> None:
    config, family = (
        TrainConfig(mode="policy_gradient", num_episodes=200),
        get_family("CartPole-v1"),
    )
    *_, last = train(config, tmp_path / "run")
    assert last.metrics["episodes"] == 200
    agent = load(tmp_path / "run")
    fresh = family, family.nominal(), 100, SeedSequence(12345)
    assert mean_returns(agent.policy, agent.params, *fresh)[0] >= 475


def test_what_adapts_in_both_ways_is_best_where_it_is_good_in_both(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIGS["memory of a trial"], validate_every=1)
    records = [progress.to_record() for progress in train(config, tmp_path / "run")]
    both = [(one["return_before"] + one["return_after"]) / 2 for one in records]
    assert [one["best_return"] for one in records] == [max(both[:n]) for n in range(1, 5)]
    family, agent = get_family("CartPole-v1"), load(tmp_path / "run")
    seed = substream(SeedSequence(config.seed), VALIDATION_STREAM)
    tasks = family.validation(config.validation_tasks)
    trials = play_trials(agent.policy, agent.params, family, tasks, EPISODES, 2, substream(seed, 1))
    best = max(range(4), key=lambda n: (both[n], n))
    assert records[best]["return_before"] == pytest.approx(trials.returns.mean())


def test_an_existing_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("mine")
    with pytest.raises(UserError, match="--resume"):
        train(META, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["note"]
    with pytest.raises(UserError, match="not a run"):
        resume(tmp_path)


def test_bad_settings_leave_no_folder(tmp_path: Path) -> None:
    for changes, text in (
        ({"num_epochs": 0}, "--num_epochs is 0"),
        ({"inner_lr": -1.0}, "--inner_lr is -1"),
        ({"inner_lr": float("nan")}, "--inner_lr is nan"),
        ({"tasks_per_epoch": 0}, "--tasks_per_epoch is 0"),
        ({"discount": 1.5}, "--discount is 1.5"),
        ({"env_name": "CartPole-v9"}, "CartPole-v1"),
        ({"env_name": "os:Env-v0"}, "trust"),
    ):
        with pytest.raises(UserError, match=text):
            train(dataclasses.replace(META, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_divergence_names_the_iteration_and_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iterate = MAML.iterate

    def diverge(self, seed, iteration):  # noqa: ANN001, ANN202
        if iteration == 3:
            raise DivergenceError("meta-loss nan")
        return iterate(self, seed, iteration)

    monkeypatch.setattr(MAML, "iterate", diverge)
    with pytest.raises(DivergenceError, match=r"iteration 3: meta-loss nan.*of iteration 2"):
        list(train(META, tmp_path / "run"))
    assert load_checkpoint(tmp_path / "run" / "checkpoint").meta["iteration"] == 2
    load(tmp_path / "run")


@pytest.mark.filterwarnings("ignore:.*a family of one task", "ignore:.*NaN value")
@pytest.mark.parametrize("reward", [math.nan, 3e38])
def test_an_environment_that_fails_is_not_answered_with_a_lower_rate(
    reward: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)

        def reset(
            self, *, seed: int | None = None, options: dict | None = None
        ) -> tuple[np.ndarray, dict]:
            return np.zeros(2, np.float32), {}

        def step(self, action: object) -> tuple[np.ndarray, float, bool, bool, dict]:
            return np.zeros(2, np.float32), reward, False, False, {}

    spec = gymnasium.envs.registration.EnvSpec("Broken-v0", entry_point=Broken, max_episode_steps=5)
    monkeypatch.setitem(gymnasium.registry, "Broken-v0", spec)
    config = TrainConfig(mode="policy_gradient", env_name="Broken-v0", num_episodes=10)
    with pytest.raises(EnvironmentFailure) as caught:
        list(train(config, tmp_path / "run"))
    assert "gave a reward" in str(caught.value)
    assert "_lr" not in str(caught.value)


def test_a_checkpoint_of_another_network_is_refused(whole: Whole, tmp_path: Path) -> None:
    shutil.copytree(whole("meta_rl"), tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "width": 9}))
    with pytest.raises(CheckpointError, match=r"does not fit its configuration.*9\]"):
        load(tmp_path / "run")


def test_an_agent_acts_as_its_policy_does(whole: Whole) -> None:
    agent, family = load(whole("meta_rl")), get_family("CartPole-v1")
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(6, 2, 4)).astype(np.float32)
    x = torch.from_numpy(seen).unsqueeze(1)  # [T, K = 1, E, O]
    bound = agent.policy.bind(agent.params)
    features, _ = bound.scan(x, agent.policy.initial_state(1, 2, x))
    expected = bound.distribution(features).mode()[:, 0].numpy()
    state = lone = None
    for t in range(6):
        actions, state = agent.predict(seen[t], state)
        action, lone = agent.predict(seen[t, 1], lone)
        assert actions.tolist() == expected[t].tolist()
        assert action == expected[t, 1]
        assert family.action_space.contains(action)
    again, after = agent.predict(seen[0], state, episode_start=np.array([True, True]))
    fresh, first = agent.predict(seen[0])
    assert again.tolist() == fresh.tolist()
    assert torch.equal(after.memory[0], first.memory[0])
    for wrong in (np.zeros(3), np.zeros((2, 5)), np.full(4, np.nan)):
        with pytest.raises(UserError, match=r"agent sees|not finite"):
            agent.predict(wrong)
