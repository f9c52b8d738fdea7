"""The programs of docs/hub.md run as they stand, against a Hub on this machine."""

import re
import shutil
from pathlib import Path

import gymnasium
import pytest
from fake_hub import FakeHub

from ssm_metarl.cli import main
from ssm_metarl.commands.evaluate import Evaluate
from ssm_metarl.parsing import parse

TEXT = (Path(__file__).parents[2] / "docs" / "hub.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def logged_in(
    hub: FakeHub, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FakeHub:
    """In a folder with the run ``runs/demo``, as the user ``user``."""
    monkeypatch.setenv("HF_TOKEN", "hf_user")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run_dir, tmp_path / "runs" / "demo")
    return hub


def test_python(logged_in: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"env": gymnasium.make("CartPole-v1")}
    for block in blocks("python"):
        exec(compile(block, "docs/hub.md", "exec"), names)
    commit = logged_in.repositories["user/cartpole"].refs["main"]
    assert f"hf://user/cartpole@{commit}" in capsys.readouterr().out
    assert "agent/checkpoint.json" in logged_in.repositories["user/cartpole-on-mars"].files


def test_commands(logged_in: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.partition("  ")[0].split() for line in blocks("bash")[0].splitlines()]
    commands = [words[1:] for words in lines if words[:1] == ["ssm-metarl"]]
    assert [argv[0] for argv in commands] == [*["evaluate"] * 2, *["push"] * 2, "adapt", "evaluate"]
    for argv in commands:
        if argv[0] == "evaluate":  # which takes a while
            parse(Evaluate, "evaluate", argv[1:])
        else:
            more = ["--episodes=1", "--no_video"] if argv[0] == "adapt" else []
            assert main([*argv, *more]) == 0
    assert "hf://user/cartpole: private" in capsys.readouterr().out
    assert (tmp_path / "cartpole" / "adapt" / "standard").is_dir()
