"""``ssm-metarl adapt``: what it shows, records and saves."""

import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from cli_runner import ADAPT, fails

from ssm_metarl.adaptation.standard import Adaptation
from ssm_metarl.cli import main
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.errors import CheckpointError
from ssm_metarl.training.loading import load

TASK = "gravity=12, cart_mass=1, pole_mass=0.1, length=1, force=10, swap=1"


@pytest.mark.parametrize("mode", ["zero_shot", "in_context", "standard", "hybrid"])
def test_adapting_shows_saves_and_draws_in_every_mode(
    mode: str, trial_run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    learns = mode in ("standard", "hybrid")
    argv = ["adapt", str(trial_run), f"--mode={mode}", *ADAPT, f"--save={saved}"]
    assert main([*argv, "--steps=2"] if learns else argv) == 0
    shown = capsys.readouterr()
    episodes = 6 if learns else 3
    assert f"{mode} CartPole-v1 {episodes}/{episodes}: return" in shown.err
    assert ("gradient step" in shown.err) == learns
    lines = shown.out.splitlines()
    table = lines[: next(n for n, line in enumerate(lines) if "env steps:" in line)]
    assert max(map(len, table)) <= 80
    assert table[:2] == [x.ljust(len(table[0])) for x in ("CartPole-v1", TASK)]
    rows = [line.split() for line in table if line.startswith("  ") and "." in line]
    named = "zero-shot" if mode == "zero_shot" else mode.replace("_", "-")
    assert [row[0] for row in rows] == list(dict.fromkeys(["zero-shot", named]))
    if mode != "zero_shot":
        assert rows[1][1] == str(episodes)
    assert ("earlier task" in shown.out) == (mode == "hybrid")
    figure = trial_run / "adapt" / mode / "episodes.png"
    assert figure.stat().st_size > 1000
    agent, original = load(saved), load(trial_run)
    moved = not torch.equal(agent.params["action.bias"], original.params["action.bias"])
    assert moved == learns
    assert "saved" in shown.out


@pytest.mark.filterwarnings("default")
def test_a_saved_agent_is_adapted_like_a_run(
    run_dir: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    out = ["--out", str(tmp_path / "out")]
    assert main(["adapt", str(run_dir), *ADAPT, *out, f"--save={saved}"]) == 0
    assert main(["adapt", str(saved), "--mode=hybrid", *ADAPT, *out]) == 0
    assert "warning: this agent came with no experience" in capsys.readouterr().err
    assert (tmp_path / "out" / "episodes.png").exists()


def test_the_video_of_an_adaptation_shows_before_and_after(
    run_dir: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    argv = ["adapt", str(run_dir), "--episodes=2", "--task=swap=1", f"--out={tmp_path}"]
    assert main(argv) == 0
    assert "before adapting" in capsys.readouterr().out
    assert (tmp_path / "before-after.mp4").stat().st_size > 1000


def test_zero_shot_records_two_episodes_as_nothing_changes(
    run_dir: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    argv = ["adapt", str(run_dir), "--mode=zero_shot", "--episodes=2", f"--out={tmp_path}"]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "in one episode" in out
    assert "before" not in out
    assert (tmp_path / "episodes.mp4").stat().st_size > 1000


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--task=gravty=12"], ["--task: ", "gravty", "did you mean 'gravity'"]),
        (["--task=self=1"], ["no parameter 'self'"]),
        (["--task=gravity"], ["--task", "'gravity'", "NAME=VALUE"]),
        (["--task=gravity=strong"], ["--task: gravity must be a number", "'strong'"]),
        (["--task=gravity=9,gravity=10"], ["--task", "once"]),
        (["--task=gravity=nan"], ["gravity must be", "nan"]),
        (["--task=gravity=-1"], ["--task: gravity must be", "-1"]),
        (["--task=swap=0.5"], ["swap must be one of 0, 1"]),
        (["--mode=standart"], ["--mode", "standard"]),
        (["--mode=in_context"], ["ssm-metarl train --mode rl2 --env CartPole-v1"]),
        (["--mode=zero_shot", "--steps=2"], ["zero_shot", "--steps; leave it out"]),
        (["--mode=zero_shot", "--no-guard"], ["zero_shot", "--no-guard"]),
        (["--episodes=0"], ["--episodes", "from 1 to"]),
        (["--steps=0"], ["--steps", "from 1 to"]),
        (["--seed=-1"], ["--seed", "from 0 to"]),
    ],
)
def test_a_bad_adaptation_is_one_line(
    run_dir: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: list[str]
) -> None:
    line = fails(capsys, ["adapt", str(run_dir), *flags])
    assert all(word in line for word in words), line


def test_an_agent_is_saved_only_where_nothing_is(
    run_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "note").write_text("mine")
    argv = ["adapt", str(run_dir), *ADAPT, "--save"]
    assert "exists; name a new folder" in fails(capsys, [*argv, str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["note"]
    assert "nowhere" in fails(capsys, ["adapt", str(tmp_path / "nowhere")])
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    assert "--save" in fails(capsys, [*argv, str(tmp_path / "link")])
    (tmp_path / "link").unlink()
    for flag in ("--save", "--out"):
        said = fails(capsys, [*argv[:-1], f"{flag}={tmp_path}/note/{flag}"])
        assert flag in said
        assert "Not a directory" in said

    def full(*arguments: object) -> None:
        raise CheckpointError("checkpoint.json: cannot be saved: No space left on device")

    monkeypatch.setattr("ssm_metarl.training.loading.save_checkpoint", full)
    assert main([*argv, str(tmp_path / "new")]) == 1
    assert "No space left" in capsys.readouterr().err


def test_ctrl_c_while_adapting_keeps_what_was_learned(
    run_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    add = Adaptation.add

    def interrupted(self: Adaptation, rollout: Trajectory) -> bool:
        stepped = add(self, rollout)
        if stepped:
            os.kill(os.getpid(), signal.SIGINT)
        return stepped

    monkeypatch.setattr(Adaptation, "add", interrupted)
    saved = tmp_path / "saved"
    argv = ["adapt", str(run_dir), *ADAPT, "--steps=5", f"--out={tmp_path}", f"--save={saved}"]
    assert main(argv) == 130
    (row,) = [line.split() for line in capsys.readouterr().out.splitlines() if "standard" in line]
    assert row[1] == "3"
    assert not torch.equal(load(saved).params["action.bias"], load(run_dir).params["action.bias"])


def test_the_command_line_works_in_a_thread(run_dir: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        assert pool.submit(main, ["adapt", str(run_dir), *ADAPT, f"--out={tmp_path}"]).result() == 0


@pytest.mark.filterwarnings("default")
def test_a_broken_store_is_one_line(
    run_dir: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run_dir, copy)
    (copy / "experience" / "store.sqlite").write_bytes(b"no store at all" * 100)
    argv = ["adapt", str(copy), "--mode=hybrid", *ADAPT]
    assert "store.sqlite" in fails(capsys, argv)
    (copy / "experience" / "store.sqlite").unlink()
    assert main(argv) == 0
    assert "as standard" in capsys.readouterr().err
