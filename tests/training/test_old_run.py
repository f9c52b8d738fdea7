"""A run that version 0.1 trained, with nulls and former names in its config.json, still loads."""

import json
import shutil
from pathlib import Path

import pytest

from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.training.loading import load
from ssm_metarl.training.loop import resume

OLD = Path(__file__).parents[1] / "fixtures" / "run_of_0.1"


def test_an_old_run_loads_as_what_it_was() -> None:
    assert json.loads((OLD / "config.json").read_text())["trace"] == 0.9
    agent = load(OLD)
    assert agent.config == AdaptationConfig(
        inner_lr=0.03,
        inner_steps=1,
        horizon=20,
        discount=0.9,
        gae_lambda=0.9,
        episodes=2,
        trust=0.03,
    )
    total = sum(float(value.double().sum()) for value in agent.params.values())
    assert total == pytest.approx(-21.482287502047257, rel=1e-12)


def test_an_old_run_is_trained_for_longer(tmp_path: Path) -> None:
    shutil.copytree(OLD, tmp_path / "run")
    assert [step.iteration for step in resume(tmp_path / "run", num_epochs=3)] == [3]
