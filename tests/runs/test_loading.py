"""A loaded agent acts as it was trained to, and a run from elsewhere runs no code."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import collect_episodes, collect_trials
from ssm_metarl.errors import CheckpointError, UserError
from ssm_metarl.runs.checkpoint import load_checkpoint
from ssm_metarl.runs.config import TrainConfig
from ssm_metarl.runs.loading import load
from ssm_metarl.runs.training import resume, train

TINY = TrainConfig(
    num_epochs=2,
    tasks_per_epoch=2,
    episodes_per_task=2,
    support_steps=20,
    query_steps=20,
    validate_every=1,
    validation_tasks=2,
    trial_inputs=True,
    learn_inner_lr=True,
)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("loading") / "run"
    list(train(TINY, path))
    return path


@pytest.fixture(scope="module")
def agent(run_dir: Path) -> Agent:
    return load(run_dir)


def test_the_best_parameters_and_rates_are_what_is_loaded(run_dir: Path, agent: Agent) -> None:
    tensors = load_checkpoint(run_dir / "checkpoint").tensors
    for name, value in agent.params.items():
        assert torch.equal(value, tensors[f"best/params/{name}"])
    assert isinstance(agent.rates, dict)
    for name, rate in agent.rates.items():
        expected = agent.config.inner_lr * tensors[f"best/log_gains/{name}"].exp()
        torch.testing.assert_close(rate, expected)


def test_an_agent_does_step_by_step_what_the_collector_does(agent: Agent) -> None:
    family = get_family("CartPole-v1")
    world = family.make(family.nominal(), 3, autoreset=False)
    bound = agent.policy.bind(agent.params)
    played = collect_episodes(bound, world, SeedSequence(1), deterministic=True)
    state = None
    for t, (seen, action) in enumerate(zip(played.observation, played.action, strict=False)):
        reward = played.reward[t - 1, 0].numpy() if t else None
        chosen, state = agent.predict(seen[0].numpy(), state, reward=reward)
        alive = played.valid[t, 0].numpy()
        np.testing.assert_array_equal(chosen[alive], action[0].numpy()[alive])


def test_an_agent_with_a_memory_of_the_trial_does_what_the_collector_does(tmp_path: Path) -> None:
    config = dataclasses.replace(
        TINY, mode="rl2", learn_inner_lr=False, episodes_per_trial=3, width=16, state_size=8
    )
    list(train(config, tmp_path / "run"))
    agent, family = load(tmp_path / "run"), get_family("CartPole-v1")
    world = family.make(family.nominal(), 3, autoreset=True, horizon=30)
    bound = agent.policy.bind(agent.params)
    played = collect_trials(bound, world, SeedSequence(1), 3, deterministic=True)
    features = played.features(bound)
    state = None
    for t in range(len(played.reward)):
        chosen, state = agent.predict(
            played.observation[t, 0].numpy(),
            state,
            episode_start=played.episode_start[t, 0].numpy(),
            reward=played.reward[t - 1, 0].numpy() if t else None,
        )
        alive = played.valid[t, 0].numpy()
        np.testing.assert_array_equal(chosen[alive], played.action[t, 0].numpy()[alive])
    assert state is not None
    clones = agent.policy.initial_state(1, 3, features)
    _, last = bound.features(played.inputs(agent.policy)[:-1], clones)
    for mine, theirs in zip(state.memory, last, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)


def test_sampling_follows_the_seed(agent: Agent) -> None:
    seen = np.zeros((50, 4), np.float32)
    first, other = (agent.predict(seen, deterministic=False, seed=3)[0] for _ in range(2))
    np.testing.assert_array_equal(first, other)
    assert set(first.tolist()) == {0, 1}
    assert (agent.predict(seen, deterministic=False, seed=4)[0] != first).any()


def test_a_run_from_elsewhere_runs_no_code(run_dir: Path, tmp_path: Path) -> None:
    settings = json.loads((run_dir / "config.json").read_text())
    settings |= {"env_name": "this:Env-v0", "trust_env_code": True}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "checkpoint").symlink_to(run_dir / "checkpoint")
    for use in (load, resume):
        with pytest.raises(UserError, match="would import and run code"):
            use(tmp_path)


def test_what_is_not_a_run_is_refused(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere is not a run: it has no config\.json"):
        load(tmp_path / "nowhere")
    config = tmp_path / "config.json"
    config.write_bytes(b"\xff")
    with pytest.raises(UserError, match="utf-8"):
        load(tmp_path)
    config.write_text((run_dir / "config.json").read_text())
    with pytest.raises(CheckpointError, match=r"checkpoint\.json"):
        load(tmp_path)


def test_a_checkpoint_of_another_kind_of_run_is_refused(run_dir: Path, tmp_path: Path) -> None:
    plain = dataclasses.replace(TINY, learn_inner_lr=False)
    (tmp_path / "config.json").write_text(plain.to_json())
    (tmp_path / "checkpoint").symlink_to(run_dir / "checkpoint")
    for use in (load, resume):
        with pytest.raises(CheckpointError, match="does not belong"):
            use(tmp_path)
