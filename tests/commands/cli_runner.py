"""What the tests of the commands share."""

from pathlib import Path

import pytest

from ssm_metarl.cli import main

ROOT = Path(__file__).parents[2]

TINY = [
    "--num_epochs=2",
    "--tasks-per-epoch=2",
    "--episodes_per_task=2",
    "--support_steps=20",
    "--query_steps=20",
    "--validation_tasks=2",
    "--width=8",
    "--state_size=4",
]

ADAPT = ["--episodes=3", "--no_video", "--task", "gravity=12,length=1.0,swap=1"]


def fails(capsys: pytest.CaptureFixture[str], argv: list[str], code: int = 2) -> str:
    assert main(argv) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]
