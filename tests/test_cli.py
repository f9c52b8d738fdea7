"""The command line as a user meets it: what it says, what it writes, how it exits."""

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_runner import ROOT, fails

import ssm_metarl
from ssm_metarl.checkpoint.names import RUN_ID, as_name
from ssm_metarl.cli import main
from ssm_metarl.env_runner.kept import WORKERS


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["train", "--num_epoch=3"], ["--num_epoch", "--num_epochs"]),
        (["train", "--num_epochs=many"], ["--num_epochs", "many", "whole number"]),
        (["train", "--num_epochs=0"], ["--num_epochs", "from 1 to"]),
        (["train", "--inner_lr=0"], ["--inner_lr", "above 0"]),
        (["train", "--mode=maml"], ["--mode", "meta_rl", "policy_gradient"]),
        (["train", "--mode=RL2"], ["--mode is 'RL2'; did you mean 'rl2'?"]),
        (["train", "--Num-Epoch=3"], ["did you mean --num_epochs"]),
        (["train", "--run_dir", ""], ["--run_dir is empty; name a folder"]),
        (["evaluate", "nowhere", "--json="], ["--json is empty; name a file"]),
        (["evaluate", ""], ["ssm-metarl evaluate needs RUN: the folder of a run or of a"]),
        (["train", "--r_min=0.9"], ["--r_min needs --r_max too"]),
        (["evaluate", "nowhere", "--modes=standard,hybrid,standard"], ["names standard twice"]),
        (["evaluate", "nowhere", "--episodes=1,5,05"], ["--episodes names 5 twice"]),
        (["train", "--env=CartPol-v1"], ["--env: ", "CartPol-v1", "CartPole-v1"]),
        (["train", "--env-name=CartPol-v1"], ["--env-name: ", "CartPol-v1"]),
        (["train", "--lr=-1"], ["--lr is -1"]),
        (["train", "--epochs=0"], ["--epochs is 0"]),
        (["train", "--mode=policy_gradient", "--epochs=5"], ["policy_gradient", "--epochs;"]),
        (
            ["train", "--mode=rl2", "--first_order", "--support-weight=2"],
            ["rl2", "--support-weight, "],
        ),
        (["train", "--mode=meta_rl", "--num_episodes=20"], ["meta_rl", "--num_episodes"]),
        (["train", "--env=os.path:Env-v0"], ["trust"]),
        (["train", "--num_epochs"], ["--num_epochs", "needs a value"]),
        (["train", "--num_epochs", "--seed=1"], ["--num_epochs", "needs a value"]),
        (["train", "--lr=fast"], ["--lr", "fast", "a number"]),
        (["train", "--norm", "no"], ["--norm", "no value", "--no_norm"]),
        (["train", "--norm=no"], ["--norm", "no value", "--no_norm"]),
        (["train", "--resume=yes"], ["--resume takes no value"]),
        (["train", "--seed=1.5"], ["--seed is '1.5'; it must be a whole number from 0 to"]),
        (["train", "--cell=lstm"], ["--cell is 'lstm'", "gru"]),
        (["train", "more"], ["more"]),
        (["train", "--resume"], ["--resume", "--run_dir"]),
        (["train", "--run_dir=/dev/null/run"], ["--run_dir", "/dev/null/run"]),
        (["evaluate"], ["ssm-metarl evaluate needs RUN: the folder of a run or of a"]),
        (["evaluate", "nowhere", "--split=test"], ["--split", "held_out, shifted, validation"]),
        (["evaluate", "nowhere", "--json=/"], ["--json", "folder"]),
        ([], ["adapt, app, compare, envs, evaluate, export, push, sweep, train"]),
        (["trian"], ["trian", "train"]),
        (["evaluate", "nowhere"], ["nowhere", "not a run"]),
        (["adapt"], ["ssm-metarl adapt needs RUN: the folder"]),
        (["evaluate", "nowhere", "--tasks=0"], ["--tasks", "from 1 to"]),
        (["train", "--resume", "--run_dir=nowhere"], ["nowhere"]),
    ],
)
def test_a_mistake_is_one_line_that_names_what_would_be_valid(
    argv: list[str],
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    line = fails(capsys, argv)
    assert all(word in line for word in words), line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "ending", "name"),
    [
        ("CartPole-v1-meta_rl", "-7", "cartpole-v1-meta-rl-7"),
        ("ALE/Pong.v5", "", "ale-pong-v5"),
        ("../é", "-1", "run-1"),
        ("X" * 99, "-20260101-000000", "x" * 48 + "-20260101-000000"),
    ],
)
def test_any_text_becomes_a_valid_name(text: str, ending: str, name: str) -> None:
    assert as_name(text, ending) == name
    assert RUN_ID.fullmatch(name)


def test_families_are_listed_with_their_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["envs"]) == 0
    out = capsys.readouterr().out
    for word in ("CartPole-v1", "CartPoleNoVelocity-v1", "Navigation2D-v0", "gravity", "5 to 15"):
        assert word in out
    assert "push on the cart, to one side or the other" in out  # in a pipe nothing is wrapped
    assert "\x1b" not in out


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ssm-metarl {ssm_metarl.__version__}\n"


def test_every_command_has_help_with_a_line_per_flag(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command, words in (
        ([], ["train", "adapt", "evaluate", "envs", "--version"]),
        (["adapt"], ["--mode", "--task", "--episodes", "--steps", "--save"]),
        (["train"], ["--num_epochs", "--env", "--run_dir", "--resume", "--inner_lr"]),
        (["evaluate"], ["--modes", "--tasks", "--json"]),
        (["push"], ["--public", "--with_experience", "--license", "--dry_run"]),
        (["sweep"], ["--param", "outer_lr=1e-4..1e-2:log", "--jobs", "--lr", "joins in"]),
        (
            ["train"],
            ["Other commands", "adapt, evaluate, compare, export, push, envs, app", f"{WORKERS}=N"],
        ),
    ):
        assert main([*command, "--help"]) == 0
        out = capsys.readouterr().out
        assert all(word in out for word in words)


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("command", ["train", "adapt", "evaluate"])
def test_help_fills_the_width_and_no_more(
    command: str,
    columns: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main([command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    texts = [line[2:-2] for line in lines if line[2:16].isspace() and line[2:-2].strip()]
    for line, following in itertools.pairwise(texts):
        if not line.rstrip().endswith(")"):  # within one text: the next word had no room left
            assert len(line.rstrip()) + 1 + len(following.split()[0]) > len(line), line


def test_the_seed_s_commands_are_understood(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    command = [sys.executable, str(root / "main.py"), "--mode", "policy_gradient"]
    command += ["--env_name", "CartPole-v1", "--num_episodes", "16"]
    done = subprocess.run(
        [*command, "--run_dir", str(tmp_path / "pg")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "pg" / "config.json").read_text())["num_episodes"] == 16
    # Its one task has not taught it to adapt.
    assert done.stdout.splitlines()[-1].endswith(f"adapt {tmp_path / 'pg'} --mode zero_shot")


def test_help_is_quick_and_loads_no_torch() -> None:
    code = (
        "import sys; from ssm_metarl.cli import main;"
        "main(['--help']); print('torch' in sys.modules)"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert time.monotonic() - started < 5  # a machine under load; 0.2 s when it is not


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m ssm_metarl envs | head -n 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("CartPole-v1")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["app", "--port=0"], ["--port", "from 1 to 65,535"]),
        (["app", "--host=203.0.113.1"], ["--host 203.0.113.1", "--port 7860"]),
        (["app", "--runs=/dev/null"], ["--runs", "no folder"]),
    ],
)
def test_a_page_that_cannot_be_opened_says_why(
    argv: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gradio")
    line = fails(capsys, argv)
    assert all(word in line for word in words), line
