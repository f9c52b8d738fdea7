"""Runs: what is on disk, resuming to the bit, and stopping for good reasons."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.errors import CheckpointError, DivergenceError, UserError
from ssm_metarl.evaluation.evaluate import mean_returns
from ssm_metarl.meta_rl.maml import MetaLearner
from ssm_metarl.runs.checkpoint import load_checkpoint
from ssm_metarl.runs.config import TrainConfig
from ssm_metarl.runs.loading import load
from ssm_metarl.runs.tracking import read_metrics
from ssm_metarl.runs.training import resume, train

META = TrainConfig(
    num_epochs=4,
    tasks_per_epoch=2,
    episodes_per_task=2,
    support_steps=20,
    query_steps=20,
    validate_every=2,
    validation_tasks=2,
    width=8,
    state_size=4,
)
CONFIGS = {
    "meta_rl": META,
    "learned rates": dataclasses.replace(META, learn_inner_lr=True),
    "memory of a trial": dataclasses.replace(META, memory="trial", episodes_per_trial=2),
    "rl2": dataclasses.replace(META, mode="rl2", episodes_per_trial=2),
    "policy_gradient": dataclasses.replace(META, mode="policy_gradient", num_episodes=32),
}


def outcome(run_dir: Path) -> tuple[list[dict], dict[str, torch.Tensor]]:
    records = read_metrics(run_dir / "metrics.jsonl")
    for record in records:
        del record["seconds"]
    return records, load_checkpoint(run_dir / "checkpoint").tensors


def assert_same(first: Path, second: Path) -> None:
    (records, tensors), (others, other_tensors) = outcome(first), outcome(second)
    assert records == others
    assert tensors.keys() == other_tensors.keys()
    assert all(torch.equal(tensors[name], other_tensors[name]) for name in tensors)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(
    config: TrainConfig, tmp_path: Path
) -> None:
    list(train(config, tmp_path / "whole"))
    stream = train(config, tmp_path / "parts")
    next(stream)
    stream.close()
    stream = resume(tmp_path / "parts")
    assert next(stream).iteration == 2
    next(stream)
    stream.close()
    assert [progress.iteration for progress in resume(tmp_path / "parts")] == [4]
    assert_same(tmp_path / "whole", tmp_path / "parts")
    assert list(resume(tmp_path / "parts")) == []


def test_torch_s_threads_are_the_program_s_to_choose(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        during = [torch.get_num_threads() for _ in train(META, tmp_path / "run")]
        assert {*during, torch.get_num_threads()} == {2}
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
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


LONG = dataclasses.replace(META, num_epochs=40, validate_every=20)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("uninterrupted") / "run"
    list(train(LONG, run_dir))
    return run_dir


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_process_loses_nothing_that_resuming_cannot_redo(
    kill: signal.Signals, tmp_path: Path, uninterrupted: Path
) -> None:
    flags = [f"--{k}={v}" for k, v in dataclasses.asdict(LONG).items() if v not in (None, False)]
    run_dir = tmp_path / "run"
    command = [sys.executable, "-m", "ssm_metarl", "train", *flags, f"--run_dir={run_dir}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics, patience = run_dir / "metrics.jsonl", time.monotonic() + 60
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 3:
        assert time.monotonic() < patience, process.communicate()
        time.sleep(0.02)
    process.send_signal(kill)
    out, _ = process.communicate(timeout=60)
    if kill == signal.SIGINT:
        assert process.returncode == 130
        assert f"ssm-metarl train --run_dir {run_dir} --resume" in out
        assert load_checkpoint(run_dir / "checkpoint").meta["iteration"] >= 3
    list(resume(run_dir))
    assert_same(uninterrupted, run_dir)


def test_a_run_is_a_folder_that_explains_itself(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    last = list(train(META, run_dir))[-1]
    assert TrainConfig.from_json((run_dir / "config.json").read_text()) == META
    records = read_metrics(run_dir / "metrics.jsonl")
    assert [record["iteration"] for record in records] == [1, 2, 3, 4]
    assert records[0]["return_after"] is None
    assert records[1]["return_after"] is not None
    assert records[-1]["environment_steps"] == last.environment_steps
    assert last.best_return == max(r["return_after"] for r in records if r["return_after"])


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
    iterate = MetaLearner.iterate

    def diverge(self, seed, iteration):  # noqa: ANN001, ANN202
        if iteration == 3:
            raise DivergenceError("meta-loss nan")
        return iterate(self, seed, iteration)

    monkeypatch.setattr(MetaLearner, "iterate", diverge)
    with pytest.raises(DivergenceError, match=r"iteration 3: meta-loss nan.*of iteration 2"):
        list(train(META, tmp_path / "run"))
    assert load_checkpoint(tmp_path / "run" / "checkpoint").meta["iteration"] == 2
    load(tmp_path / "run")


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    list(train(META, tmp_path / "run"))
    path = tmp_path / "run" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "width": 9}))
    with pytest.raises(CheckpointError, match=r"does not fit its configuration.*9\]"):
        load(tmp_path / "run")


def test_an_agent_acts_as_its_policy_does(tmp_path: Path) -> None:
    list(train(META, tmp_path / "run"))
    agent, family = load(tmp_path / "run"), get_family("CartPole-v1")
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(6, 2, 4)).astype(np.float32)
    x = torch.from_numpy(seen).unsqueeze(1)  # [T, K = 1, E, O]
    bound = agent.policy.bind(agent.params)
    features, _ = bound.features(x, agent.policy.initial_state(1, 2, x))
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
