"""Runs that a file's tests share."""

from pathlib import Path

import pytest
from cli_runner import TINY

from ssm_metarl.cli import main


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", "--env", "CartPole-v1", *TINY, f"--run_dir={path}"]) == 0
    return path


@pytest.fixture(scope="module")
def trial_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trial") / "run"
    flags = [*TINY, "--memory=trial", "--episodes_per_trial=2", f"--run_dir={path}"]
    assert main(["train", *flags]) == 0
    return path
