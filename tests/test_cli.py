"""The command line as a user meets it: what it says, what it writes, how it exits."""

import contextlib
import fcntl
import itertools
import json
import os
import pty
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from numpy.random import SeedSequence

import ssm_metarl
from ssm_metarl.adaptation.standard import Adaptation, Adapted
from ssm_metarl.cli import main
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.errors import CheckpointError, DivergenceError, UserError
from ssm_metarl.evaluation.evaluate import EvaluationPlan
from ssm_metarl.evaluation.report import Evaluation
from ssm_metarl.meta_rl.maml import MetaLearner
from ssm_metarl.runs.loading import load
from ssm_metarl.runs.names import RUN_ID, as_name

ROOT = Path(__file__).parent.parent

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


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", "--env", "CartPole-v1", *TINY, f"--run_dir={path}"]) == 0
    return path


def fails(capsys: pytest.CaptureFixture[str], argv: list[str], code: int = 2) -> str:
    assert main(argv) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["train", "--num_epoch=3"], ["--num_epoch", "--num_epochs"]),
        (["train", "--num_epochs=many"], ["--num_epochs", "many", "whole number"]),
        (["train", "--num_epochs=0"], ["--num_epochs", "at least 1"]),
        (["train", "--inner_lr=0"], ["--inner_lr", "positive"]),
        (["train", "--mode=maml"], ["--mode", "meta_rl", "policy_gradient"]),
        (["train", "--env=CartPol-v1"], ["--env: ", "CartPol-v1", "CartPole-v1"]),
        (["train", "--env-name=CartPol-v1"], ["--env-name: ", "CartPol-v1"]),
        (["train", "--lr=-1"], ["--lr is -1"]),
        (["train", "--epochs=0"], ["--epochs is 0"]),
        (["train", "--mode=policy_gradient", "--epochs=5"], ["policy_gradient", "--epochs;"]),
        (["train", "--mode=rl2", "--first_order", "--outer-epochs=2"], ["rl2", "--outer-epochs, "]),
        (["train", "--mode=meta_rl", "--num_episodes=20"], ["meta_rl", "--num_episodes"]),
        (["train", "--env=os.path:Env-v0"], ["trust"]),
        (["train", "--num_epochs"], ["--num_epochs", "needs a value"]),
        (["train", "--num_epochs", "--seed=1"], ["--num_epochs", "needs a value"]),
        (["train", "--lr=fast"], ["--lr", "fast", "a number"]),
        (["train", "--norm", "no"], ["--norm", "no value", "--no_norm"]),
        (["train", "more"], ["more"]),
        (["train", "--resume"], ["--resume", "--run_dir"]),
        (["train", "--run_dir=/dev/null/run"], ["--run_dir", "/dev/null/run"]),
        (["evaluate"], ["ssm-metarl evaluate needs RUN: The folder of a run."]),
        (["evaluate", "nowhere", "--split=test"], ["--split", "held_out, shifted, validation"]),
        (["evaluate", "nowhere", "--json=/"], ["--json", "folder"]),
        ([], ["adapt, app, envs, evaluate, train"]),
        (["trian"], ["trian", "train"]),
        (["evaluate", "nowhere"], ["nowhere", "not a run"]),
        (["adapt"], ["ssm-metarl adapt needs RUN: The folder"]),
        (["evaluate", "nowhere", "--tasks=0"], ["--tasks", "at least 1"]),
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


def test_training_and_evaluating_write_what_they_say(
    run_dir: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copy = tmp_path / "out.json"
    argv = ["evaluate", str(run_dir), "--tasks=4", "--episodes=2", "--steps=2", "--no-video"]
    assert main([*argv, f"--json={copy}"]) == 0
    out = capsys.readouterr().out
    assert "zero-shot" in out
    assert "from scratch" in out
    evaluation = Evaluation.from_json((run_dir / "evaluation.json").read_text())
    assert copy.read_text() == (run_dir / "evaluation.json").read_text()
    met = [(row.mode, row.steps, row.shots) for row in evaluation.results]
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
    assert all(len(row.per_task) == 4 for row in evaluation.results)
    used = {row.steps: row.adaptation_env_steps for row in evaluation.results if row.steps}
    assert 0 < used[1] <= 2 * 20
    for figure in ("adaptation.png", "tasks.png", "learning-curve.png"):
        assert (run_dir / "figures" / figure).stat().st_size > 1000


def test_a_run_without_a_name_gets_one_that_the_page_knows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["train", "--env=MountainCarContinuous-v0", "--mode=policy_gradient"]
    assert main([*argv, "--episodes=1"]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert RUN_ID.fullmatch(folder.name)


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


def test_a_video_shows_one_swapped_task(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["evaluate", str(run_dir), "--tasks=2", "--episodes=2", "--steps=1"]
    assert main([*argv, "--modes=zero_shot"]) == 0
    assert "swap=1" in capsys.readouterr().out
    assert (run_dir / "videos" / "before-after.mp4").stat().st_size > 1000


def test_a_bad_evaluation_is_one_line(
    run_dir: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "zero_shot" in fails(capsys, ["evaluate", str(run_dir), "--modes=zero_shoot"])
    missing = tmp_path / "no" / "out.json"
    assert "--json" in fails(capsys, ["evaluate", str(run_dir), f"--json={missing}"])


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


def test_resuming_takes_the_run_s_own_settings(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat() for path in run_dir.rglob("*")}
    assert main(["train", f"--run_dir={run_dir}", "--resume"]) == 0
    assert "finished" in capsys.readouterr().out
    untouched = {path: (was.st_ino, was.st_mtime_ns) for path, was in before.items()}
    assert untouched == {
        path: (now.st_ino, now.st_mtime_ns) for path in run_dir.rglob("*") for now in [path.stat()]
    }
    argv = ["train", f"--run_dir={run_dir}", "--resume", "--width=9"]
    assert "--width" in fails(capsys, argv)
    assert "--resume" in fails(capsys, ["train", *TINY, f"--run_dir={run_dir}"])


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


@pytest.mark.filterwarnings("default")
def test_any_gymnasium_id_trains_as_a_family_of_one_task(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    argv = ["train", "--env", "MountainCar-v0", *TINY, f"--run_dir={tmp_path / 'run'}"]
    assert main(argv) == 0
    warnings = [x for x in capsys.readouterr().err.splitlines() if x.startswith("warning: ")]
    assert len(warnings) == 1
    assert "MountainCar-v0" in warnings[0]


def test_every_command_has_help_with_a_line_per_flag(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command, words in (
        ([], ["train", "adapt", "evaluate", "envs", "--version"]),
        (["adapt"], ["--mode", "--task", "--episodes", "--steps", "--save"]),
        (["train"], ["--num_epochs", "--env", "--run_dir", "--resume", "--inner_lr"]),
        (["evaluate"], ["--modes", "--tasks", "--json"]),
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


def test_a_full_disk_is_one_line_and_not_the_user_s_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*arguments: object) -> None:
        raise CheckpointError("checkpoint.json: cannot be saved: No space left on device")

    monkeypatch.setattr("ssm_metarl.runs.training.save_checkpoint", full)
    assert main(["train", *TINY, f"--run_dir={tmp_path / 'run'}"]) == 1
    assert capsys.readouterr().err == (
        "error: checkpoint.json: cannot be saved: No space left on device\n"
    )


def test_divergence_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def diverge(*arguments: object) -> None:
        raise DivergenceError("meta-loss nan")

    monkeypatch.setattr("ssm_metarl.meta_rl.maml.MetaLearner.iterate", diverge)
    line = fails(capsys, ["train", *TINY, f"--run_dir={tmp_path / 'run'}"], code=1)
    assert "iteration 1: meta-loss nan" in line
    assert "a lower --outer_lr (now 0.005) or --inner_lr (now 0.03)" in line
    assert str(tmp_path / "run" / "checkpoint") in line


def test_ctrl_c_ends_the_iteration_and_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    iterate = MetaLearner.iterate

    def interrupted(self: MetaLearner, seed: SeedSequence, iteration: int) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return iterate(self, seed, iteration)

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(MetaLearner, "iterate", interrupted)
    run_dir = tmp_path / "my run"
    assert main(["train", *TINY, f"--run_dir={run_dir}", "--track=tensorboard"]) == 130
    assert signal.getsignal(signal.SIGINT) is handler
    out = capsys.readouterr().out
    command = out.splitlines()[-1]
    look = f"tensorboard --logdir '{run_dir / 'tensorboard'}'"
    assert look in out
    monkeypatch.undo()
    name, *argv = shlex.split(command)
    assert name == "ssm-metarl"
    assert main(argv) == 0
    assert look in capsys.readouterr().out
    records = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [record["iteration"] for record in records] == [1, 2]


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m ssm_metarl envs | head -n 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("CartPole-v1")
    assert done.stderr == ""


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


ADAPT = ["--episodes=3", "--no_video", "--task", "gravity=12,length=1.0,swap=1"]
TASK = "gravity=12, cart_mass=1, pole_mass=0.1, length=1, force=10, swap=1"


@pytest.fixture(scope="module")
def trial_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trial") / "run"
    flags = [*TINY, "--memory=trial", "--episodes_per_trial=2", f"--run_dir={path}"]
    assert main(["train", *flags]) == 0
    return path


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
    evaluation = Evaluation.from_json((saved / "evaluation.json").read_text())
    assert "hybrid" not in {row.mode for row in evaluation.results}
    assert main(["evaluate", str(run_dir), *flags]) == 0
    assert "as saved" not in capsys.readouterr().out


def test_the_video_of_an_adaptation_shows_before_and_after(
    run_dir: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    argv = ["adapt", str(run_dir), "--episodes=2", "--task=swap=1", f"--out={tmp_path}"]
    assert main(argv) == 0
    assert "before adapting" in capsys.readouterr().out
    assert (tmp_path / "before-after.mp4").stat().st_size > 1000


def test_zero_shot_films_two_episodes_as_nothing_changes(
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
        (["--task=gravity=strong"], ["--task", "'gravity=strong'"]),
        (["--task=gravity=9,gravity=10"], ["--task", "once"]),
        (["--task=gravity=nan"], ["gravity must be", "nan"]),
        (["--task=gravity=-1"], ["--task: gravity must be", "-1"]),
        (["--task=swap=0.5"], ["swap must be one of 0, 1"]),
        (["--mode=standart"], ["--mode", "standard"]),
        (["--mode=in_context"], ["ssm-metarl train --mode rl2 --env CartPole-v1"]),
        (["--mode=zero_shot", "--steps=2"], ["zero_shot", "--steps; leave it out"]),
        (["--mode=standard", "--reuse"], ["standard", "--reuse"]),
        (["--mode=zero_shot", "--no-guard"], ["zero_shot", "--no-guard"]),
        (["--episodes=0"], ["--episodes", "at least 1"]),
        (["--steps=0"], ["--steps", "at least 1"]),
        (["--seed=-1"], ["--seed", "negative"]),
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

    def full(*arguments: object) -> None:
        raise CheckpointError("checkpoint.json: cannot be saved: No space left on device")

    monkeypatch.setattr("ssm_metarl.runs.loading.save_checkpoint", full)
    assert main([*argv, str(tmp_path / "new")]) == 1
    assert "No space left" in capsys.readouterr().err


def test_ctrl_c_while_adapting_keeps_what_was_learned(
    run_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    learn = Adaptation.learn

    def interrupted(self: Adaptation, played: Trajectory) -> Adapted:
        os.kill(os.getpid(), signal.SIGINT)
        return learn(self, played)

    monkeypatch.setattr(Adaptation, "learn", interrupted)
    saved = tmp_path / "saved"
    argv = ["adapt", str(run_dir), *ADAPT, "--steps=5", f"--out={tmp_path}", f"--save={saved}"]
    assert main(argv) == 130
    (row,) = [line.split() for line in capsys.readouterr().out.splitlines() if "standard" in line]
    assert row[1] == "3"
    assert not torch.equal(load(saved).params["action.bias"], load(run_dir).params["action.bias"])


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


def test_the_guard_of_an_evaluation_can_be_switched_off(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[EvaluationPlan] = []

    def kept(*arguments: object) -> NoReturn:
        plans.extend(one for one in arguments if isinstance(one, EvaluationPlan))
        raise UserError("enough")

    monkeypatch.setattr("ssm_metarl.commands.evaluate.evaluate", kept)
    for flag in ("--guard", "--no_guard"):
        assert main(["evaluate", str(run_dir), "--tasks=2", flag, "--modes=zero_shot"]) == 2
    assert [plan.guarded for plan in plans] == [True, False]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["app", "--port=0"], ["--port", "from 1 to 65535"]),
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
