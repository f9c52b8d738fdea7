"""Training where episodes fail: nothing is learned from them, and no score is flattered by them."""

import dataclasses
import math

import pytest
import torch
from failing import HOPELESS, SOME, SOUND, failing
from small_runs import META

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.errors import EnvironmentFailure
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.learners import Trainer, make_trainer

MODES = {
    "meta_rl": {},
    "emaml": {"surrogate": "emaml"},
    "trial": {"memory": "trial", "episodes_per_trial": 2},
    "rl2": {"mode": "rl2", "episodes_per_trial": 2},
    "policy_gradient": {"mode": "policy_gradient", "num_episodes": 30},
}


def trainer_of(family: TaskFamily, **changes: object) -> Trainer:
    config: TrainConfig = dataclasses.replace(META, validate_every=1, **changes)  # pyright: ignore
    config = config.resolve(family)
    return make_trainer(config, family, policy_spaces(family))


def finite(trainer: Trainer) -> bool:
    return all(bool(value.isfinite().all()) for value in trainer.snapshot().tensors.values())


@pytest.mark.parametrize("mode", MODES)
def test_every_learner_goes_on_with_the_episodes_that_went_well(mode: str) -> None:
    trainer = trainer_of(SOME, **MODES[mode])
    for _ in range(2):
        progress = trainer.iterate()
        assert progress.metrics["failed_episodes"]
        assert all(v is None or math.isfinite(v) for v in progress.metrics.values())
        assert progress.return_before is not None
        assert progress.return_before < -20.0  # none counts as 0, which would be the best
    assert finite(trainer)


def test_none_of_a_sound_family_fails() -> None:
    assert trainer_of(SOUND).iterate().metrics["failed_episodes"] == 0


@pytest.mark.parametrize("mode", ["meta_rl", "rl2"])
def test_a_validation_task_without_a_return_gives_no_score(mode: str) -> None:
    trainer = trainer_of(HOPELESS, **MODES[mode])
    task = HOPELESS.validation(2).describe(1)
    for _ in range(2):
        with pytest.warns(UserWarning, match=f"all validation episodes of the task {task} failed"):
            progress = trainer.iterate()
        assert progress.return_before is None
        assert progress.best_return is None
    saved = trainer.snapshot().tensors
    for name, value in trainer.learner.tensors.items():  # the newest, as long as none has a score
        assert torch.equal(saved[f"best/{name}"], value)


def test_parameters_without_a_score_do_not_displace_those_that_have_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = trainer_of(SOUND)
    best = trainer.iterate().best_return
    kept = trainer.snapshot().tensors
    monkeypatch.setattr(trainer.learner, "family", HOPELESS)
    with pytest.warns(UserWarning, match="no score"):
        assert trainer.iterate().best_return == best
    after = trainer.snapshot().tensors
    assert all(torch.equal(after[name], kept[name]) for name in kept if name.startswith("best/"))


def test_where_every_episode_fails_nothing_is_learned() -> None:
    trainer = trainer_of(failing(lambda task, lane: task + lane >= 0), **MODES["policy_gradient"])
    before = {name: value.clone() for name, value in trainer.learner.tensors.items()}
    progress = trainer.iterate()
    assert (progress.return_before, progress.metrics["failed_episodes"]) == (None, 10)
    assert all(torch.equal(before[name], v) for name, v in trainer.learner.tensors.items())


@pytest.mark.parametrize("mode", ["meta_rl", "rl2", "policy_gradient"])
@pytest.mark.filterwarnings("ignore:all validation episodes")
def test_what_fails_in_every_iteration_stops_with_the_values_of_a_task(mode: str) -> None:
    trainer = trainer_of(failing(lambda task, lane: task + lane >= 0), **MODES[mode])
    iterations: list[int] = []
    with pytest.raises(EnvironmentFailure, match=r"failed in 2\d of .* episodes of .*gravity=.*"):
        iterations.extend(trainer.iterate().iteration for _ in range(5))
    assert trainer.snapshot().meta["iteration"] == len(iterations) > 0
