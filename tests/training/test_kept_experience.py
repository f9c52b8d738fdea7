"""What meta-training keeps of the tasks it met."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from numpy.random import SeedSequence
from small_runs import CONFIGS, META, ONE, outcome, stored

from ssm_metarl.adaptation.session import Session
from ssm_metarl.errors import (
    StoreError,
    UserError,
)
from ssm_metarl.meta_rl.learner import Report
from ssm_metarl.meta_rl.maml import MAML
from ssm_metarl.training.loading import load
from ssm_metarl.training.loop import EXPERIENCE, resume, train

pytestmark = pytest.mark.slow
Whole = Callable[[str], Path]


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


def test_the_newest_experience_stays_within_its_bound(whole: Whole) -> None:
    runs = whole("little experience"), whole("meta_rl")
    capped, everything = map(stored, runs)
    held = sum(task.transitions for task, _ in capped)
    assert 50 < held <= 70 < sum(task.transitions for task, _ in everything)
    assert capped[-1][0] == everything[-1][0]
    (records, tensors), (others, other_tensors) = map(outcome, runs)
    assert records == others
    assert all(torch.equal(tensors[name], other_tensors[name]) for name in tensors)


def test_without_experience_there_is_no_store_and_too_little_is_refused(tmp_path: Path) -> None:
    list(train(dataclasses.replace(ONE, experience=0), tmp_path / "none"))
    assert not (tmp_path / "none" / EXPERIENCE).parent.exists()
    for config, least in ((META, 20), (CONFIGS["memory of a trial"], 40)):
        with pytest.raises(UserError, match=rf"--experience is {least - 1}.*at least {least}"):
            train(dataclasses.replace(config, experience=least - 1), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_s_store_of_another_family_is_said_to_be_so(tmp_path: Path) -> None:
    stream = train(META, tmp_path / "run")
    next(stream)
    stream.close()
    pendulum = dataclasses.replace(ONE, env_name="Pendulum-v1")
    list(train(pendulum, tmp_path / "other"))
    (tmp_path / "run" / EXPERIENCE).write_bytes((tmp_path / "other" / EXPERIENCE).read_bytes())
    with pytest.raises(StoreError, match=r"experience of Pendulum-v1"):
        list(resume(tmp_path / "run"))
    with pytest.raises(StoreError, match=r"Pendulum-v1, but the agent is for CartPole-v1"):
        Session(load(tmp_path / "run"), "hybrid")
