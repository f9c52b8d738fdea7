"""Files that are no store, or one made to do harm."""

import os
import pickle
import resource
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save

from ssm_metarl.errors import StoreError
from ssm_metarl.experience.buffer import ExperienceStore

MakeStore = Callable[..., ExperienceStore]


class Explosive:
    def __reduce__(self) -> tuple:
        return os.abort, ()


FILES = {
    "empty": b"",
    "text": b"experience " * 100,
    "pickle": pickle.dumps(Explosive()) * 100,
    "safetensors": save({"a": torch.ones(1000)}),
    "sqlite, but no more": b"SQLite format 3\0" + bytes(4080),
}


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("writable", [False, True])
def test_files_of_other_kinds_are_refused(name: str, writable: bool, tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(FILES[name])
    with pytest.raises(StoreError, match=r"store.sqlite: is not an experience store"):
        ExperienceStore.open(path, writable=writable)
    assert path.read_bytes() == FILES[name]
    assert os.listdir(tmp_path) == ["store.sqlite"]


def test_another_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE records (id)")
    database.close()
    with pytest.raises(StoreError, match="is not an experience store"):
        ExperienceStore.open(path)


def test_what_is_no_regular_file_is_refused(
    make_store: MakeStore, path: Path, tmp_path: Path
) -> None:
    make_store().close()
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(path)
    os.mkfifo(pipe)
    for wrong, message in (
        (link, "is a symbolic link"),
        (pipe, "is not a regular file"),
        (tmp_path, "is not a regular file"),
        (tmp_path / "missing", "No such file"),
    ):
        with pytest.raises(StoreError, match=message):
            ExperienceStore.open(wrong)


def changed(store: ExperienceStore, *statements: str) -> Path:
    store.close()
    database = sqlite3.connect(store.path, isolation_level=None)
    for statement in statements:
        database.execute(statement)
    database.close()
    return store.path


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM tasks; END",
        "CREATE VIEW v AS SELECT * FROM records",
        "CREATE TABLE other (x)",
        "CREATE INDEX i ON records (label)",
        "DROP TABLE chunks",
        "ALTER TABLE records ADD COLUMN more",
    ],
)
def test_another_schema_is_refused(statement: str, make_store: MakeStore) -> None:
    path = changed(make_store(), statement)
    with pytest.raises(StoreError, match="it has other tables"):
        ExperienceStore.open(path)


def test_another_version_is_refused(make_store: MakeStore) -> None:
    path = changed(make_store(), "PRAGMA user_version = 2")
    with pytest.raises(StoreError, match="is of format version 2; this program reads 1"):
        ExperienceStore.open(path)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE meta SET value = 1 << 40 WHERE name = 'observations'", "observations is 1099"),
        ("UPDATE meta SET value = -1 WHERE name = 'actions'", "actions is -1"),
        ("UPDATE meta SET value = 1e9 WHERE name = 'capacity'", "capacity is 1000000000.0"),
        ("DELETE FROM meta WHERE name = 'discrete'", "discrete is None"),
        ("UPDATE meta SET value = x'00' WHERE name = 'family'", "family cannot be read"),
        ("UPDATE meta SET value = zeroblob(90000000) WHERE name = 'family'", "family cannot"),
        ("DELETE FROM states", "its state cannot be read"),
        ("UPDATE states SET next_task = 'x'", "its state cannot be read"),
        ("UPDATE records SET task = 'x'", "its table of records cannot be read"),
    ],
)
def test_numbers_that_cannot_be_are_refused(
    statement: str, message: str, make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store = make_store()
    kit.add(store, [[[5]]])
    path = changed(store, statement)
    with pytest.raises(StoreError, match=message):
        ExperienceStore.open(path)


@pytest.mark.parametrize(
    "change",
    [
        *(
            f"parameters = '{text}'"
            for text in ("", "[1]", '{"a": "b"}', '{"a": NaN}', '{"a": 1e999}', '{"a": true}')
        ),
        "parameters = '" + "[" * 9000 + "'",
        "parameters = zeroblob(90000000)",
        "label = 'x'",
        "identity = 'x'",
        "id = 99",
    ],
)
def test_a_task_that_cannot_be_read_costs_only_it(
    change: str, make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store = make_store()
    kit.add(store, [[[5], [6]], [[7], [8]], [[9], [10]]])
    store._database.execute(f"UPDATE tasks SET {change} WHERE id = 1")
    with pytest.warns(UserWarning, match="task 1 is damaged.* 2 trajectories") as warned:
        assert [task.id for task in store.tasks()] == [0, 2]
    assert (store.damaged, store.trajectories, store.transitions) == (2, 4, 30)
    assert [task.id for task in store.tasks()] == [0, 2]
    assert list(store.newest(3)) == [0, 2]
    kit.add(store, [[[4]]])
    assert [task.id for task in store.tasks()] == [0, 2, 3]
    assert len(warned) == 1


def test_the_newest_tasks_are_those_of_which_something_is_intact(
    make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store = make_store()
    kit.add(store, [[[5]], [[6]], [[7]], [[8]]])
    store._database.execute("UPDATE chunks SET crc = crc + 1 WHERE key = 2 << 20")
    with pytest.warns(UserWarning, match="trajectory 2 is damaged"):
        found = store.newest(2)
    assert {task: len(one.reward) for task, one in found.items()} == {1: 6, 3: 8}
    assert list(found) == [1, 3]


def test_sizes_are_bounded_before_anything_is_allocated(
    make_store: MakeStore, kit: SimpleNamespace
) -> None:
    """One long record beside many short ones would be padded to a hundred gigabytes."""
    store = make_store()
    kit.add(store, [[[5]] * 300])
    store.close()
    path = changed(store, "UPDATE records SET steps = 9999999 WHERE id = 7")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with ExperienceStore.open(path) as found:
        resource.setrlimit(resource.RLIMIT_AS, (8 * 1024**3, hard))
        try:
            with pytest.raises(StoreError, match="300 trajectories take more than"):
                found.trajectory(0)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
