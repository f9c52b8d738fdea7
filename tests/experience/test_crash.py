"""Kills at any moment, full disks, flipped bits and cut files: what is whole survives.

Run as a program, this file adds to a store until it is killed.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.errors import StoreError
from ssm_metarl.experience.buffer import ExperienceStore
from ssm_metarl.experience.database import PAGE_BYTES

MakeStore = Callable[..., ExperienceStore]
LANES, STEPS = 40, 150
LAST = 12


def numbered(number: int) -> Trajectory:
    """Return two tasks of which every number says which addition they were."""
    shape, dtype = (STEPS, 2, LANES), torch.bool
    start, end = torch.zeros(STEPS + 1, 2, LANES, dtype=dtype), torch.zeros(shape, dtype=dtype)
    start[0], end[-1] = True, True
    values = torch.full(shape, float(number))
    return Trajectory(
        action=torch.full(shape, number % 2),
        observation=torch.full((STEPS + 1, 2, LANES, 4), float(number)),
        reward=values,
        log_prob=values,
        terminated=end,
        truncated=torch.zeros_like(end),
        valid=torch.ones_like(end),
        episode_start=start,
    )


def check_numbered(store: ExperienceStore) -> int:
    """Check that all that is there is whole, and return the number of the last addition."""
    tasks = store.tasks()
    assert [task.id for task in tasks] == list(range(tasks[0].id, tasks[0].id + len(tasks)))
    assert len(tasks) % 2 == 0
    for task in tasks:
        assert task.trajectories == LANES
        found = store.trajectory(task.id)
        assert found.reward.shape == (STEPS, 1, LANES)
        for values in (found.reward, found.log_prob, found.observation):
            assert (values == task.label).all()
    assert store.damaged == 0
    return tasks[-1].label


def add_for_ever(path: Path, last: int = 10**9, pause: float = 0.0) -> None:
    family = get_family("CartPole-v1")
    tasks = family.held_out(2)
    with ExperienceStore.open(path, family, writable=True) as store:
        number = store.tasks()[-1].label
        while number < last:
            number += 1
            store.add(numbered(number), tasks, number)
            print(number, flush=True)
            if number % 3 == 0:
                store.tag(number)
            time.sleep(pause)
        time.sleep(60)


@contextlib.contextmanager
def writer(path: Path) -> Iterator[subprocess.Popen]:
    """Run `add_for_ever` in another process, and kill it at the end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, str(path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def test_kills_at_random_moments_leave_whole_records(make_store: MakeStore) -> None:
    """The writer forks for each kill, so that Python and torch start only once."""
    store = make_store(capacity=5 * 2 * LANES * STEPS)
    store.add(numbered(0), get_family("CartPole-v1").held_out(2), 0)
    store.close()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, str(store.path), "kills"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    kills, additions = map(int, done.stdout.split())
    assert kills == 12
    assert additions >= kills


def kill_at_random(path: Path, kills: int) -> None:
    choose = random.Random(0)
    number = 0
    for _ in range(kills):
        source, sink = os.pipe()
        process = os.fork()
        if process == 0:
            os.dup2(sink, 1)
            add_for_ever(path)
        os.close(sink)
        with open(source) as acknowledged:
            known = int(acknowledged.readline())
            time.sleep(choose.uniform(0, 0.06))
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            known = [known, *map(int, acknowledged)][-1]
        with ExperienceStore.open(path) as store:
            number = check_numbered(store)
        assert known <= number <= known + 1, (known, number)
    print(kills, number)


def test_a_reader_in_another_process_sees_whole_additions_only(make_store: MakeStore) -> None:
    store = make_store()
    store.add(numbered(0), get_family("CartPole-v1").held_out(2), 0)
    with writer(store.path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seen = [0]
        with ExperienceStore.open(store.path) as reader:
            end = time.monotonic() + 20
            while seen[-1] < LAST and time.monotonic() < end:
                seen.append(check_numbered(reader))
                with ExperienceStore.open(store.path) as another:
                    assert check_numbered(another) >= seen[-1]
        assert process.poll() is None, "the reader stopped the writer"
    assert seen == sorted(seen)
    assert seen[-1] == LAST
    assert len(set(seen)) > 2


def test_what_was_not_closed_is_there_when_opened_again(
    make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store = make_store()
    (task,), trajectory = kit.add(store, [[[3]]])
    assert store.path.with_name("store.sqlite-wal").exists()
    with ExperienceStore.open(store.path) as reader:
        kit.assert_same(reader.trajectory(task), trajectory)


def test_a_closed_store_is_one_file_that_can_be_moved(
    make_store: MakeStore, kit: SimpleNamespace, tmp_path: Path
) -> None:
    store = make_store()
    (task,), trajectory = kit.add(store, [[[3]]])
    moved = tmp_path / "moved"
    with ExperienceStore.open(store.path) as reader:
        assert reader.trajectories == 1
        store.close()
        moved.write_bytes(store.path.read_bytes())  # although a reader is still there
    with ExperienceStore.open(moved) as copy:
        kit.assert_same(copy.trajectory(task), trajectory)
    ExperienceStore.open(store.path, writable=True).close()
    assert os.listdir(store.path.parent) == ["store.sqlite"]


def test_a_folder_without_write_access(
    make_store: MakeStore, kit: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store()
    (task,), trajectory = kit.add(store, [[[3]]])
    store.close()
    monkeypatch.setattr(os, "access", lambda *_: False)  # the superuser may write anywhere
    with ExperienceStore.open(store.path) as reader:
        kit.assert_same(reader.trajectory(task), trajectory)
        assert os.listdir(store.path.parent) == ["store.sqlite"]


def test_a_full_disk_leaves_what_was_there(make_store: MakeStore, kit: SimpleNamespace) -> None:
    store = make_store()
    (task,), trajectory = kit.add(store, [[[5]]])
    pages = store._database.execute("PRAGMA page_count").fetchone()[0]
    store._database.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall()
    with pytest.raises(StoreError, match="cannot be added to: database or disk is full"):
        store.add(numbered(0), get_family("CartPole-v1").held_out(2))
    assert store.transitions == 5
    kit.assert_same(store.trajectory(task), trajectory)
    assert kit.add(store, [[[4]]])[0] == [task + 1]  # little still fits
    store._database.execute("PRAGMA max_page_count = 100000").fetchall()
    store.add(numbered(0), get_family("CartPole-v1").held_out(2))
    with ExperienceStore.open(store.path) as reader:
        assert reader.transitions == 9 + 2 * LANES * STEPS


def test_an_interrupt_leaves_what_was_there(
    make_store: MakeStore, kit: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(capacity=9)
    kit.add(store, [[[5]]])

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ssm_metarl.experience.tables.drop_oldest", interrupt)
        with pytest.raises(KeyboardInterrupt):
            kit.add(store, [[[6]]])
    assert [task.transitions for task in store.tasks()] == [5]
    assert kit.add(store, [[[4]]])[0] == [1]


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_flipped_bit_costs_one_record(
    where: str, make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store = make_store()
    tasks, trajectory = kit.add(store, [[[300], [20]], [[7], [9]]])
    rows = trajectory.observation[:, 0, 0].numpy().astype("<f4")
    intact = rows[{"first": 0, "middle": 150, "last": 300}[where]].tobytes()
    flipped = intact[:5] + bytes([intact[5] ^ 1]) + intact[6:]
    store.close()
    data = store.path.read_bytes()
    assert intact in data  # also in free space, where it does not matter
    store.path.write_bytes(data.replace(intact, flipped))

    with ExperienceStore.open(store.path) as found:
        assert found.trajectories == 4  # nobody has looked yet
        with pytest.warns(UserWarning, match=r"store.sqlite: trajectory 0 is damaged") as warned:
            rest = found.trajectory(tasks[0])
        assert torch.equal(rest.observation[:, 0, 0], trajectory.observation[:21, 0, 1])
        assert rest.reward.shape == (20, 1, 1)
        assert (found.damaged, found.trajectories, found.transitions) == (1, 3, 36)
        assert len(found.trajectory(tasks[1]).reward) == 9
        assert len(warned) == 1


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM chunks WHERE key = 1",
        "UPDATE chunks SET content = substr(content, 1, 64) WHERE key = 1",
        "UPDATE chunks SET content = 'text' WHERE key = 1",
        "UPDATE chunks SET content = zeroblob(90000000) WHERE key = 1",
        "UPDATE chunks SET content = (SELECT content FROM chunks WHERE key = 0) WHERE key = 1",
        "UPDATE chunks SET crc = 'x' WHERE key = 1",
        "UPDATE records SET steps = steps - 1 WHERE id = 0",
        "UPDATE records SET steps = 1 << 60 WHERE id = 0",
        "UPDATE records SET steps = 0 WHERE id = 0",
        "UPDATE records SET transitions = 999 WHERE id = 0",
        "UPDATE records SET transitions = 299 WHERE id = 0",
        "UPDATE records SET label = label + 1 WHERE id = 0",
        "UPDATE records SET task = 1 WHERE id = 0",
    ],
)
def test_whatever_else_is_wrong_with_a_record_costs_only_it(
    change: str, make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store = make_store()
    kit.add(store, [[[300], [20]], [[7], [9]]])
    store._database.execute(change)
    store.close()
    with pytest.warns(UserWarning, match="trajectory 0 is damaged"):
        lanes = lanes_of_two_tasks(store.path)
    assert lanes == [1, 2]


def lanes_of_two_tasks(path: Path) -> list[int]:
    with ExperienceStore.open(path) as found:
        return [found.trajectory(task).reward.shape[2] for task in (0, 1)]


@pytest.mark.parametrize("kept", [0, 50, 1000, PAGE_BYTES, 40_000, -1])
def test_a_file_that_is_cut_short_is_refused(
    kept: int, make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store = make_store()
    kit.add(store, [[[300], [20]], [[7], [9]]])
    store.close()
    store.path.write_bytes(store.path.read_bytes()[:kept])
    message = "is cut short" if kept not in (0, 50) else "is not an experience store"
    with pytest.raises(StoreError, match=message):
        ExperienceStore.open(store.path)


@pytest.mark.filterwarnings("ignore:.*is damaged and is left out:UserWarning")
def test_pages_of_noise_are_an_error_and_no_crash(
    make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store = make_store()
    kit.add(store, [[[300], [20]], [[7], [9]]])
    store.close()
    whole, rng = store.path.read_bytes(), np.random.default_rng(0)
    outcomes = []
    for page in range(0, len(whole), PAGE_BYTES):
        data = bytearray(whole)
        data[page + 100 : page + PAGE_BYTES] = rng.bytes(PAGE_BYTES - 100)
        store.path.write_bytes(data)
        try:
            outcomes.append(sum(lanes_of_two_tasks(store.path)))
        except StoreError:
            outcomes.append(0)
    assert outcomes.count(0) >= 5  # each table's
    assert max(outcomes) <= 4


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[2:] == ["kills"]:
        kill_at_random(Path(sys.argv[1]), kills=12)
    else:
        add_for_ever(Path(sys.argv[1]), LAST, pause=0.1)
