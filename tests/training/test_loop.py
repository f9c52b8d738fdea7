"""Runs: what is on disk, resuming to the bit, and stopping for good reasons."""

import dataclasses
import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.session import Session
from ssm_metarl.checkpoint.format import load_checkpoint
from ssm_metarl.env_runner import registry
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.errors import (
    CheckpointError,
    DivergenceError,
    EnvironmentFailure,
    StoreError,
    UserError,
)
from ssm_metarl.evaluation.evaluate import mean_returns, play_trials
from ssm_metarl.experience.buffer import ExperienceStore
from ssm_metarl.experience.records import StoredTask
from ssm_metarl.meta_rl.learner import Report
from ssm_metarl.meta_rl.maml import MAML
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.learners import VALIDATION_STREAM
from ssm_metarl.training.loading import load
from ssm_metarl.training.loop import EXPERIENCE, resume, train
from ssm_metarl.training.tracking import MetricsFile, read_metrics
from ssm_metarl.training.validation import EPISODES

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
    "little experience": dataclasses.replace(META, experience=70),
    "rl2": dataclasses.replace(META, mode="rl2", episodes_per_trial=2),
    "policy_gradient": dataclasses.replace(META, mode="policy_gradient", num_episodes=32),
}


def outcome(run_dir: Path) -> tuple[list[dict], dict[str, torch.Tensor]]:
    records = read_metrics(run_dir / "metrics.jsonl")
    for record in records:
        del record["seconds"]
    return records, load_checkpoint(run_dir / "checkpoint").tensors


def stored(run_dir: Path) -> list[tuple[StoredTask, dict[str, torch.Tensor]]]:
    """What a run has kept of the tasks it met."""
    if not (run_dir / EXPERIENCE).exists():
        return []
    with ExperienceStore.open(run_dir / EXPERIENCE) as store:
        return [(task, vars(store.trajectory(task.id))) for task in store.tasks()]


def assert_same(first: Path, second: Path) -> None:
    (records, tensors), (others, other_tensors) = outcome(first), outcome(second)
    assert records == others
    assert tensors.keys() == other_tensors.keys()
    assert all(torch.equal(tensors[name], other_tensors[name]) for name in tensors)
    for (task, trajectory), (other, other_trajectory) in zip(
        stored(first), stored(second), strict=True
    ):
        assert task == other
        assert all(torch.equal(trajectory[name], other_trajectory[name]) for name in trajectory)


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


@pytest.mark.parametrize("mode", ["meta_rl", "policy_gradient"])
def test_a_finished_run_can_be_trained_for_longer(mode: str, tmp_path: Path) -> None:
    config = dataclasses.replace(META, mode=mode, num_epochs=2, num_episodes=20)
    list(train(config, tmp_path / "run"))
    assert list(resume(tmp_path / "run")) == []
    longer = {"num_epochs": 3} if mode == "meta_rl" else {"num_episodes": 30}
    assert [progress.iteration for progress in resume(tmp_path / "run", **longer)] == [3]
    stored = TrainConfig.from_json((tmp_path / "run" / "config.json").read_text())
    assert {name: getattr(stored, name) for name in longer} == longer
    assert len(read_metrics(tmp_path / "run" / "metrics.jsonl")) == 3
    before = (tmp_path / "run" / "config.json").read_bytes()
    shorter = {"num_epochs": 1} if mode == "meta_rl" else {"num_episodes": 10}
    with pytest.raises(UserError, match="has trained 3 iterations, and cannot end after 1"):
        resume(tmp_path / "run", **shorter)
    assert (tmp_path / "run" / "config.json").read_bytes() == before


def test_a_run_of_a_gpu_goes_on_where_there_is_none(tmp_path: Path) -> None:
    stream = train(META, tmp_path / "run")
    next(stream)
    stream.close()
    path = tmp_path / "run" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "device": "cuda"}))
    with pytest.raises(UserError, match="--device cuda: no CUDA device"):
        resume(tmp_path / "run")
    assert [progress.iteration for progress in resume(tmp_path / "run", device="cpu")] == [2, 3, 4]
    assert load(tmp_path / "run").family == "CartPole-v1"


def test_what_the_caller_has_set_in_torch_does_not_matter(tmp_path: Path) -> None:
    list(train(META, tmp_path / "plain"))
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            list(train(META, tmp_path / "other"))
            agent = load(tmp_path / "plain")
        agent.predict(np.zeros(4, np.float32))
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same(tmp_path / "plain", tmp_path / "other")


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


NOT_RESOLVED = ["first_steps", "r_min", "r_max"]  # of meta_rl


def test_a_run_stores_what_its_family_suggested_at_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(train(dataclasses.replace(META, num_epochs=1), tmp_path / "run"))
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert [name for name, value in stored.items() if value is None] == NOT_RESOLVED
    before = load(tmp_path / "run")
    family = get_family("CartPole-v1")
    other = dataclasses.replace(family, support_steps=7, adaptation_discount=0.5, trust=9.0)
    monkeypatch.setitem(registry._FAMILIES, "CartPole-v1", other)
    assert load(tmp_path / "run").config == before.config


@pytest.mark.parametrize("mode", ["meta_rl", "rl2", "policy_gradient"])
def test_rewards_need_no_discount(mode: str, tmp_path: Path) -> None:
    config = dataclasses.replace(META, mode=mode, num_epochs=1, num_episodes=8, discount=1.0)
    assert len(list(train(config, tmp_path / "run"))) == 1


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
    stored = TrainConfig.from_json((run_dir / "config.json").read_text())
    assert stored == META.resolve(get_family("CartPole-v1"))
    records = read_metrics(run_dir / "metrics.jsonl")
    assert [record["iteration"] for record in records] == [1, 2, 3, 4]
    assert records[0]["return_after"] is None
    assert records[1]["return_after"] is not None
    assert records[-1]["environment_steps"] == last.environment_steps
    assert last.best_return == max(r["return_after"] for r in records if r["return_after"])


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


def test_what_meta_training_plays_on_each_task_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = []
    iterate = MAML.iterate

    def watched(self: MAML, seed: SeedSequence, iteration: int) -> Report:
        progress = iterate(self, seed, iteration)
        played.append(progress.experience)
        return progress

    monkeypatch.setattr(MAML, "iterate", watched)
    list(train(META, tmp_path / "run"))
    kept = stored(tmp_path / "run")
    assert [task.label for task, _ in kept] == [1, 1, 2, 2, 3, 3, 4, 4]
    for number, (task, trajectory) in enumerate(kept):
        tasks, whole = played[number // 2]
        assert task.parameters == tasks.parameters(number % 2)
        one = whole.tasks(torch.tensor([number % 2]))
        steps = len(trajectory["reward"])
        assert torch.equal(trajectory["reward"], one.reward[:steps])
        assert torch.equal(trajectory["observation"], one.observation[: steps + 1])
        assert task.transitions == one.environment_steps


def test_the_newest_experience_stays_within_its_bound(tmp_path: Path) -> None:
    list(train(dataclasses.replace(META, experience=70), tmp_path / "capped"))
    list(train(META, tmp_path / "whole"))
    capped, whole = stored(tmp_path / "capped"), stored(tmp_path / "whole")
    held = sum(task.transitions for task, _ in capped)
    assert 50 < held <= 70 < sum(task.transitions for task, _ in whole)
    assert capped[-1][0] == whole[-1][0]
    (records, tensors), (others, other_tensors) = map(
        outcome, (tmp_path / "capped", tmp_path / "whole")
    )
    assert records == others
    assert all(torch.equal(tensors[name], other_tensors[name]) for name in tensors)


def test_without_experience_there_is_no_store_and_too_little_is_refused(tmp_path: Path) -> None:
    list(train(dataclasses.replace(META, experience=0), tmp_path / "none"))
    assert not (tmp_path / "none" / EXPERIENCE).parent.exists()
    for config, least in ((META, 20), (CONFIGS["memory of a trial"], 40)):
        with pytest.raises(UserError, match=rf"--experience is {least - 1}.*at least {least}"):
            train(dataclasses.replace(config, experience=least - 1), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("where", ["metrics", "store"])
def test_an_interruption_at_the_worst_moment_is_resumed_exactly(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(train(META, tmp_path / "whole"))
    kind, name = {"metrics": (MetricsFile, "append"), "store": (ExperienceStore, "add")}[where]
    real, calls = getattr(kind, name), []

    def interrupted(self: object, *arguments: object) -> object:
        calls.append(name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(kind, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(train(META, tmp_path / "parts"))
    monkeypatch.undo()
    done = load_checkpoint(tmp_path / "parts" / "checkpoint").meta["iteration"]
    assert done == (2 if where == "metrics" else 3)
    list(resume(tmp_path / "parts"))
    assert_same(tmp_path / "whole", tmp_path / "parts")


def test_a_store_on_a_full_disk_ends_the_training_and_what_was_saved_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(train(META, tmp_path / "whole"))
    add = ExperienceStore.add

    def full(self: ExperienceStore, *arguments: object) -> object:
        if arguments[-1] == 3:
            raise StoreError(f"{self.path}: cannot be added to: No space left on device")
        return add(self, *arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(ExperienceStore, "add", full)
    with pytest.raises(StoreError, match="No space left"):
        list(train(META, tmp_path / "run"))
    monkeypatch.undo()
    load(tmp_path / "run")
    list(resume(tmp_path / "run"))
    assert_same(tmp_path / "whole", tmp_path / "run")


def test_a_run_s_store_of_another_family_is_said_to_be_so(tmp_path: Path) -> None:
    stream = train(META, tmp_path / "run")
    next(stream)
    stream.close()
    pendulum = dataclasses.replace(META, env_name="Pendulum-v1")
    list(train(pendulum, tmp_path / "other"))
    (tmp_path / "run" / EXPERIENCE).write_bytes((tmp_path / "other" / EXPERIENCE).read_bytes())
    with pytest.raises(StoreError, match=r"experience of Pendulum-v1"):
        list(resume(tmp_path / "run"))
    with pytest.raises(StoreError, match=r"Pendulum-v1, but the agent is for CartPole-v1"):
        Session(load(tmp_path / "run"), "hybrid")
