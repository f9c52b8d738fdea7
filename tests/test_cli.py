"""The command line as a user meets it: what it says, what it writes, how it exits."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ssm_metarl.cli import main
from ssm_metarl.evaluation.report import Evaluation

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
        (["train", "--env=CartPol-v1"], ["CartPol-v1", "CartPole-v1"]),
        (["train", "--env=os.path:Env-v0"], ["trust"]),
        (["trian"], ["trian", "train"]),
        (["evaluate", "nowhere"], ["nowhere", "not a run"]),
        (["evaluate", "nowhere", "--tasks=0"], ["--tasks", "at least 1"]),
        (["train", "--resume", "--run_dir=nowhere"], ["nowhere"]),
    ],
)
def test_a_mistake_is_one_line_that_names_what_would_be_valid(
    argv: list[str], words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    extra = [f"--run_dir={tmp_path / 'run'}"] if argv == argv[:2] and argv[0] == "train" else []
    line = fails(capsys, argv + (extra if not any("run_dir" in a for a in argv) else []))
    assert all(word in line or word.replace("-", "_") in line for word in words), line
    assert not (tmp_path / "run").exists()


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
        ("from_scratch", 0, 0),
        ("from_scratch", 1, 2),
        ("from_scratch", 2, 4),
    ]
    assert all(len(row.per_task) == 4 for row in evaluation.results)
    used = {row.steps: row.adaptation_env_steps for row in evaluation.results if row.steps}
    assert 0 < used[1] <= 2 * 20
    for figure in ("adaptation.png", "tasks.png", "learning-curve.png"):
        assert (run_dir / "figures" / figure).stat().st_size > 1000


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
    assert main(["train", f"--run_dir={run_dir}", "--resume"]) == 0
    assert "finished" in capsys.readouterr().out
    argv = ["train", f"--run_dir={run_dir}", "--resume", "--width=9"]
    assert "--width" in fails(capsys, argv)
    assert "--resume" in fails(capsys, ["train", *TINY, f"--run_dir={run_dir}"])


def test_families_are_listed_with_their_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["envs"]) == 0
    out = capsys.readouterr().out
    for word in ("CartPole-v1", "CartPoleNoVelocity-v1", "Navigation2D-v0", "gravity", "5 to 15"):
        assert word in out


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
        ([], ["train", "evaluate", "envs"]),
        (["train"], ["--num_epochs", "--env", "--run_dir", "--resume", "--inner_lr"]),
        (["evaluate"], ["--modes", "--tasks", "--json"]),
    ):
        assert main([*command, "--help"]) == 0
        out = capsys.readouterr().out
        assert all(word in out for word in words)


def test_the_seed_s_commands_are_understood(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    command = [sys.executable, str(root / "main.py"), "--mode", "policy_gradient"]
    command += ["--env_name", "CartPole-v1", "--num_episodes", "16"]
    done = subprocess.run(
        [*command, "--run_dir", str(tmp_path / "pg")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "pg" / "config.json").read_text())["num_episodes"] == 16


def test_help_is_quick_and_loads_no_torch() -> None:
    code = (
        "import sys; from ssm_metarl.cli import main;"
        "main(['--help']); print('torch' in sys.modules)"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert time.monotonic() - started < 5  # a machine under load; 0.2 s when it is not
