"""``ssm-metarl train``: what it writes and says, stopping, and resuming."""

import json
import os
import shlex
import signal
from pathlib import Path

import pytest
from cli_runner import TINY, fails
from numpy.random import SeedSequence
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ssm_metarl.checkpoint.names import RUN_ID
from ssm_metarl.cli import main
from ssm_metarl.errors import CheckpointError, DivergenceError
from ssm_metarl.meta_rl.maml import MAML


def test_a_run_without_a_name_gets_one_that_the_page_knows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["train", "--env=MountainCarContinuous-v0", "--mode=policy_gradient"]
    assert main([*argv, "--episodes=1"]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert RUN_ID.fullmatch(folder.name)


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
    argv = ["train", f"--run_dir={run_dir}", "--resume"]
    assert "--width is 9, but" in fails(capsys, [*argv, "--width=9"])
    assert "--seed is 1, but" in fails(capsys, [*argv, "--seed=1"])
    assert "--no_norm" not in fails(capsys, [*argv, "--no_norm", "--cell=mlp"])
    assert main([*argv, "--width=8", "--cell=ssm", "--lr=0.005"]) == 0  # as it was resolved
    assert "--resume" in fails(capsys, ["train", *TINY, f"--run_dir={run_dir}"])


def test_a_finished_run_is_trained_for_longer(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = f"--run_dir={tmp_path / 'run'}"
    assert main(["train", *TINY, folder]) == 0
    assert main(["train", folder, "--resume", "--epochs=3", "--device=cpu"]) == 0
    assert "Trained" in capsys.readouterr().out
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["num_epochs"] == 3
    assert "--epochs is 1; " in fails(capsys, ["train", folder, "--resume", "--epochs=1"])


@pytest.mark.filterwarnings("default")
def test_any_gymnasium_id_trains_as_a_family_of_one_task(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    argv = ["train", "--env", "MountainCar-v0", *TINY, f"--run_dir={tmp_path / 'run'}"]
    assert main(argv) == 0
    warnings = [x for x in capsys.readouterr().err.splitlines() if x.startswith("warning: ")]
    assert len(warnings) == 1
    assert "MountainCar-v0" in warnings[0]


def test_a_full_disk_is_one_line_and_not_the_user_s_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*arguments: object) -> None:
        raise CheckpointError("checkpoint.json: cannot be saved: No space left on device")

    monkeypatch.setattr("ssm_metarl.training.loop.save_checkpoint", full)
    assert main(["train", *TINY, f"--run_dir={tmp_path / 'run'}"]) == 1
    assert capsys.readouterr().err == (
        "error: checkpoint.json: cannot be saved: No space left on device\n"
    )


def test_divergence_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def diverge(*arguments: object) -> None:
        raise DivergenceError("meta-loss nan")

    monkeypatch.setattr("ssm_metarl.meta_rl.maml.MAML.iterate", diverge)
    line = fails(capsys, ["train", *TINY, f"--run_dir={tmp_path / 'run'}"], code=1)
    assert "iteration 1: meta-loss nan" in line
    assert "a lower --outer_lr (now 0.005) or --inner_lr (now 0.03)" in line
    assert str(tmp_path / "run" / "checkpoint") in line


def test_ctrl_c_ends_the_iteration_and_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    iterate = MAML.iterate

    def interrupted(self: MAML, seed: SeedSequence, iteration: int) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return iterate(self, seed, iteration)

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(MAML, "iterate", interrupted)
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
    out = capsys.readouterr().out
    assert look in out
    assert str(run_dir / "videos" / "trained.mp4") in out
    events = EventAccumulator(str(run_dir / "tensorboard")).Reload()
    assert {"figures/learning_curve", "videos/trained"} == set(events.Tags()["images"])
    records = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [record["iteration"] for record in records] == [1, 2]
