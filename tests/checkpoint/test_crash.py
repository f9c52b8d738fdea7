"""Full disks, and kills at any moment: the old checkpoint or the new one is there, whole.

Run as a program, this file saves in a process that it kills at random moments.
"""

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
import torch

from ssm_metarl.checkpoint import files
from ssm_metarl.checkpoint import format as checkpoint
from ssm_metarl.checkpoint.format import load_checkpoint, save_checkpoint
from ssm_metarl.errors import CheckpointError


def save_number(folder: Path, number: int, size: int = 10) -> None:
    tensors = {str(i): torch.full((size,), float(number)) for i in range(4)}
    save_checkpoint(folder, tensors, {"number": number})


def load_number(folder: Path) -> int:
    loaded = load_checkpoint(folder)
    number = loaded.meta["number"]
    assert len(loaded.tensors) == 4
    assert all((tensor == number).all() for tensor in loaded.tensors.values())
    return number


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder that holds checkpoint number 1."""
    save_number(tmp_path / "checkpoint", 1)
    return tmp_path / "checkpoint"


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Let the kernel refuse every write beyond `size` bytes, as a full disk would in the middle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 1, 4096, 10_000])
@pytest.mark.parametrize("too_long", ["tensors", "manifest"])
def test_a_write_cut_short_leaves_the_old_checkpoint(size: int, too_long: str, saved: Path) -> None:
    before = contents(saved)
    tensors = {"a": torch.ones(5000 if too_long == "tensors" else 1)}
    meta = {"long": "x" * (20_000 if too_long == "manifest" else 1)}
    with files_at_most(size), pytest.raises(CheckpointError, match="cannot be saved: File too"):
        save_checkpoint(saved, tensors, meta)
    assert contents(saved) == before
    assert load_number(saved) == 1


@pytest.mark.parametrize(
    ("call", "failing", "left"),
    [
        ("fsync", 1, 1),  # the state file
        ("replace", 1, 1),
        ("fsync", 2, 1),  # its folder
        ("fsync", 3, 1),  # the manifest
        ("replace", 2, 1),
        ("fsync", 4, 2),  # its folder: the commit has happened
    ],
)
def test_a_disk_that_fills_up_at_any_call(
    call: str, failing: int, left: int, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = getattr(os, call), 0

    def fail_once(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail_once)
        with pytest.raises(CheckpointError, match="cannot be saved: No space left on device"):
            save_number(saved, 2)
    assert load_number(saved) == left
    if left == 1:
        assert len(contents(saved)) == 2, "a full disk is not freed"
    save_number(saved, 3)
    assert load_number(saved) == 3
    assert len(contents(saved)) == 2


def test_an_interrupt_leaves_the_old_checkpoint(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_text_atomically", interrupt)
        with pytest.raises(KeyboardInterrupt):
            save_number(saved, 2)
    assert load_number(saved) == 1
    save_number(saved, 3)
    assert len(contents(saved)) == 2


def test_a_kill_between_any_two_lines_leaves_a_checkpoint(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process leaves the folder as others see it, so look at it before each line."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # only power cuts need it, and it takes long
    sources = {checkpoint.__file__, files.__file__}
    states: list[dict[str, bytes]] = []

    def trace(frame: FrameType, event: str, _: object) -> object:
        if frame.f_code.co_filename not in sources:
            return None
        if event == "line":
            states.append(contents(saved))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        save_number(saved, 2)
    finally:
        sys.settrace(before)

    found = []
    for i, state in enumerate(states):
        folder = tmp_path / str(i)
        folder.mkdir()
        for name, content in state.items():
            (folder / name).write_bytes(content)
        found.append(load_number(folder))
        save_number(folder, 3)
        assert len(contents(folder)) == 2
    assert found == sorted(found)
    assert set(found) == {1, 2}
    # Before, temporary state, new state (also after the commit), temporary manifest, and after.
    assert len({tuple(sorted(state)) for state in states}) == 5


def test_a_kill_at_a_random_moment_leaves_a_checkpoint(tmp_path: Path) -> None:
    """Forks and kills in a process of its own, since pytest's has threads, which fork badly."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    kills, saves, mid_save = map(int, done.stdout.split())
    assert kills == 40
    assert saves >= kills
    assert mid_save > 0  # some kills came between the first and the last change of the folder


def save_for_ever(folder: Path, number: int, acknowledge: int) -> None:
    while True:
        number += 1
        save_number(folder, number, size=100_000)
        os.write(acknowledge, f"{number}\n".encode())


def kill_at_random(folder: Path, kills: int) -> None:
    """Kill a process that saves one checkpoint after the other, and load what it left."""
    choose = random.Random(0)
    number = mid_save = 0
    start = time.perf_counter()
    save_number(folder, number, size=100_000)
    duration = time.perf_counter() - start
    for _ in range(kills):
        source, acknowledge = os.pipe()
        process = os.fork()
        if process == 0:
            save_for_ever(folder, number, acknowledge)
        os.close(acknowledge)
        with open(source) as acknowledged:
            known = int(acknowledged.readline())
            time.sleep(choose.uniform(0, 2 * duration))
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            known = [known, *map(int, acknowledged)][-1]
        mid_save += len(os.listdir(folder)) != 2
        number = load_number(folder)
        assert known <= number <= known + 1, (known, number)
    save_number(folder, number + 1)
    assert len(os.listdir(folder)) == 2
    print(kills, number, mid_save)


if __name__ == "__main__":
    torch.set_num_threads(1)
    kill_at_random(Path(sys.argv[1]), kills=40)
