"""A resumed run says when it may not continue to the last bit."""

import importlib.metadata
import json
import re
import warnings
from pathlib import Path

import pytest
import torch

from ssm_metarl.checkpoint.format import load_checkpoint
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.software import current_software, warn_of_changes
from ssm_metarl.evaluation.evaluate import EvaluationPlan, summarise
from ssm_metarl.experience.buffer import ExperienceStore
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import load, save
from ssm_metarl.training.loop import EXPERIENCE, resume, train

FAMILY = get_family("CartPole-v1")
SMALL = TrainConfig(
    num_epochs=2, tasks_per_epoch=2, episodes_per_task=2, support_steps=5, query_steps=5
)


def test_a_checkpoint_says_what_it_was_computed_with() -> None:
    found = current_software()
    assert found["torch"] == torch.__version__
    assert {"torch", "numpy", "gymnasium", "threads"} <= found.keys()


def test_another_minor_version_and_another_number_of_threads_are_named() -> None:
    now = current_software()
    with pytest.warns(UserWarning, match=re.escape(f"torch 1.0.2 then, {now['torch']} now")):
        warn_of_changes({**now, "torch": "1.0.2"})
    with pytest.warns(UserWarning, match=r"threads 64 then, \d+ now"):
        warn_of_changes({**now, "threads": 64})
    with pytest.warns(UserWarning, match="scipy 0.1.0 then"):
        warn_of_changes({**now, "scipy": "0.1.0"}, ["scipy"])


def test_a_patch_release_or_an_old_checkpoint_warns_of_nothing() -> None:
    now = current_software()
    major, minor, *_ = str(now["numpy"]).split(".")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_changes(now)
        warn_of_changes({**now, "numpy": f"{major}.{minor}.99"})
        warn_of_changes({**now, "mujoco": "0.1.0"})  # of a family that it does not run
        warn_of_changes({})


@pytest.fixture
def simulated_by_scipy(monkeypatch: pytest.MonkeyPatch) -> str:
    """Let families say that scipy simulates them; return its version."""
    monkeypatch.setattr(TaskFamily, "simulators", ("scipy",))
    return importlib.metadata.version("scipy")


def run_of(version: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Train with another version of the simulator."""
    real = importlib.metadata.version
    with monkeypatch.context() as other:
        other.setattr(
            importlib.metadata, "version", lambda name: version if name == "scipy" else real(name)
        )
        list(train(SMALL, folder / "run"))
    return folder / "run"


def test_an_agent_says_so_where_its_simulator_was_another(
    simulated_by_scipy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of("0.1.0", tmp_path, monkeypatch)
    words = f"another simulator, .*: scipy 0.1.0 then, {re.escape(simulated_by_scipy)} now"
    with pytest.warns(UserWarning, match=words):
        agent = load(run)
    save(agent, tmp_path / "saved")
    with pytest.warns(UserWarning, match=words):
        assert load(tmp_path / "saved").simulators == {"scipy": "0.1.0"}
    with pytest.warns(UserWarning, match=words):
        ExperienceStore.open(run / EXPERIENCE, FAMILY).close()


def test_the_same_simulator_is_no_news_and_is_in_results(
    simulated_by_scipy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(simulated_by_scipy, tmp_path, monkeypatch)
    agent = load(run)
    assert agent.simulators == {"scipy": simulated_by_scipy}
    ExperienceStore.open(run / EXPERIENCE, FAMILY).close()
    evaluation = summarise(FAMILY, FAMILY.held_out(2), "held_out", EvaluationPlan(), [])
    assert json.loads(evaluation.to_json())["software"]["scipy"] == simulated_by_scipy
    assert not load_checkpoint(run / "checkpoint").meta["software"].keys() & {"mujoco"}


def test_resuming_compares_with_the_checkpoint(tmp_path: Path) -> None:
    stream = train(SMALL, tmp_path / "run")
    next(stream)
    stream.close()
    saved = load_checkpoint(tmp_path / "run" / "checkpoint").meta["software"]
    assert saved == current_software()
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        with pytest.warns(UserWarning, match=f"threads {threads} then, {threads + 1} now"):
            resumed = resume(tmp_path / "run")
        resumed.close()
    finally:
        torch.set_num_threads(threads)
