"""What a store knows of its records and tasks without reading their content."""

import json
import math
import sqlite3
import struct
import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Int32, Int64

from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.experience.database import CHUNKS_PER_RECORD
from ssm_metarl.experience.layout import CHUNK_ROWS, to_chunks

HELD = 2**63 - 1  # `until` of what has not been dropped
UNUSED = 0  # in columns that stores of version 0.1 have
MAX_STEPS = 10_000_000  # of one record; the chunks of more would not fit its keys
assert MAX_STEPS < CHUNK_ROWS * CHUNKS_PER_RECORD


class Record(NamedTuple):
    """A row of the table of records.

    Attributes:
        id: Grows with time.
        task: Id of its stored task.
        label: Of the policy that collected it.
        until: Label at which it was dropped, or `HELD`.
        steps: From its first to its last valid step.
        transitions: Valid steps.
        episodes: Complete ones.
        return_sum: Of the complete episodes.
        behaviour_known: 1 if its log-probabilities are those of the policy that acted, or 0.
    """

    id: int
    task: int
    label: int
    until: int
    steps: int
    transitions: int
    episodes: int
    return_sum: float
    behaviour_known: int


RECORD = np.dtype([(name, "f8" if name == "return_sum" else "i8") for name in Record._fields])
"""The same as numpy sees it; all records are kept in memory, 72 bytes each."""

_CHECKED = struct.Struct("<6q")


class State(NamedTuple):
    """Where a store stands, or stood when a tag was set.

    Attributes:
        label: The newest one.
        next_task: Id of the next task.
        next_record: Id of the next record.
        changes: Transactions so far; others see by it that something changed.
    """

    label: int
    next_task: int
    next_record: int
    changes: int


@dataclass(frozen=True)
class StoredTask:
    """What a store holds of one task.

    Attributes:
        id: In this store; grows with time.
        label: Says which policy collected it: the training's iteration.
        identity: The task's identity (`Tasks.index`) when it was collected.
        parameters: Its values by name.
        trajectories: How many there are.
        episodes: That ended in them; several each, where a memory lasts a trial.
        transitions: Valid steps in them.
        mean_return: Of the episodes that ended, by themselves or by the time limit they were
            collected under; None if there are none.
        behaviour_known: Whether the log-probabilities of all its actions are known.
    """

    id: int
    label: int
    identity: int
    parameters: dict[str, float]
    trajectories: int
    episodes: int
    transitions: int
    mean_return: float | None
    behaviour_known: bool

    def as_tasks(self) -> Tasks:
        """Return the task as a set of one."""
        values = {name: np.array([value]) for name, value in self.parameters.items()}
        return Tasks(values, np.array([self.identity]))


def describe(
    trajectory: Trajectory, steps: Int[np.ndarray, "K E"], *, behaviour_known: bool
) -> np.ndarray:
    """Return the records of a trajectory's lanes, `[K * E]` of `RECORD`.

    Ids count from 0, as do those of the tasks; the label is left at 0.
    """
    done, clock = trajectory.done, torch.arange(1, len(trajectory.done) + 1).view(-1, 1, 1)
    last = (clock * done.cpu()).amax(0)  # steps up to the end of the last complete episode
    reward = torch.where(clock <= last, trajectory.reward.cpu() * trajectory.valid.cpu(), 0.0)
    records = np.zeros(steps.shape, RECORD)
    records["until"], records["steps"] = HELD, steps
    records["transitions"] = trajectory.valid.sum(0).cpu()
    records["episodes"] = done.sum(0).cpu()
    records["return_sum"] = reward.double().sum(0)
    records["behaviour_known"] = behaviour_known
    records["task"] = np.arange(len(steps))[:, None]
    records = records.reshape(-1)
    records["id"] = np.arange(len(records))
    return records


def checksum_of(record: Record) -> int:
    """Return what the checksums of a record's chunks start from, to tie them to their record."""
    return zlib.crc32(
        _CHECKED.pack(
            record.id,
            record.task,
            record.label,
            record.steps,
            record.transitions,
            record.behaviour_known,
        )
    )


def load_states(database: sqlite3.Connection) -> dict[str, State]:
    """Return the states by name."""
    rows = database.execute(
        f"SELECT name, {', '.join(State._fields)} FROM states LIMIT 3"
    ).fetchall()
    states = {name: State(*numbers) for name, *numbers in rows}
    if "now" not in states or not all(type(n) is int for s in states.values() for n in s):
        raise ValueError("is damaged: its state cannot be read")
    return states


def load_records(database: sqlite3.Connection) -> np.ndarray:
    """Return the table of records, `[N]` of `RECORD`, in the order in which they were added.

    Raises:
        ValueError: It holds what is no number.
    """
    rows = database.execute(f"SELECT {', '.join(Record._fields)} FROM records ORDER BY id")
    try:
        return np.array(rows.fetchall(), dtype=RECORD)
    except (TypeError, OverflowError, ValueError):
        raise ValueError("is damaged: its table of records cannot be read") from None


def impossible(records: np.ndarray) -> Int64[np.ndarray, "n"]:
    """Return the ids of those records `[N]` whose sizes cannot be."""
    steps, transitions = records["steps"], records["transitions"]
    possible = (transitions >= 1) & (steps >= transitions) & (steps <= MAX_STEPS)
    return records["id"][~possible]


def save_states(database: sqlite3.Connection, states: dict[str, State]) -> None:
    """Replace the states."""
    database.execute("DELETE FROM states")
    rows = [(name, *state, UNUSED) for name, state in states.items()]
    columns = ", ".join(("name", *State._fields, "threshold"))
    database.executemany(f"INSERT INTO states ({columns}) VALUES (?, ?, ?, ?, ?, ?)", rows)


def insert_records(
    database: sqlite3.Connection,
    records: np.ndarray,
    rows: Int32[np.ndarray, "n T1 W"],
) -> None:
    """Write records `[n]` of `RECORD` and their rows."""
    lines = [Record._make(line) for line in records.tolist()]
    rows = rows.astype("<i4", copy=False)
    columns = (*Record._fields, "priority")
    statement = (
        f"INSERT INTO records ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    )
    database.executemany(statement, [(*line, UNUSED) for line in lines])
    chunks = [
        (line.id * CHUNKS_PER_RECORD + number, crc, content)
        for line, padded in zip(lines, rows, strict=True)
        for number, (crc, content) in enumerate(
            to_chunks(padded[: line.steps + 1], checksum_of(line))
        )
    ]
    database.executemany("INSERT INTO chunks VALUES (?, ?, ?)", chunks)


def update_records(database: sqlite3.Connection, records: np.ndarray) -> None:
    """Write until when records `[n]` were held."""
    rows = zip(records["until"].tolist(), records["id"].tolist(), strict=True)
    database.executemany("UPDATE records SET until = ? WHERE id = ?", rows)


def delete_records(
    database: sqlite3.Connection, records: np.ndarray, remaining: np.ndarray
) -> None:
    """Delete records `[n]` for good, and those of their tasks that no remaining one belongs to."""
    ids = records["id"].tolist()
    ranges = [(i * CHUNKS_PER_RECORD, (i + 1) * CHUNKS_PER_RECORD) for i in ids]
    database.executemany("DELETE FROM chunks WHERE key >= ? AND key < ?", ranges)
    database.executemany("DELETE FROM records WHERE id = ?", [(i,) for i in ids])
    tasks = np.setdiff1d(records["task"], remaining["task"]).tolist()
    database.executemany("DELETE FROM tasks WHERE id = ?", [(i,) for i in tasks])


def insert_tasks(database: sqlite3.Connection, ids: list[int], tasks: Tasks, label: int) -> None:
    """Write tasks under their ids."""
    rows = [
        (i, label, int(tasks.index[k]), json.dumps(tasks.parameters(k), allow_nan=False))
        for k, i in enumerate(ids)
    ]
    database.executemany("INSERT INTO tasks VALUES (?, ?, ?, ?)", rows)


def load_tasks(database: sqlite3.Connection, records: np.ndarray) -> list[StoredTask]:
    """Return what is known of the tasks of records `[N]`, oldest first, without damaged ones."""
    ids, which = np.unique(records["task"], return_inverse=True)
    count = np.bincount(which, minlength=len(ids)).tolist()
    transitions, episodes, returns, known = (
        np.bincount(which, records[name], len(ids)).tolist()
        for name in ("transitions", "episodes", "return_sum", "behaviour_known")
    )
    tasks = []
    for i, task in enumerate(ids.tolist()):
        label, identity, text = _task_row(database, task)
        parameters = _parse_parameters(text)
        if type(label) is not int or type(identity) is not int or parameters is None:
            continue
        mean = returns[i] / episodes[i] if episodes[i] else None
        tasks.append(
            StoredTask(
                id=task,
                label=label,
                identity=identity,
                parameters=parameters,
                trajectories=count[i],
                episodes=int(episodes[i]),
                transitions=int(transitions[i]),
                mean_return=mean,
                behaviour_known=known[i] == count[i],
            )
        )
    return tasks


def _task_row(database: sqlite3.Connection, task: int) -> tuple[object, object, object]:
    query = "SELECT label, identity, parameters FROM tasks WHERE id = ?"
    try:
        row = database.execute(f"{query} AND length(parameters) < 10000", (task,)).fetchone()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:  # the page that it is on is damaged
        row = None
    return row or (None, None, None)


def _parse_parameters(text: object) -> dict[str, float] | None:
    """Read a task's parameters; None if they are damaged."""
    try:
        values = json.loads(text) if isinstance(text, str) else None
        if type(values) is dict and all(type(value) in (int, float) for value in values.values()):
            numbers = {name: float(value) for name, value in values.items()}
            if all(map(math.isfinite, numbers.values())):
                return numbers
    except (ValueError, OverflowError, RecursionError):
        pass
    return None
