"""``ssm-metarl evaluate``: what it writes, shows and records."""

import contextlib
import errno
import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import NoReturn

import pytest
from cli_runner import ADAPT, ROOT, fails

from ssm_metarl.cli import main
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.evaluate import EvaluationPlan


def test_training_and_evaluating_write_what_they_say(
    run_dir: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copy = tmp_path / "out.json"
    argv = ["evaluate", str(run_dir), "--tasks=4", "--episodes=2", "--steps=2", "--no-video"]
    assert main([*argv, f"--json={copy}"]) == 0
    out = capsys.readouterr().out
    assert "zero-shot" in out
    assert "from scratch" in out
    results = json.loads((run_dir / "evaluation.json").read_text())["results"]
    assert copy.read_text() == (run_dir / "evaluation.json").read_text()
    met = [(row["mode"], row["steps"], row["shots"]) for row in results]
    assert met == [
        ("zero_shot", 0, 0),
        ("standard", 1, 2),
        ("standard", 2, 4),
        ("hybrid", 1, 2),
        ("hybrid", 2, 4),
        ("from_scratch", 0, 0),
        ("from_scratch", 1, 2),
        ("from_scratch", 2, 4),
    ]
    assert all(len(row["per_task"]) == 4 for row in results)
    used = {row["steps"]: row["adaptation_env_steps"] for row in results if row["steps"]}
    assert 0 < used[1] <= 2 * 20
    for figure in ("adaptation.png", "tasks.png", "learning-curve.png"):
        assert (run_dir / "figures" / figure).stat().st_size > 1000


def test_a_video_shows_one_swapped_task(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["evaluate", str(run_dir), "--tasks=6", "--episodes=2", "--steps=1"]
    assert main([*argv, "--modes=zero_shot,standard"]) == 0
    assert "swap=1" in capsys.readouterr().out
    video = run_dir / "videos" / "before-after.mp4"
    assert video.stat().st_size > 1000
    assert main([*argv, "--modes=zero_shot", "--no_video"]) == 0
    assert not video.exists()  # it would show another evaluation


def read_only(*, prefix: str, dir: Path) -> NoReturn:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(dir / prefix))


def test_a_bad_evaluation_is_one_line(
    run_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    assert "zero_shot" in fails(capsys, ["evaluate", str(run_dir), "--modes=zero_shoot"])
    monkeypatch.setattr("tempfile.TemporaryDirectory", read_only)
    said = fails(capsys, ["evaluate", str(run_dir)])
    assert "cannot be written: Read-only" in said
    assert "--out FOLDER puts the results elsewhere" in said
    assert "--out FOLDER puts the results elsewhere" in fails(capsys, ["adapt", str(run_dir)])
    missing = tmp_path / "no" / "out.json"
    assert "--json" in fails(capsys, ["evaluate", str(run_dir), f"--json={missing}"])


def test_the_results_can_be_put_elsewhere(run_dir: Path, tmp_path: Path) -> None:
    shutil.rmtree(run_dir / "figures", ignore_errors=True)
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
    argv = ["evaluate", str(run_dir), "--tasks=2", "--episodes=2", "--steps=1"]
    assert main([*argv, "--modes=zero_shot,standard", f"--out={tmp_path / 'out'}"]) == 0
    for name in ("evaluation.json", "figures/adaptation.png", "videos/before-after.mp4"):
        assert (tmp_path / "out" / name).is_file()
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before


def test_a_damaged_checkpoint_is_one_line(
    run_dir: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for part in run_dir.rglob("*"):
        target = tmp_path / "copy" / part.relative_to(run_dir)
        if part.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(part.read_bytes())
    (state,) = (tmp_path / "copy" / "checkpoint").glob("*.safetensors")
    state.write_bytes(state.read_bytes()[:-10])
    line = fails(capsys, ["evaluate", str(tmp_path / "copy"), "--tasks=2"])
    assert state.name in line


def test_without_the_extras_the_rest_is_done_and_it_is_said_how_to_get_them(
    run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    (run_dir / "evaluation.json").unlink(missing_ok=True)
    assert main(["evaluate", str(run_dir), "--tasks=2", "--episodes=2", "--steps=1"]) == 0
    skipped = [line for line in capsys.readouterr().out.splitlines() if "skipped" in line]
    for line, extra in zip(skipped, ("figures", "figures", "video"), strict=True):
        assert f"pip install 'ssm-metarl[{extra}]'" in line
    assert (run_dir / "evaluation.json").exists()


def test_the_bar_is_drawn_on_a_terminal(run_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ssm_metarl", "evaluate", str(run_dir), "--tasks=2"]
    command += ["--episodes=2", "--steps=1", "--modes=zero_shot,standard", "--no-video"]
    with (tmp_path / "shown").open("w+b") as shown:
        ours, theirs = pty.openpty()
        size = struct.pack("4H", 24, 100, 0, 0)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
        environment = {**os.environ, "TERM": "xterm"}
        with subprocess.Popen(
            command, cwd=ROOT, stdout=shown, stderr=theirs, env=environment
        ) as process:
            os.close(theirs)
            drawn = b""
            with contextlib.suppress(OSError):  # how Linux says that the other end was closed
                while part := os.read(ours, 65536):
                    drawn += part
        os.close(ours)
        assert process.returncode == 0
        shown.seek(0)
        assert b"\x1b" not in shown.read()
    assert "━".encode() in drawn
    assert b"standard, 1 step" in drawn
    assert b"2/2" in drawn


def test_a_saved_agent_is_evaluated_and_it_is_said_what_it_is_compared_with(
    run_dir: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    out = ["--out", str(tmp_path / "out")]
    assert main(["adapt", str(run_dir), *ADAPT, *out, f"--save={saved}"]) == 0
    flags = ["--tasks=2", "--episodes=2", "--steps=1", "--no-video"]
    assert main(["evaluate", str(saved), *flags]) == 0
    shown = capsys.readouterr().out
    assert "zero-shot is the agent as saved" in " ".join(shown.split())
    results = json.loads((saved / "evaluation.json").read_text())["results"]
    assert "hybrid" not in {row["mode"] for row in results}
    assert main(["evaluate", str(run_dir), *flags]) == 0
    assert "as saved" not in capsys.readouterr().out


def test_the_guard_of_an_evaluation_can_be_switched_off(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[EvaluationPlan] = []

    def kept(*arguments: object) -> NoReturn:
        plans.extend(one for one in arguments if isinstance(one, EvaluationPlan))
        raise UserError("enough")

    monkeypatch.setattr("ssm_metarl.evaluation.evaluate.evaluate", kept)
    for flag in ("--guard", "--no_guard"):
        assert main(["evaluate", str(run_dir), "--tasks=2", flag, "--modes=zero_shot"]) == 2
    assert [plan.guarded for plan in plans] == [True, False]


def test_one_task_is_evaluated_as_asked_and_beside_the_run(
    run_dir: Path, trial_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--episodes=2", "--steps=1", "--return_episodes=3", "--no_video"]
    argv = ["evaluate", str(trial_run), "--task", "gravity=12,swap=1", *few]
    assert main([*argv, "--modes=in_context", "--trial_episodes=3"]) == 0
    shown = capsys.readouterr().out
    assert "gravity=12, cart_mass=1, pole_mass=0.1" in shown
    assert "swap=1 is evaluated on 3 episodes" in shown
    saved = json.loads((trial_run / "evaluate" / "task" / "evaluation.json").read_text())
    assert (saved["tasks"], saved["split"], len(saved["results"])) == (1, "chosen", 3)
    assert not (trial_run / "evaluation.json").exists()  # which is of tasks unseen

    argv = ["evaluate", str(run_dir), *few]
    line = fails(capsys, [*argv, "--task=swap=1", "--tasks=3"])
    assert line == "error: --task names the one task; leave out --tasks"
    assert "did you mean 'swap'" in fails(capsys, [*argv, "--task=swop=1"])
    assert "NAME=VALUE" in fails(capsys, [*argv, "--task=swap"])
    assert main([*argv, "--task=nominal", "--modes=zero_shot"]) == 0
    assert "swap=0 is evaluated" in capsys.readouterr().out
