"""Whoever writes a run is alone with it, in this process and among others."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssm_metarl.checkpoint import lock
from ssm_metarl.checkpoint.lock import RunLock
from ssm_metarl.cli import main
from ssm_metarl.errors import UserError
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loop import resume, train

TINY = TrainConfig(
    num_epochs=3,
    tasks_per_epoch=2,
    episodes_per_task=2,
    support_steps=20,
    query_steps=20,
    validate_every=3,
    validation_tasks=2,
    width=8,
    state_size=4,
)
BUSY = "is being trained or changed elsewhere; wait until that ends, or stop it there"
HOLD = """
import sys, time
from pathlib import Path
from ssm_metarl.checkpoint.lock import RunLock
held = RunLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    stream = train(TINY, tmp_path / "run")
    next(stream)
    stream.close()
    return tmp_path / "run"


@pytest.fixture
def elsewhere(run: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the run."""
    command = [sys.executable, "-c", HOLD, str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_run_at_work_elsewhere_is_refused_in_a_line_and_left_alone(
    run: Path, elsewhere: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with (run / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"iteration": 2}\n')  # not yet in its checkpoint
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=re.escape(f"{run} {BUSY}")):
        resume(run)
    assert main(["train", f"--run_dir={run}", "--resume"]) == 2
    assert capsys.readouterr().err == f"error: {run} {BUSY}\n"
    assert {path: path.read_bytes() for path in before} == before


def test_a_killed_process_gives_it_back(run: Path, elsewhere: subprocess.Popen[str]) -> None:
    os.kill(elsewhere.pid, signal.SIGKILL)
    elsewhere.wait()
    assert [one.iteration for one in resume(run)] == [2, 3]


def test_a_stream_holds_its_run_until_it_ends(tmp_path: Path) -> None:
    stream = train(dataclasses.replace(TINY, num_epochs=1), tmp_path / "run")
    with pytest.raises(UserError, match=BUSY):
        resume(tmp_path / "run")
    next(stream)
    with pytest.raises(UserError, match=BUSY):
        resume(tmp_path / "run")
    assert list(stream) == []
    assert list(resume(tmp_path / "run")) == []


def test_a_stream_that_never_began_holds_nothing(run: Path) -> None:
    stream = resume(run)
    stream.close()
    del stream
    assert [one.iteration for one in resume(run)] == [2, 3]


def test_two_cannot_begin_the_same_new_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train(TINY, tmp_path / "run")
    text = (tmp_path / "run" / "config.json").read_text()
    monkeypatch.setattr(Path, "exists", lambda _: False)  # asked before the other made it
    with pytest.raises(UserError, match=BUSY):
        train(dataclasses.replace(TINY, seed=1), tmp_path / "run")
    assert (tmp_path / "run" / "config.json").read_text() == text
    first.close()


def test_where_there_are_no_locks_a_process_still_knows_what_it_holds(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    held = RunLock(run)
    with pytest.raises(UserError, match=BUSY):
        RunLock(run)
    held.release()
    with RunLock(run):
        pass
    del held
    assert [one.iteration for one in resume(run)] == [2, 3]
