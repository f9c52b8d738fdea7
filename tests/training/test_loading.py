"""A loaded agent acts as it was trained to, and a run from elsewhere runs no code."""

import contextlib
import dataclasses
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.online import adapt
from ssm_metarl.checkpoint.format import load_checkpoint, save_checkpoint
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import collect_episodes, collect_trials
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.errors import CheckpointError, StoreError, UserError
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import load, locate, save
from ssm_metarl.training.loop import EXPERIENCE, resume, train
from ssm_metarl.training.recipes import adaptation_config, initial_params, make_policy

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
    world = family.make_vec(family.nominal(), 3, autoreset=False)
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
    world = family.make_vec(family.nominal(), 3, autoreset=True, horizon=30)
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
    _, last = bound.scan(played.inputs(agent.policy)[:-1], clones)
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
    with pytest.raises(UserError, match=r"nowhere is not a run: there is no such folder"):
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


def assert_equal_agents(one: Agent, other: Agent) -> None:
    for mine, theirs in ((one.params, other.params), (one.rates, other.rates)):
        assert isinstance(mine, dict)
        assert isinstance(theirs, dict)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[name]) for name, value in mine.items())
    assert (one.policy, one.config, one.family) == (other.policy, other.config, other.family)


def test_an_adapted_agent_that_was_saved_is_the_same_to_the_bit(
    agent: Agent, tmp_path: Path
) -> None:
    env = get_family("CartPole-v1").gymnasium(get_family("CartPole-v1").nominal())
    *_, last = adapt(agent, env, episodes=3)
    read = load(save(last.agent, tmp_path / "adapted"))
    assert_equal_agents(read, last.agent)
    assert read.experience is None
    seen = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    mine = theirs = None
    for one in seen:
        first, mine = last.agent.predict(one, mine, deterministic=False, seed=2)
        second, theirs = read.predict(one, theirs, deterministic=False, seed=2)
        assert first == second
    assert mine is not None
    assert theirs is not None
    assert torch.equal(mine.memory[0], theirs.memory[0])
    *_, again = adapt(read, env, episodes=3)
    *_, same = adapt(last.agent, env, episodes=3)
    assert_equal_agents(again.agent, same.agent)
    assert_equal_agents(load(save(again.agent, tmp_path / "twice")), again.agent)


@pytest.mark.parametrize("name", ["Pendulum-v1", "MountainCarContinuous-v0"])
def test_an_agent_of_continuous_actions_with_one_rate_is_saved_too(
    name: str, tmp_path: Path
) -> None:
    family = get_family(name)
    config = TrainConfig(env_name=name, cell="gated", norm=True, memory="trial").resolve(family)
    policy, settings = make_policy(config, policy_spaces(family)), adaptation_config(config)
    agent = Agent(policy, initial_params(policy, 3), settings.inner_lr, settings, name)
    read = load(save(agent, tmp_path / "agent"))
    assert (read.policy, read.config, read.rates) == (agent.policy, agent.config, agent.rates)
    assert all(torch.equal(value, read.params[key]) for key, value in agent.params.items())


def test_saving_where_something_is_or_what_is_not_finite_changes_nothing(
    agent: Agent, tmp_path: Path
) -> None:
    (tmp_path / "note").write_text("mine")
    for taken in (tmp_path, tmp_path / "note"):
        with pytest.raises(UserError, match="exists; name a new folder"):
            save(agent, taken)
    assert [path.name for path in tmp_path.iterdir()] == ["note"]
    params = {**agent.params, "encoder.bias": torch.full((32,), torch.nan)}
    broken = dataclasses.replace(agent, params=params)
    with pytest.raises(CheckpointError, match="NaN"):
        save(broken, tmp_path / "new")
    with pytest.raises(UserError, match="not a run"):
        load(tmp_path / "new")
    save(agent, tmp_path / "new")  # what failed does not stand in the way


def only_shapes(draw: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Let a way of making tensors make no real ones."""

    def drawn(*size: int, **options: object) -> torch.Tensor:
        made = draw(*size, **options)
        assert made.is_meta
        return made

    return drawn


Edit = Callable[[dict[str, torch.Tensor], dict[str, Any]], object]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            lambda t, s: s["policy"].update(width=4097),
            "width is 4097; it must be a whole number from 1 to 4,096",
        ),
        (lambda t, s: s["policy"].update(width=0), "width is 0"),
        (lambda t, s: s["policy"].update(blocks=10**12), "blocks is 10000"),
        (lambda t, s: s["policy"].update(width=4096, state_size=4096, blocks=64), "is missing"),
        (lambda t, s: s["policy"].update(width=4096), r"is \[.*\], not \[.*4096"),
        (lambda t, s: s["policy"].update(cell="transformer"), "cell cannot be 'transformer'"),
        (lambda t, s: s["policy"].update(depth=3), "unknown name 'depth'"),
        (lambda t, s: s["spaces"].update(actions=10**9), "actions cannot be"),
        (lambda t, s: s["spaces"].update(actions=True), "actions cannot be True"),
        (lambda t, s: s["spaces"].update(observation_scale=[0.0] * 4), "observation_scale"),
        (lambda t, s: s["spaces"].update(observation_scale=[]), "observation_scale"),
        (lambda t, s: s["spaces"].update(action_low=[1.0]), "do not fit the actions"),
        (lambda t, s: s["spaces"].pop("discrete"), "discrete"),
        (lambda t, s: s["config"].update(horizon=0), "support_steps is 0"),
        (lambda t, s: s["config"].update(inner_lr="fast"), "inner_lr cannot be 'fast'"),
        (lambda t, s: s["config"].update(inner_lr=-1.0), "inner_lr is -1.0"),
        (lambda t, s: s["config"].update(discount=-1.0), "discount is -1.0"),
        (lambda t, s: s["config"].update(gae_lambda=2.0), "gae_lambda is 2.0"),
        (lambda t, s: s["config"].update(inner_steps=-1), "inner_steps is -1; .* from 1 to 100"),
        (lambda t, s: s["policy"].update(max_time_constant=0.0), "max_time_constant is 0.0"),
        (lambda t, s: s["config"].update(episodes=0), "episodes_per_task is 0"),
        (lambda t, s: s["config"].update(episodes_per_trial=0), "episodes_per_trial is 0"),
        (lambda t, s: s["config"].update(trust=0.0), "trust is 0.0"),
        (lambda t, s: s["config"].update(adapted_std=-1.0), "adapted_std is -1.0"),
        (lambda t, s: s.update(family=["CartPole-v1"]), "env_name is .*CartPole"),
        (lambda t, s: s.update(family=None), "env_name is None"),
        (lambda t, s: s.update(policy=[]), "policy must hold one object"),
        (lambda t, s: s.pop("family"), "'family' is missing"),
        (lambda t, s: t.pop("params/encoder.bias"), "params/encoder.bias is missing"),
        (lambda t, s: t.pop("rates/encoder.bias"), "rates/encoder.bias is missing"),
        (lambda t, s: t.update({"params/spy": torch.zeros(2)}), "params/spy does not belong"),
        (lambda t, s: t.update({"spy": torch.zeros(2)}), "spy does not belong"),
        (lambda t, s: t.update({"params/action.bias": torch.zeros(3)}), r"\[3\], not \[2\]"),
        (lambda t, s: t.update({"params/action.bias": torch.zeros(2).double()}), "action.bias"),
    ],
)
def test_a_hostile_agent_is_refused_before_anything_is_made_of_it(
    agent: Agent, edit: Edit, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = load_checkpoint(save(agent, tmp_path / "agent") / "agent")
    edit(saved.tensors, saved.meta["agent"])
    save_checkpoint(tmp_path / "hostile" / "agent", saved.tensors, saved.meta)
    monkeypatch.setattr(torch, "randn", only_shapes(torch.randn))
    with pytest.raises(CheckpointError, match=words) as caught:
        load(tmp_path / "hostile")
    assert "\n" not in str(caught.value)


def test_settings_that_are_no_table_are_no_agent(agent: Agent, tmp_path: Path) -> None:
    for meta in ({}, {"agent": 3}, {"agent": [1]}):
        save_checkpoint(tmp_path / "agent", {"x": torch.zeros(1)}, meta)
        with pytest.raises(CheckpointError, match="is not a saved agent"):
            load(tmp_path)


def test_a_run_s_network_that_was_never_saved_takes_no_memory(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = dataclasses.replace(TINY, width=4096, state_size=4096, blocks=64)
    (tmp_path / "config.json").write_text(huge.to_json())
    (tmp_path / "checkpoint").symlink_to(run_dir / "checkpoint")
    monkeypatch.setattr(torch, "randn", only_shapes(torch.randn))
    with pytest.raises(CheckpointError, match="is missing"):
        load(tmp_path)


def test_a_path_is_a_path(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssm_metarl.training.loading.fetch", lambda *_: pytest.fail("was asked"))
    monkeypatch.chdir(tmp_path)
    assert locate(run_dir) == run_dir
    for path in ("runs/demo", "demo", "./runs/demo"):
        with pytest.raises(
            UserError, match=r"is not a run: .* \(a run on the .* is hf://owner/name"
        ):
            load(path)


def test_experience_of_another_run_is_refused(run_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    list(train(dataclasses.replace(TINY, seed=TINY.seed + 1), other))
    shutil.copyfile(run_dir / EXPERIENCE, other / EXPERIENCE)
    mine, theirs = load(run_dir).run, load(other).run
    with pytest.raises(StoreError, match=f"played by run {mine}.*this agent is of run {theirs}"):
        Memory.of(load(other))
    with pytest.raises(StoreError, match=f"played by run {mine}"):
        list(resume(other, num_epochs=TINY.num_epochs + 1))


def test_experience_stays_a_runs_own_when_it_trains_on(run_dir: Path, tmp_path: Path) -> None:
    longer = tmp_path / "longer"
    shutil.copytree(run_dir, longer)
    list(resume(longer, num_epochs=TINY.num_epochs + 1))
    agent = load(longer)
    assert agent.run == load(run_dir).run
    assert Memory.of(agent) is not None
    shutil.copyfile(run_dir / EXPERIENCE, longer / EXPERIENCE)
    assert Memory.of(agent) is not None


def test_a_store_that_names_no_run_is_any_agents(run_dir: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(run_dir, old)
    with contextlib.closing(sqlite3.connect(old / EXPERIENCE)) as database, database:
        database.execute("DELETE FROM meta WHERE name = 'run'")
    assert Memory.of(load(old)) is not None
