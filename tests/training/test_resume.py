"""Resuming a run: to the bit, after whatever ended it."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small_runs import CONFIGS, META, assert_same

from ssm_metarl.checkpoint.format import load_checkpoint
from ssm_metarl.errors import (
    StoreError,
    UserError,
)
from ssm_metarl.experience.buffer import ExperienceStore
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import load
from ssm_metarl.training.loop import resume, train
from ssm_metarl.training.metrics import MetricsFile, read_metrics

pytestmark = pytest.mark.slow
Whole = Callable[[str], Path]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(
    name: str, whole: Whole, tmp_path: Path
) -> None:
    stream = train(CONFIGS[name], tmp_path / "parts")
    next(stream)
    stream.close()
    stream = resume(tmp_path / "parts")
    assert next(stream).iteration == 2
    next(stream)
    stream.close()
    assert [progress.iteration for progress in resume(tmp_path / "parts")] == [4]
    assert_same(whole(name), tmp_path / "parts")
    assert list(resume(tmp_path / "parts")) == []


@pytest.mark.parametrize("where", ["metrics", "store"])
def test_an_interruption_at_the_worst_moment_is_resumed_exactly(
    where: str, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert_same(whole("meta_rl"), tmp_path / "parts")


LONG = dataclasses.replace(META, num_epochs=20, validate_every=10)


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


def test_a_store_on_a_full_disk_ends_the_training_and_what_was_saved_stays(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert_same(whole("meta_rl"), tmp_path / "run")


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
